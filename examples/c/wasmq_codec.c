/* Bodies, opened and sealed with stock libsodium and lz4: docs/codec.md in C. See wasmq.h.
 *
 * Keys agreed on with a service (AGREED) and streams (CHUNK) are not done here: BAD_FLAGS. A codec
 * does not remember what it has opened: who must not be told the same twice keeps the nonces. */
#include <assert.h>
#include <lz4.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "wasmq.h"

enum { COMPRESSED = 1, SEALED = 2, DICTIONARY = 8 };
enum { HEADER_SIZE = 20, NONCE_SIZE = 24, DIGEST_SIZE = 8, TAG_SIZE = 16 };
#define COMPRESS_FROM 128
#define COUNTER_MAX (UINT64_C(1) << 48)

static uint64_t get(const uint8_t *at, int width) {
  uint64_t value = 0;
  for (int i = width; i-- > 0;) value = value << 8 | at[i];
  return value;
}

static void set(uint8_t *at, int width, uint64_t value) {
  for (int i = 0; i < width; i++, value >>= 8) at[i] = (uint8_t)value;
}

/* zlib's CRC-32. It tells what went wrong, and proves nothing. */
static uint32_t crc32(wq_bytes bytes) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes.size; i++) {
    crc ^= bytes.at[i];
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
  }
  return ~crc;
}

/* The first `size` bytes of BLAKE2b-256 over a label and `bytes`. */
static void digest(const char *label, wq_bytes bytes, uint8_t *out, size_t size) {
  uint8_t whole[32];
  crypto_generichash_state state;
  crypto_generichash_init(&state, NULL, 0, sizeof whole);
  crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
  crypto_generichash_update(&state, bytes.at, bytes.size);
  crypto_generichash_final(&state, whole, sizeof whole);
  memcpy(out, whole, size);
}

/* --- keys --- */

/* wasmq-key-1.<id, 8 hex digits>.<key, base64url without padding> */
const char *wq_add_key(wq_codec *codec, const char *text) {
  static const char prefix[] = "wasmq-key-1.";
  wq_key *key = &codec->keys[codec->key_count];
  if (codec->key_count == WQ_KEYS_MAX) return "KEYS_MAX";
  if (strncmp(text, prefix, sizeof prefix - 1) != 0) return "KEY_INVALID";
  char *end;
  uint32_t id = (uint32_t)strtoul(text + sizeof prefix - 1, &end, 16);
  if (end != text + sizeof prefix - 1 + 8 || *end != '.') return "KEY_INVALID";
  size_t size;
  if (sodium_base642bin(key->secret, sizeof key->secret, end + 1, strlen(end + 1), "\r\n", &size,
                        NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      size != sizeof key->secret) {
    return "KEY_INVALID";
  }
  uint8_t own[4];
  digest("wasmq-key-id-1", (wq_bytes){key->secret, size}, own, sizeof own);
  key->id = (uint32_t)get(own, 4);
  if (key->id == 0) key->id = 1;
  if (key->id != id) return "KEY_INVALID";
  codec->key_count++;
  return NULL;
}

const char *wq_codec_init(wq_codec *codec, const char *keys_path) {
  *codec = (wq_codec){0};
  if (sodium_init() < 0) return "libsodium does not start";
  randombytes_buf(codec->session, sizeof codec->session);
  if (keys_path == NULL) return NULL;
  FILE *file = fopen(keys_path, "r");
  if (file == NULL) return "the file of keys cannot be read";
  const char *fault = NULL;
  char line[256];
  while (fault == NULL && fgets(line, sizeof line, file) != NULL) {
    line[strcspn(line, " \t\r\n#")] = '\0';
    if (line[0] != '\0') fault = wq_add_key(codec, line);
  }
  fclose(file);
  sodium_memzero(line, sizeof line);
  if (fault == NULL && codec->key_count == 0) fault = "the file holds no key";
  return fault;
}

void wq_set_dictionary(wq_codec *codec, wq_bytes dictionary) {
  codec->dictionary = dictionary;
  digest("wasmq-dictionary-1", dictionary, codec->digest, sizeof codec->digest);
}

/* --- the context --- */

/* | direction u8 | serviceSize u16 | service | */
static wq_buffer target_of(const wq_context *context) {
  wq_buffer target = {0};
  uint8_t *at = wq_extend(&target, 3);
  at[0] = (uint8_t)context->direction;
  set(at + 1, 2, context->service.size);
  wq_append(&target, context->service);
  return target;
}

/* | header 20 | fields | target | requestId 16 | headersSize u32 | headers | */
static wq_buffer associate(const uint8_t *header, wq_bytes fields, const wq_buffer *target,
                           const wq_context *context) {
  wq_buffer out = {0};
  wq_append(&out, (wq_bytes){header, HEADER_SIZE});
  wq_append(&out, fields);
  wq_append(&out, wq_view(target));
  wq_append(&out, (wq_bytes){context->request_id, 16});
  set(wq_extend(&out, 4), 4, context->headers.size);
  wq_append(&out, context->headers);
  return out;
}

/* --- sealing --- */

/* The block where it is smaller, else the value as it is. */
static uint8_t compress(wq_bytes packed, wq_buffer *out) {
  if (packed.size >= COMPRESS_FROM) {
    int room = (int)packed.size - 1;
    int size = LZ4_compress_default((const char *)packed.at, (char *)wq_extend(out, packed.size),
                                    (int)packed.size, room);
    out->size = size > 0 ? (size_t)size : 0;
    if (size > 0) return COMPRESSED;
  }
  wq_append(out, packed);
  return 0;
}

void wq_seal(wq_codec *codec, wq_bytes packed, const wq_context *context, wq_buffer *out) {
  const wq_key *key = codec->key_count > 0 ? &codec->keys[0] : NULL;
  assert(packed.size <= WQ_BODY_MAX);
  wq_buffer body = {0}, target = target_of(context);
  uint8_t flags = compress(packed, &body) | (key != NULL ? SEALED : 0);
  size_t payload_at = HEADER_SIZE + (key != NULL ? NONCE_SIZE : 0);
  uint8_t *envelope = wq_extend(out, payload_at + body.size + (key != NULL ? TAG_SIZE : 0));
  envelope[0] = 1, envelope[1] = flags;
  set(envelope + 2, 2, 0);
  set(envelope + 4, 4, packed.size);
  set(envelope + 8, 4, crc32(wq_view(&target)));
  set(envelope + 12, 4, crc32((wq_bytes){context->request_id, 16}));
  set(envelope + 16, 4, key != NULL ? key->id : 0);
  if (key == NULL) {
    if (body.size > 0) memcpy(envelope + payload_at, body.at, body.size);
  } else {
    /* A nonce never twice: a session of random bytes, and a counter. */
    if (codec->counter == COUNTER_MAX) {
      randombytes_buf(codec->session, sizeof codec->session);
      codec->counter = 0;
    }
    uint8_t *nonce = envelope + HEADER_SIZE;
    memcpy(nonce, codec->session, sizeof codec->session);
    set(nonce + 16, 8, codec->counter++);
    wq_buffer associated = associate(envelope, (wq_bytes){0}, &target, context);
    crypto_aead_xchacha20poly1305_ietf_encrypt(envelope + payload_at, NULL, body.at, body.size,
                                               associated.at, associated.size, NULL, nonce,
                                               key->secret);
    wq_buffer_free(&associated);
  }
  wq_buffer_free(&target);
  wq_buffer_free(&body);
}

/* --- opening --- */

static const wq_key *find_key(const wq_codec *codec, uint32_t id) {
  for (size_t i = 0; i < codec->key_count; i++) {
    if (codec->keys[i].id == id) return &codec->keys[i];
  }
  return NULL;
}

/* The payload, opened if it is sealed, into `plain`. */
static const char *decrypt(const wq_codec *codec, wq_bytes envelope, size_t fields_at,
                           size_t payload_at, const wq_context *context, wq_buffer *plain) {
  const uint8_t *at = envelope.at;
  wq_bytes payload = {at + payload_at, envelope.size - payload_at};
  const int is_sealed = at[1] & SEALED;
  if (!is_sealed && codec->key_count > 0) return "UNSEALED";
  const wq_key *key = is_sealed ? find_key(codec, (uint32_t)get(at + 16, 4)) : NULL;
  if (is_sealed && key == NULL) return "UNKNOWN_KEY";
  wq_buffer target = target_of(context);
  const char *code = NULL;
  if (crc32(wq_view(&target)) != get(at + 8, 4)) code = "REDIRECTED";
  else if (crc32((wq_bytes){context->request_id, 16}) != get(at + 12, 4)) code = "SWAPPED";
  else if (!is_sealed) wq_append(plain, payload);
  else {
    wq_bytes fields = {at + fields_at, payload_at - fields_at};
    wq_buffer associated = associate(at, fields, &target, context);
    uint8_t *out = wq_extend(plain, payload.size - TAG_SIZE);
    const uint8_t *nonce = at + HEADER_SIZE;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, payload.at, payload.size,
                                                   associated.at, associated.size, nonce,
                                                   key->secret) != 0) {
      code = "TAMPERED";
    } else if (get(nonce + 16, 8) >= COUNTER_MAX) {
      code = "BAD_COUNTER";
    }
    wq_buffer_free(&associated);
  }
  wq_buffer_free(&target);
  return code;
}

static const char *inflate(wq_bytes block, size_t size, wq_bytes dictionary, wq_buffer *out) {
  /* One byte more: a block that holds more than it says is found out. */
  uint8_t *at = wq_extend(out, size + 1);
  int got = LZ4_decompress_safe_usingDict((const char *)block.at, (char *)at, (int)block.size,
                                          (int)size + 1, (const char *)dictionary.at,
                                          (int)dictionary.size);
  out->size -= size + 1;
  if (got < 0) return "BAD_BLOCK";
  if ((size_t)got != size) return "SIZE_MISMATCH";
  out->size += size;
  return NULL;
}

const char *wq_open(const wq_codec *codec, wq_bytes envelope, const wq_context *context,
                    wq_buffer *out) {
  const uint8_t *at = envelope.at;
  if (envelope.size == 0) return "TRUNCATED";
  if (at[0] != 1) return "BAD_VERSION";
  if (envelope.size < HEADER_SIZE) return "TRUNCATED";
  const uint8_t flags = at[1];
  const size_t size = get(at + 4, 4);
  if (flags & ~(COMPRESSED | SEALED | DICTIONARY) || at[2] || at[3]) return "BAD_FLAGS";
  if (!(flags & SEALED) != (get(at + 16, 4) == 0)) return "BAD_FLAGS";
  const size_t fields_at = flags & SEALED ? HEADER_SIZE + NONCE_SIZE : HEADER_SIZE;
  const size_t payload_at = fields_at + (flags & DICTIONARY ? DIGEST_SIZE : 0);
  const size_t tag_size = flags & SEALED ? TAG_SIZE : 0;
  if (envelope.size < payload_at + tag_size) return "TRUNCATED";
  /* Checked before anything is made room for. */
  const size_t body_size = envelope.size - payload_at - tag_size;
  if (size > WQ_BODY_MAX) return "TOO_LARGE";
  if (flags & COMPRESSED ? body_size > size + (size + 254) / 255 + 16 : body_size != size) {
    return "SIZE_MISMATCH";
  }
  wq_buffer plain = {0};
  const char *code = decrypt(codec, envelope, fields_at, payload_at, context, &plain);
  const size_t start = out->size;
  if (code == NULL && flags & COMPRESSED) {
    const int is_named = flags & DICTIONARY;
    if (is_named && memcmp(at + fields_at, codec->digest, DIGEST_SIZE) != 0) {
      code = "UNKNOWN_DICTIONARY";
    } else {
      code = inflate(wq_view(&plain), size, is_named ? codec->dictionary : (wq_bytes){0}, out);
    }
  } else if (code == NULL) {
    wq_append(out, wq_view(&plain));
  }
  if (code == NULL) code = wq_check_value((wq_bytes){out->at + start, out->size - start});
  if (code != NULL) out->size = start;
  wq_buffer_free(&plain);
  return code;
}

/* --- MessagePack --- */

/* How many bytes a value's head has, and how many bytes and values follow it. */
static int head_of(uint8_t first, int *width, int *extra, int *is_bytes) {
  *extra = 0, *is_bytes = 1;
  switch (first) {
    case 0xc4: case 0xd9: *width = 1; return 1;
    case 0xc5: case 0xda: *width = 2; return 1;
    case 0xc6: case 0xdb: *width = 4; return 1;
    case 0xc7: case 0xc8: case 0xc9: *width = 1 << (first - 0xc7), *extra = 1; return 1;
    case 0xdc: case 0xde: *width = 2, *is_bytes = 0; return 1;
    case 0xdd: case 0xdf: *width = 4, *is_bytes = 0; return 1;
    default: return 0;
  }
}

const char *wq_check_value(wq_bytes packed) {
  uint64_t values = 1; /* Still to come; each takes a byte at least. */
  size_t at = 0;
  while (values > 0) {
    size_t left = packed.size - at;
    if (values > left) return "TRUNCATED";
    const uint8_t first = packed.at[at++];
    uint64_t skipped = 0, inner = 0;
    int width, extra, is_bytes;
    left--;
    if (head_of(first, &width, &extra, &is_bytes)) {
      if (left < (size_t)width) return "TRUNCATED";
      uint64_t count = 0;
      for (int i = 0; i < width; i++) count = count << 8 | packed.at[at + (size_t)i];
      skipped = (uint64_t)width + (is_bytes ? count + (uint64_t)extra : 0);
      if (!is_bytes) inner = first >= 0xde ? count * 2 : count;
    } else if (first == 0xc1) {
      return "RESERVED_BYTE";
    } else if (first >= 0x80 && first <= 0x8f) {
      inner = (uint64_t)(first & 15) * 2;
    } else if (first >= 0x90 && first <= 0x9f) {
      inner = first & 15;
    } else if (first >= 0xa0 && first <= 0xbf) {
      skipped = first & 31;
    } else if (first >= 0xca && first <= 0xd3) {
      static const uint8_t sizes[10] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8};
      skipped = sizes[first - 0xca];
    } else if (first >= 0xd4 && first <= 0xd8) {
      skipped = 1 + (UINT64_C(1) << (first - 0xd4));
    }
    if (skipped > left) return "TRUNCATED";
    at += (size_t)skipped;
    values += inner;
    values--;
  }
  return at == packed.size ? NULL : "TRAILING_BYTES";
}
