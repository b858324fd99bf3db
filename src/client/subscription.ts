import { type OptionNames, wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Fifo } from "../base/fifo.js";
import type { Codec } from "../codec/index.js";
import { type EventRecord, eventIdBytes } from "../wire/event-record.js";
import { EventFlag } from "../wire/layout.js";
import { signalOf } from "./arguments.js";
import { abortReason } from "./errors.js";
import { Sequences } from "./sequences.js";
import { forget, listen } from "./signals.js";

/** What becomes of events that a subscription does not take in time. */
export type WhenFull = "drop-oldest" | "drop-newest" | "disconnect";

/** In the order of PROTOCOL 6.3. */
export const POLICIES: readonly WhenFull[] = ["drop-oldest", "drop-newest", "disconnect"];

/** What one subscription may say for itself. */
export interface SubscribeOptions {
  /** Events that may wait for it at each broker, and as many here, 1..65536. Default 1024. */
  queueMax?: number;
  /**
   * What becomes of an event that finds the queue full: the oldest one goes ("drop-oldest", the default),
   * the new one ("drop-newest"), or the subscription ends with RESOURCE_EXHAUSTED ("disconnect").
   */
  whenFull?: WhenFull;
  /** Whether the last values that brokers keep come first. Default true. */
  retained?: boolean;
  /**
   * Bodies are bytes as they were published, past the codec: for what plain PUB sockets and `raw`
   * publishers say. Without it these are not heard, since nothing vouches for them.
   */
  raw?: boolean;
  /** Ends it. */
  signal?: AbortSignal | null;
}

export const subscribeOptionNames: OptionNames<SubscribeOptions> = {
  queueMax: true,
  whenFull: true,
  retained: true,
  raw: true,
  signal: true,
};

/** What was published. */
export interface TopicEvent<Body = unknown> {
  readonly topic: string;
  readonly body: Body;
  /** Names the publisher, 16 hexadecimal digits; 0 for a plain PUB socket. */
  readonly publisher: string;
  /** The publisher's own number for it, counted from 1 in each topic; 0 for a plain PUB socket. */
  readonly sequence: number;
  /** The last value of its topic, from before the subscription. */
  readonly isRetained: boolean;
  /** It did not go through a codec. */
  readonly isRaw: boolean;
  /** Events of this publisher and topic that are missing right before it. */
  readonly missed: number;
}

/** What a subscription has counted. */
export interface SubscriptionStats {
  /** Events that the application got. */
  received: number;
  /** Events missing between those, by their sequence numbers. */
  missed: number;
  /** Events dropped since they were not taken in time: here, or, as they say, by the brokers. */
  dropped: number;
  /** Events whose body could not be opened or was not trusted; they are missing, too. */
  refused: number;
  /** Events that came a second time, or behind a later one. */
  late: number;
  /** Events that wait here. */
  queued: number;
}

/** Bytes of events that may wait for one subscription here. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;

/** An event as it waits: its bytes are its own. */
class HeldEvent {
  readonly topic: string;
  readonly publisherLow: number;
  readonly publisherHigh: number;
  readonly sequence: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  /** Events known to have been dropped right before it. */
  lost: number;

  constructor(record: EventRecord, lost: number) {
    this.lost = lost;
    this.topic = record.topic;
    this.publisherLow = record.publisherLow;
    this.publisherHigh = record.publisherHigh;
    this.sequence = record.sequence;
    this.flags = record.flags;
    this.bytes = record.copyBody();
  }
}

class ReceivedEvent<Body> implements TopicEvent<Body> {
  readonly #held: HeldEvent;

  constructor(
    held: HeldEvent,
    readonly body: Body,
    readonly missed: number,
  ) {
    this.#held = held;
  }

  get topic(): string {
    return this.#held.topic;
  }

  get sequence(): number {
    return this.#held.sequence;
  }

  get publisher(): string {
    const { publisherLow, publisherHigh } = this.#held;
    return hex(publisherHigh) + hex(publisherLow);
  }

  get isRetained(): boolean {
    return (this.#held.flags & EventFlag.RETAINED) !== 0;
  }

  get isRaw(): boolean {
    return (this.#held.flags & EventFlag.RAW) !== 0;
  }

  toJSON(): TopicEvent<Body> {
    const { topic, body, publisher, sequence, isRetained, isRaw, missed } = this;
    return { topic, body, publisher, sequence, isRetained, isRaw, missed };
  }
}

interface Waiter<Body> {
  resolve(result: IteratorResult<TopicEvent<Body>, undefined>): void;
  reject(error: Error): void;
}

/**
 * The events of one pattern, to be read by `for await`; leaving the loop ends it, as `close` does. Throws
 * RequestError when a broker ends it: RESOURCE_EXHAUSTED, PERMISSION_DENIED, INVALID_ARGUMENT.
 */
export class Subscription<Body = unknown> implements AsyncIterableIterator<TopicEvent<Body>> {
  /** @internal */
  readonly whenFull: WhenFull;
  /** @internal */
  readonly queueMax: number;
  /** @internal */
  readonly wantsRetained: boolean;
  readonly #isRaw: boolean;
  readonly #codec: Codec;
  readonly #onOver: () => void;
  readonly #signal: AbortSignal | undefined;
  readonly #queue = new Fifo<HeldEvent>();
  #queueBytes = 0;
  /** Events dropped behind the last one in the queue. */
  #lostBehind = 0;
  /** Events known to have been dropped, up to the one read last. */
  #lostCount = 0;
  readonly #waiters = new Fifo<Waiter<Body>>();
  readonly #sequences = new Sequences();
  readonly #stats = { received: 0, missed: 0, dropped: 0, refused: 0, late: 0 };
  #isOver = false;
  #isReady = false;
  /** Why it ended, until somebody was told. */
  #error: RequestError | undefined;
  #readyWaiters: (() => void)[] = [];

  /** @internal By `Client.subscribe`. */
  constructor(
    /** @internal The client's number for it. */
    readonly id: number,
    readonly pattern: string,
    options: SubscribeOptions,
    codec: Codec,
    onOver: () => void,
  ) {
    this.queueMax = wholeNumber("queueMax", options.queueMax ?? 1024, 1, 65_536);
    this.whenFull = options.whenFull ?? "drop-oldest";
    if (!POLICIES.includes(this.whenFull)) {
      throw new RangeError(`whenFull must be one of ${POLICIES.join(", ")}, got ${this.whenFull}`);
    }
    this.wantsRetained = options.retained !== false;
    this.#isRaw = options.raw === true;
    this.#codec = codec;
    this.#onOver = onOver;
    this.#signal = signalOf(options);
    if (this.#signal !== undefined) listen(this.#signal, this.#onAbort);
  }

  get stats(): SubscriptionStats {
    return { ...this.#stats, queued: this.#queue.count };
  }

  /** Resolves once a broker has it: what is published there from then on is heard. Rejects when it ends. */
  ready(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const check = () => {
        if (this.#isReady) resolve();
        else reject(this.#error ?? new RequestError("CANCELLED", "subscription closed"));
      };
      if (this.#isReady || this.#isOver) check();
      else this.#readyWaiters.push(check);
    });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next event; done once the subscription is closed and what waited here was read. */
  next(): Promise<IteratorResult<TopicEvent<Body>, undefined>> {
    const event = this.#take();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (!this.#isOver) {
      return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    }
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends it, as leaving a loop does. What waits is not delivered any more. */
  async return(): Promise<IteratorResult<TopicEvent<Body>, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** Ends it: a loop over it ends. */
  close(): void {
    this.#queue.clear();
    this.#queueBytes = 0;
    this.end(undefined);
    // Who closes it does not want to know what ended it before.
    this.#error = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  // --- the client's side ---

  /** @internal A broker has it. */
  accepted(): void {
    this.#isReady = true;
    this.#tellReady();
  }

  /** @internal It is over, because of `error` or because somebody wants it to be. */
  end(error: RequestError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    if (this.#signal !== undefined) forget(this.#signal, this.#onAbort);
    this.#onOver();
    this.#tellReady();
    for (let waiter = this.#waiters.shift(); waiter !== undefined; waiter = this.#waiters.shift()) {
      if (this.#error === undefined) waiter.resolve({ done: true, value: undefined });
      else waiter.reject(this.#error);
      this.#error = undefined;
    }
  }

  /** @internal An event came; true while more wait than may, for `trim` to look at. */
  push(record: EventRecord): boolean {
    this.#stats.dropped += record.dropped;
    const held = new HeldEvent(record, this.#lostBehind + record.dropped);
    this.#lostBehind = 0;
    this.#queue.push(held);
    this.#queueBytes += held.bytes.length;
    while (this.#waiters.count > 0) {
      const event = this.#take();
      if (event === undefined) break;
      this.#waiters.shift()?.resolve({ done: false, value: event });
    }
    return this.#isOverfull;
  }

  /** @internal Readers have had their turn: what waits beyond the queue's measure goes. */
  trim(): void {
    if (this.#isOver || !this.#isOverfull) return;
    if (this.whenFull === "disconnect") {
      const reason = `${this.#queue.count} events wait to be read, or too many bytes`;
      this.end(new RequestError("RESOURCE_EXHAUSTED", reason));
      return;
    }
    while (this.#isOverfull) {
      const isOldest = this.whenFull === "drop-oldest";
      const held = (isOldest ? this.#queue.shift() : this.#queue.pop()) as HeldEvent;
      this.#queueBytes -= held.bytes.length;
      this.#stats.dropped++;
      if (isOldest) (this.#queue.peek() as HeldEvent).lost += held.lost + 1;
      else this.#lostBehind += held.lost + 1;
    }
  }

  get #isOverfull(): boolean {
    const { count } = this.#queue;
    return count > this.queueMax || (this.#queueBytes > QUEUE_BYTES_MAX && count > 1);
  }

  /** The next event that can be read. */
  #take(): TopicEvent<Body> | undefined {
    for (let held = this.#queue.shift(); held !== undefined; held = this.#queue.shift()) {
      this.#queueBytes -= held.bytes.length;
      this.#lostCount += held.lost;
      const event = this.#read(held);
      if (event !== undefined) return event;
    }
    return undefined;
  }

  /** What is opened here is counted as seen only then: nobody else can make events late. */
  #read(held: HeldEvent): TopicEvent<Body> | undefined {
    const { topic, publisherLow: low, publisherHigh: high, sequence, flags } = held;
    if (sequence > 0 && this.#sequences.isLate(topic, low, high, sequence)) {
      this.#stats.late++;
      return undefined;
    }
    let body: unknown = held.bytes;
    if (!this.#isRaw) {
      try {
        if ((flags & EventFlag.RAW) !== 0) throw new RangeError("raw bytes");
        body = this.#codec.open(held.bytes, {
          service: topic,
          direction: "event",
          requestId: eventIdBytes(low, high, sequence),
        });
      } catch {
        this.#stats.refused++;
        return undefined;
      }
    }
    const isRetained = (flags & EventFlag.RETAINED) !== 0;
    const missed =
      sequence > 0
        ? this.#sequences.note(topic, low, high, sequence, isRetained, this.#lostCount)
        : 0;
    this.#stats.received++;
    this.#stats.missed += missed;
    return new ReceivedEvent(held, body as Body, missed);
  }

  #onAbort = (): void => {
    const reason = abortReason(this.#signal as AbortSignal);
    this.end(new RequestError("CANCELLED", reason));
  };

  #tellReady(): void {
    const waiters = this.#readyWaiters;
    this.#readyWaiters = [];
    for (const check of waiters) check();
  }
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}
