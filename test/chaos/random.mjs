/** Whole numbers from a seed: mulberry32 (Ettinger). */
export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed | 0;
  }

  /**
   * 0 up to and without `below`.
   * @param {number} below
   */
  below(below) {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  }

  /** @param {number} percent */
  chance(percent) {
    return this.below(100) < percent;
  }

  /**
   * @template T
   * @param {readonly T[]} items
   */
  pick(items) {
    return items[this.below(items.length)];
  }
}
