/* A gateway in C: plain TCP lines in, requests through the broker, answers back to who asked.
 *
 *   make -C examples/c                  (Debian: libzmq3-dev libsodium-dev liblz4-dev libmsgpack-dev)
 *   gateway [--raw] [--keys FILE] [--timeout MS] PORT FRONTEND
 *   printf '7 orders.price sku=A1,quantity=3\n' | nc 127.0.0.1 7777
 *
 * A client sends lines `TAG SERVICE TEXT` and gets a line `TAG OK REPLY` or `TAG STATUS REASON` for
 * each, as the answers come: not in its order, so it gives each its TAG, 1 to 32 characters without
 * a space. TEXT is sent as a value (see client.c) and the reply is JSON; with --raw both are bytes
 * of one line. PORT 0 is any; which one is said on stdout. CURVE's keys are taken from the
 * environment, see wq_use_curve.
 *
 * One thread and one poll loop: the listening socket, the TCP clients, the connection to the broker.
 * Nothing waits for anyone: requests go out in batches, and each answer finds its client by the tag
 * given to wq_request, which names the client's place and which client of that place it was.
 *
 * Nothing grows without end. A client has ASKED_MAX requests open and is not read from beyond; one
 * that does not read its answers is not read from either once OUT_PAUSE bytes wait for it, and is let
 * go past OUT_MAX. A line has LINE_BYTES_MAX bytes. Whoever is cut off has its requests cancelled; one
 * that has said all and closes its side still gets what it asked for. When the broker is lost what
 * is open is asked again as it comes back. SIGTERM takes no more, ends what is open, and leaves. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "value.h"

#define CLIENTS_MAX 512
#define ASKED_MAX 64 /* CLIENTS_MAX times this may be more than WQ_PENDING_MAX: then all wait. */
#define LINE_BYTES_MAX 8192
#define TAG_MAX 32
#define OUT_PAUSE (64 * 1024)
#define OUT_MAX (1024 * 1024)
#define LEAVE_MS_MAX 30000

typedef struct { uint64_t number; char tag[TAG_MAX + 1]; } asked; /* number 0: free. */

typedef struct {
  int fd; /* -1: a free place. */
  uint32_t generation;
  int has_ended; /* Sends no more. */
  char in[LINE_BYTES_MAX];
  size_t in_size;
  wq_buffer out; /* What it has not taken yet. */
  asked asked[ASKED_MAX];
  unsigned asked_count;
} tcp_client;

static struct {
  int is_raw, listener, is_leaving;
  uint32_t timeout_ms;
  wq_codec codec;
  wq_client *broker;
  tcp_client clients[CLIENTS_MAX];
} gateway = {.timeout_ms = 30000};

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
  (void)number;
  stop_asked = 1;
}

/* --- answers --- */

static void let_go(tcp_client *client) {
  close(client->fd);
  client->fd = -1;
  client->generation++;
  for (unsigned i = 0; i < ASKED_MAX; i++) {
    if (client->asked[i].number != 0) wq_cancel(gateway.broker, client->asked[i].number);
    client->asked[i].number = 0;
  }
  client->asked_count = 0;
  wq_buffer_free(&client->out);
}

/* As much of what it is owed as it takes. */
static void push(tcp_client *client) {
  while (client->fd >= 0 && client->out.size > 0) {
    const ssize_t sent = send(client->fd, client->out.at, client->out.size, MSG_NOSIGNAL);
    if (sent > 0) {
      client->out.size -= (size_t)sent;
      memmove(client->out.at, client->out.at + sent, client->out.size);
    } else if (errno == EAGAIN || errno == EINTR) {
      return;
    } else {
      let_go(client);
    }
  }
  if (client->fd < 0) return;
  const int is_done = client->has_ended && client->asked_count == 0 && client->out.size == 0;
  if (is_done && memchr(client->in, '\n', client->in_size) == NULL) let_go(client);
  else if (client->out.size == 0) wq_buffer_free(&client->out);
}

/* Appends a reply or reason as part of one line. */
static void append_line(wq_buffer *out, wq_bytes text) {
  wq_append(out, text);
  for (size_t i = out->size - text.size; i < out->size; i++) {
    if (out->at[i] == '\n') out->at[i] = ' ';
  }
}

static void append_json(wq_buffer *out, wq_bytes packed) {
  char *text = NULL;
  size_t size = 0;
  msgpack_object value;
  msgpack_zone *zone = unpack(packed, &value);
  FILE *file = wq_must(open_memstream(&text, &size));
  if (zone != NULL) print_json(file, &value);
  else fputs("null", file);
  fclose(file);
  append_line(out, (wq_bytes){(const uint8_t *)text, size});
  free(text);
  if (zone != NULL) msgpack_zone_free(zone);
}

static void answer(tcp_client *client, const char *tag, const char *status, wq_bytes text,
                   int is_value) {
  wq_buffer *out = &client->out;
  wq_append(out, wq_text(tag));
  wq_append(out, wq_text(" "));
  wq_append(out, wq_text(status));
  wq_append(out, wq_text(" "));
  if (is_value && !gateway.is_raw) append_json(out, text);
  else append_line(out, text);
  wq_append(out, wq_text("\n"));
  if (out->size > OUT_MAX) let_go(client);
}

/* | generation, 32 bits | place of the client, 16 | place of the request, 16 | */
static uint64_t tag_of(const tcp_client *client, unsigned at) {
  return (uint64_t)client->generation << 32 | (uint64_t)(client - gateway.clients) << 16 | at;
}

static void on_outcome(void *owner, uint64_t tag, const wq_outcome *outcome) {
  tcp_client *client = &gateway.clients[tag >> 16 & 0xffff];
  asked *request = &client->asked[tag & 0xffff];
  (void)owner;
  if (client->fd < 0 || client->generation != (uint32_t)(tag >> 32)) return;
  request->number = 0;
  client->asked_count--;
  const int is_ok = outcome->status == WQ_OK;
  const char *name = wq_status_name(outcome->status);
  answer(client, request->tag, name != NULL ? name : "INTERNAL",
         is_ok ? outcome->value : outcome->reason, is_ok);
}

/* --- questions --- */

/* TAG SERVICE TEXT; what is wrong with it, or NULL. */
static const char *ask(tcp_client *client, char *line) {
  char *service = strchr(line, ' '), *text = service != NULL ? strchr(service + 1, ' ') : NULL;
  if (text == NULL) return "a line is TAG SERVICE TEXT";
  *service++ = '\0', *text++ = '\0';
  const size_t service_size = strlen(service);
  if (strlen(line) < 1 || strlen(line) > TAG_MAX) return "TAG must be 1 to 32 characters";
  if (service_size < 1 || service_size > 255) return "SERVICE must be 1 to 255 bytes";
  unsigned at = 0;
  while (client->asked[at].number != 0) at++; /* There is one: see wants_input. */
  asked *request = &client->asked[at];
  wq_buffer body = {0};
  if (gateway.is_raw) wq_append(&body, wq_text(text));
  else pack_words(text, &body);
  strcpy(request->tag, line);
  request->number = UINT64_MAX; /* Taken, should the outcome come at once. */
  client->asked_count++;
  const uint64_t number =
      wq_request(gateway.broker, wq_text(service), wq_view(&body), gateway.is_raw,
                 gateway.timeout_ms, tag_of(client, at));
  wq_buffer_free(&body);
  if (request->number == UINT64_MAX) request->number = number;
  if (number != 0) return NULL;
  client->asked_count--;
  return "too many requests are open";
}

/* Whether another line of it would be taken. */
static int wants_input(const tcp_client *client) {
  return client->fd >= 0 && !gateway.is_leaving && client->asked_count < ASKED_MAX &&
         client->out.size < OUT_PAUSE && wq_client_pending(gateway.broker) < WQ_PENDING_MAX;
}

/* The lines that have come in, as far as they may be asked now. */
static void take_lines(tcp_client *client) {
  size_t at = 0;
  while (wants_input(client)) {
    char *line = client->in + at, *end = memchr(line, '\n', client->in_size - at);
    if (end == NULL) break;
    *end = '\0';
    at += (size_t)(end - line) + 1;
    if (end > line && end[-1] == '\r') end[-1] = '\0';
    const char *fault = ask(client, line);
    if (fault != NULL) {
      /* Its first word is its tag, if it has one. */
      line[strcspn(line, " ")] = '\0';
      if (strlen(line) > TAG_MAX) line[TAG_MAX] = '\0';
      answer(client, line[0] != '\0' ? line : "-", "INVALID_ARGUMENT", wq_text(fault), 0);
    }
    if (client->fd < 0) return;
  }
  client->in_size -= at;
  memmove(client->in, client->in + at, client->in_size);
  if (client->in_size == sizeof client->in && memchr(client->in, '\n', client->in_size) == NULL) {
    answer(client, "-", "INVALID_ARGUMENT", wq_text("the line is too long"), 0);
    if (client->fd < 0) return;
    push(client);
    if (client->fd >= 0) let_go(client);
  }
}

static void read_input(tcp_client *client) {
  const size_t room = sizeof client->in - client->in_size;
  const ssize_t got = recv(client->fd, client->in + client->in_size, room, 0);
  if (got > 0) client->in_size += (size_t)got;
  else if (got == 0) client->has_ended = 1;
  else if (errno != EAGAIN && errno != EINTR) let_go(client);
}

static void accept_client(void) {
  const int fd = accept4(gateway.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  for (unsigned i = 0; i < CLIENTS_MAX; i++) {
    tcp_client *client = &gateway.clients[i];
    if (client->fd >= 0) continue;
    client->fd = fd, client->in_size = 0, client->has_ended = 0;
    return;
  }
  close(fd); /* Full. */
}

/* --- the loop --- */

static int is_room(void) {
  for (unsigned i = 0; i < CLIENTS_MAX; i++) if (gateway.clients[i].fd < 0) return 1;
  return 0;
}

/* The client's item of this turn, if there is something to hear of it. */
static short events_of(const tcp_client *client) {
  /* Without room in `in`, or with lines in it that have to wait, nothing more is read. */
  const int is_read =
      wants_input(client) && !client->has_ended && client->in_size < sizeof client->in;
  return (short)((is_read ? ZMQ_POLLIN : 0) | (client->out.size > 0 ? ZMQ_POLLOUT : 0));
}

static void turn(void) {
  static zmq_pollitem_t items[WQ_POLL_ITEMS + 1 + CLIENTS_MAX];
  static tcp_client *polled[CLIENTS_MAX];
  int count = WQ_POLL_ITEMS + 1;
  int64_t until_ms = wq_now_ms() + 200; /* Signals are looked for as often. */
  wq_client_poll(gateway.broker, items, &until_ms);
  const int listens = !gateway.is_leaving && is_room();
  items[WQ_POLL_ITEMS] = (zmq_pollitem_t){NULL, gateway.listener, listens ? ZMQ_POLLIN : 0, 0};
  for (unsigned i = 0; i < CLIENTS_MAX; i++) {
    tcp_client *client = &gateway.clients[i];
    if (client->fd < 0) continue;
    polled[count - WQ_POLL_ITEMS - 1] = client;
    /* ZMQ_POLLERR is told for a peer that is gone even where nothing else is asked. */
    const short events = (short)(events_of(client) | ZMQ_POLLERR);
    items[count++] = (zmq_pollitem_t){NULL, client->fd, events, 0};
  }
  const int64_t wait_ms = until_ms - wq_now_ms();
  if (zmq_poll(items, count, wait_ms > 0 ? wait_ms : 0) < 0) return;
  for (int i = WQ_POLL_ITEMS + 1; i < count; i++) {
    tcp_client *client = polled[i - WQ_POLL_ITEMS - 1];
    if (items[i].revents & ZMQ_POLLIN) read_input(client);
    else if (items[i].revents & ZMQ_POLLERR) let_go(client);
  }
  if (items[WQ_POLL_ITEMS].revents & ZMQ_POLLIN) accept_client();
  wq_client_step(gateway.broker);
  /* Answers made room: lines that waited are asked, and what is owed is pushed. */
  for (unsigned i = 0; i < CLIENTS_MAX; i++) {
    tcp_client *client = &gateway.clients[i];
    if (client->fd >= 0) take_lines(client);
    if (client->fd >= 0) push(client);
  }
}

static int listen_on(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  socklen_t size = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0) {
    perror("gateway: cannot listen");
    return -1;
  }
  getsockname(fd, (struct sockaddr *)&address, &size);
  printf("listening on %u\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

/* Whether a client is still owed something. */
static int is_busy(void) {
  for (unsigned i = 0; i < CLIENTS_MAX; i++) {
    const tcp_client *client = &gateway.clients[i];
    if (client->fd >= 0 && (client->asked_count > 0 || client->out.size > 0)) return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"raw", no_argument, NULL, 'r'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {0}};
  const char *keys = NULL;
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 'r') gateway.is_raw = 1;
    else if (option == 'k') keys = optarg;
    else if (option == 't') gateway.timeout_ms = (uint32_t)atoi(optarg);
    else return 2;
  }
  if (argc - optind != 2 || gateway.timeout_ms < 1) {
    fputs("usage: gateway [--raw] [--keys FILE] [--timeout MS] PORT FRONTEND\n", stderr);
    return 2;
  }
  const char *fault = wq_codec_init(&gateway.codec, keys);
  if (fault == NULL) fault = wq_use_curve();
  if (fault != NULL) return fprintf(stderr, "gateway: keys: %s\n", fault), 2;
  for (unsigned i = 0; i < CLIENTS_MAX; i++) gateway.clients[i].fd = -1;
  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  gateway.listener = listen_on(atoi(argv[optind]));
  if (gateway.listener < 0) return 1;
  void *zmq = zmq_ctx_new();
  gateway.broker = wq_client_new(zmq, argv[optind + 1], &gateway.codec, on_outcome, NULL);
  int64_t end_ms = INT64_MAX;
  while (!gateway.is_leaving || (is_busy() && wq_now_ms() < end_ms)) {
    turn();
    if (stop_asked && !gateway.is_leaving) {
      gateway.is_leaving = 1;
      end_ms = wq_now_ms() + LEAVE_MS_MAX;
    }
  }
  for (unsigned i = 0; i < CLIENTS_MAX; i++) {
    if (gateway.clients[i].fd >= 0) let_go(&gateway.clients[i]);
  }
  wq_client_free(gateway.broker);
  zmq_ctx_term(zmq);
  close(gateway.listener);
  return 0;
}
