/* A native worker in C: some requests at once, cancellation, credit, drain on SIGTERM.
 *
 *   make -C examples/c                  (Debian: libzmq3-dev libsodium-dev liblz4-dev libmsgpack-dev)
 *   worker [--raw] [--keys FILE] [--service NAME] [--concurrency N] BACKEND NAME [DELAY_MS]
 *
 * Serves NAME after DELAY_MS and says on stdout what it runs. A value is answered by
 * {"worker": NAME, "echo": value}; with --raw bytes by NAME, a space and the bytes. Without --keys
 * bodies go in clear. SIGUSR1 doubles its concurrency, SIGUSR2 halves it: told by CREDIT. CURVE's
 * keys are taken from the environment, see wq_use_curve.
 *
 * One thread: a handler is what `begin` and `answer` do, and DELAY_MS stands for what it waits for.
 * It does not remember what it has run: a request that comes again, after its broker was lost, runs
 * again. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "value.h"

/* Running and waiting to. What a broker hands out ahead is a few ms of work. */
#define JOBS_MAX 4096
#define CONCURRENCY_MAX 1024
#define DRAIN_MS_MAX 30000
/* What a reply takes beside its body, at most. */
#define REPLY_BYTES 1024

enum { FREE, WAITING, RUNNING };

typedef struct {
  int state;
  uint64_t order; /* First come, first begun. */
  wq_record id;   /* The request, without its bytes. */
  wq_buffer body;
  int64_t began_ms, due_ms;
} job;

typedef struct {
  const char *name, *service;
  int is_raw;
  int64_t delay_ms;
  uint32_t concurrency, running, record_max;
  uint64_t count;
  wq_codec codec;
  wq_link *link;
  wq_record hello;
  int is_draining, is_bye;
  const char *told; /* Why there is no connection, if that was said already. */
  job jobs[JOBS_MAX];
} worker;

static volatile sig_atomic_t stop_asked, credit_asked;

static void on_signal(int number) {
  if (number == SIGUSR1) credit_asked = 1;
  else if (number == SIGUSR2) credit_asked = -1;
  else stop_asked = 1;
}

/* --- answers: each attempt has one --- */

static void fail(worker *self, const wq_record *id, uint8_t flags, uint8_t status,
                 const char *why) {
  const wq_record failure = {.kind = WQ_FAILURE, .flags = flags, .status = status,
                             .session = id->session, .sequence = id->sequence, .slot = id->slot,
                             .generation = id->generation, .reason = wq_text(why)};
  wq_link_write(self->link, &failure);
}

static void reply(worker *self, const job *done, wq_bytes body) {
  const wq_record *id = &done->id;
  if (body.size + REPLY_BYTES > self->record_max) {
    /* Far beyond it the broker's socket would drop the connection and all that is on it. */
    fail(self, id, 0, WQ_INTERNAL, "the reply is too large for the broker");
    return;
  }
  const wq_record record = {.kind = WQ_REPLY, .flags = self->is_raw ? WQ_RAW : 0,
                            .session = id->session, .sequence = id->sequence, .slot = id->slot,
                            .generation = id->generation, .body = body,
                            .service_time_us = (uint32_t)(wq_now_ms() - done->began_ms) * 1000};
  wq_link_write(self->link, &record);
}

static void end(worker *self, job *done) {
  if (done->state == RUNNING) self->running--;
  done->state = FREE;
  wq_buffer_free(&done->body);
}

/* {"worker": NAME, "echo": value}: the value's bytes are put in as they stand. */
static void answer(worker *self, job *done) {
  const size_t name_size = strlen(self->name);
  wq_buffer body = {0}, sealed = {0};
  if (self->is_raw) {
    wq_append(&body, wq_text(self->name));
    wq_append(&body, wq_text(" "));
    wq_append(&body, wq_view(&done->body));
    reply(self, done, wq_view(&body));
  } else {
    uint8_t id[16];
    msgpack_packer packer;
    msgpack_packer_init(&packer, &body, append_packed);
    msgpack_pack_map(&packer, 2);
    msgpack_pack_str_with_body(&packer, "worker", 6);
    msgpack_pack_str_with_body(&packer, self->name, name_size);
    msgpack_pack_str_with_body(&packer, "echo", 4);
    wq_append(&body, wq_view(&done->body));
    wq_request_id(&done->id, id);
    const wq_context context = {wq_text(self->service), WQ_TO_CLIENT, id, {0}};
    if (body.size > WQ_BODY_MAX) {
      fail(self, &done->id, 0, WQ_INTERNAL, "the reply is too large");
    } else {
      wq_seal(&self->codec, wq_view(&body), &context, &sealed);
      reply(self, done, wq_view(&sealed));
    }
  }
  wq_buffer_free(&body);
  wq_buffer_free(&sealed);
  end(self, done);
}

/* --- requests --- */

static int is_forged(const char *code) {
  static const char *const codes[] = {"TAMPERED", "REDIRECTED", "SWAPPED",
                                      "UNKNOWN_KEY", "UNSEALED", "BAD_COUNTER"};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) if (!strcmp(code, codes[i])) return 1;
  return 0;
}

/* The body, whole and opened, into `out`; 0 where the request was answered with a failure. */
static int take_body(worker *self, const wq_record *request, wq_buffer *out) {
  wq_buffer sealed = {0};
  const wq_bytes name = wq_text(self->service);
  if (request->service.size != name.size || memcmp(request->service.at, name.at, name.size) != 0) {
    fail(self, request, 0, WQ_NOT_FOUND, "this worker does not serve it");
    return 0;
  }
  if (!(request->flags & WQ_RAW) != !self->is_raw) {
    fail(self, request, 0, WQ_INVALID_ARGUMENT,
         self->is_raw ? "takes raw bytes" : "takes no raw bytes");
    return 0;
  }
  wq_buffer *to = self->is_raw ? out : &sealed;
  if (request->part_count == 0) wq_append(to, request->body);
  for (unsigned i = 0; i < request->part_count; i++) wq_append(to, request->parts[i]);
  if (self->is_raw) return 1;
  uint8_t id[16];
  wq_request_id(request, id);
  const wq_context context = {request->service, WQ_TO_WORKER, id, request->headers};
  const char *code = wq_open(&self->codec, wq_view(&sealed), &context, out);
  wq_buffer_free(&sealed);
  if (code == NULL) return 1;
  char reason[64];
  /* A client that compressed with a dictionary asks again without, by these words. */
  snprintf(reason, sizeof reason, "body refused: %s: not opened", code);
  fail(self, request, 0, is_forged(code) ? WQ_UNAUTHENTICATED : WQ_INVALID_ARGUMENT, reason);
  return 0;
}

static job *find_job(worker *self, int state, const wq_record *id) {
  job *first = NULL;
  for (size_t i = 0; i < JOBS_MAX; i++) {
    job *each = &self->jobs[i];
    if (each->state != state) continue;
    if (id != NULL) {
      if (each->id.slot == id->slot && each->id.generation == id->generation) return each;
    } else if (first == NULL || each->order < first->order) {
      first = each;
    }
  }
  return first;
}

static void begin_next(worker *self) {
  job *next;
  while (self->running < self->concurrency && (next = find_job(self, WAITING, NULL)) != NULL) {
    const int is_text = self->is_raw && next->body.size < 100;
    printf("running %.*s\n", is_text ? (int)next->body.size : 0, (const char *)next->body.at);
    next->state = RUNNING;
    self->running++;
    next->began_ms = wq_now_ms();
    next->due_ms = next->began_ms + self->delay_ms;
    if (self->delay_ms == 0) answer(self, next);
  }
}

static void on_request(worker *self, const wq_record *request) {
  job *place = find_job(self, FREE, NULL);
  if (self->is_draining || place == NULL) {
    fail(self, request, WQ_UNTOUCHED, WQ_UNAVAILABLE, "worker is leaving");
    return;
  }
  *place = (job){.order = ++self->count};
  if (!take_body(self, request, &place->body)) {
    wq_buffer_free(&place->body);
    return;
  }
  /* Its id alone: what else it points to is the message's. */
  place->id = (wq_record){.session = request->session, .sequence = request->sequence,
                          .slot = request->slot, .generation = request->generation};
  place->state = WAITING;
  begin_next(self);
}

static void on_cancel(worker *self, const wq_record *cancel) {
  job *one = find_job(self, WAITING, cancel);
  if (one == NULL) one = find_job(self, RUNNING, cancel);
  if (one == NULL) return;
  fail(self, &one->id, 0, WQ_CANCELLED, "cancelled");
  end(self, one);
  begin_next(self);
}

/* --- what the link tells --- */

static void on_up(void *owner, const wq_record *welcome) {
  worker *self = owner;
  self->record_max = welcome->record_max;
  self->told = NULL;
}

static void on_record(void *owner, const wq_record *record) {
  worker *self = owner;
  if (record->kind == WQ_REQUEST) on_request(self, record);
  else if (record->kind == WQ_CANCEL) on_cancel(self, record);
  else if (record->kind == WQ_BYE) self->is_bye = 1;
}

static void on_down(void *owner, const char *reason) {
  worker *self = owner;
  if (self->told != reason) fprintf(stderr, "worker: %s\n", reason);
  self->told = reason;
  /* The broker gives what we had to others, and our answers to it would be stale. */
  for (size_t i = 0; i < JOBS_MAX; i++) if (self->jobs[i].state != FREE) end(self, &self->jobs[i]);
  if (self->is_draining) self->is_bye = 1;
}

/* --- the loop --- */

static void drain(worker *self) {
  const wq_record record = {.kind = WQ_DRAIN};
  job *waiting;
  self->is_draining = 1;
  self->is_bye = !wq_link_is_up(self->link);
  wq_link_write(self->link, &record);
  while ((waiting = find_job(self, WAITING, NULL)) != NULL) {
    fail(self, &waiting->id, WQ_UNTOUCHED, WQ_UNAVAILABLE, "worker is leaving");
    end(self, waiting);
  }
}

static void tell_credit(worker *self) {
  uint32_t count = credit_asked > 0 ? self->concurrency * 2 : self->concurrency / 2;
  credit_asked = 0;
  self->concurrency = count < 1 ? 1 : count > CONCURRENCY_MAX ? CONCURRENCY_MAX : count;
  self->hello.concurrency = self->concurrency;
  const wq_record record = {.kind = WQ_CREDIT, .credit = self->concurrency};
  if (wq_link_is_up(self->link)) wq_link_write(self->link, &record);
  begin_next(self);
}

static void run(worker *self) {
  int64_t end_ms = INT64_MAX;
  while (!self->is_bye && wq_now_ms() < end_ms) {
    zmq_pollitem_t items[WQ_POLL_ITEMS];
    int64_t until_ms = wq_now_ms() + 100; /* Signals are looked for as often. */
    for (size_t i = 0; i < JOBS_MAX && self->running > 0; i++) {
      const job *each = &self->jobs[i];
      if (each->state == RUNNING && each->due_ms < until_ms) until_ms = each->due_ms;
    }
    wq_link_poll(self->link, items, &until_ms);
    const int64_t wait_ms = until_ms - wq_now_ms();
    zmq_poll(items, WQ_POLL_ITEMS, wait_ms > 0 ? wait_ms : 0);
    wq_link_step(self->link);
    const int64_t now_ms = wq_now_ms();
    for (size_t i = 0; i < JOBS_MAX && self->running > 0; i++) {
      job *each = &self->jobs[i];
      if (each->state == RUNNING && now_ms >= each->due_ms) answer(self, each);
    }
    begin_next(self);
    if (credit_asked != 0) tell_credit(self);
    if (stop_asked && !self->is_draining) drain(self), end_ms = now_ms + DRAIN_MS_MAX;
  }
}

/* | size u8 | name | */
static wq_bytes services_of(const char *name) {
  static uint8_t bytes[256];
  bytes[0] = (uint8_t)strlen(name);
  memcpy(bytes + 1, name, bytes[0]);
  return (wq_bytes){bytes, 1u + bytes[0]};
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"raw", no_argument, NULL, 'r'},
                                          {"keys", required_argument, NULL, 'k'},
                                          {"service", required_argument, NULL, 's'},
                                          {"concurrency", required_argument, NULL, 'c'},
                                          {0}};
  static worker self = {.service = "default", .concurrency = 1};
  const char *keys = NULL;
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 'r') self.is_raw = 1;
    else if (option == 'k') keys = optarg;
    else if (option == 's') self.service = optarg;
    else if (option == 'c') self.concurrency = (uint32_t)atoi(optarg);
    else return 2;
  }
  const size_t size = strlen(self.service);
  const int is_sane =
      self.concurrency >= 1 && self.concurrency <= CONCURRENCY_MAX && size >= 1 && size <= 255;
  if (argc - optind < 2 || !is_sane) {
    fputs("usage: worker [--raw] [--keys FILE] [--service NAME] [--concurrency 1..1024] BACKEND "
          "NAME [DELAY_MS]\n", stderr);
    return 2;
  }
  self.name = argv[optind + 1];
  self.delay_ms = argc - optind > 2 ? atoll(argv[optind + 2]) : 0;
  const char *fault = wq_codec_init(&self.codec, keys);
  if (fault == NULL) fault = wq_use_curve();
  if (fault != NULL) return fprintf(stderr, "worker: keys: %s\n", fault), 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
  for (size_t i = 0; i < 4; i++) signal(signals[i], on_signal);
  static const wq_link_events events = {on_up, on_record, on_down};
  self.hello = (wq_record){.kind = WQ_HELLO, .role = WQ_WORKER, .version = 1,
                           .session = wq_random_session(), .concurrency = self.concurrency,
                           .service_count = 1, .services = services_of(self.service)};
  void *zmq = zmq_ctx_new();
  self.link = wq_link_new(zmq, argv[optind], &self.hello, &events, &self);
  run(&self);
  wq_link_free(self.link);
  zmq_ctx_term(zmq);
  return 0;
}
