import type { Broker } from "./brokers.js";
import type { ReplyStream } from "./reply-stream.js";
import type { Retried } from "./retry.js";

/** A request that its caller still waits for. */
export interface Pending extends Retried {
  /** Its number on the wire. */
  sequence: number;
  service: string;
  flags: number;
  priority: number;
  /** When half its time is over: one that a broker holds back is not sent after that. */
  staleMs: number;
  serviceBytes: Uint8Array;
  headers: Uint8Array;
  /** Empty while a large one is being sealed. */
  body: Uint8Array;
  /** Of one that may run twice: its body anew, under the id that it has by then. */
  reseal: (() => Uint8Array) | undefined;
  /** Where it is answered part by part. */
  stream: ReplyStream | undefined;
  /** The value as it was packed, while a worker may yet refuse the dictionary of `body`. */
  packed: Uint8Array | undefined;
  /**
   * The broker that has it; undefined while it waits to be sent, and again while a large reply is
   * being opened.
   */
  broker: Broker | undefined;
  /** Whether it stands in the line of those that wait to be sent, and between which. */
  isUnsent: boolean;
  next: Pending | undefined;
  previous: Pending | undefined;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  resolve(reply: never): void;
  reject(error: Error): void;
}

/** Places in the table, and so the most that can be pending. */
export const PENDING_MAX = 65_536;

/**
 * The pending requests. A sequence number is a place in the table and how often that place was
 * used, so that a reply finds its request by one look-up and no number comes twice.
 */
export class PendingTable {
  count = 0;
  readonly #entries: (Pending | undefined)[] = [];
  /** How often each place was used; below 2^37, so that sequences stay below 2^53. */
  readonly #uses: number[] = [];
  readonly #free: number[] = [];

  /** Takes a place for a new request and returns its sequence number. */
  reserve(): number {
    const place = this.#free.pop() ?? this.#entries.push(undefined) - 1;
    const uses = (this.#uses[place] ?? 0) + 1;
    this.#uses[place] = uses;
    this.count++;
    return uses * PENDING_MAX + place;
  }

  /** Gives back a place that `reserve` took and nothing came of. */
  unreserve(sequence: number): void {
    this.#entries[placeOf(sequence)] = undefined;
    this.#free.push(placeOf(sequence));
    this.count--;
  }

  /** Gives `pending` a new number in its place; answers to the old one are late from here on. */
  renew(pending: Pending): void {
    const place = placeOf(pending.sequence);
    pending.sequence = ++this.#uses[place] * PENDING_MAX + place;
  }

  add(pending: Pending): void {
    this.#entries[placeOf(pending.sequence)] = pending;
  }

  find(sequence: number): Pending | undefined {
    const pending = this.#entries[placeOf(sequence)];
    return pending?.sequence === sequence ? pending : undefined;
  }

  at(place: number): Pending | undefined {
    return this.#entries[place];
  }

  delete(pending: Pending): void {
    this.unreserve(pending.sequence);
  }

  *[Symbol.iterator](): Iterator<Pending> {
    for (const pending of this.#entries) if (pending !== undefined) yield pending;
  }
}

/** The place in the table that a sequence number names. */
export function placeOf(sequence: number): number {
  return sequence % PENDING_MAX;
}

/** The requests that wait to be sent, first come first. */
export class UnsentLine {
  head: Pending | undefined;
  #tail: Pending | undefined;

  push(pending: Pending): void {
    pending.isUnsent = true;
    pending.previous = this.#tail;
    pending.next = undefined;
    if (this.#tail !== undefined) this.#tail.next = pending;
    else this.head = pending;
    this.#tail = pending;
  }

  remove(pending: Pending): void {
    const { next, previous } = pending;
    if (next !== undefined) next.previous = previous;
    else this.#tail = previous;
    if (previous !== undefined) previous.next = next;
    else this.head = next;
    pending.isUnsent = false;
    pending.next = undefined;
    pending.previous = undefined;
  }
}
