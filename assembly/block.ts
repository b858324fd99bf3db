import {
  BLOCK_NO_END,
  BLOCK_OFFSET_RANGE,
  BLOCK_OFFSET_ZERO,
  BLOCK_TRUNCATED,
  TOO_LARGE,
  fail,
} from "./status";

// LZ4 block format (lz4_Block_format.md): sequences of
//   | token u8: literals << 4 | match - 4 | 255* extra | literals | offset u16 | 255* extra |
// the last of which ends after its literals.

/**
 * Walks an LZ4 block without writing anything.
 *
 * @param offset where the block begins in linear memory
 * @param size its size in bytes
 * @param sizeMax the walk stops with TOO_LARGE once the output would pass this many bytes
 * @param history how many bytes before its output the block may refer to
 * @returns the exact size of the decompressed bytes, or a negative status. A block that passes
 *   never reads before its output's history nor past its own end, in any decoder.
 */
export function blockSize(offset: i32, size: i32, sizeMax: i32, history: i32): i32 {
  const end = offset + size;
  let at = offset;
  // 64 bits: a run of 255s adds up to less than 255 * size, which may pass 31 bits.
  let produced: i64 = 0;
  while (at < end) {
    const token = load<u8>(at++) as i32;
    let literals = (token >> 4) as i64;
    if (literals == 15) {
      let extra: i32;
      do {
        if (at >= end) return fail(BLOCK_TRUNCATED, at);
        extra = load<u8>(at++) as i32;
        literals += extra;
      } while (extra == 255);
    }
    if (literals > ((end - at) as i64)) return fail(BLOCK_TRUNCATED, at);
    at += literals as i32;
    produced += literals;
    if (produced > (sizeMax as i64)) return fail(TOO_LARGE, at);
    if (at == end) {
      // The block ends with literals; match bits in that last token mean that its tail is lost.
      return (token & 15) == 0 ? (produced as i32) : fail(BLOCK_TRUNCATED, at);
    }
    if (end - at < 2) return fail(BLOCK_TRUNCATED, at);
    const distance = load<u16>(at) as i32;
    if (distance == 0) return fail(BLOCK_OFFSET_ZERO, at);
    if ((distance as i64) > produced + (history as i64)) return fail(BLOCK_OFFSET_RANGE, at);
    at += 2;
    let match = (token & 15) as i64;
    if (match == 15) {
      let extra: i32;
      do {
        if (at >= end) return fail(BLOCK_TRUNCATED, at);
        extra = load<u8>(at++) as i32;
        match += extra;
      } while (extra == 255);
    }
    produced += match + 4;
    if (produced > (sizeMax as i64)) return fail(TOO_LARGE, at);
  }
  return fail(BLOCK_NO_END, at);
}
