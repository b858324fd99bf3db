/* A Majordomo worker, MDP/0.1 (rfc.zeromq.org/spec/7): a DEALER socket, nothing of wasmq.
 *
 *   cc -O2 -o mdworker examples/majordomo/mdworker.c -lzmq        (Debian: libzmq3-dev)
 *   ./mdworker SERVICE tcp://127.0.0.1:5560 NAME [DELAY_MS]
 *
 * Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs.
 * Sends heartbeats between requests. When it is told to, or the broker is silent for three of them,
 * it begins anew on a new socket. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define FRAMES_MAX 16
#define HEARTBEAT_MS 2500
#define LIVENESS 3

enum { READY = 1, REQUEST, REPLY, HEARTBEAT, DISCONNECT };

static void *context, *worker;
static const char *service, *broker;
static int liveness;
static int64_t heartbeat_at;

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* | empty | "MDPW01" | command | and, if there is `more`, what the caller sends behind it. */
static void begin(unsigned char command, int more) {
  zmq_send(worker, "", 0, ZMQ_SNDMORE);
  zmq_send(worker, "MDPW01", 6, ZMQ_SNDMORE);
  zmq_send(worker, &command, 1, more ? ZMQ_SNDMORE : 0);
}

static void begin_anew(void) {
  if (worker != NULL) zmq_close(worker);
  worker = zmq_socket(context, ZMQ_DEALER);
  int linger = 0;
  zmq_setsockopt(worker, ZMQ_LINGER, &linger, sizeof linger);
  if (zmq_connect(worker, broker) != 0) {
    fprintf(stderr, "mdworker: %s: %s\n", broker, zmq_strerror(zmq_errno()));
    exit(1);
  }
  begin(READY, 1);
  zmq_send(worker, service, strlen(service), 0);
  liveness = LIVENESS;
  heartbeat_at = now_ms() + HEARTBEAT_MS;
}

static int receive(zmq_msg_t *frames) {
  int count = 0, more = 1;
  while (more) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, worker, 0) < 0) return -1;
    more = zmq_msg_more(&frame);
    if (count < FRAMES_MAX) frames[count++] = frame;
    else zmq_msg_close(&frame);
  }
  return count;
}

/* | empty | "MDPW01" | REQUEST | address | empty | body .. |; the reply takes the address back. */
static void work(zmq_msg_t *frames, const char *name, useconds_t delay_us) {
  zmq_msg_t *address = &frames[3], *body = &frames[5];
  size_t size = zmq_msg_size(body), name_size = strlen(name);
  printf("running %.*s\n", (int)size, (char *)zmq_msg_data(body));
  if (delay_us > 0) usleep(delay_us);
  zmq_msg_t reply;
  zmq_msg_init_size(&reply, name_size + 1 + size);
  char *at = zmq_msg_data(&reply);
  memcpy(at, name, name_size);
  at[name_size] = ' ';
  memcpy(at + name_size + 1, zmq_msg_data(body), size);
  begin(REPLY, 1);
  zmq_msg_send(address, worker, ZMQ_SNDMORE);
  zmq_send(worker, "", 0, ZMQ_SNDMORE);
  zmq_msg_send(&reply, worker, 0);
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: mdworker SERVICE BACKEND NAME [DELAY_MS]\n"), 2;
  service = argv[1];
  broker = argv[2];
  useconds_t delay_us = argc > 4 ? (useconds_t)atoi(argv[4]) * 1000 : 0;
  setvbuf(stdout, NULL, _IOLBF, 0);
  context = zmq_ctx_new();
  begin_anew();
  for (;;) {
    zmq_pollitem_t items[] = {{worker, 0, ZMQ_POLLIN, 0}};
    if (zmq_poll(items, 1, HEARTBEAT_MS) < 0) return 1;
    if (items[0].revents & ZMQ_POLLIN) {
      zmq_msg_t frames[FRAMES_MAX];
      int count = receive(frames);
      liveness = LIVENESS;
      int is_ours = count >= 3 && zmq_msg_size(&frames[1]) == 6 &&
                    memcmp(zmq_msg_data(&frames[1]), "MDPW01", 6) == 0;
      int command = is_ours ? *(unsigned char *)zmq_msg_data(&frames[2]) : 0;
      if (command == REQUEST && count >= 6) work(frames, argv[3], delay_us);
      else if (command == DISCONNECT) begin_anew();
      else if (command != HEARTBEAT) fprintf(stderr, "mdworker: %d frames not understood\n", count);
      for (int k = 0; k < count; k++) zmq_msg_close(&frames[k]);
    } else if (--liveness == 0) {
      usleep(HEARTBEAT_MS * 1000);
      begin_anew();
    }
    if (now_ms() >= heartbeat_at) {
      begin(HEARTBEAT, 0);
      heartbeat_at = now_ms() + HEARTBEAT_MS;
    }
  }
}
