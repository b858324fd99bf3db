/* What one types, said by an unmodified PUB or PUSH socket, nothing of wasmq.
 *
 *   cc -O2 -o say examples/plain/say.c -lzmq        (Debian: libzmq3-dev)
 *   printf 'weather.bern\train\n' | ./say PUB tcp://127.0.0.1:5561
 *   printf 'a task\n' | ./say PUSH tcp://127.0.0.1:5563
 *
 * Each line of stdin is a message, with a tab between two frames; a PUB's first frame is the topic.
 * A PUB drops what it says before it is asked for it, a PUSH waits. All that was not dropped is sent
 * when it ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <zmq.h>

static int failed(const char *what) {
  fprintf(stderr, "say: %s: %s\n", what, zmq_strerror(zmq_errno()));
  return 1;
}

static int say(void *socket, const char *frame, size_t size) {
  const char *tab;
  while ((tab = memchr(frame, '\t', size)) != NULL) {
    if (zmq_send(socket, frame, tab - frame, ZMQ_SNDMORE) < 0) return -1;
    size -= tab + 1 - frame;
    frame = tab + 1;
  }
  return zmq_send(socket, frame, size, 0);
}

int main(int argc, char **argv) {
  if (argc != 3) return fprintf(stderr, "usage: say PUB|PUSH ENDPOINT\n"), 2;
  void *context = zmq_ctx_new();
  void *socket = zmq_socket(context, strcmp(argv[1], "PUB") == 0 ? ZMQ_PUB : ZMQ_PUSH);
  if (zmq_connect(socket, argv[2]) != 0) return failed(argv[2]);
  printf("each line goes to %s\n", argv[2]);
  fflush(stdout);
  char *line = NULL;
  size_t room = 0;
  ssize_t size;
  while ((size = getline(&line, &room, stdin)) > 0) {
    if (line[size - 1] == '\n') size--;
    if (say(socket, line, size) < 0) return failed("send");
  }
  free(line);
  zmq_close(socket);
  zmq_ctx_term(context);
  return 0;
}
