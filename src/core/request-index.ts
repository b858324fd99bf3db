import { NONE, type Requests } from "./requests.js";

/**
 * Finds a client's request by the client's own number for it: an open-addressing table of
 * slots with linear probing and deletion by backward shift (Knuth, TAOCP 3, 6.4 R).
 * Allocates only when it grows. At most half full.
 */
export class RequestIndex {
  readonly #requests: Requests;
  readonly #salt: number;
  #table = new Int32Array(2048).fill(NONE);
  #mask = 2047;
  #count = 0;

  constructor(requests: Requests, salt = 0) {
    this.#requests = requests;
    this.#salt = salt;
  }

  get count(): number {
    return this.#count;
  }

  find(client: number, sequence: number): number {
    const { client: clients, sequence: sequences } = this.#requests;
    let at = hash(client, sequence, this.#salt) & this.#mask;
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
    const { client, sequence } = this.#requests;
    return hash(client[slot], sequence[slot], this.#salt) & this.#mask;
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

/**
 * Mixes what names a request, since clients count up, in rounds like those of MurmurHash3 (Appleby).
 * The salt goes in before the parts meet, so that nobody outside can choose numbers that collide.
 */
function hash(client: number, sequence: number, salt: number): number {
  let h = Math.imul((sequence | 0) ^ salt, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h ^ ((sequence / 4294967296) | 0) ^ Math.imul(client, 0x9e3779b1), 0xc2b2ae35);
  h ^= h >>> 13;
  h = Math.imul(h ^ salt, 0x27d4eb2f);
  return (h ^ (h >>> 16)) >>> 0;
}
