/** @typedef {import("../random.mjs").Random} Random */
/** @typedef {import("./bytes.mjs").Bytes} Bytes */

const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
/** Heads of MessagePack beyond the short forms, and LZ4 tokens. */
const HEADS = Array.from({ length: 32 }, (_, index) => 0xc0 + index).concat(0x0f, 0xf0, 0xff, 0x1f);
const RANGE_SIZE_MAX = 64;

/**
 * One change of the bytes.
 * @param {Random} random
 * @param {Bytes} out
 * @param {() => Uint8Array} other gives other bytes of the same kind
 */
function change(random, out, other) {
  const { all } = out;
  const at = random.below(out.size);
  const size = Math.min(1 + random.below(RANGE_SIZE_MAX), out.size - at);
  switch (random.below(10)) {
    case 0:
      all[at] ^= 1 << random.below(8);
      return;
    case 1:
      all[at] = random.below(256);
      return;
    case 2:
      all[at] = random.pick(HEADS);
      return;
    case 3:
    case 4: {
      // A size at its edges, in either order of bytes.
      const value = random.chance(70) ? random.pick(EDGES) : out.size - at + random.below(5) - 2;
      const width = random.pick([1, 2, 4]);
      const isBig = random.chance(50);
      for (let index = 0; index < width && at + index < out.size; index++) {
        all[at + index] = value >>> (8 * (isBig ? width - 1 - index : index));
      }
      return;
    }
    case 5:
      all.copyWithin(at, at + size, out.size);
      out.size -= size;
      return;
    case 6: {
      const grown = Math.min(size, out.room);
      all.copyWithin(at + grown, at, out.size);
      out.size += grown;
      if (random.chance(50)) for (let index = 0; index < grown; index++) all[at + index] = index;
      return;
    }
    case 7:
      out.size = at;
      return;
    case 8: {
      // The head of one, the tail of another.
      const tail = other();
      out.size = at;
      out.put(tail.subarray(random.below(tail.length + 1)));
      return;
    }
    default: {
      const piece = other();
      const from = random.below(piece.length + 1);
      const count = Math.min(size, piece.length - from);
      all.set(piece.subarray(from, from + count), at);
    }
  }
}

/**
 * Some changes of the bytes; few, for each further one makes it likelier that the first check
 * refuses them.
 * @param {Random} random
 * @param {Bytes} out
 * @param {() => Uint8Array} other
 */
export function mutate(random, out, other) {
  const count = random.pick([1, 1, 1, 2, 2, 3, 5]);
  for (let index = 0; index < count && out.size > 0; index++) change(random, out, other);
}
