import { grown } from "./columns.js";

/** No timer in this bucket, no bucket for this timer. */
const NONE = -1;
const LEVEL_COUNT = 4;
const LEVEL_BITS = 8;
const LEVEL_SIZE = 1 << LEVEL_BITS;
const LEVEL_MASK = LEVEL_SIZE - 1;
/** Furthest a timer may lie ahead: 2^32 ms, 49 days. */
const SPAN_MS = 2 ** (LEVEL_COUNT * LEVEL_BITS);

/**
 * One timer a slot, in a hierarchical timing wheel (Varghese and Lauck, 1987): four levels
 * of 256 buckets, the first of 1 ms each. Setting and clearing cost the same whatever the
 * count; a timer fires at the first `advance` at or after its time, rounded up to 1 ms.
 */
export class Deadlines {
  count = 0;
  readonly #heads = new Int32Array(LEVEL_COUNT * LEVEL_SIZE).fill(NONE);
  readonly #levelCounts = new Int32Array(LEVEL_COUNT);
  #bucket = new Int32Array(0);
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #at = new Float64Array(0);
  /** Every timer before this whole millisecond has fired. */
  #nowMs: number;

  constructor(startMs = 0) {
    this.#nowMs = Math.floor(startMs);
  }

  /**
   * Sets the timer of `slot` to go off at `atMs`, and not when it was set to before. Given the present time, a wheel
   * that stood still while it was empty has nothing to catch up with.
   */
  set(slot: number, atMs: number, nowMs = this.#nowMs): void {
    if (this.count === 0 && nowMs > this.#nowMs) this.#nowMs = Math.floor(nowMs);
    if (slot >= this.#at.length) this.#grow(slot + 1);
    else if (this.#bucket[slot] !== NONE) this.clear(slot);
    this.#at[slot] = Math.max(Math.ceil(Math.min(atMs, this.#nowMs + SPAN_MS - 1)), this.#nowMs);
    this.count++;
    this.#link(slot);
  }

  /** Clears the timer of `slot`, if it has one. */
  clear(slot: number): void {
    if (slot >= this.#bucket.length || this.#bucket[slot] === NONE) return;
    this.#unlink(slot);
    this.count--;
  }

  /** Fires, in order of time to the millisecond, what is due at `nowMs`. */
  advance(nowMs: number, fire: (slot: number) => void): void {
    const target = Math.floor(nowMs);
    while (this.#nowMs <= target) {
      if (this.count === 0) {
        this.#nowMs = target + 1;
        return;
      }
      // Timers set while firing for a time that has come land here again, and fire in turn; one that is set when there is
      // no other moves the wheel on, to another bucket.
      for (let slot = this.#first(); slot !== NONE; slot = this.#first()) {
        this.clear(slot);
        fire(slot);
      }
      this.#nowMs = this.#levelCounts[0] === 0 ? this.#skip(target) : this.#nowMs + 1;
      if ((this.#nowMs & LEVEL_MASK) === 0) this.#cascade();
    }
  }

  /** A timer of the present millisecond. */
  #first(): number {
    return this.#heads[this.#nowMs & LEVEL_MASK];
  }

  /** The next millisecond worth looking at: the turn of the first level, or past the target. */
  #skip(target: number): number {
    const turn = (Math.floor(this.#nowMs / LEVEL_SIZE) + 1) * LEVEL_SIZE;
    return Math.min(turn, target + 1);
  }

  /** The first level has turned: the next bucket of each level above comes down. */
  #cascade(): void {
    let ticks = this.#nowMs;
    for (let level = 1; level < LEVEL_COUNT; level++) {
      ticks = Math.floor(ticks / LEVEL_SIZE);
      const bucket = level * LEVEL_SIZE + (ticks & LEVEL_MASK);
      let slot = this.#heads[bucket];
      while (slot !== NONE) {
        this.#unlink(slot);
        this.#link(slot);
        slot = this.#heads[bucket];
      }
      if ((ticks & LEVEL_MASK) !== 0) return;
    }
  }

  #link(slot: number): void {
    const at = this.#at[slot];
    const ahead = at - this.#nowMs;
    let level = 0;
    let ticks = at;
    for (let span = LEVEL_SIZE; ahead >= span && level < LEVEL_COUNT - 1; span *= LEVEL_SIZE) {
      level++;
      ticks = Math.floor(ticks / LEVEL_SIZE);
    }
    const bucket = level * LEVEL_SIZE + (ticks & LEVEL_MASK);
    const head = this.#heads[bucket];
    this.#bucket[slot] = bucket;
    this.#next[slot] = head;
    this.#previous[slot] = NONE;
    if (head !== NONE) this.#previous[head] = slot;
    this.#heads[bucket] = slot;
    this.#levelCounts[level]++;
  }

  #unlink(slot: number): void {
    const bucket = this.#bucket[slot];
    const next = this.#next[slot];
    const previous = this.#previous[slot];
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else this.#heads[bucket] = next;
    this.#bucket[slot] = NONE;
    this.#levelCounts[bucket >> LEVEL_BITS]--;
  }

  #grow(least: number): void {
    const first = this.#at.length;
    const capacity = Math.max(1024, first * 2, least);
    this.#at = grown(this.#at, new Float64Array(capacity));
    this.#next = grown(this.#next, new Int32Array(capacity));
    this.#previous = grown(this.#previous, new Int32Array(capacity));
    this.#bucket = grown(this.#bucket, new Int32Array(capacity)).fill(NONE, first);
  }
}
