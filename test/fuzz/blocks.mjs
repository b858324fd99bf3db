// LZ4 blocks by their grammar (lz4_Block_format.md): lengths at the edges of their forms and of the
// copies by 16, offsets at the edges of what is there, and some of both beyond.

const LITERALS = [0, 0, 1, 3, 14, 15, 16, 17, 31, 32, 33, 255 + 14, 255 + 15, 255 + 16];
const MATCHES = [4, 5, 15, 16, 17, 18, 19, 20, 31, 32, 33, 19 + 254, 19 + 255, 19 + 256];
/** A match that is larger than anyone allows. */
const BOMB = 70_000;
const OFFSETS = [1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 31, 32, 64];

/** @typedef {import("../random.mjs").Random} Random */
/** @typedef {import("./bytes.mjs").Bytes} Bytes */

/** @param {Bytes} out @param {number} length what is left of it beyond the token */
function extra(out, length) {
  let left = length - 15;
  if (left < 0) return;
  for (; left >= 255; left -= 255) out.u8(255);
  out.u8(left);
}

/**
 * Writes a block and returns the bytes that it holds, if it is one.
 * @param {Random} random
 * @param {Bytes} out
 * @returns {number}
 */
export function writeBlock(random, out) {
  let produced = 0;
  const count = random.below(12);
  for (let index = 0; index < count; index++) {
    const literals = random.chance(80) ? random.pick(LITERALS) : random.below(600);
    let match = random.chance(80) ? random.pick(MATCHES) : 4 + random.below(3000);
    if (random.below(200) === 0) match = BOMB;
    out.u8((Math.min(literals, 15) << 4) | Math.min(match - 4, 15));
    extra(out, literals);
    out.noise(random, literals);
    produced += literals;
    const near = random.chance(90) ? Math.min(random.pick(OFFSETS), produced) : produced;
    const wrong = random.pick([0, produced + 1, produced + 16, 65_535]);
    const offset = random.below(100) === 0 ? wrong : near;
    out.u8(offset);
    out.u8(offset >>> 8);
    extra(out, match - 4);
    produced += match;
  }
  const last = random.pick([0, 1, 5, 12, 15, 16, 40]);
  out.u8((Math.min(last, 15) << 4) | (random.below(100) === 0 ? 1 : 0));
  extra(out, last);
  out.noise(random, last);
  return produced + last;
}
