/* A native client: many requests at once, each with one outcome. See wasmq.h.
 *
 * A request is sent again where that is safe: when its connection was lost (an attempt less), and
 * when it was refused before a worker began on it (UNTOUCHED), a few times, later and later. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include "wasmq.h"

#define ATTEMPTS 3
#define PRIORITY 4
#define RETRIES_MAX 8
#define RETRY_MS_MIN 20
#define RETRY_MS_MAX 2000
/* What a request takes beside its body, at most. */
#define REQUEST_BYTES 1024

enum { FREE, UNSENT, IN_FLIGHT, WAITING, ENDED };

typedef struct {
  uint64_t number; /* The request's sequence; its place is number % WQ_PENDING_MAX. */
  uint64_t tag;
  int state;    /* ENDED: over, but its place stands in the line of those to be sent. */
  int is_raw, attempts, retries;
  wq_buffer service, body;
  int64_t deadline_ms, retry_ms;
} pending;

struct wq_client {
  wq_codec *codec;
  wq_link *link;
  wq_record hello;
  wq_on_outcome on_outcome;
  void *owner;
  uint64_t session, count;
  int is_draining;
  uint32_t credit, record_max, in_flight;
  size_t pending_count;
  int64_t due_ms; /* No deadline or retry is before it. */
  pending table[WQ_PENDING_MAX];
  uint16_t free[WQ_PENDING_MAX]; /* A stack of places. */
  size_t free_count;
  uint16_t unsent[WQ_PENDING_MAX]; /* A ring of places, each in it once at most. */
  size_t unsent_head, unsent_count;
};

static void push_unsent(wq_client *client, pending *request) {
  request->state = UNSENT;
  size_t at = (client->unsent_head + client->unsent_count++) % WQ_PENDING_MAX;
  client->unsent[at] = (uint16_t)(request - client->table);
}

static void release(wq_client *client, pending *request) {
  wq_buffer_free(&request->service);
  wq_buffer_free(&request->body);
  client->pending_count--;
  if (request->state == IN_FLIGHT) client->in_flight--;
  if (request->state == UNSENT) {
    request->state = ENDED; /* Freed when its turn in the line comes. */
    return;
  }
  request->state = FREE;
  client->free[client->free_count++] = (uint16_t)(request - client->table);
}

static void finish(wq_client *client, pending *request, const wq_outcome *outcome) {
  const uint64_t tag = request->tag;
  /* First: the callback may ask again. */
  release(client, request);
  client->on_outcome(client->owner, tag, outcome);
}

static void fail(wq_client *client, pending *request, unsigned status, const char *reason) {
  const wq_outcome outcome = {.status = status, .reason = wq_text(reason)};
  finish(client, request, &outcome);
}

static pending *find(wq_client *client, uint64_t number) {
  pending *request = &client->table[number % WQ_PENDING_MAX];
  return request->number == number && request->state != FREE && request->state != ENDED ? request
                                                                                        : NULL;
}

/* --- asking --- */

static void send_one(wq_client *client, pending *request) {
  const int64_t left_ms = request->deadline_ms - wq_now_ms();
  const wq_record record = {
      .kind = WQ_REQUEST, .flags = request->is_raw ? WQ_RAW : 0, .priority = PRIORITY,
      .attempts = (uint8_t)request->attempts, .session = client->session,
      .sequence = request->number, .timeout_ms = left_ms < 1 ? 1 : (uint32_t)left_ms,
      .service = wq_view(&request->service), .body = wq_view(&request->body)};
  request->state = IN_FLIGHT;
  client->in_flight++;
  wq_link_write(client->link, &record);
}

static void send_unsent(wq_client *client) {
  while (client->unsent_count > 0 && wq_link_is_up(client->link) && !client->is_draining &&
         client->in_flight < client->credit) {
    const uint16_t place = client->unsent[client->unsent_head];
    pending *request = &client->table[place];
    client->unsent_head = (client->unsent_head + 1) % WQ_PENDING_MAX;
    client->unsent_count--;
    if (request->state == ENDED) {
      request->state = FREE;
      client->free[client->free_count++] = place;
    } else if (request->body.size + REQUEST_BYTES > client->record_max) {
      /* Far beyond it the broker's socket would drop the connection and all that is on it. */
      request->state = WAITING;
      fail(client, request, WQ_INVALID_ARGUMENT, "too large for the broker");
    } else {
      send_one(client, request);
    }
  }
}

uint64_t wq_request(wq_client *client, wq_bytes service, wq_bytes body, int is_raw,
                    uint32_t timeout_ms, uint64_t tag) {
  assert(service.size >= 1 && service.size <= 255 && timeout_ms >= 1);
  assert(body.size <= WQ_BODY_MAX);
  if (client->free_count == 0) return 0;
  const uint16_t place = client->free[--client->free_count];
  pending *request = &client->table[place];
  /* Never the same number twice, and never 0. */
  *request = (pending){.number = ++client->count * WQ_PENDING_MAX + place, .tag = tag,
                       .is_raw = is_raw, .attempts = ATTEMPTS,
                       .deadline_ms = wq_now_ms() + timeout_ms};
  wq_append(&request->service, service);
  if (is_raw) {
    wq_append(&request->body, body);
  } else {
    uint8_t id[16];
    const wq_record as_sent = {.session = client->session, .sequence = request->number};
    wq_request_id(&as_sent, id);
    const wq_context context = {service, WQ_TO_WORKER, id, {0}};
    wq_seal(client->codec, body, &context, &request->body);
  }
  client->pending_count++;
  if (request->deadline_ms < client->due_ms) client->due_ms = request->deadline_ms;
  const uint64_t number = request->number;
  push_unsent(client, request);
  send_unsent(client);
  return number;
}

void wq_cancel(wq_client *client, uint64_t number) {
  pending *request = find(client, number);
  if (request == NULL) return;
  if (request->state == IN_FLIGHT && wq_link_is_up(client->link)) {
    const wq_record cancel = {.kind = WQ_CANCEL, .status = WQ_CANCELLED,
                              .session = client->session, .sequence = number};
    wq_link_write(client->link, &cancel);
  }
  release(client, request);
  send_unsent(client);
}

/* --- what the link tells --- */

static void on_up(void *owner, const wq_record *welcome) {
  wq_client *client = owner;
  client->is_draining = 0;
  client->credit = welcome->in_flight_max, client->record_max = welcome->record_max;
  send_unsent(client);
}

static void on_down(void *owner, const char *reason) {
  wq_client *client = owner;
  (void)reason;
  for (size_t i = 0; i < WQ_PENDING_MAX; i++) {
    pending *request = &client->table[i];
    if (request->state != IN_FLIGHT) continue;
    /* It may have run, so one attempt is counted. */
    if (--request->attempts == 0) {
      fail(client, request, WQ_UNAVAILABLE, "broker lost");
    } else {
      client->in_flight--;
      push_unsent(client, request);
    }
  }
}

static void on_reply(wq_client *client, pending *request, const wq_record *reply) {
  wq_buffer body = {0}, value = {0};
  wq_outcome outcome = {.status = WQ_OK};
  if (reply->part_count > 1) {
    for (unsigned i = 0; i < reply->part_count; i++) wq_append(&body, reply->parts[i]);
  }
  const wq_bytes bytes = reply->part_count > 1 ? wq_view(&body) : reply->body;
  if (request->is_raw) {
    outcome.value = bytes;
  } else if (reply->flags & WQ_RAW) {
    outcome.status = WQ_INTERNAL;
    outcome.reason = wq_text("the service answers in raw bytes");
  } else {
    uint8_t id[16];
    wq_request_id(reply, id);
    const wq_context context = {wq_view(&request->service), WQ_TO_CLIENT, id, {0}};
    const char *code = wq_open(client->codec, bytes, &context, &value);
    if (code == NULL) outcome.value = wq_view(&value);
    else outcome = (wq_outcome){.status = WQ_UNAUTHENTICATED, .reason = wq_text(code)};
  }
  finish(client, request, &outcome);
  wq_buffer_free(&body);
  wq_buffer_free(&value);
}

/* What no worker began goes again, under the same number and with the same body, in a while. */
static int is_retried(wq_client *client, pending *request, const wq_record *failure) {
  int is_refusal = failure->status == WQ_UNAVAILABLE || failure->status == WQ_RESOURCE_EXHAUSTED;
  if (!(failure->flags & WQ_UNTOUCHED) || !is_refusal) return 0;
  if (request->retries >= RETRIES_MAX) return 0;
  uint32_t pause = (uint32_t)RETRY_MS_MIN << request->retries;
  if (pause > RETRY_MS_MAX) pause = RETRY_MS_MAX;
  /* One that a draining broker refused waits for another broker, and for nothing else. */
  pause = client->is_draining ? 0 : pause / 2 + randombytes_uniform(pause / 2 + 1);
  const int64_t retry_ms = wq_now_ms() + pause + failure->retry_after_ms;
  if (retry_ms >= request->deadline_ms) return 0;
  request->retries++;
  request->retry_ms = retry_ms;
  client->in_flight--;
  request->state = WAITING;
  if (retry_ms < client->due_ms) client->due_ms = retry_ms;
  return 1;
}

static void on_failure(wq_client *client, pending *request, const wq_record *failure) {
  if (is_retried(client, request, failure)) return;
  const wq_outcome outcome = {.status = failure->status, .reason = failure->reason,
                              .retry_after_ms = failure->retry_after_ms};
  finish(client, request, &outcome);
}

static void on_record(void *owner, const wq_record *record) {
  wq_client *client = owner;
  if (record->kind == WQ_CREDIT) client->credit = record->credit;
  if (record->kind == WQ_DRAIN) client->is_draining = 1;
  if (record->kind == WQ_REPLY || record->kind == WQ_FAILURE) {
    pending *request = record->session == client->session ? find(client, record->sequence) : NULL;
    /* A late answer to what was cancelled, or is asked again elsewhere, is nobody's. */
    if (request != NULL && request->state == IN_FLIGHT) {
      if (record->kind == WQ_REPLY) on_reply(client, request, record);
      else on_failure(client, request, record);
    }
  }
  send_unsent(client);
  /* Its last request there has its outcome: it leaves, and the broker waits for that. */
  if (client->is_draining && client->in_flight == 0) wq_link_reset(client->link, "drained");
}

/* --- time --- */

static void check_due(wq_client *client) {
  const int64_t now_ms = wq_now_ms();
  if (now_ms < client->due_ms) return;
  client->due_ms = INT64_MAX;
  for (size_t i = 0; i < WQ_PENDING_MAX; i++) {
    pending *request = &client->table[i];
    if (request->state == FREE || request->state == ENDED) continue;
    if (now_ms >= request->deadline_ms) {
      /* The broker has the same deadline, so there is nothing to tell it. */
      fail(client, request, WQ_DEADLINE_EXCEEDED, "without an answer");
      continue;
    }
    int64_t due_ms = request->deadline_ms;
    if (request->state == WAITING) {
      if (now_ms >= request->retry_ms) push_unsent(client, request);
      else if (request->retry_ms < due_ms) due_ms = request->retry_ms;
    }
    if (due_ms < client->due_ms) client->due_ms = due_ms;
  }
  send_unsent(client);
}

wq_client *wq_client_new(void *zmq, const char *frontend, wq_codec *codec, wq_on_outcome on_outcome,
                         void *owner) {
  static const wq_link_events events = {on_up, on_record, on_down};
  wq_client *client = wq_must(calloc(1, sizeof *client));
  client->codec = codec, client->on_outcome = on_outcome, client->owner = owner;
  client->session = wq_random_session(), client->due_ms = INT64_MAX;
  for (size_t i = WQ_PENDING_MAX; i-- > 0;) client->free[client->free_count++] = (uint16_t)i;
  client->hello = (wq_record){.kind = WQ_HELLO, .role = WQ_CLIENT, .version = 1,
                              .session = client->session};
  client->link = wq_link_new(zmq, frontend, &client->hello, &events, client);
  return client;
}

size_t wq_client_pending(const wq_client *client) {
  return client->pending_count;
}

void wq_client_poll(const wq_client *client, zmq_pollitem_t items[WQ_POLL_ITEMS],
                    int64_t *until_ms) {
  if (client->due_ms < *until_ms) *until_ms = client->due_ms;
  wq_link_poll(client->link, items, until_ms);
}

void wq_client_step(wq_client *client) {
  check_due(client);
  wq_link_step(client->link);
}

void wq_client_free(wq_client *client) {
  wq_link_free(client->link);
  for (size_t i = 0; i < WQ_PENDING_MAX; i++) {
    wq_buffer_free(&client->table[i].service);
    wq_buffer_free(&client->table[i].body);
  }
  free(client);
}
