import { NO_BYTES } from "../wire/batch.js";
import type { Broker } from "./brokers.js";
import type { ReplyStream } from "./reply-stream.js";
import type { BackoffOptions, Retried } from "./retry.js";

/** No number of a request. */
const ENDED = -1;

function nobody(): void {}

/** A request that its caller still waits for. */
export class Pending implements Retried, Unsent<Pending> {
  /** Its number on the wire; `ENDED` while the object stands for none. */
  sequence = ENDED;
  service = "";
  flags = 0;
  priority = 0;
  attempts = 0;
  deadlineMs = 0;
  backoff: Required<BackoffOptions> | undefined;
  isIdempotent = false;
  retryCount = 0;
  /**
   * When half its time is over: one that a broker holds back is not sent after that. Infinity once it may have run, and
   * so is not said to have never been taken.
   */
  staleMs = 0;
  serviceBytes: Uint8Array = NO_BYTES;
  headers: Uint8Array = NO_BYTES;
  /** Empty while a large one is being sealed. */
  body: Uint8Array = NO_BYTES;
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
  /** Whether its reply came, a large one that is being opened. */
  isAnswered = false;
  /** Whether it stands in the line of those that wait to be sent, and between which. */
  isUnsent = false;
  next: Pending | undefined;
  previous: Pending | undefined;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
  resolve: (reply: never) => void = nobody;
  reject: (error: Error) => void = nobody;
  /** Something may ask for it when it has ended, so the object never stands for another. */
  isKept = false;
}

/** Places in the table, and so the most that can be pending. */
export const PENDING_MAX = 65_536;
/** Places whose objects stay, some 2 MB. */
const REUSED_MAX = 8192;

/**
 * The pending requests. A sequence number is a place in the table and how often that place was
 * used, so that a reply finds its request by one look-up and no number comes twice. An object stands
 * for one request of its place after the other: what is in flight for some milliseconds would be moved with
 * each collection of the young generation.
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
    this.#free.push(placeOf(sequence));
    this.count--;
  }

  /** What stands for the request of this number from now on; its other fields are the caller's to fill. */
  add(sequence: number): Pending {
    const place = placeOf(sequence);
    let pending = this.#entries[place];
    if (pending === undefined) {
      pending = new Pending();
      this.#entries[place] = pending;
    }
    pending.sequence = sequence;
    return pending;
  }

  /** Gives `pending` a new number in its place; answers to the old one are late from here on. */
  renew(pending: Pending): void {
    const place = placeOf(pending.sequence);
    pending.sequence = ++this.#uses[place] * PENDING_MAX + place;
  }

  find(sequence: number): Pending | undefined {
    const pending = this.#entries[placeOf(sequence)];
    return pending?.sequence === sequence ? pending : undefined;
  }

  at(place: number): Pending | undefined {
    const pending = this.#entries[place];
    return pending === undefined || pending.sequence === ENDED ? undefined : pending;
  }

  /** It has ended: the object stands for none, and refers to nothing that was the request's. */
  delete(pending: Pending): void {
    const { sequence } = pending;
    this.unreserve(sequence);
    const place = placeOf(sequence);
    if (pending.isKept || place >= REUSED_MAX) {
      this.#entries[place] = undefined;
      return;
    }
    pending.sequence = ENDED;
    pending.headers = NO_BYTES;
    pending.body = NO_BYTES;
    pending.packed = undefined;
    pending.resolve = nobody;
    pending.reject = nobody;
  }

  *[Symbol.iterator](): Iterator<Pending> {
    for (const pending of this.#entries) {
      if (pending !== undefined && pending.sequence !== ENDED) yield pending;
    }
  }
}

/** The place in the table that a sequence number names. */
export function placeOf(sequence: number): number {
  // No division: from 2^31 on that would be one of two floating-point numbers.
  return sequence & (PENDING_MAX - 1);
}

/** What may wait to be sent: whether it does, and between which. */
export interface Unsent<Item> {
  isUnsent: boolean;
  next: Item | undefined;
  previous: Item | undefined;
}

/** What waits to be sent, first come first. */
export class UnsentLine<Item extends Unsent<Item>> {
  head: Item | undefined;
  #tail: Item | undefined;

  push(item: Item): void {
    item.isUnsent = true;
    item.previous = this.#tail;
    item.next = undefined;
    if (this.#tail !== undefined) this.#tail.next = item;
    else this.head = item;
    this.#tail = item;
  }

  remove(item: Item): void {
    const { next, previous } = item;
    if (next !== undefined) next.previous = previous;
    else this.#tail = previous;
    if (previous !== undefined) previous.next = next;
    else this.head = next;
    item.isUnsent = false;
    item.next = undefined;
    item.previous = undefined;
  }
}
