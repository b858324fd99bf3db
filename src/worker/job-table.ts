import type { Job } from "./job.js";

/** What names a request, of a job or a record. */
interface RequestId {
  sessionLow: number;
  sessionHigh: number;
  sequence: number;
}

const CAPACITY_FIRST = 1024;

/**
 * The jobs that are not answered yet, by the whole id of their request: open addressing with linear
 * probing and deletion by backward shift (Knuth, TAOCP 3, 6.4 R). At most half full.
 */
export class JobTable {
  size = 0;
  #places: (Job | undefined)[] = new Array(CAPACITY_FIRST).fill(undefined);
  #mask = CAPACITY_FIRST - 1;
  /** So that nobody outside can choose numbers that collide. */
  readonly #salt = Math.floor(Math.random() * 2 ** 32);

  find({ sessionLow, sessionHigh, sequence }: RequestId): Job | undefined {
    if (this.size === 0) return undefined;
    const places = this.#places;
    const mask = this.#mask;
    for (let at = this.#home(sessionLow, sequence); ; at = (at + 1) & mask) {
      const job = places[at];
      if (
        job === undefined ||
        (job.sequence === sequence &&
          job.sessionLow === sessionLow &&
          job.sessionHigh === sessionHigh)
      ) {
        return job;
      }
    }
  }

  /** Adds a job, if it is not in the table yet; no other of its request is. */
  add(job: Job): void {
    if (job.isListed) return;
    job.isListed = true;
    if (++this.size * 2 > this.#places.length) this.#grow();
    this.#place(job);
  }

  /** Takes out a job, if it is in the table. */
  delete(job: Job): void {
    if (!job.isListed) return;
    job.isListed = false;
    const places = this.#places;
    const mask = this.#mask;
    let hole = this.#home(job.sessionLow, job.sequence);
    while (places[hole] !== job) hole = (hole + 1) & mask;
    // Pull back whatever the hole would cut off from its home.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const moved = places[at];
      if (moved === undefined) break;
      const home = this.#home(moved.sessionLow, moved.sequence);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      places[hole] = moved;
      hole = at;
    }
    places[hole] = undefined;
    this.size--;
  }

  /** The jobs that are in the table now; whoever is given them may delete them. */
  [Symbol.iterator](): Iterator<Job> {
    return this.#places.filter((job) => job !== undefined).values();
  }

  /** Where a job stands if it can: in rounds like those of MurmurHash3 (Appleby). */
  #home(sessionLow: number, sequence: number): number {
    const salt = this.#salt;
    let h = Math.imul((sequence | 0) ^ salt, 0x85ebca6b);
    h ^= h >>> 15;
    h = Math.imul(h ^ ((sequence / 2 ** 32) | 0) ^ sessionLow, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ salt, 0x27d4eb2f);
    return (h ^ (h >>> 16)) & this.#mask;
  }

  #place(job: Job): void {
    const mask = this.#mask;
    let at = this.#home(job.sessionLow, job.sequence);
    while (this.#places[at] !== undefined) at = (at + 1) & mask;
    this.#places[at] = job;
  }

  #grow(): void {
    const old = this.#places;
    this.#places = new Array(old.length * 2).fill(undefined);
    this.#mask = this.#places.length - 1;
    for (const job of old) if (job !== undefined) this.#place(job);
  }
}
