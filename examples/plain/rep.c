/* A plain worker of the service `default`: an unmodified REP socket, nothing of wasmq.
 *
 *   cc -O2 -o rep examples/plain/rep.c -lzmq        (Debian: libzmq3-dev)
 *   ./rep tcp://127.0.0.1:5560 NAME [DELAY_MS]
 *
 * Answers each request with its name and the request, after DELAY_MS; says on stdout what it runs.
 * A REP socket that reconnects is ready again by itself; one that dies has its request given to
 * another worker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

static int failed(const char *what) {
  fprintf(stderr, "rep: %s: %s\n", what, zmq_strerror(zmq_errno()));
  return 1;
}

/* The first frame of a request; those behind it, if any, are read and dropped. */
static int receive(void *socket, zmq_msg_t *first) {
  zmq_msg_init(first);
  if (zmq_msg_recv(first, socket, 0) < 0) return -1;
  int more = zmq_msg_more(first);
  while (more) {
    zmq_msg_t rest;
    zmq_msg_init(&rest);
    if (zmq_msg_recv(&rest, socket, 0) < 0) return -1;
    more = zmq_msg_more(&rest);
    zmq_msg_close(&rest);
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: rep BACKEND NAME [DELAY_MS]\n"), 2;
  const char *name = argv[2];
  useconds_t delay_us = argc > 3 ? (useconds_t)atoi(argv[3]) * 1000 : 0;
  void *context = zmq_ctx_new();
  void *socket = zmq_socket(context, ZMQ_REP);
  if (zmq_connect(socket, argv[1]) != 0) return failed(argv[1]);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (;;) {
    zmq_msg_t request;
    if (receive(socket, &request) != 0) return failed("receive");
    size_t size = zmq_msg_size(&request), name_size = strlen(name);
    printf("running %.*s\n", (int)size, (char *)zmq_msg_data(&request));
    if (delay_us > 0) usleep(delay_us);
    zmq_msg_t reply;
    zmq_msg_init_size(&reply, name_size + 1 + size);
    char *at = zmq_msg_data(&reply);
    memcpy(at, name, name_size);
    at[name_size] = ' ';
    memcpy(at + name_size + 1, zmq_msg_data(&request), size);
    zmq_msg_close(&request);
    if (zmq_msg_send(&reply, socket, 0) < 0) return failed("send");
  }
}
