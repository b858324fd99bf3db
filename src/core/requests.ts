import { assert } from "../base/assert.js";
import { grown } from "../base/columns.js";
import { TaskTimes } from "./task-times.js";

/** Where a request stands. */
export const RequestState = { FREE: 0, QUEUED: 1, DISPATCHED: 2, ABANDONED: 3 } as const;
export type RequestState = (typeof RequestState)[keyof typeof RequestState];

const { FREE, QUEUED, DISPATCHED, ABANDONED } = RequestState;

// Row: from, bit: to. ABANDONED is a request whose client has its outcome already while a
// worker still works on it: the slot stays until that worker answers or dies, since until
// then its credit is spent.
const transitions: Record<RequestState, number> = {
  [FREE]: (1 << QUEUED) | (1 << DISPATCHED),
  [QUEUED]: (1 << DISPATCHED) | (1 << FREE),
  [DISPATCHED]: (1 << FREE) | (1 << QUEUED) | (1 << ABANDONED),
  [ABANDONED]: 1 << FREE,
};

/** No slot, no request, end of a list. */
export const NONE = -1;

const CAPACITY_FIRST = 1024;

/**
 * The requests that the broker holds, one slot each, in columns. Slots are reused through
 * a free list; `generation` goes up at each dispatch, so that a worker's answer names one
 * attempt of one request, and a late or forged one is told by two array look-ups.
 */
export class Requests {
  capacity = 0;
  count = 0;
  bytesHeld = 0;

  state = new Uint8Array(0);
  generation = new Uint32Array(0);
  client = new Int32Array(0);
  worker = new Int32Array(0);
  service = new Int32Array(0);
  sequence = new Float64Array(0);
  deadlineMs = new Float64Array(0);
  /** When it began to wait, or was dispatched. */
  sinceMs = new Float64Array(0);
  bytes = new Uint32Array(0);
  priority = new Uint8Array(0);
  /** Dispatches so far. */
  attempt = new Uint8Array(0);
  attemptsMax = new Uint8Array(0);
  /** Where it stands in its queue; NONE if it was given back. */
  flow = new Int32Array(0);
  /** Neighbours in the queue (QUEUED) or among the worker's (DISPATCHED, ABANDONED). */
  next = new Int32Array(0);
  previous = new Int32Array(0);
  /** Neighbours among the client's. */
  clientNext = new Int32Array(0);
  clientPrevious = new Int32Array(0);

  readonly tasks = new TaskTimes();

  #free = NONE;
  readonly #capacityMax: number;

  constructor(capacityMax: number) {
    this.#capacityMax = capacityMax;
    this.#grow(Math.min(CAPACITY_FIRST, capacityMax));
  }

  /** Takes a slot, or NONE when all are in use. The caller fills the columns. */
  allocate(): number {
    if (this.#free === NONE) {
      if (this.capacity >= this.#capacityMax) return NONE;
      this.#grow(Math.min(this.capacity * 2, this.#capacityMax));
    }
    const slot = this.#free;
    this.#free = this.next[slot];
    this.next[slot] = NONE;
    this.previous[slot] = NONE;
    this.worker[slot] = NONE;
    this.attempt[slot] = 0;
    this.count++;
    return slot;
  }

  move(slot: number, to: RequestState): void {
    const from = this.state[slot] as RequestState;
    // The text is made only where it is needed: this runs three times a request.
    if ((transitions[from] & (1 << to)) === 0) assert(false, `request state ${from} -> ${to}`);
    this.state[slot] = to;
  }

  /** Whether `slot` stands for this attempt, and `worker` has it. */
  isAttempt(slot: number, generation: number, worker: number): boolean {
    return (
      slot < this.capacity &&
      this.generation[slot] === generation &&
      this.worker[slot] === worker &&
      this.state[slot] >= DISPATCHED
    );
  }

  /** Gives a slot back; its generation stays, so that what names it stays refused. */
  free(slot: number): void {
    this.move(slot, FREE);
    this.next[slot] = this.#free;
    this.#free = slot;
    this.count--;
  }

  #grow(capacity: number): void {
    const first = this.capacity;
    this.capacity = capacity;
    this.state = grown(this.state, new Uint8Array(capacity));
    this.generation = grown(this.generation, new Uint32Array(capacity));
    this.client = grown(this.client, new Int32Array(capacity));
    this.worker = grown(this.worker, new Int32Array(capacity));
    this.service = grown(this.service, new Int32Array(capacity));
    this.sequence = grown(this.sequence, new Float64Array(capacity));
    this.deadlineMs = grown(this.deadlineMs, new Float64Array(capacity));
    this.sinceMs = grown(this.sinceMs, new Float64Array(capacity));
    this.bytes = grown(this.bytes, new Uint32Array(capacity));
    this.priority = grown(this.priority, new Uint8Array(capacity));
    this.attempt = grown(this.attempt, new Uint8Array(capacity));
    this.attemptsMax = grown(this.attemptsMax, new Uint8Array(capacity));
    this.flow = grown(this.flow, new Int32Array(capacity));
    this.next = grown(this.next, new Int32Array(capacity));
    this.previous = grown(this.previous, new Int32Array(capacity));
    this.clientNext = grown(this.clientNext, new Int32Array(capacity));
    this.clientPrevious = grown(this.clientPrevious, new Int32Array(capacity));
    for (let slot = capacity - 1; slot >= first; slot--) {
      this.next[slot] = this.#free;
      this.#free = slot;
    }
  }
}
