/** Four buckets an octave: a quantile read out of them is off by an eighth or less. */
const STEP_BITS = 2;
const STEPS = 1 << STEP_BITS;
/** The first bucket ends at 2^4 us; from 2^26 us (67 s) on everything is in the last. */
const FIRST_BITS = 4;
const LAST_BITS = 26;
const US_MAX = 2 ** LAST_BITS;

export const BUCKET_COUNT = (LAST_BITS - FIRST_BITS) * STEPS + 2;

/** A bucket that is not empty: values below `upToMs` that no bucket before it holds. */
export type Bucket = readonly [upToMs: number, count: number];

/** The bucket, 0..BUCKET_COUNT - 1, that a time is counted in: log-linear from 16 us to 67 s. */
export function bucketOf(ms: number): number {
  const us = ms * 1000;
  if (us >= US_MAX) return BUCKET_COUNT - 1;
  const whole = us | 0;
  if (whole < 1 << FIRST_BITS) return 0;
  const bits = 31 - Math.clz32(whole);
  return ((bits - FIRST_BITS) << STEP_BITS) + ((whole >> (bits - STEP_BITS)) & (STEPS - 1)) + 1;
}

/** The end of a bucket, which is not in it. */
export function bucketEndMs(at: number): number {
  if (at === BUCKET_COUNT - 1) return Infinity;
  const bits = FIRST_BITS + Math.floor(at / STEPS);
  return (2 ** bits * (1 + (at % STEPS) / STEPS)) / 1000;
}

/**
 * The value below which a share `q` (0..1) of what is in `buckets` lies, as if evenly spread in each
 * bucket; 0 of none. What is past the last bound counts as the bound.
 */
export function quantileMs(buckets: readonly Bucket[], q: number): number {
  let left = q * buckets.reduce((sum, [, count]) => sum + count, 0);
  for (const [upToMs, count] of buckets) {
    if (left > count) {
      left -= count;
      continue;
    }
    if (upToMs === Infinity) return US_MAX / 1000;
    const beginMs = bucketBeginMs(upToMs);
    return beginMs + ((upToMs - beginMs) * left) / count;
  }
  const last = buckets.at(-1)?.[0] ?? 0;
  return Math.min(last, US_MAX / 1000);
}

/** Where the bucket that ends at `upToMs` begins. */
function bucketBeginMs(upToMs: number): number {
  const us = Math.round(upToMs * 1000);
  if (us <= 1 << FIRST_BITS) return 0;
  // One step lower, by the width of the octave that the value just below the end is in.
  const bits = 31 - Math.clz32(us - 1);
  return (us - 2 ** (bits - STEP_BITS)) / 1000;
}
