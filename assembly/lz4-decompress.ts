import {
  BLOCK_NO_END,
  BLOCK_OFFSET_RANGE,
  BLOCK_OFFSET_ZERO,
  BLOCK_TRUNCATED,
  TOO_LARGE,
  fail,
} from "./status";

// One LZ4 block to its plain bytes, validated on the way: the same blocks pass as blockSize() of
// block.ts lets pass, and nothing is copied before its bounds were checked exactly.
//
//   | dictionary | slack | ... | plain, target..target + targetSize | slack | block | slack |
//                  64 B                                               64 B            64 B
//
// Copies go 16 bytes at a time, so up to 16 beyond the checked ones, which may be none: into
// plain text that is yet to come, or into the slack, which is the area's.
//
// A dictionary lies anywhere before, with 64 bytes of slack of its own. The block means it to stand
// right before the plain text, so a distance that reaches back into it crosses the gap between the
// two: a subtraction, not a branch, for which of the two a match is in cannot be foreseen.

/** For each offset below 16: the 16 indices that repeat so many bytes, | 0 1 .. offset - 1 0 1 .. | */
const patterns = memory.data(256, 16);
/** And how far a store of 16 such bytes carries: the largest multiple of the offset up to 16. */
const strides = memory.data(16, 16);

for (let offset = 1; offset < 16; offset++) {
  for (let index = 0; index < 16; index++) {
    store<u8>(patterns + offset * 16 + index, index % offset);
  }
  store<u8>(strides + offset, 16 - (16 % offset));
}

/** Copies `first` bytes, then `second` of those that begin at `next`, byte by byte as they grow. */
function copyAcross(out: usize, from: usize, first: usize, next: usize, second: usize): usize {
  for (let done: usize = 0; done < first; done++) store<u8>(out++, load<u8>(from + done));
  for (let done: usize = 0; done < second; done++) store<u8>(out++, load<u8>(next + done));
  return out;
}

/** Whether there is a dictionary, as a type: each has a function of its own, without the branch. */
type Alone = i32;
type WithDictionary = i64;

/** Both of the functions below. To ask for a dictionary costs a third of the time at 256 KiB. */
function inflate<Mode>(
  source: i32,
  size: i32,
  target: i32,
  targetSize: i32,
  history: i32,
  dictionary: i32,
  dictionarySize: usize,
): i32 {
  const isUsing = sizeof<Mode>() == sizeof<WithDictionary>();
  const start = target as usize;
  const earliest = start - (history as usize);
  const limit = start + (max(targetSize, 0) as usize);
  const end = (source as usize) + (max(size, 0) as usize);
  const dictionaryEnd = (dictionary as usize) + dictionarySize;
  const gap = start - dictionaryEnd;
  let at = source as usize;
  let out = start;
  while (at < end) {
    const token = load<u8>(at++) as usize;
    let literals = token >> 4;
    if (literals == 15) {
      // 64 bits: a run of 255s adds up to less than 255 * size, which may pass 32.
      let long: u64 = 15;
      let extra: u64;
      do {
        if (at >= end) return fail(BLOCK_TRUNCATED, at as i32);
        extra = load<u8>(at++) as u64;
        long += extra;
      } while (extra == 255);
      if (long > ((end - at) as u64)) return fail(BLOCK_TRUNCATED, at as i32);
      literals = long as usize;
      if (literals > limit - out) return fail(TOO_LARGE, at as i32);
      v128.store(out, v128.load(at));
      for (let done: usize = 16; done < literals; done += 16) {
        v128.store(out + done, v128.load(at + done));
      }
    } else {
      if (literals > end - at) return fail(BLOCK_TRUNCATED, at as i32);
      if (literals > limit - out) return fail(TOO_LARGE, at as i32);
      v128.store(out, v128.load(at));
    }
    at += literals;
    out += literals;
    if (at == end) {
      // The block ends with literals; match bits in that last token mean that its tail is lost.
      return (token & 15) == 0 ? ((out - start) as i32) : fail(BLOCK_TRUNCATED, at as i32);
    }
    if (end - at < 2) return fail(BLOCK_TRUNCATED, at as i32);
    const distance = load<u16>(at) as usize;
    if (distance == 0) return fail(BLOCK_OFFSET_ZERO, at as i32);
    const isBefore = isUsing && distance > out - start;
    if (isUsing) {
      if (distance > out - start + dictionarySize) return fail(BLOCK_OFFSET_RANGE, at as i32);
    } else if (distance > out - earliest) {
      return fail(BLOCK_OFFSET_RANGE, at as i32);
    }
    at += 2;
    let match = token & 15;
    if (match == 15) {
      let long: u64 = 15;
      let extra: u64;
      do {
        if (at >= end) return fail(BLOCK_TRUNCATED, at as i32);
        extra = load<u8>(at++) as u64;
        long += extra;
      } while (extra == 255);
      if (long + 4 > ((limit - out) as u64)) return fail(TOO_LARGE, at as i32);
      match = long as usize;
    }
    match += 4;
    if (match > limit - out) return fail(TOO_LARGE, at as i32);
    let from = out - distance;
    if (isUsing) {
      from -= select<usize>(gap, 0, isBefore);
      const tail = distance - (out - start);
      if (isBefore && tail < match) {
        // From the dictionary's end on into the first plain bytes, which the gap is not between.
        out = copyAcross(out, dictionaryEnd - tail, tail, start, match - tail);
        continue;
      }
    }
    if (distance >= 16) {
      v128.store(out, v128.load(from));
      for (let done: usize = 16; done < match; done += 16) {
        v128.store(out + done, v128.load(from + done));
      }
    } else {
      const pattern = i8x16.swizzle(v128.load(from), v128.load(patterns + (distance << 4)));
      const stride = load<u8>(strides + distance) as usize;
      for (let done: usize = 0; done < match; done += stride) v128.store(out + done, pattern);
    }
    out += match;
  }
  return fail(BLOCK_NO_END, at as i32);
}

/**
 * Decompresses one LZ4 block. Behind both areas there are 64 bytes of slack.
 *
 * @param source where the block begins in linear memory
 * @param size its size in bytes
 * @param target where the plain bytes go; the areas do not overlap
 * @param targetSize the most bytes that there may be
 * @param history how many bytes right before the target the block may refer to
 * @returns the exact size of the plain bytes, or a negative status
 */
export function decompress(
  source: i32,
  size: i32,
  target: i32,
  targetSize: i32,
  history: i32,
): i32 {
  return inflate<Alone>(source, size, target, targetSize, history, 0, 0);
}

/** As decompress(), of a block that may refer back into a dictionary. */
export function decompressUsing(
  source: i32,
  size: i32,
  target: i32,
  targetSize: i32,
  dictionary: i32,
  dictionarySize: i32,
): i32 {
  return inflate<WithDictionary>(
    source,
    size,
    target,
    targetSize,
    0,
    dictionary,
    dictionarySize as usize,
  );
}
