/** First in, first out, in a ring that grows as it must; a large one is given back when it is empty. */
export class Fifo<T> {
  count = 0;
  #ring: (T | undefined)[] = [];
  #head = 0;

  push(item: T): void {
    if (this.count === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.count++) & (this.#ring.length - 1)] = item;
  }

  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.#ring[this.#head];
    this.#ring[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    if (--this.count === 0 && this.#ring.length > RING_KEPT_MAX) this.clear();
    return item;
  }

  /** Takes the last one. */
  pop(): T | undefined {
    if (this.count === 0) return undefined;
    const at = (this.#head + --this.count) & (this.#ring.length - 1);
    const item = this.#ring[at];
    this.#ring[at] = undefined;
    return item;
  }

  peek(): T | undefined {
    return this.count === 0 ? undefined : this.#ring[this.#head];
  }

  /** The one that `index` others stand before. */
  at(index: number): T | undefined {
    if (index >= this.count) return undefined;
    return this.#ring[(this.#head + index) & (this.#ring.length - 1)];
  }

  clear(): void {
    this.count = 0;
    this.#head = 0;
    this.#ring = [];
  }

  #grow(): void {
    const old = this.#ring;
    const size = Math.max(RING_MIN, old.length * 2);
    const ring: (T | undefined)[] = new Array(size).fill(undefined);
    for (let i = 0; i < this.count; i++) ring[i] = old[(this.#head + i) & (old.length - 1)];
    this.#ring = ring;
    this.#head = 0;
  }
}

/** Powers of two, so that a mask wraps. */
const RING_MIN = 8;
const RING_KEPT_MAX = 64;
