/* What an unmodified SUB or PULL socket gets, nothing of wasmq.
 *
 *   cc -O2 -o hear examples/plain/hear.c -lzmq        (Debian: libzmq3-dev)
 *   ./hear SUB tcp://127.0.0.1:5562 weather. sports.
 *   ./hear PULL tcp://127.0.0.1:5564
 *
 * Each message is a line on stdout, with a tab between two frames. A SUB hears the topics that begin
 * with one of the prefixes. */
#include <stdio.h>
#include <string.h>
#include <zmq.h>

static int failed(const char *what) {
  fprintf(stderr, "hear: %s: %s\n", what, zmq_strerror(zmq_errno()));
  return 1;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: hear SUB|PULL ENDPOINT [PREFIX...]\n"), 2;
  void *context = zmq_ctx_new();
  void *socket = zmq_socket(context, strcmp(argv[1], "SUB") == 0 ? ZMQ_SUB : ZMQ_PULL);
  for (int i = 3; i < argc; i++) {
    if (zmq_setsockopt(socket, ZMQ_SUBSCRIBE, argv[i], strlen(argv[i])) != 0) return failed(argv[i]);
  }
  if (zmq_connect(socket, argv[2]) != 0) return failed(argv[2]);
  for (;;) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, socket, 0) < 0) return failed("receive");
    int more = zmq_msg_more(&frame);
    fwrite(zmq_msg_data(&frame), 1, zmq_msg_size(&frame), stdout);
    putchar(more ? '\t' : '\n');
    if (!more) fflush(stdout);
    zmq_msg_close(&frame);
  }
}
