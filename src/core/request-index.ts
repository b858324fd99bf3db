import { NONE, type Requests } from "./requests.js";

/**
 * Finds a client's request by the client's own number for it: an open-addressing table of
 * slots with linear probing and deletion by backward shift (Knuth, TAOCP 3, 6.4 R).
 * Allocates only when it grows. At most half full.
 */
export class RequestIndex {
  readonly #requests: Requests;
  #table = new Int32Array(2048).fill(NONE);
  #mask = 2047;
  #count = 0;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  get count(): number {
    return this.#count;
  }

  find(client: number, sequence: number): number {
    const { client: clients, sequence: sequences } = this.#requests;
    let at = hash(client, sequence) & this.#mask;
    for (;;) {
      const slot = this.#table[at];
      if (slot === NONE) return NONE;
      if (sequences[slot] === sequence && clients[slot] === client) return slot;
      at = (at + 1) & this.#mask;
    }
  }

  /** Adds a slot whose client and sequence are set and not in the table yet. */
  add(slot: number): void {
    if (++this.#count * 2 > this.#table.length) this.#grow();
    this.#place(slot);
  }

  delete(slot: number): void {
    const table = this.#table;
    const mask = this.#mask;
    let hole = this.#home(slot);
    while (table[hole] !== slot) hole = (hole + 1) & mask;
    // Pull back whatever the hole would cut off from its home.
    for (let at = (hole + 1) & mask; table[at] !== NONE; at = (at + 1) & mask) {
      const home = this.#home(table[at]);
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        table[hole] = table[at];
        hole = at;
      }
    }
    table[hole] = NONE;
    this.#count--;
  }

  #home(slot: number): number {
    return hash(this.#requests.client[slot], this.#requests.sequence[slot]) & this.#mask;
  }

  #place(slot: number): void {
    let at = this.#home(slot);
    while (this.#table[at] !== NONE) at = (at + 1) & this.#mask;
    this.#table[at] = slot;
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Int32Array(old.length * 2).fill(NONE);
    this.#mask = this.#table.length - 1;
    for (const slot of old) if (slot !== NONE) this.#place(slot);
  }
}

/** Mixes both numbers, since clients count up: the finalizer of MurmurHash3 (Appleby). */
function hash(client: number, sequence: number): number {
  let h = (sequence | 0) ^ Math.imul((sequence / 4294967296) | 0, 0x9e3779b1);
  h ^= Math.imul(client, 0x85ebca6b);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
