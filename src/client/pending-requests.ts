import { BLOCK_BYTES_MIN, Blocks } from "../base/blocks.js";
import { Deadlines } from "../base/deadlines.js";
import { performance } from "../link/clock.js";
import { NO_BYTES } from "../wire/batch.js";
import type { Brokers } from "./brokers.js";
import { type Pending, PendingTable, placeOf, UnsentLine } from "./pending.js";
import { forget } from "./signals.js";

/** The pending requests of one client, and what is kept for each until it ends. */
export class PendingRequests extends PendingTable {
  failureCount = 0;
  /** Those that wait to be sent. */
  readonly unsent = new UnsentLine<Pending>();
  readonly deadlines = new Deadlines(performance.now());
  /** When those that were refused are to be sent again. */
  readonly backoffs = new Deadlines(performance.now());
  /** Where raw bodies of a middling size are kept until their requests have ended. */
  readonly blocks = new Blocks();
  readonly #brokers: Brokers;
  readonly #onIdle: () => void;

  /** `onIdle`: none is pending any more. */
  constructor(brokers: Brokers, onIdle: () => void) {
    super();
    this.#brokers = brokers;
    this.#onIdle = onIdle;
  }

  /** Gives back a place that `reserve` took for what was not asked after all. */
  forgo(sequence: number): void {
    this.unreserve(sequence);
    if (this.count === 0) this.#onIdle();
  }

  /** Whether `pending` has not ended yet. */
  has(pending: Pending): boolean {
    return this.find(pending.sequence) === pending;
  }

  /** It is not under way at its broker any more. */
  leaveBroker(pending: Pending): void {
    const { broker } = pending;
    pending.broker = undefined;
    if (broker !== undefined) this.#brokers.release(broker);
  }

  fail(pending: Pending, error: Error): void {
    const { reject } = pending;
    this.failureCount++;
    this.end(pending);
    reject(error);
  }

  /** Nothing where it has ended before: its place may be another's by now. */
  end(pending: Pending): void {
    if (!this.has(pending)) return;
    const place = placeOf(pending.sequence);
    this.deadlines.clear(place);
    this.backoffs.clear(place);
    if (pending.body.length >= BLOCK_BYTES_MIN / 2) {
      this.blocks.giveBack(pending.body);
      // It is another's soon: given back once more, it would be taken from that one.
      pending.body = NO_BYTES;
    }
    if (pending.isUnsent) this.unsent.remove(pending);
    this.leaveBroker(pending);
    const { signal, onAbort } = pending;
    if (signal !== undefined && onAbort !== undefined) forget(signal, onAbort);
    this.delete(pending);
    if (this.count === 0) this.#onIdle();
  }
}
