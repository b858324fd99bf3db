import type { BlockCompressor } from "./block.js";

/** Below this a block's own overhead and the time outweigh what repeats. */
const COMPRESSED_SIZE_MIN = 128;
/** From here on a sample is tried first: compressing in vain would cost more than the rest. */
const PROBED_SIZE_MIN = 16 * 1024;
/** With a dictionary: less than its digest and a token would take, and what gains a fifth at most. */
export const DICTIONARY_PLAIN_MIN = 24;
export const DICTIONARY_PLAIN_MAX = 16 * 1024;
const SLICE_COUNT = 4;
const SLICE_SIZE = 1024;

const sample = new Uint8Array(SLICE_COUNT * SLICE_SIZE);

/**
 * Whether compression may pay. Large bytes are judged by four slices spread over them; bytes that
 * only repeat from slice to slice are taken for incompressible.
 */
export function isWorthCompressing(plain: Uint8Array, blocks: BlockCompressor): boolean {
  if (plain.length < COMPRESSED_SIZE_MIN) return false;
  if (plain.length < PROBED_SIZE_MIN) return true;
  const step = Math.floor((plain.length - SLICE_SIZE) / (SLICE_COUNT - 1));
  for (let slice = 0; slice < SLICE_COUNT; slice++) {
    const from = slice * step;
    sample.set(plain.subarray(from, from + SLICE_SIZE), slice * SLICE_SIZE);
  }
  const isWorth = blocks.compress(sample).length < (sample.length * 31) / 32;
  sample.fill(0);
  return isWorth;
}
