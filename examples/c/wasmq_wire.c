/* Records, read and written: src/wire/PROTOCOL.md in C. See wasmq.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "wasmq.h"

#define BATCH_SIZE 8
#define HEAD_SIZE 8
#define FRAME_BYTES_MIN 8192
#define HEADERS_BYTES_MAX 8192
#define SEQUENCE_MAX ((UINT64_C(1) << 53) - 1)

/* --- bytes --- */

void *wq_must(void *memory) {
  if (memory == NULL) {
    fputs("wasmq: out of memory\n", stderr);
    abort();
  }
  return memory;
}

wq_bytes wq_text(const char *text) {
  return (wq_bytes){(const uint8_t *)text, strlen(text)};
}

wq_bytes wq_view(const wq_buffer *buffer) {
  return (wq_bytes){buffer->at, buffer->size};
}

uint8_t *wq_extend(wq_buffer *buffer, size_t size) {
  if (buffer->room - buffer->size < size) {
    size_t room = buffer->room * 2;
    if (room < buffer->size + size) room = buffer->size + size;
    buffer->at = wq_must(realloc(buffer->at, room < 64 ? 64 : room));
    buffer->room = room < 64 ? 64 : room;
  }
  uint8_t *at = buffer->at + buffer->size;
  buffer->size += size;
  return at;
}

void wq_append(wq_buffer *buffer, wq_bytes bytes) {
  uint8_t *at = wq_extend(buffer, bytes.size);
  if (bytes.size > 0) memcpy(at, bytes.at, bytes.size);
}

void wq_buffer_free(wq_buffer *buffer) {
  free(buffer->at);
  *buffer = (wq_buffer){0};
}

static void put(wq_buffer *buffer, int width, uint64_t value) {
  uint8_t *at = wq_extend(buffer, (size_t)width);
  for (int i = 0; i < width; i++, value >>= 8) at[i] = (uint8_t)value;
}

static uint64_t get(const uint8_t *at, int width) {
  uint64_t value = 0;
  for (int i = width; i-- > 0;) value = value << 8 | at[i];
  return value;
}

const char *wq_status_name(unsigned status) {
  static const char *const names[17] = {
      [0] = "OK", [1] = "CANCELLED", [3] = "INVALID_ARGUMENT", [4] = "DEADLINE_EXCEEDED",
      [5] = "NOT_FOUND", [7] = "PERMISSION_DENIED", [8] = "RESOURCE_EXHAUSTED", [10] = "ABORTED",
      [13] = "INTERNAL", [14] = "UNAVAILABLE", [16] = "UNAUTHENTICATED"};
  return status <= 16 && names[status] != NULL ? names[status] : NULL;
}

void wq_request_id(const wq_record *record, uint8_t id[16]) {
  for (int i = 0; i < 8; i++) {
    id[i] = (uint8_t)(record->session >> (8 * i));
    id[8 + i] = (uint8_t)(record->sequence >> (8 * i));
  }
}

/* --- writing --- */

static void put_id(wq_buffer *out, const wq_record *record) {
  put(out, 8, record->session);
  put(out, 8, record->sequence);
  put(out, 4, record->slot);
  put(out, 4, record->generation);
}

static void add_frame(wq_batch *batch, wq_bytes bytes) {
  if (batch->frame_count == batch->frame_room) {
    batch->frame_room = batch->frame_room == 0 ? 8 : batch->frame_room * 2;
    batch->frames =
        wq_must(realloc(batch->frames, batch->frame_room * sizeof *batch->frames));
  }
  wq_buffer *frame = &batch->frames[batch->frame_count++];
  *frame = (wq_buffer){0};
  wq_append(frame, bytes);
}

/* 3.1: a body of several parts, or of 8 KiB and more, travels as frames. */
static unsigned frames_of(const wq_record *record) {
  if (record->part_count > 1) return record->part_count;
  return record->body.size >= FRAME_BYTES_MIN;
}

static void put_body(wq_batch *batch, const wq_record *record) {
  if (frames_of(record) == 0) wq_append(&batch->records, record->body);
  else if (record->part_count <= 1) add_frame(batch, record->body);
  else for (unsigned i = 0; i < record->part_count; i++) add_frame(batch, record->parts[i]);
}

void wq_write(wq_batch *batch, const wq_record *r) {
  wq_buffer *out = &batch->records;
  if (batch->count++ == 0) wq_extend(out, BATCH_SIZE);
  size_t start = out->size;
  uint8_t a = 0, b = 0;
  wq_extend(out, HEAD_SIZE);
  switch (r->kind) {
    case WQ_HELLO:
      a = r->role, b = r->version;
      put(out, 8, r->session), put(out, 4, r->concurrency), put(out, 2, r->service_count);
      put(out, 2, 0), wq_append(out, r->services);
      break;
    case WQ_WELCOME:
      a = r->version;
      put(out, 8, r->broker), put(out, 4, r->in_flight_max), put(out, 4, r->record_max);
      put(out, 8, 0);
      break;
    case WQ_ERROR:
      a = r->status;
      put(out, 4, r->record), put(out, 2, r->reason.size), put(out, 2, 0);
      wq_append(out, r->reason);
      break;
    case WQ_CREDIT:
      put(out, 4, r->credit), put(out, 4, 0);
      break;
    case WQ_DRAIN:
      put(out, 8, 0);
      break;
    case WQ_REQUEST:
      a = r->priority, b = r->attempts;
      put_id(out, r), put(out, 4, r->timeout_ms), put(out, 1, r->service.size);
      put(out, 1, frames_of(r)), put(out, 2, r->headers.size);
      wq_append(out, r->service), wq_append(out, r->headers), put_body(batch, r);
      break;
    case WQ_REPLY:
      put_id(out, r), put(out, 4, r->service_time_us), put(out, 1, 0);
      put(out, 1, frames_of(r)), put(out, 2, r->headers.size);
      wq_append(out, r->headers), put_body(batch, r);
      break;
    case WQ_FAILURE:
      a = r->status, b = r->attempts;
      put_id(out, r), put(out, 4, r->retry_after_ms), put(out, 2, r->reason.size), put(out, 2, 0);
      wq_append(out, r->reason);
      break;
    case WQ_CANCEL:
      a = r->status;
      put_id(out, r);
      break;
    default: /* BYE and PING are their head alone. */
      break;
  }
  uint8_t *head = out->at + start;
  size_t size = out->size - start;
  head[0] = r->kind, head[1] = r->flags, head[2] = a, head[3] = b;
  for (int i = 0; i < 4; i++) head[4 + i] = (uint8_t)(size >> (8 * i));
}

void wq_finish(wq_batch *batch) {
  assert(batch->count > 0);
  uint8_t *head = batch->records.at;
  memcpy(head, "WQ\1", 4);
  for (int i = 0; i < 4; i++) head[4 + i] = (uint8_t)(batch->count >> (8 * i));
}

void wq_batch_clear(wq_batch *batch) {
  wq_buffer_free(&batch->records);
  for (size_t i = 0; i < batch->frame_count; i++) wq_buffer_free(&batch->frames[i]);
  free(batch->frames);
  *batch = (wq_batch){0};
}

/* --- reading --- */

static int malformed(wq_reader *reader, const char *fault) {
  reader->fault = fault;
  reader->is_malformed = 1;
  return WQ_MALFORMED;
}

void wq_read_message(wq_reader *reader, const wq_bytes *frames, size_t count) {
  *reader = (wq_reader){.frames = frames, .frame_count = count, .next_frame = 1, .at = BATCH_SIZE};
  const wq_bytes batch = frames[0];
  if (batch.size < BATCH_SIZE || memcmp(batch.at, "WQ", 2) != 0) malformed(reader, "no batch");
  else if (batch.at[2] != 1) malformed(reader, "another version");
  else if ((reader->left = (uint32_t)get(batch.at + 4, 4)) == 0) malformed(reader, "no records");
}

static int is_utf8(wq_bytes text) {
  for (size_t i = 0; i < text.size;) {
    uint8_t c = text.at[i++];
    int more = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : c >> 3 == 30 ? 3 : -1;
    if (more < 0 || (size_t)more > text.size - i) return 0;
    uint32_t point = more == 0 ? c : c & (0x3fu >> more);
    for (int k = 0; k < more; k++, i++) {
      if (text.at[i] >> 6 != 2) return 0;
      point = point << 6 | (text.at[i] & 0x3f);
    }
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    if (point < least[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return 0;
  }
  return 1;
}

static int is_service(wq_bytes name) {
  if (name.size < 1 || name.size > 255 || !is_utf8(name)) return 0;
  for (size_t i = 0; i < name.size; i++) if (name.at[i] < 0x20 || name.at[i] == 0x7f) return 0;
  return 1;
}

static const char *check_services(const wq_record *r) {
  size_t at = 0;
  for (unsigned i = 0; i < r->service_count; i++) {
    if (at >= r->services.size || r->services.at[at] >= r->services.size - at) return "cut short";
    wq_bytes name = {r->services.at + at + 1, r->services.at[at]};
    if (!is_service(name)) return "no name of a service";
    at += 1 + name.size;
  }
  return at == r->services.size ? NULL : "bytes behind the services";
}

static const char *check_hello(const wq_record *r) {
  if (r->role < WQ_CLIENT || r->role > WQ_PULSE) return "role";
  if (r->version == 0 || r->session == 0) return "version or session";
  int is_one = r->concurrency >= 1 && r->concurrency <= 65535 && r->service_count > 0;
  if (r->role == WQ_WORKER && !is_one) return "concurrency or services";
  return check_services(r);
}

static size_t fixed_size(uint8_t kind) {
  switch (kind) {
    case WQ_REQUEST: case WQ_REPLY: case WQ_FAILURE: return 40;
    case WQ_HELLO: return 24;
    case WQ_WELCOME: case WQ_CANCEL: return 32;
    case WQ_ERROR: case WQ_CREDIT: case WQ_DRAIN: return 16;
    case WQ_BYE: case WQ_PING: return 8;
    default: return 0;
  }
}

static void get_id(wq_record *r, const uint8_t *at) {
  r->session = get(at + 8, 8), r->sequence = get(at + 16, 8);
  r->slot = (uint32_t)get(at + 24, 4), r->generation = (uint32_t)get(at + 28, 4);
}

/* Takes `size` bytes off `tail`; none where there are not as many. */
static int take(wq_bytes *tail, size_t size, wq_bytes *out) {
  if (size > tail->size) return 0;
  *out = (wq_bytes){tail->at, size};
  tail->at += size, tail->size -= size;
  return 1;
}

static const char *take_body(wq_record *r, wq_bytes tail) {
  if (r->part_count > 0 && tail.size > 0) return "a body in the record and in frames";
  r->body = r->part_count > 0 ? r->parts[0] : tail;
  return NULL;
}

/* The fields of the record at `at`, whose fixed part and frames are there; NULL, or what is wrong. */
static const char *decode(wq_record *r, const uint8_t *at, wq_bytes tail) {
  const uint8_t a = at[2], b = at[3];
  if (r->kind >= WQ_REQUEST) {
    get_id(r, at);
    if (r->sequence < 1 || r->sequence > SEQUENCE_MAX) return "sequence";
  }
  switch (r->kind) {
    case WQ_HELLO:
      r->role = a, r->version = b, r->session = get(at + 8, 8), r->services = tail;
      r->concurrency = (uint32_t)get(at + 16, 4), r->service_count = (uint16_t)get(at + 20, 2);
      return check_hello(r);
    case WQ_WELCOME:
      r->version = a, r->broker = get(at + 8, 8), r->in_flight_max = (uint32_t)get(at + 16, 4);
      r->record_max = (uint32_t)get(at + 20, 4);
      return NULL;
    case WQ_ERROR:
      r->status = a, r->record = (uint32_t)get(at + 8, 4);
      return take(&tail, get(at + 12, 2), &r->reason) && is_utf8(r->reason) ? NULL : "reason";
    case WQ_CREDIT:
      r->credit = (uint32_t)get(at + 8, 4);
      return r->credit > 0 ? NULL : "credit 0";
    case WQ_REQUEST:
      r->priority = a, r->attempts = b, r->timeout_ms = (uint32_t)get(at + 32, 4);
      if (!take(&tail, at[36], &r->service) || !is_service(r->service)) return "service";
      if (!take(&tail, get(at + 38, 2), &r->headers)) return "headers cut short";
      if (r->headers.size > HEADERS_BYTES_MAX) return "headers too large";
      return a <= 7 ? take_body(r, tail) : "priority";
    case WQ_REPLY:
      r->service_time_us = (uint32_t)get(at + 32, 4);
      if (!take(&tail, get(at + 38, 2), &r->headers)) return "headers cut short";
      return r->headers.size <= HEADERS_BYTES_MAX ? take_body(r, tail) : "headers too large";
    case WQ_FAILURE:
      r->status = a, r->attempts = b, r->retry_after_ms = (uint32_t)get(at + 32, 4);
      if (a == 0 || wq_status_name(a) == NULL) return "status";
      return take(&tail, get(at + 36, 2), &r->reason) && is_utf8(r->reason) ? NULL : "reason";
    case WQ_CANCEL:
      r->status = a;
      return NULL;
    default: return NULL;
  }
}

int wq_read(wq_reader *reader, wq_record *record) {
  const wq_bytes batch = reader->frames[0];
  if (reader->is_malformed) return WQ_MALFORMED;
  if (reader->left == 0) {
    if (reader->at < batch.size) return malformed(reader, "bytes behind the last record");
    if (reader->next_frame < reader->frame_count) {
      return malformed(reader, "frames that no record claims");
    }
    return WQ_END;
  }
  const uint8_t *at = batch.at + reader->at;
  size_t room = batch.size - reader->at;
  if (room < HEAD_SIZE) return malformed(reader, "fewer records than counted");
  size_t size = get(at + 4, 4), fixed = fixed_size(at[0]);
  if (size < HEAD_SIZE || size > room) return malformed(reader, "a record's size");
  reader->left--;
  reader->at += size;
  *record = (wq_record){.kind = at[0], .flags = at[1]};
  size_t frames_left = reader->frame_count - reader->next_frame;
  if (fixed == 0 || size < fixed) {
    if (frames_left > 0) {
      /* It may have claimed some of them: what stands behind it cannot be told. */
      reader->left = 0, reader->at = batch.size, reader->next_frame = reader->frame_count;
    }
    reader->fault = fixed == 0 ? "unknown kind" : "too short";
    return WQ_BAD_RECORD;
  }
  if (record->kind == WQ_REQUEST || record->kind == WQ_REPLY) record->part_count = at[37];
  if (record->part_count > frames_left) return malformed(reader, "frames that are not there");
  record->parts = reader->frames + reader->next_frame;
  reader->next_frame += record->part_count;
  reader->fault = decode(record, at, (wq_bytes){at + fixed, size - fixed});
  return reader->fault == NULL ? WQ_GOOD_RECORD : WQ_BAD_RECORD;
}
