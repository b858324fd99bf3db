/* A plain client of the service `default`: an unmodified REQ socket, nothing of wasmq.
 *
 *   cc -O2 -o req examples/plain/req.c -lzmq        (Debian: libzmq3-dev)
 *   ./req tcp://127.0.0.1:5559 hello world
 *
 * Asks for each word in turn and prints each reply on a line. A request that failed is answered
 * with three frames, an empty one, the status name and the reason: told on stderr, exit code 1. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define FRAMES_MAX 8
#define TIMEOUT_MS 30000

static int failed(const char *what) {
  fprintf(stderr, "req: %s: %s\n", what, zmq_strerror(zmq_errno()));
  return 1;
}

/* The frames of one reply, as far as there is room for them; their count, or -1. */
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

static void print(FILE *out, zmq_msg_t *frame, const char *end) {
  fwrite(zmq_msg_data(frame), 1, zmq_msg_size(frame), out);
  fputs(end, out);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: req FRONTEND BODY...\n"), 2;
  void *context = zmq_ctx_new();
  void *socket = zmq_socket(context, ZMQ_REQ);
  int timeout = TIMEOUT_MS, linger = 0, status = 0;
  zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout);
  zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
  if (zmq_connect(socket, argv[1]) != 0) return failed(argv[1]);
  for (int i = 2; i < argc; i++) {
    zmq_msg_t frames[FRAMES_MAX];
    if (zmq_send(socket, argv[i], strlen(argv[i]), 0) < 0) return failed("send");
    int count = receive(socket, frames);
    if (count < 0) return failed("no reply");
    if (count == 3 && zmq_msg_size(&frames[0]) == 0) {
      print(stderr, &frames[1], ": ");
      print(stderr, &frames[2], "\n");
      status = 1;
    } else {
      for (int k = 0; k < count; k++) print(stdout, &frames[k], k + 1 < count ? " " : "\n");
    }
    for (int k = 0; k < count; k++) zmq_msg_close(&frames[k]);
  }
  zmq_close(socket);
  zmq_ctx_term(context);
  return status;
}
