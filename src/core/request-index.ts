import { NONE, type Requests } from "./requests.js";

/**
 * Numbers in a row that stand side by side, since clients count up: of a million entries each by itself
 * would be a miss, of the cache and of the page table. A row is 512 bytes, in one page as a rule.
 */
const ROW_BITS = 6;
const ROW_SIZE = 1 << ROW_BITS;
const ROW_MASK = (1 << ROW_BITS) - 1;
/** An entry moves from row to row, so that rows must be many, or its place in all of them could be taken. */
const ROW_COUNT_MIN = 256;

/**
 * Finds a client's request by the client's own number for it: an open-addressing table of
 * slots with linear probing and deletion by backward shift (Knuth, TAOCP 3, 6.4 R).
 * Allocates only when it grows. At most half full.
 */
export class RequestIndex {
  readonly #requests: Requests;
  readonly #salt: number;
  /** | slot i32 | home i32 | for each place; the home before it is cut to the table's size. */
  #table = new Int32Array(ROW_COUNT_MIN * ROW_SIZE * 2).fill(NONE);
  #mask = ROW_COUNT_MIN * ROW_SIZE - 1;
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
    const table = this.#table;
    const mask = this.#mask;
    const home = homeOf(client, sequence, this.#salt);
    for (let at = home & mask; ; at = (at + ROW_SIZE) & mask) {
      const slot = table[at * 2];
      if (slot === NONE) return NONE;
      if (table[at * 2 + 1] !== home) continue;
      if (sequences[slot] === sequence && clients[slot] === client) return slot;
    }
  }

  /** Adds a slot whose client and sequence are set and not in the table yet. */
  add(slot: number): void {
    if (++this.#count * 4 > this.#table.length) this.#grow();
    const { client, sequence } = this.#requests;
    this.#place(slot, homeOf(client[slot], sequence[slot], this.#salt));
  }

  delete(slot: number): void {
    const { client, sequence } = this.#requests;
    const table = this.#table;
    const mask = this.#mask;
    let hole = homeOf(client[slot], sequence[slot], this.#salt) & mask;
    while (table[hole * 2] !== slot) hole = (hole + ROW_SIZE) & mask;
    // Pull back whatever the hole would cut off from its home.
    for (let at = (hole + ROW_SIZE) & mask; table[at * 2] !== NONE; at = (at + ROW_SIZE) & mask) {
      const home = table[at * 2 + 1];
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        table[hole * 2] = table[at * 2];
        table[hole * 2 + 1] = home;
        hole = at;
      }
    }
    table[hole * 2] = NONE;
    this.#count--;
  }

  #place(slot: number, home: number): void {
    const table = this.#table;
    let at = home & this.#mask;
    while (table[at * 2] !== NONE) at = (at + ROW_SIZE) & this.#mask;
    table[at * 2] = slot;
    table[at * 2 + 1] = home;
  }

  #grow(): void {
    const old = this.#table;
    this.#table = new Int32Array(old.length * 2).fill(NONE);
    this.#mask = this.#table.length / 2 - 1;
    for (let at = 0; at < old.length; at += 2) {
      if (old[at] !== NONE) this.#place(old[at], old[at + 1]);
    }
  }
}

/**
 * Where an entry belongs: rows of numbers anywhere, each number at its place in its row. A row is mixed,
 * since clients count up, in rounds like those of MurmurHash3 (Appleby). The salt goes in before the
 * parts meet, so that nobody outside can choose numbers that collide.
 */
function homeOf(client: number, sequence: number, salt: number): number {
  const low = sequence | 0;
  let h = Math.imul((low >>> ROW_BITS) ^ salt, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h ^ ((sequence / 4294967296) | 0) ^ Math.imul(client, 0x9e3779b1), 0xc2b2ae35);
  h ^= h >>> 13;
  h = Math.imul(h ^ salt, 0x27d4eb2f);
  return h ^ (h >>> 16) ^ (low & ROW_MASK);
}
