/* A connection to a broker that comes back: HELLO, WELCOME, batches (PROTOCOL 2). See wasmq.h.
 *
 * Each connection is a socket of its own. libzmq could connect again by itself, and would then
 * deliver what was queued for the lost connection in front of HELLO; the owner knows what it still
 * waits for, and sends that. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "wasmq.h"

#define HANDSHAKE_MS 5000
#define HEARTBEAT_IVL_MS 500
#define HEARTBEAT_TIMEOUT_MS 1500
#define RECONNECT_MS_MIN 20
#define RECONNECT_MS_MAX 1000
#define LINGER_MS 200
/* Not -1: libzmq then drops what has come in. */
#define RECONNECT_IVL_MS 3600000
/* A body may be a multipart message of a plain peer, and a batch have many bodies. */
#define FRAMES_MAX 65536
/* Messages in a row before timers and other sockets get a turn. */
#define MESSAGES_PER_STEP 64

struct wq_link {
  void *zmq, *socket, *monitor;
  char *endpoint;
  const wq_record *hello;
  wq_link_events events;
  void *owner;
  wq_batch batch;
  int is_up, failures;
  const char *lost; /* Why the connection is to be given up. */
  int64_t due_ms;   /* Connect again, or give up waiting for WELCOME. */
};

/* By the names of the options: our own public key and secret key, and the broker's public key. */
static struct { int option; const char *name, *key; } curve[] = {
    {ZMQ_CURVE_PUBLICKEY, "WASMQ_CURVE_PUBLIC_KEY", NULL},
    {ZMQ_CURVE_SECRETKEY, "WASMQ_CURVE_SECRET_KEY", NULL},
    {ZMQ_CURVE_SERVERKEY, "WASMQ_CURVE_SERVER_KEY", NULL}};

const char *wq_use_curve(void) {
  int count = 0;
  for (int i = 0; i < 3; i++) {
    curve[i].key = getenv(curve[i].name);
    if (curve[i].key == NULL) continue;
    if (strlen(curve[i].key) != 40) return "a CURVE key must be 40 characters of Z85";
    count++;
  }
  if (count != 0 && count != 3) return "WASMQ_CURVE_... are three: PUBLIC_, SECRET_ and SERVER_KEY";
  return count == 0 || zmq_has("curve") ? NULL : "this libzmq has no CURVE";
}

int64_t wq_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t wq_random_session(void) {
  uint64_t session = 0;
  if (sodium_init() < 0) abort();
  while (session == 0) randombytes_buf(&session, sizeof session);
  return session;
}

static void set_int(void *socket, int option, int value) {
  zmq_setsockopt(socket, option, &value, sizeof value);
}

static void drop_socket(wq_link *link, int linger_ms) {
  if (link->socket == NULL) return;
  zmq_socket_monitor(link->socket, NULL, 0);
  zmq_close(link->monitor);
  set_int(link->socket, ZMQ_LINGER, linger_ms);
  zmq_close(link->socket);
  link->socket = link->monitor = NULL;
}

static void connect_again(wq_link *link) {
  static unsigned count;
  char address[64];
  void *socket = link->socket = zmq_socket(link->zmq, ZMQ_DEALER);
  void *monitor = link->monitor = zmq_socket(link->zmq, ZMQ_PAIR);
  if (socket == NULL || monitor == NULL) {
    fprintf(stderr, "wasmq: no socket to be had: %s\n", zmq_strerror(zmq_errno()));
    abort();
  }
  set_int(socket, ZMQ_LINGER, 0);
  /* No marks, so that no send waits: what is under way is bounded by credit and by tables. */
  set_int(socket, ZMQ_SNDHWM, 0);
  set_int(socket, ZMQ_RCVHWM, 0);
  set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_IVL_MS);
  set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_IVL_MS);
  set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS);
  set_int(socket, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS);
  for (int i = 0; i < 3 && curve[i].key != NULL; i++) {
    if (zmq_setsockopt(socket, curve[i].option, curve[i].key, 41) != 0) {
      link->lost = "a CURVE key that is none";
    }
  }
  snprintf(address, sizeof address, "inproc://wasmq-link-%p-%u", (void *)link, count++);
  zmq_socket_monitor(socket, address,
                     ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                         ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                         ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
  zmq_connect(monitor, address);
  link->due_ms = wq_now_ms() + HANDSHAKE_MS;
  if (link->lost != NULL) return;
  if (zmq_connect(socket, link->endpoint) != 0) link->lost = zmq_strerror(zmq_errno());
  else wq_link_write(link, link->hello);
}

wq_link *wq_link_new(void *zmq, const char *endpoint, const wq_record *hello,
                     const wq_link_events *events, void *owner) {
  wq_link *link = wq_must(calloc(1, sizeof *link));
  link->zmq = zmq, link->endpoint = wq_must(strdup(endpoint)), link->hello = hello;
  link->events = *events, link->owner = owner;
  connect_again(link);
  return link;
}

int wq_link_is_up(const wq_link *link) {
  return link->is_up;
}

void wq_link_write(wq_link *link, const wq_record *record) {
  if (link->socket != NULL) wq_write(&link->batch, record);
}

void wq_link_reset(wq_link *link, const char *reason) {
  if (link->lost == NULL) link->lost = reason;
}

void wq_link_poll(const wq_link *link, zmq_pollitem_t items[WQ_POLL_ITEMS], int64_t *until_ms) {
  /* Without a socket there is nothing to hear: an item of no events. */
  items[0] = (zmq_pollitem_t){link->socket, -1, link->socket != NULL ? ZMQ_POLLIN : 0, 0};
  items[1] = (zmq_pollitem_t){link->monitor, -1, link->socket != NULL ? ZMQ_POLLIN : 0, 0};
  if (!link->is_up && link->due_ms < *until_ms) *until_ms = link->due_ms;
  if (link->batch.count > 0 || link->lost != NULL) *until_ms = 0;
}

static void on_record(wq_link *link, const wq_record *record) {
  switch (record->kind) {
    case WQ_WELCOME:
      if (link->is_up) return;
      link->is_up = 1, link->failures = 0;
      link->events.on_up(link->owner, record);
      return;
    case WQ_ERROR:
      /* It does not know this connection, or will have none of it: begin again. */
      if (record->status == WQ_UNAUTHENTICATED || !link->is_up) {
        wq_link_reset(link, record->status == WQ_UNAUTHENTICATED ? "the broker does not know us"
                                                                 : "the broker refuses us");
      }
      return;
    case WQ_PING:
      return;
    default:
      if (link->is_up) link->events.on_record(link->owner, record);
  }
}

static void on_message(wq_link *link, const wq_bytes *frames, size_t count) {
  wq_reader reader;
  wq_record record;
  int got;
  wq_read_message(&reader, frames, count);
  while (link->lost == NULL && (got = wq_read(&reader, &record)) != WQ_END) {
    if (got == WQ_GOOD_RECORD) on_record(link, &record);
    else if (got == WQ_MALFORMED) wq_link_reset(link, reader.fault);
  }
}

/* One whole message, if one is there. */
static int receive(wq_link *link) {
  zmq_msg_t *messages = NULL;
  wq_bytes *frames = NULL;
  size_t count = 0, room = 0;
  int more = 1, is_there = 1;
  while (more && is_there) {
    if (count == room) {
      room = room == 0 ? 4 : room * 2;
      messages = wq_must(realloc(messages, room * sizeof *messages));
      frames = wq_must(realloc(frames, room * sizeof *frames));
    }
    zmq_msg_init(&messages[count]);
    is_there = zmq_msg_recv(&messages[count], link->socket, ZMQ_DONTWAIT) >= 0;
    if (!is_there) break;
    more = zmq_msg_more(&messages[count]);
    count++;
    if (count > FRAMES_MAX) is_there = 0, wq_link_reset(link, "too many frames");
  }
  if (is_there) {
    for (size_t i = 0; i < count; i++) {
      frames[i] = (wq_bytes){zmq_msg_data(&messages[i]), zmq_msg_size(&messages[i])};
    }
    on_message(link, frames, count);
  }
  for (size_t i = 0; i < count; i++) zmq_msg_close(&messages[i]);
  free(messages);
  free(frames);
  return is_there;
}

static void watch(wq_link *link) {
  zmq_msg_t event;
  zmq_msg_init(&event);
  /* Two frames: what happened, and at which address. Any of those asked for is the end. */
  while (zmq_msg_recv(&event, link->monitor, ZMQ_DONTWAIT) >= 0) {
    wq_link_reset(link, link->is_up ? "connection lost" : "no connection");
  }
  zmq_msg_close(&event);
}

static void free_frame(void *data, void *hint) {
  (void)hint;
  free(data);
}

static void flush(wq_link *link) {
  wq_batch *batch = &link->batch;
  if (batch->count == 0) return;
  wq_finish(batch);
  for (size_t i = 0; i <= batch->frame_count; i++) {
    wq_buffer *frame = i == 0 ? &batch->records : &batch->frames[i - 1];
    zmq_msg_t message;
    /* Handed over, not copied. */
    if (frame->size == 0) zmq_msg_init(&message);
    else zmq_msg_init_data(&message, frame->at, frame->size, free_frame, NULL);
    if (frame->size > 0) *frame = (wq_buffer){0};
    int flags = ZMQ_DONTWAIT | (i < batch->frame_count ? ZMQ_SNDMORE : 0);
    if (zmq_msg_send(&message, link->socket, flags) < 0) {
      zmq_msg_close(&message);
      wq_link_reset(link, zmq_strerror(zmq_errno()));
      break;
    }
  }
  wq_batch_clear(batch);
}

static void lose(wq_link *link) {
  const char *reason = link->lost;
  drop_socket(link, 0);
  wq_batch_clear(&link->batch);
  link->lost = NULL;
  link->is_up = 0;
  int64_t pause = RECONNECT_MS_MIN << (link->failures < 6 ? link->failures++ : 6);
  if (pause > RECONNECT_MS_MAX) pause = RECONNECT_MS_MAX;
  link->due_ms = wq_now_ms() + pause / 2 + randombytes_uniform((uint32_t)pause / 2 + 1);
  link->events.on_down(link->owner, reason);
}

void wq_link_step(wq_link *link) {
  if (link->socket == NULL && wq_now_ms() >= link->due_ms) connect_again(link);
  if (link->socket == NULL) return;
  /* Asked before reading: what came in front of the end is read to the end. A broker that drains
   * sends its last replies and closes, and the notice overtakes them. */
  watch(link);
  if (link->lost != NULL && link->is_up) {
    const char *reason = link->lost;
    link->lost = NULL;
    while (link->lost == NULL && receive(link)) {}
    link->lost = reason;
  }
  for (int i = 0; i < MESSAGES_PER_STEP && link->lost == NULL && receive(link); i++) {}
  if (!link->is_up && link->lost == NULL && wq_now_ms() >= link->due_ms) {
    wq_link_reset(link, "no WELCOME in time");
  }
  if (link->lost == NULL) flush(link);
  if (link->lost != NULL) lose(link);
}

void wq_link_free(wq_link *link) {
  if (link->is_up) {
    const wq_record bye = {.kind = WQ_BYE};
    wq_link_write(link, &bye);
    flush(link);
  }
  drop_socket(link, LINGER_MS);
  wq_batch_clear(&link->batch);
  free(link->endpoint);
  free(link);
}
