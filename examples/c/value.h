/* MessagePack for the examples: a few words in, JSON out. */
#ifndef VALUE_H
#define VALUE_H

#include <msgpack.h>
#include <stdio.h>
#include "wasmq.h"

/* Appends `name=value,name=value` as a map, anything else as a string; whole numbers as numbers. */
void pack_words(const char *words, wq_buffer *out);
/* NULL where libmsgpack cannot read it: more than its 32 levels. Freed by msgpack_zone_free. */
msgpack_zone *unpack(wq_bytes packed, msgpack_object *out);
void print_json(FILE *out, const msgpack_object *value);
/* msgpack_packer's callback: appends to a wq_buffer. */
int append_packed(void *buffer, const char *bytes, size_t size);

#endif
