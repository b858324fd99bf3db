import { Deadlines } from "../base/deadlines.js";
import { RequestError } from "../base/errors.js";
import type { Broker, Brokers } from "./brokers.js";
import { abortReason, lostError } from "./errors.js";
import { type Unsent, UnsentLine } from "./pending.js";
import { forget, listen } from "./signals.js";
import { beginTicks, endTicks } from "./ticks.js";
import type { WaitingLine, WaitingLines } from "./waiting-lines.js";

const URGENT_MAX = 4;
const ASKS_MAX = 65_536;
/** Numbers of asks begin here: those of requests, out of the same session, never come so far. */
const SEQUENCE_FIRST = 2 ** 52;

/** Gives numbers that no other ask, and no request, of a client has. */
export function askNumbers(): () => number {
  let sequence = SEQUENCE_FIRST;
  return () => ++sequence;
}

/** Something that is sent to a broker and waits for one answer of its own. */
export interface Ask {
  readonly sequence: number;
  /** What it takes on the wire beside its body, frames included. */
  readonly headBytes: number;
  write(broker: Broker, body: Uint8Array): void;
  reject(error: Error): void;
  readonly deadlineMs: number;
  /** How much longer than that to wait for the answer of a broker that has it. */
  readonly graceMs?: number;
  /** Where it must go; undefined where any broker will do. */
  readonly only?: Broker;
  /** Whether it goes again, under the same number, when the connection is lost. */
  readonly isResent: boolean;
  readonly signal?: AbortSignal;
  /** What is not known of it when it is given up: words for its error. */
  readonly doubt: string;
}

interface Held extends Unsent<Held> {
  readonly ask: Ask;
  readonly slot: number;
  /** undefined while it is being sealed. */
  body: Uint8Array | undefined;
  broker: Broker | undefined;
  /** A broker was lost that had it. */
  wasLost: boolean;
  /** Its deadline has passed, and its grace has not. */
  isInGrace: boolean;
  onAbort: (() => void) | undefined;
}

/**
 * What a client sends beside requests and is to be answered once: tasks, surveys. Counted from when its
 * body is sealed, in line while no broker has room, sent again when a connection is lost, ended by
 * deadline, signal or close.
 */
export class Asks implements WaitingLine {
  readonly #brokers: Brokers;
  readonly #lines: WaitingLines;
  readonly #held = new Map<number, Held>();
  readonly unsent = new UnsentLine<Held>();
  readonly #bySlot: (Held | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #deadlines = new Deadlines(performance.now());
  /** When those that were not taken go again. */
  readonly #backoffs = new Deadlines(performance.now());
  #isTicking = false;
  readonly #onIdle: () => void;
  #isClosed = false;

  constructor(
    brokers: Brokers,
    lines: WaitingLines,
    onIdle: () => void,
    /** A number that no other has. */
    readonly nextSequence: () => number,
  ) {
    this.#brokers = brokers;
    this.#lines = lines;
    this.#onIdle = onIdle;
    lines.add(this);
  }

  get count(): number {
    return this.#held.size;
  }

  /** @throws RequestError RESOURCE_EXHAUSTED */
  requireRoom(): void {
    if (this.#held.size < ASKS_MAX) return;
    throw new RequestError("RESOURCE_EXHAUSTED", "too much pending in this client", 10);
  }

  /** Sends `ask` with `sealed`, its body, or once that is there; it is one of those held from now on. */
  start(ask: Ask, sealed: Uint8Array | Promise<Uint8Array>): void {
    const { signal } = ask;
    const body = sealed instanceof Promise ? undefined : sealed;
    if (sealed instanceof Promise) this.#whenSealed(ask, sealed);
    if (this.#isClosed) {
      // By code of the body's, such as a getter.
      ask.reject(new RequestError("CANCELLED", "client closed before it could be sent"));
      return;
    }
    if (signal?.aborted) {
      ask.reject(new RequestError("CANCELLED", abortReason(signal)));
      return;
    }
    const nowMs = performance.now();
    const slot = this.#freeSlots.pop() ?? this.#bySlot.push(undefined) - 1;
    const held: Held = {
      ask,
      slot,
      body,
      broker: undefined,
      wasLost: false,
      isInGrace: false,
      onAbort: undefined,
      isUnsent: false,
      next: undefined,
      previous: undefined,
    };
    this.#bySlot[slot] = held;
    this.#held.set(ask.sequence, held);
    this.#deadlines.set(slot, ask.deadlineMs, nowMs);
    if (!this.#isTicking) {
      this.#isTicking = true;
      beginTicks(this.#onTick);
    }
    if (signal !== undefined) {
      held.onAbort = () => {
        this.#fail(held, new RequestError("CANCELLED", `${abortReason(signal)}${doubtOf(held)}`));
        this.#lines.sendSoon();
      };
      listen(signal, held.onAbort);
    }
    if (body !== undefined) this.#send(held, body);
  }

  /** Goes on with a large body once it is sealed, unless the ask is over by then. */
  #whenSealed({ sequence }: Ask, sealing: Promise<Uint8Array>): void {
    sealing.then(
      (body) => {
        const held = this.#held.get(sequence);
        if (held === undefined) return;
        held.body = body;
        this.#send(held, body);
      },
      (error) => this.fail(sequence, lostError(error)),
    );
  }

  /** The ask that an answer of `broker` is for. */
  find(sequence: number, broker: Broker): Ask | undefined {
    const held = this.#held.get(sequence);
    return held?.broker === broker ? held.ask : undefined;
  }

  /** An ask is answered, or given up by its owner. */
  end(sequence: number): void {
    const held = this.#held.get(sequence);
    if (held !== undefined) this.#end(held);
  }

  fail(sequence: number, error: Error): void {
    const held = this.#held.get(sequence);
    if (held !== undefined) this.#fail(held, error);
  }

  /** It was not taken where it went, and goes again in `waitMs`. */
  again(sequence: number, waitMs: number): void {
    const held = this.#held.get(sequence);
    if (held?.broker === undefined) return;
    this.#brokers.release(held.broker);
    held.broker = undefined;
    if (waitMs === 0) return this.unsent.push(held);
    const nowMs = performance.now();
    this.#backoffs.set(held.slot, nowMs + waitMs, nowMs);
  }

  sendFirst(broker: Broker): void {
    const held = this.unsent.head as Held;
    this.unsent.remove(held);
    this.#sendTo(held, broker, held.body as Uint8Array);
  }

  onDown(broker: Broker, reason: string): void {
    for (const held of this.#held.values()) {
      const { ask } = held;
      if (held.broker !== broker && ask.only !== broker) continue;
      // Its count of what is in flight is gone with it.
      held.broker = undefined;
      held.wasLost = true;
      if (ask.isResent) this.unsent.push(held);
      else this.#fail(held, new RequestError("UNAVAILABLE", `broker lost: ${reason}${ask.doubt}`));
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const held of this.#held.values()) {
      this.#fail(held, new RequestError("CANCELLED", `client closed${doubtOf(held)}`));
    }
    endTicks(this.#onTick);
  }

  #send(held: Held, body: Uint8Array): void {
    const { only } = held.ask;
    if (only !== undefined && !only.link.isOpen) {
      this.#fail(held, new RequestError("UNAVAILABLE", "that broker is not connected", 100));
      return;
    }
    const broker = only ?? this.#lines.pick();
    if (broker === undefined) this.unsent.push(held);
    else this.#sendTo(held, broker, body);
  }

  #sendTo(held: Held, broker: Broker, body: Uint8Array): void {
    const { ask } = held;
    const { link } = broker;
    const size = ask.headBytes + body.length;
    if (size > link.recordMax) {
      const reason = `${size} bytes; the broker takes ${link.recordMax}`;
      this.#fail(held, new RequestError("INVALID_ARGUMENT", reason));
      return;
    }
    held.broker = broker;
    broker.inFlight++;
    ask.write(broker, body);
    link.flushSoon(this.#held.size <= URGENT_MAX);
  }

  #onTick = (nowMs: number): boolean => {
    this.#deadlines.advance(nowMs, this.#onDue);
    if (this.#backoffs.count > 0) this.#backoffs.advance(nowMs, this.#onBackoffOver);
    this.#lines.sendWaiting();
    this.#isTicking = this.#held.size > 0;
    return this.#isTicking;
  };

  #onDue = (slot: number): void => {
    const held = this.#bySlot[slot] as Held;
    const { deadlineMs, graceMs = 0 } = held.ask;
    if (held.broker !== undefined && graceMs > 0 && !held.isInGrace) {
      held.isInGrace = true;
      this.#deadlines.set(slot, deadlineMs + graceMs);
      return;
    }
    const where = `deadline passed${whereOverdue(held)}`;
    this.#fail(held, new RequestError("DEADLINE_EXCEEDED", where));
  };

  #onBackoffOver = (slot: number): void => {
    const held = this.#bySlot[slot] as Held;
    this.#send(held, held.body as Uint8Array);
  };

  #fail(held: Held, error: Error): void {
    this.#end(held);
    held.ask.reject(error);
  }

  #end(held: Held): void {
    const { ask, slot, broker } = held;
    this.#held.delete(ask.sequence);
    if (held.isUnsent) this.unsent.remove(held);
    this.#deadlines.clear(slot);
    this.#backoffs.clear(slot);
    this.#bySlot[slot] = undefined;
    this.#freeSlots.push(slot);
    if (broker !== undefined) this.#brokers.release(broker);
    if (ask.signal !== undefined && held.onAbort !== undefined) forget(ask.signal, held.onAbort);
    if (this.#held.size === 0) this.#onIdle();
  }
}

function whereOverdue({ ask, broker, wasLost }: Held): string {
  if (broker !== undefined) return ask.doubt;
  return wasLost ? ` before it could be sent again${ask.doubt}` : " before it could be sent";
}

/** Of one whose body is not sealed yet nothing is in doubt. */
function doubtOf({ ask, body }: Held): string {
  return body === undefined ? "" : ask.doubt;
}
