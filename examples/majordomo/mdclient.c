/* A Majordomo client, MDP/0.1 (rfc.zeromq.org/spec/7): a REQ socket, nothing of wasmq.
 *
 *   cc -O2 -o mdclient examples/majordomo/mdclient.c -lzmq        (Debian: libzmq3-dev)
 *   ./mdclient SERVICE tcp://127.0.0.1:5559 hello world
 *
 * Asks the service for each word in turn and prints each reply on a line. Where none comes it asks
 * again on a new socket, three times in all: that is how Majordomo clients learn of failures. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define FRAMES_MAX 16
#define TIMEOUT_MS 30000
#define TRIES 3

static void *context;

static void *connect_to(const char *broker) {
  void *socket = zmq_socket(context, ZMQ_REQ);
  int timeout = TIMEOUT_MS, linger = 0;
  zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
  zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
  if (zmq_connect(socket, broker) != 0) {
    fprintf(stderr, "mdclient: %s: %s\n", broker, zmq_strerror(zmq_errno()));
    zmq_close(socket);
    return NULL;
  }
  return socket;
}

/* The frames of one message, as far as there is room for them; their count, or -1. */
static int receive(void *socket, zmq_msg_t *frames) {
  int count = 0, more = 1;
  while (more) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, socket, 0) < 0) return -1;
    more = zmq_msg_more(&frame);
    if (count < FRAMES_MAX) frames[count++] = frame;
    else zmq_msg_close(&frame);
  }
  return count;
}

static int is(zmq_msg_t *frame, const char *text) {
  size_t size = strlen(text);
  return zmq_msg_size(frame) == size && memcmp(zmq_msg_data(frame), text, size) == 0;
}

/* | "MDPC01" | service | body | there, | "MDPC01" | service | body .. | back; 0 where none came. */
static int ask(void *socket, const char *service, const char *body, zmq_msg_t *frames) {
  zmq_send(socket, "MDPC01", 6, ZMQ_SNDMORE);
  zmq_send(socket, service, strlen(service), ZMQ_SNDMORE);
  zmq_send(socket, body, strlen(body), 0);
  int count = receive(socket, frames);
  if (count < 0) return 0;
  if (count >= 3 && is(&frames[0], "MDPC01") && is(&frames[1], service)) return count;
  fprintf(stderr, "mdclient: not a reply of %s, %d frames\n", service, count);
  return -1;
}

int main(int argc, char **argv) {
  if (argc < 4) return fprintf(stderr, "usage: mdclient SERVICE FRONTEND BODY...\n"), 2;
  const char *service = argv[1], *broker = argv[2];
  context = zmq_ctx_new();
  void *socket = connect_to(broker);
  int status = 0;
  for (int i = 3; socket != NULL && i < argc; i++) {
    zmq_msg_t frames[FRAMES_MAX];
    int count = 0;
    for (int left = TRIES; count == 0 && left > 0 && socket != NULL; left--) {
      count = ask(socket, service, argv[i], frames);
      if (count != 0) break;
      zmq_close(socket);
      socket = connect_to(broker);
    }
    if (count <= 0) {
      fprintf(stderr, "mdclient: no reply to %s\n", argv[i]);
      status = 1;
    }
    for (int k = 2; k < count; k++) {
      fwrite(zmq_msg_data(&frames[k]), 1, zmq_msg_size(&frames[k]), stdout);
      putchar(k + 1 < count ? ' ' : '\n');
    }
    for (int k = 0; k < count; k++) zmq_msg_close(&frames[k]);
  }
  if (socket == NULL) return 1;
  zmq_close(socket);
  zmq_ctx_term(context);
  return status;
}
