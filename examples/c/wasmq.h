/* wasmq in C: records, bodies, a connection that comes back, and a client on top of them.
 *
 *   wasmq_wire.c    src/wire/PROTOCOL.md: bytes <-> records            libc alone
 *   wasmq_codec.c   docs/codec.md: MessagePack bytes <-> sealed ones   libsodium, lz4
 *   wasmq_link.c    HELLO, WELCOME, batches, reconnection              libzmq
 *   wasmq_client.c  requests, deadlines, credit, retries
 *
 * Build with examples/c/Makefile. One thread, no locks: everything of one link belongs to the thread
 * that steps it. Out of memory ends the process. */
#ifndef WASMQ_H
#define WASMQ_H

#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

/* --- bytes --- */

typedef struct { const uint8_t *at; size_t size; } wq_bytes;

/* Memory that grows, and is its holder's to free. */
typedef struct { uint8_t *at; size_t size, room; } wq_buffer;

wq_bytes wq_text(const char *text);
wq_bytes wq_view(const wq_buffer *buffer);
/* Room for `size` more bytes, counted in already; where to write them. */
uint8_t *wq_extend(wq_buffer *buffer, size_t size);
void wq_append(wq_buffer *buffer, wq_bytes bytes);
void wq_buffer_free(wq_buffer *buffer);
void *wq_must(void *memory);

/* --- records (PROTOCOL 1 to 3) --- */

enum { WQ_HELLO = 1, WQ_WELCOME, WQ_ERROR, WQ_CREDIT, WQ_DRAIN, WQ_BYE, WQ_PING };
enum { WQ_REQUEST = 16, WQ_REPLY, WQ_FAILURE, WQ_CANCEL };
enum { WQ_CLIENT = 1, WQ_WORKER = 2, WQ_PULSE = 3 };
enum { WQ_RAW = 1, WQ_REDELIVERED = 2, WQ_UNTOUCHED = 4 };
enum {
  WQ_OK = 0, WQ_CANCELLED = 1, WQ_INVALID_ARGUMENT = 3, WQ_DEADLINE_EXCEEDED = 4, WQ_NOT_FOUND = 5,
  WQ_PERMISSION_DENIED = 7, WQ_RESOURCE_EXHAUSTED = 8, WQ_ABORTED = 10, WQ_INTERNAL = 13,
  WQ_UNAVAILABLE = 14, WQ_UNAUTHENTICATED = 16
};

/* One record of any kind; the fields that its kind has not are 0. Bytes are views of the message. */
typedef struct {
  uint8_t kind, flags;
  uint8_t role, version;            /* HELLO; WELCOME has a version */
  uint8_t status;                   /* ERROR, FAILURE, CANCEL */
  uint8_t priority, attempts;       /* REQUEST; FAILURE has attempts */
  uint64_t session, sequence;       /* the request's id; HELLO's session */
  uint32_t slot, generation;        /* the attempt at a worker */
  uint32_t concurrency;             /* HELLO */
  uint32_t credit;                  /* CREDIT */
  uint32_t timeout_ms;              /* REQUEST */
  uint32_t service_time_us;         /* REPLY */
  uint32_t retry_after_ms;          /* FAILURE */
  uint32_t record;                  /* ERROR */
  uint64_t broker;                  /* WELCOME, with the next three */
  uint32_t in_flight_max, record_max;
  uint16_t service_count;           /* HELLO */
  wq_bytes services;                /* HELLO: service_count x | size u8 | name | */
  wq_bytes service;                 /* REQUEST */
  wq_bytes headers;                 /* REQUEST, REPLY: as on the wire */
  wq_bytes reason;                  /* ERROR, FAILURE */
  wq_bytes body;                    /* REQUEST, REPLY: the whole of it, or its first part */
  const wq_bytes *parts;            /* those of a body of frames, part_count of them */
  uint8_t part_count;
} wq_record;

const char *wq_status_name(unsigned status);
/* The 16 bytes that a body is bound to. */
void wq_request_id(const wq_record *record, uint8_t id[16]);

typedef struct {
  const wq_bytes *frames;
  size_t frame_count, next_frame, at;
  uint32_t left;
  int is_malformed;
  const char *fault; /* Why, after WQ_MALFORMED or WQ_BAD_RECORD. */
} wq_reader;

/* WQ_BAD_RECORD: this one cannot be read, those behind it perhaps. WQ_MALFORMED: none behind can. */
enum { WQ_MALFORMED = -1, WQ_END = 0, WQ_GOOD_RECORD = 1, WQ_BAD_RECORD = 2 };

/* The frames stay the caller's and must outlive the records. */
void wq_read_message(wq_reader *reader, const wq_bytes *frames, size_t count);
int wq_read(wq_reader *reader, wq_record *record);

/* What one peer is owed: records, and the frames of their bodies. */
typedef struct {
  wq_buffer records;
  uint32_t count;
  wq_buffer *frames;
  size_t frame_count, frame_room;
} wq_batch;

void wq_write(wq_batch *batch, const wq_record *record);
/* Completes the head of the first frame, which is then `batch->records`; of one record at least. */
void wq_finish(wq_batch *batch);
void wq_batch_clear(wq_batch *batch);

/* --- bodies (docs/codec.md) --- */

#define WQ_KEYS_MAX 16
#define WQ_BODY_MAX (16u * 1024 * 1024)

typedef struct { uint32_t id; uint8_t secret[32]; } wq_key;

typedef struct {
  wq_key keys[WQ_KEYS_MAX]; /* The first one seals, all open. None: bodies go in clear. */
  size_t key_count;
  uint8_t session[16];
  uint64_t counter;
  wq_bytes dictionary; /* Opens what was compressed with it; kept by the caller. */
  uint8_t digest[8];
} wq_codec;

enum { WQ_TO_WORKER = 1, WQ_TO_CLIENT = 2 };

typedef struct {
  wq_bytes service;
  int direction;
  const uint8_t *request_id;
  wq_bytes headers;
} wq_context;

/* `keys_path`: a key a line, as `wasmq keys new` writes it, or NULL. Returns NULL, or what is wrong. */
const char *wq_codec_init(wq_codec *codec, const char *keys_path);
const char *wq_add_key(wq_codec *codec, const char *text);
void wq_set_dictionary(wq_codec *codec, wq_bytes dictionary);
/* Appends the envelope of one MessagePack value, WQ_BODY_MAX bytes at most. */
void wq_seal(wq_codec *codec, wq_bytes packed, const wq_context *context, wq_buffer *out);
/* Appends the MessagePack value, checked to be one whole. Returns NULL, or the code of docs/codec.md 2. */
const char *wq_open(const wq_codec *codec, wq_bytes envelope, const wq_context *context,
                    wq_buffer *out);
/* NULL if the bytes are one MessagePack value, no larger than it says it is. */
const char *wq_check_value(wq_bytes packed);

/* --- a connection to a broker --- */

typedef struct wq_link wq_link;

typedef struct {
  void (*on_up)(void *owner, const wq_record *welcome);
  void (*on_record)(void *owner, const wq_record *record);
  void (*on_down)(void *owner, const char *reason);
} wq_link_events;

#define WQ_POLL_ITEMS 2

/* CURVE for the connections made from now on: WASMQ_CURVE_PUBLIC_KEY, WASMQ_CURVE_SECRET_KEY and
 * WASMQ_CURVE_SERVER_KEY, each 40 characters of Z85; without them, none. NULL, or what is wrong. */
const char *wq_use_curve(void);
int64_t wq_now_ms(void); /* Monotonic. */
uint64_t wq_random_session(void);
/* `hello` is said on each connection, as it is then, and must stay. */
wq_link *wq_link_new(void *zmq, const char *endpoint, const wq_record *hello,
                     const wq_link_events *events, void *owner);
int wq_link_is_up(const wq_link *link);
/* Sent by the next wq_link_step, all of it as one message. */
void wq_link_write(wq_link *link, const wq_record *record);
/* The connection is of no use: the next step makes another. */
void wq_link_reset(wq_link *link, const char *reason);
/* What to poll for until the next step, and for how long at most. */
void wq_link_poll(const wq_link *link, zmq_pollitem_t items[WQ_POLL_ITEMS], int64_t *until_ms);
void wq_link_step(wq_link *link);
/* Says BYE, if there is someone to say it to, and frees. */
void wq_link_free(wq_link *link);

/* --- a client --- */

#define WQ_PENDING_MAX 4096

typedef struct wq_client wq_client;

/* WQ_OK with the reply's value, MessagePack or raw bytes; or a status with its reason. */
typedef struct {
  unsigned status;
  wq_bytes value, reason;
  uint32_t retry_after_ms;
} wq_outcome;

typedef void (*wq_on_outcome)(void *owner, uint64_t tag, const wq_outcome *outcome);

wq_client *wq_client_new(void *zmq, const char *frontend, wq_codec *codec, wq_on_outcome on_outcome,
                         void *owner);
/* The request's number, 0 where WQ_PENDING_MAX are pending. on_outcome is called once, with `tag`;
 * before this returns where the body is larger than the broker takes. */
uint64_t wq_request(wq_client *client, wq_bytes service, wq_bytes body, int is_raw,
                    uint32_t timeout_ms, uint64_t tag);
/* Nobody waits for it any more; on_outcome is not called. */
void wq_cancel(wq_client *client, uint64_t number);
size_t wq_client_pending(const wq_client *client);
void wq_client_poll(const wq_client *client, zmq_pollitem_t items[WQ_POLL_ITEMS],
                    int64_t *until_ms);
void wq_client_step(wq_client *client);
/* Of what is pending nothing is heard any more. */
void wq_client_free(wq_client *client);

#endif
