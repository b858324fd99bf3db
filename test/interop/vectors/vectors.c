/* Runs the C library on the vectors: a line of words parted by tabs in, a line of JSON out.
 *
 * Bytes are hexadecimal, and so is text in the answers. What is asked for is the same as of
 * vectors.py. */
#include <inttypes.h>
#include <lz4.h>
#include <lz4frame.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "value.h"

#define WORDS_MAX 300

static wq_codec codec;
static const char *const names[20] = {
    [WQ_HELLO] = "HELLO", [WQ_WELCOME] = "WELCOME", [WQ_ERROR] = "ERROR", [WQ_CREDIT] = "CREDIT",
    [WQ_DRAIN] = "DRAIN", [WQ_BYE] = "BYE", [WQ_PING] = "PING", [WQ_REQUEST] = "REQUEST",
    [WQ_REPLY] = "REPLY", [WQ_FAILURE] = "FAILURE", [WQ_CANCEL] = "CANCEL"};

static wq_buffer unhex(const char *text) {
  wq_buffer out = {0};
  size_t size = strlen(text) / 2, got;
  /* Memory of exactly its size, so that a sanitizer sees a step beyond it. */
  if (size == 0) return out;
  out = (wq_buffer){wq_must(malloc(size)), size, size};
  const int fault = sodium_hex2bin(out.at, size, text, strlen(text), NULL, &got, NULL);
  if (fault != 0 || got != size) abort();
  return out;
}

static void print_hex(wq_bytes bytes) {
  putchar('"');
  for (size_t i = 0; i < bytes.size; i++) printf("%02x", bytes.at[i]);
  putchar('"');
}

static void print_field(const char *name, wq_bytes bytes) {
  printf(",\"%s\":", name);
  print_hex(bytes);
}

static void print_record(const wq_record *r) {
  printf("{\"kind\":\"%s\",\"flags\":%u", names[r->kind], r->flags);
  if (r->kind >= WQ_REQUEST || r->kind == WQ_HELLO) {
    printf(",\"session\":\"%016" PRIx64 "\"", r->session);
  }
  if (r->kind >= WQ_REQUEST) {
    printf(",\"sequence\":\"%" PRIu64 "\",\"slot\":%u,\"generation\":%u", r->sequence, r->slot,
           r->generation);
  }
  switch (r->kind) {
    case WQ_HELLO:
      printf(",\"role\":%u,\"version\":%u,\"concurrency\":%u,\"services\":[", r->role, r->version,
             r->concurrency);
      for (size_t i = 0, at = 0; i < r->service_count; i++) {
        if (i > 0) putchar(',');
        print_hex((wq_bytes){r->services.at + at + 1, r->services.at[at]});
        at += 1u + r->services.at[at];
      }
      putchar(']');
      break;
    case WQ_WELCOME:
      printf(",\"version\":%u,\"broker\":\"%016" PRIx64 "\"", r->version, r->broker);
      printf(",\"in_flight_max\":%u,\"record_max\":%u", r->in_flight_max, r->record_max);
      break;
    case WQ_ERROR:
      printf(",\"status\":%u,\"record\":%u", r->status, r->record);
      print_field("reason", r->reason);
      break;
    case WQ_CREDIT: printf(",\"credit\":%u", r->credit); break;
    case WQ_FAILURE:
      printf(",\"status\":%u,\"attempts\":%u,\"retry_after_ms\":%u", r->status, r->attempts,
             r->retry_after_ms);
      print_field("reason", r->reason);
      break;
    case WQ_CANCEL: printf(",\"status\":%u", r->status); break;
    case WQ_REQUEST:
      printf(",\"priority\":%u,\"attempts\":%u,\"timeout_ms\":%u", r->priority, r->attempts,
             r->timeout_ms);
      print_field("service", r->service);
      break;
    case WQ_REPLY: printf(",\"service_time_us\":%u", r->service_time_us); break;
    default: break;
  }
  if (r->kind == WQ_REQUEST || r->kind == WQ_REPLY) {
    print_field("headers", r->headers);
    printf(",\"body\":[");
    if (r->part_count == 0) print_hex(r->body);
    for (unsigned i = 0; i < r->part_count; i++) {
      if (i > 0) putchar(',');
      print_hex(r->parts[i]);
    }
    putchar(']');
  }
  putchar('}');
}

static void on_message(int is_rewritten, char **words, size_t count) {
  wq_buffer buffers[WORDS_MAX];
  wq_bytes frames[WORDS_MAX];
  wq_reader reader;
  wq_record record;
  wq_batch batch = {0};
  unsigned bad = 0, good = 0;
  int got;
  for (size_t i = 0; i < count; i++) {
    buffers[i] = unhex(words[i]);
    frames[i] = wq_view(&buffers[i]);
  }
  wq_read_message(&reader, frames, count);
  printf(is_rewritten ? "{" : "{\"records\":[");
  while ((got = wq_read(&reader, &record)) > 0) {
    if (got == WQ_BAD_RECORD) bad++;
    else if (is_rewritten) wq_write(&batch, &record);
    else (void)(good++ > 0 && putchar(',')), print_record(&record);
  }
  if (is_rewritten) {
    wq_finish(&batch);
    printf("\"frames\":[");
    print_hex(wq_view(&batch.records));
    for (size_t i = 0; i < batch.frame_count; i++) {
      putchar(',');
      print_hex(wq_view(&batch.frames[i]));
    }
    printf("]}\n");
  } else {
    printf("],\"bad\":%u,\"isMalformed\":%s}\n", bad, got == WQ_MALFORMED ? "true" : "false");
  }
  wq_batch_clear(&batch);
  for (size_t i = 0; i < count; i++) wq_buffer_free(&buffers[i]);
}

/* --- records that the library does not speak, as far as all records are alike --- */

static uint64_t number(const uint8_t *at, int width) {
  uint64_t value = 0;
  while (width-- > 0) value = value << 8 | at[width];
  return value;
}

/* Of PROTOCOL 3.6, 6, 7 and 8: the size of the fixed part, whether it begins with an id (3.1), and where it
 * says how many frames are its own, if it does. */
typedef struct { uint8_t fixed, has_id, count_at; } wq_walked;
static const wq_walked walked[64] = {
    [16] = {40, 1, 37}, [17] = {40, 1, 37}, [18] = {40, 1, 0}, [19] = {32, 1, 0},
    [24] = {40, 1, 37}, [25] = {48, 1, 0},  [26] = {40, 1, 37},
    [32] = {16, 0, 3},  [33] = {16, 0, 0},  [34] = {16, 0, 0}, [35] = {16, 0, 3},
    [40] = {40, 1, 37}, [41] = {40, 1, 0},  [42] = {40, 1, 37}, [43] = {32, 1, 0},
    [44] = {40, 1, 0},  [45] = {40, 1, 0},
    [48] = {40, 1, 37}, [49] = {40, 1, 37}, [50] = {40, 1, 0}};

/* Where the parts end whose sizes a record of tasks or surveys gives; past it is its body. */
static size_t parts_end(const uint8_t *at, size_t size) {
  size_t end = 40;
  switch (at[0]) {
    case 40: case 42: case 48: return end + at[36] + number(at + 38, 2);
    case 49: return end + number(at + 38, 2);
    case 41: case 44: case 50: return end + number(at + 36, 2);
    case 45: break;
    default: return 0;
  }
  end += number(at + 32, 2);
  for (unsigned left = (unsigned)number(at + 34, 2); left > 0; left--) {
    if (end + 32 > size) return end + 32;
    end += 32 + number(at + end + 28, 2);
  }
  return end;
}

/* Prints the head of one record; how many frames it claims. */
static unsigned print_head(const uint8_t *at, size_t size) {
  const wq_walked kind = at[0] < 64 ? walked[at[0]] : (wq_walked){0, 0, 0};
  const int is_whole = size >= kind.fixed;
  const unsigned frames = is_whole && kind.count_at > 0 ? at[kind.count_at] : 0;
  printf("{\"kind\":%u,\"flags\":%u,\"a\":%u,\"frames\":%u", at[0], at[1], at[2], frames);
  printf(",\"fits\":%s", is_whole && parts_end(at, size) <= size ? "true" : "false");
  if (is_whole && kind.has_id) {
    printf(",\"session\":\"%016" PRIx64 "\",\"sequence\":\"%" PRIu64 "\"", number(at + 8, 8),
           number(at + 16, 8));
    printf(",\"slot\":%u,\"generation\":%u", (unsigned)number(at + 24, 4),
           (unsigned)number(at + 28, 4));
  }
  putchar('}');
  return frames;
}

static void on_walk(char **words, size_t count) {
  wq_buffer batch = unhex(words[0]);
  size_t at = 8, left = 0, frames = 0;
  int is_malformed = batch.size < 8 || memcmp(batch.at, "WQ\1", 3) != 0;
  if (!is_malformed) left = number(batch.at + 4, 4), is_malformed = left == 0;
  printf("{\"records\":[");
  for (size_t i = 0; i < left; i++) {
    const size_t room = batch.size - at, size = room < 8 ? 0 : number(batch.at + at + 4, 4);
    if (size < 8 || size > room) {
      is_malformed = 1;
      break;
    }
    if (i > 0) putchar(',');
    frames += print_head(batch.at + at, size);
    at += size;
  }
  if (at != batch.size || frames != count - 1) is_malformed = 1;
  printf("],\"isMalformed\":%s}\n", is_malformed ? "true" : "false");
  wq_buffer_free(&batch);
}

static void print_answer(const char *code, const wq_buffer *bytes) {
  if (code != NULL) {
    printf("{\"code\":\"%s\"}\n", code);
  } else {
    printf("{\"bytes\":");
    print_hex(wq_view(bytes));
    printf("}\n");
  }
}

static const char *repack(wq_bytes packed, wq_buffer *out) {
  const char *code = wq_check_value(packed);
  if (code != NULL) return code;
  msgpack_object value;
  msgpack_packer packer;
  msgpack_zone *zone = unpack(packed, &value);
  if (zone == NULL) return "NOT_MESSAGEPACK";
  msgpack_packer_init(&packer, out, append_packed);
  msgpack_pack_object(&packer, value);
  msgpack_zone_free(zone);
  return NULL;
}

static const char *on_body(int is_open, char **words, wq_buffer *out) {
  wq_buffer service = unhex(words[0]), id = unhex(words[2]), headers = unhex(words[3]);
  wq_buffer given = unhex(words[4]);
  const wq_context context = {wq_view(&service), words[1][2] == 'q' ? WQ_TO_WORKER : WQ_TO_CLIENT,
                              id.at, wq_view(&headers)};
  const char *code = NULL;
  if (is_open) code = wq_open(&codec, wq_view(&given), &context, out);
  else wq_seal(&codec, wq_view(&given), &context, out);
  wq_buffer_free(&service), wq_buffer_free(&id), wq_buffer_free(&headers), wq_buffer_free(&given);
  return code;
}

static const char *on_block(char **words, wq_buffer *out) {
  wq_buffer block = unhex(words[0]), dictionary = unhex(words[2]);
  const int size = atoi(words[1]);
  char *to = (char *)wq_extend(out, (size_t)size + 1);
  const int got =
      LZ4_decompress_safe_usingDict((const char *)block.at, to, (int)block.size, size,
                                    (const char *)dictionary.at, (int)dictionary.size);
  out->size = got > 0 ? (size_t)got : 0;
  wq_buffer_free(&block), wq_buffer_free(&dictionary);
  if (got < 0) return "BAD_BLOCK";
  return got == size ? NULL : "SIZE_MISMATCH";
}

/* One after the other, those to be skipped among them: liblz4 does both. */
static const char *on_frames(const char *text, wq_buffer *out) {
  wq_buffer frames = unhex(text);
  LZ4F_dctx *context;
  size_t at = 0, hint = 1;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION))) abort();
  while (at < frames.size && !LZ4F_isError(hint)) {
    size_t taken = frames.size - at, made = 65536;
    uint8_t *to = wq_extend(out, made);
    hint = LZ4F_decompress(context, to, &made, frames.at + at, &taken, NULL);
    out->size -= 65536 - made;
    at += taken;
  }
  LZ4F_freeDecompressionContext(context);
  wq_buffer_free(&frames);
  return LZ4F_isError(hint) || hint != 0 ? "BAD_FRAME" : NULL;
}

static void run(char **words, size_t count) {
  static wq_buffer dictionary;
  wq_buffer out = {0};
  const char *op = words[0], *code = NULL;
  if (!strcmp(op, "read") || !strcmp(op, "rewrite")) {
    on_message(op[2] == 'w', words + 1, count - 1);
    return;
  }
  if (!strcmp(op, "walk")) {
    on_walk(words + 1, count - 1);
    return;
  }
  if (!strcmp(op, "key")) code = wq_add_key(&codec, words[1]);
  else if (!strcmp(op, "dictionary")) {
    wq_buffer_free(&dictionary);
    dictionary = unhex(words[1]);
    wq_set_dictionary(&codec, wq_view(&dictionary));
    wq_append(&out, (wq_bytes){codec.digest, sizeof codec.digest});
  } else if (!strcmp(op, "open")) code = on_body(1, words + 1, &out);
  else if (!strcmp(op, "seal")) code = on_body(0, words + 1, &out);
  else if (!strcmp(op, "block")) code = on_block(words + 1, &out);
  else if (!strcmp(op, "frame")) code = on_frames(words[1], &out);
  else if (!strcmp(op, "repack")) {
    wq_buffer packed = unhex(words[1]);
    code = repack(wq_view(&packed), &out);
    wq_buffer_free(&packed);
  } else abort();
  print_answer(code, &out);
  wq_buffer_free(&out);
}

int main(void) {
  char *line = NULL, *words[WORDS_MAX];
  size_t room = 0;
  if (wq_codec_init(&codec, NULL) != NULL) return 1;
  while (getline(&line, &room, stdin) > 0) {
    size_t count = 0;
    char *rest = line;
    line[strcspn(line, "\n")] = '\0';
    while (rest != NULL && count < WORDS_MAX) words[count++] = strsep(&rest, "\t");
    run(words, count);
    fflush(stdout);
  }
  free(line);
  return 0;
}
