/* See value.h. */
#include "value.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int append_packed(void *buffer, const char *bytes, size_t size) {
  wq_append(buffer, (wq_bytes){(const uint8_t *)bytes, size});
  return 0;
}

static void pack_word(msgpack_packer *packer, const char *word, size_t size) {
  char text[24], *end;
  if (size > 0 && size < sizeof text) {
    memcpy(text, word, size);
    text[size] = '\0';
    long long number = strtoll(text, &end, 10);
    if (*end == '\0') {
      msgpack_pack_int64(packer, number);
      return;
    }
  }
  msgpack_pack_str_with_body(packer, word, size);
}

void pack_words(const char *words, wq_buffer *out) {
  msgpack_packer packer;
  msgpack_packer_init(&packer, out, append_packed);
  if (strchr(words, '=') == NULL) {
    pack_word(&packer, words, strlen(words));
    return;
  }
  size_t count = 1;
  for (const char *at = words; (at = strchr(at, ',')) != NULL; at++) count++;
  msgpack_pack_map(&packer, count);
  for (const char *at = words; count-- > 0;) {
    const size_t size = strcspn(at, ","), name = strcspn(at, "=,");
    msgpack_pack_str_with_body(&packer, at, name);
    if (name < size) pack_word(&packer, at + name + 1, size - name - 1);
    else msgpack_pack_nil(&packer);
    at += size + 1;
  }
}

msgpack_zone *unpack(wq_bytes packed, msgpack_object *out) {
  msgpack_zone *zone = wq_must(msgpack_zone_new(MSGPACK_ZONE_CHUNK_SIZE));
  size_t at = 0;
  const char *bytes = (const char *)packed.at;
  if (msgpack_unpack(bytes, packed.size, &at, zone, out) == MSGPACK_UNPACK_SUCCESS) return zone;
  msgpack_zone_free(zone);
  return NULL;
}

static void print_text(FILE *out, const char *text, size_t size) {
  fputc('"', out);
  for (size_t i = 0; i < size; i++) {
    const unsigned char c = (unsigned char)text[i];
    if (c == '"' || c == '\\') fprintf(out, "\\%c", c);
    else if (c < 0x20) fprintf(out, "\\u%04x", c);
    else fputc(c, out);
  }
  fputc('"', out);
}

static void print_bytes(FILE *out, const char *bytes, size_t size) {
  fputc('"', out);
  for (size_t i = 0; i < size; i++) fprintf(out, "%02x", (unsigned char)bytes[i]);
  fputc('"', out);
}

static void print_map(FILE *out, const msgpack_object_map *map) {
  fputc('{', out);
  for (uint32_t i = 0; i < map->size; i++) {
    const msgpack_object *key = &map->ptr[i].key;
    if (i > 0) fputc(',', out);
    if (key->type == MSGPACK_OBJECT_STR) print_json(out, key);
    else fputc('"', out), print_json(out, key), fputc('"', out);
    fputc(':', out);
    print_json(out, &map->ptr[i].val);
  }
  fputc('}', out);
}

void print_json(FILE *out, const msgpack_object *value) {
  switch (value->type) {
    case MSGPACK_OBJECT_NIL: fputs("null", out); return;
    case MSGPACK_OBJECT_BOOLEAN: fputs(value->via.boolean ? "true" : "false", out); return;
    case MSGPACK_OBJECT_POSITIVE_INTEGER: fprintf(out, "%" PRIu64, value->via.u64); return;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: fprintf(out, "%" PRId64, value->via.i64); return;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: fprintf(out, "%.17g", value->via.f64); return;
    case MSGPACK_OBJECT_STR: print_text(out, value->via.str.ptr, value->via.str.size); return;
    case MSGPACK_OBJECT_BIN: print_bytes(out, value->via.bin.ptr, value->via.bin.size); return;
    case MSGPACK_OBJECT_EXT: print_bytes(out, value->via.ext.ptr, value->via.ext.size); return;
    case MSGPACK_OBJECT_MAP: print_map(out, &value->via.map); return;
    case MSGPACK_OBJECT_ARRAY:
      fputc('[', out);
      for (uint32_t i = 0; i < value->via.array.size; i++) {
        if (i > 0) fputc(',', out);
        print_json(out, &value->via.array.ptr[i]);
      }
      fputc(']', out);
      return;
  }
}
