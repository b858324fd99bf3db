/* A native client in C.
 *
 *   make -C examples/c                  (Debian: libzmq3-dev libsodium-dev liblz4-dev libmsgpack-dev)
 *   client [--raw] [--keys FILE] [--service NAME] [--timeout MS] FRONTEND BODY...
 *   client --keys app.key --service orders.price tcp://127.0.0.1:5559 sku=A1,quantity=3
 *
 * Asks for all bodies at once, in one batch, and prints each reply on a line, in their order. A body
 * `name=value,...` is sent as a map, any other as a string, and replies are printed as JSON; with
 * --raw they are bytes as they are, for plain workers. Without --keys bodies go in clear. Failures
 * are told on stderr, exit code 1. CURVE's keys are taken from the environment, see wq_use_curve. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "value.h"

typedef struct { int is_done, is_ok; wq_buffer text; } answer;

static answer *answers;

static void on_outcome(void *owner, uint64_t tag, const wq_outcome *outcome) {
  (void)owner;
  answer *to = &answers[tag];
  to->is_done = 1, to->is_ok = outcome->status == WQ_OK;
  if (!to->is_ok) {
    const char *name = wq_status_name(outcome->status);
    wq_append(&to->text, wq_text(name != NULL ? name : "INTERNAL"));
    wq_append(&to->text, wq_text(": "));
  }
  wq_append(&to->text, to->is_ok ? outcome->value : outcome->reason);
}

static int print(const answer *from, int is_raw) {
  const wq_bytes text = wq_view(&from->text);
  if (!from->is_ok || is_raw) {
    fwrite(text.at, 1, text.size, from->is_ok ? stdout : stderr);
    fputc('\n', from->is_ok ? stdout : stderr);
    return !from->is_ok;
  }
  msgpack_object value;
  msgpack_zone *zone = unpack(text, &value);
  if (zone == NULL) return fputs("INTERNAL: the reply is nested too deep\n", stderr), 1;
  print_json(stdout, &value);
  fputc('\n', stdout);
  msgpack_zone_free(zone);
  return 0;
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"raw", no_argument, NULL, 'r'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"service", required_argument, NULL, 's'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {0}};
  const char *keys = NULL, *service = "default";
  int is_raw = 0, timeout_ms = 30000, option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 'r') is_raw = 1;
    else if (option == 'k') keys = optarg;
    else if (option == 's') service = optarg;
    else if (option == 't') timeout_ms = atoi(optarg);
    else return 2;
  }
  const int count = argc - optind - 1;
  const size_t name_size = strlen(service);
  if (count < 1 || count > WQ_PENDING_MAX || timeout_ms < 1 || name_size < 1 || name_size > 255) {
    fputs("usage: client [--raw] [--keys FILE] [--service NAME] [--timeout MS] FRONTEND BODY...\n",
          stderr);
    return 2;
  }
  wq_codec codec;
  const char *fault = wq_codec_init(&codec, keys);
  if (fault == NULL) fault = wq_use_curve();
  if (fault != NULL) return fprintf(stderr, "client: keys: %s\n", fault), 2;
  answers = wq_must(calloc((size_t)count, sizeof *answers));
  void *zmq = zmq_ctx_new();
  wq_client *client = wq_client_new(zmq, argv[optind], &codec, on_outcome, NULL);
  for (int i = 0; i < count; i++) {
    const char *words = argv[optind + 1 + i];
    wq_buffer body = {0};
    if (is_raw) wq_append(&body, wq_text(words));
    else pack_words(words, &body);
    wq_request(client, wq_text(service), wq_view(&body), is_raw, (uint32_t)timeout_ms, (uint64_t)i);
    wq_buffer_free(&body);
  }
  while (wq_client_pending(client) > 0) {
    zmq_pollitem_t items[WQ_POLL_ITEMS];
    int64_t until_ms = INT64_MAX;
    wq_client_poll(client, items, &until_ms);
    const int64_t wait_ms = until_ms - wq_now_ms();
    zmq_poll(items, WQ_POLL_ITEMS, until_ms == INT64_MAX ? -1 : wait_ms > 0 ? wait_ms : 0);
    wq_client_step(client);
  }
  wq_client_free(client);
  zmq_ctx_term(zmq);
  int status = 0;
  for (int i = 0; i < count; i++) {
    status |= print(&answers[i], is_raw);
    wq_buffer_free(&answers[i].text);
  }
  free(answers);
  return status;
}
