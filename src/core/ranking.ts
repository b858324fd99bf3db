import { NONE } from "./requests.js";
import type { Worker } from "./workers.js";

const RANK_COUNT = 1024;

/**
 * Workers in lists by rank, the longest in a rank first. The lowest occupied rank is found
 * through a two-level bitmap, so that no operation scans workers. Ranks from 1023 on are
 * not told apart.
 */
export class Ranking {
  readonly #heads: (Worker | undefined)[] = [];
  readonly #tails: (Worker | undefined)[] = [];
  readonly #words = new Int32Array(RANK_COUNT / 32);
  #summary = 0;

  /** The longest standing of the lowest rank. */
  first(): Worker | undefined {
    if (this.#summary === 0) return undefined;
    const word = lowestBit(this.#summary);
    return this.#heads[word * 32 + lowestBit(this.#words[word])];
  }

  /** Puts `worker`, which stands in no list, behind its equals. */
  append(worker: Worker, place: number): void {
    const rank = Math.min(place, RANK_COUNT - 1);
    const tail = this.#tails[rank];
    worker.ranking = this;
    worker.rank = rank;
    worker.rankPrevious = tail;
    this.#tails[rank] = worker;
    if (tail !== undefined) {
      tail.rankNext = worker;
      return;
    }
    this.#heads[rank] = worker;
    this.#words[rank >> 5] |= 1 << (rank & 31);
    this.#summary |= 1 << (rank >> 5);
  }

  /** Takes `worker` out of the list it stands in. */
  remove(worker: Worker): void {
    const { rank, rankNext: next, rankPrevious: previous } = worker;
    if (next !== undefined) next.rankPrevious = previous;
    else this.#tails[rank] = previous;
    if (previous !== undefined) previous.rankNext = next;
    else this.#heads[rank] = next;
    worker.ranking = undefined;
    worker.rank = NONE;
    worker.rankNext = undefined;
    worker.rankPrevious = undefined;
    if (this.#heads[rank] !== undefined) return;
    this.#words[rank >> 5] &= ~(1 << (rank & 31));
    if (this.#words[rank >> 5] === 0) this.#summary &= ~(1 << (rank >> 5));
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
