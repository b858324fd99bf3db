import { assert } from "../base/assert.js";
import type { Pool } from "./pool.js";
import type { Ranking } from "./ranking.js";
import { NONE, type Requests } from "./requests.js";

export type WorkerState = "ready" | "draining" | "gone";

const transitions: Record<WorkerState, readonly WorkerState[]> = {
  ready: ["draining", "gone"],
  draining: ["gone"],
  gone: [],
};

/** One worker: what it may take, what it has. */
export class Worker {
  state: WorkerState = "ready";
  inFlight = 0;
  /** Requests it may hold beyond `concurrency`; adapted, see look-ahead.ts. */
  lookAhead = 0;
  /** Requests of one service that it may be handed in a row while others are idle; see look-ahead.ts. */
  run = 1;
  /** Of which service that is known, by index: what it answered last, with the time it took. */
  runService = NONE;
  /** What the handlers of that took of late, rather too much than too little. */
  handlerUs = 0;
  /** The oldest and the latest of its requests, linked through the slots. */
  head = NONE;
  tail = NONE;
  /** When it last joined or answered; a count, since many events share a millisecond. */
  idleSince = 0;

  /** Its place among the workers of its pool; none without room. */
  ranking: Ranking | undefined;
  rank = NONE;
  rankNext: Worker | undefined;
  rankPrevious: Worker | undefined;

  /** Measures for look-ahead.ts. */
  windowStartMs = 0;
  windowCount = 0;
  answeredMs = -1;

  constructor(
    readonly peer: number,
    public concurrency: number,
    readonly takesLookAhead: boolean,
    readonly pool: Pool,
  ) {}

  /** Requests it may still be handed, look-ahead included. */
  get room(): number {
    if (this.state !== "ready") return 0;
    return this.concurrency + this.lookAhead - this.inFlight;
  }

  move(to: WorkerState): void {
    assert(transitions[this.state].includes(to), `worker state ${this.state} -> ${to}`);
    this.state = to;
  }

  /** The request in `slot` is its latest. */
  link({ next, previous }: Requests, slot: number): void {
    next[slot] = NONE;
    previous[slot] = this.tail;
    if (this.tail !== NONE) next[this.tail] = slot;
    else this.head = slot;
    this.tail = slot;
    this.inFlight++;
  }

  unlink({ next, previous }: Requests, slot: number): void {
    const after = next[slot];
    const before = previous[slot];
    if (after !== NONE) previous[after] = before;
    else this.tail = before;
    if (before !== NONE) next[before] = after;
    else this.head = after;
    this.inFlight--;
  }
}
