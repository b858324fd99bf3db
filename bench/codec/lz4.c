// The row of C, for liblz4.mjs:  lz4 ROUNDS FILE   with FILE as | size u32 | bytes | of each input.
// Prints the medians in us a call, and the mean block size: `compress decompress size`.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// Of lz4.h, declared here: the library is often there without its header.
int LZ4_compress_default(const char *source, char *target, int size, int capacity);
int LZ4_decompress_safe(const char *source, char *target, int size, int capacity);

enum { INPUTS_MAX = 4096, ROUNDS_MAX = 1024 };

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  static char *plains[INPUTS_MAX], *blocks[INPUTS_MAX];
  static int plain_sizes[INPUTS_MAX], block_sizes[INPUTS_MAX];
  static double compress_us[ROUNDS_MAX], decompress_us[ROUNDS_MAX];
  if (argc != 3) return 2;
  const int rounds = atoi(argv[1]);
  FILE *file = fopen(argv[2], "rb");
  if (file == NULL || rounds < 1 || rounds > ROUNDS_MAX) return 2;
  int count = 0;
  int capacity = 0;
  double total = 0;
  uint32_t size;
  while (count < INPUTS_MAX && fread(&size, 4, 1, file) == 1) {
    const int room = size + size / 255 + 16;
    plains[count] = malloc(size);
    blocks[count] = malloc(room);
    if (fread(plains[count], 1, size, file) != size) return 2;
    plain_sizes[count] = size;
    block_sizes[count] = LZ4_compress_default(plains[count], blocks[count], size, room);
    total += block_sizes[count];
    if (room > capacity) capacity = room;
    count++;
  }
  char *out = malloc(capacity);
  for (int round = 0; round < rounds; round++) {
    double began = now_us();
    for (int i = 0; i < count; i++) LZ4_compress_default(plains[i], out, plain_sizes[i], capacity);
    compress_us[round] = (now_us() - began) / count;
    began = now_us();
    for (int i = 0; i < count; i++) {
      if (LZ4_decompress_safe(blocks[i], out, block_sizes[i], capacity) != plain_sizes[i]) return 1;
    }
    decompress_us[round] = (now_us() - began) / count;
  }
  qsort(compress_us, rounds, sizeof(double), by_value);
  qsort(decompress_us, rounds, sizeof(double), by_value);
  printf("%f %f %f\n", compress_us[rounds / 2], decompress_us[rounds / 2], total / count);
  return 0;
}
