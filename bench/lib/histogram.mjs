const SUB_BITS = 6;
const SUB_COUNT = 1 << SUB_BITS;
const BUCKET_COUNT = (32 - SUB_BITS) * SUB_COUNT;
const TICKS_PER_US = 10;

/**
 * Latencies in memory of fixed size: ticks of 0.1 us, exact below 128 of them, then 64 buckets to
 * each doubling (as HdrHistogram has it), so that a figure is within 1.6% up to 200 s.
 */
export class Histogram {
  #counts = new Float64Array(BUCKET_COUNT);
  count = 0;

  /** @param {number} us */
  add(us) {
    const ticks = Math.min(Math.max(us, 0) * TICKS_PER_US, 0x7fffffff) | 0;
    const shift = Math.max(0, 31 - Math.clz32(ticks) - SUB_BITS);
    this.#counts[shift * SUB_COUNT + (ticks >> shift)]++;
    this.count++;
  }

  /** What is in it, few numbers where it is mostly empty: bucket and count by turns. */
  entries() {
    return [...this.#counts].flatMap((count, bucket) => (count === 0 ? [] : [bucket, count]));
  }

  /** Adds what is in another. @param {readonly number[]} entries */
  merge(entries) {
    for (let at = 0; at < entries.length; at += 2) {
      this.#counts[entries[at]] += entries[at + 1];
      this.count += entries[at + 1];
    }
  }

  /**
   * The latency, in us, that this share of all stayed within.
   * @param {number} share 0..1
   */
  quantile(share) {
    const rank = Math.max(1, Math.ceil(share * this.count));
    let seen = 0;
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      seen += this.#counts[bucket];
      if (seen >= rank) return middleOf(bucket) / TICKS_PER_US;
    }
    return 0;
  }
}

/** @param {number} bucket */
function middleOf(bucket) {
  if (bucket < 2 * SUB_COUNT) return bucket + 0.5;
  const shift = (bucket >> SUB_BITS) - 1;
  return (bucket - shift * SUB_COUNT + 0.5) * 2 ** shift;
}
