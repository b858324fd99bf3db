import { checkOptions } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Status, statusName } from "../base/status.js";
import { isPattern } from "../base/topic.js";
import type { Codec } from "../codec/index.js";
import type { BatchReader } from "../wire/batch.js";
import {
  EventRecord,
  readPublished,
  readSubscribed,
  writeSubscribe,
  writeTaken,
  writeUnsubscribe,
} from "../wire/event-record.js";
import { Kind, TAKEN_BYTES } from "../wire/layout.js";
import { NameCache } from "../wire/text.js";
import type { Broker } from "./brokers.js";
import type { ClientPattern } from "./pattern.js";
import { Publisher } from "./publisher.js";
import {
  POLICIES,
  type SubscribeOptions,
  Subscription,
  subscribeOptionNames,
} from "./subscription.js";

/** Topics whose names are remembered by their bytes. */
const NAMES_KEPT = 16_384;
/** Said at half of what must be said at the latest. */
const TAKEN_BYTES_MIN = TAKEN_BYTES / 2;

/** Publish and subscribe at a client (PROTOCOL 6): subscribes at all its brokers, publishes to one. */
export class Subscriptions implements ClientPattern {
  readonly kinds = [Kind.PUBLISH, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE, Kind.EVENT];
  readonly publisher: Publisher;
  readonly #codec: Codec;
  readonly #byId = new Map<number, Subscription>();
  /** Made with the first subscription: most clients have none. */
  #names: NameCache | undefined;
  readonly #record = new EventRecord();
  #lastId = 0;
  /** Brokers that took us on, and bytes of events read of each that it was not told of. */
  readonly #untaken = new Map<Broker, number>();
  /** Those with more waiting than may, once their readers had their turn. */
  readonly #overfull = new Set<Subscription>();
  #settling: NodeJS.Immediate | undefined;
  #isClosed = false;

  constructor(codec: Codec, timeoutMs: number) {
    this.#codec = codec;
    this.publisher = new Publisher(codec, timeoutMs);
  }

  get count(): number {
    return this.#byId.size;
  }

  /** Throws RequestError INVALID_ARGUMENT for what is no pattern, RangeError for an option. */
  subscribe(pattern: string, options: SubscribeOptions): Subscription {
    if (this.#isClosed) throw new RequestError("UNAVAILABLE", "client is closed");
    checkOptions("subscribe", options, subscribeOptionNames);
    if (typeof pattern !== "string" || !isPattern(pattern)) {
      const shape = "tokens between dots, * for any one, > at the end for one or more";
      const got = typeof pattern === "string" ? JSON.stringify(pattern) : typeof pattern;
      throw new RequestError("INVALID_ARGUMENT", `pattern must be ${shape}, got ${got}`);
    }
    const id = this.#freeId();
    const made = new Subscription(id, pattern, options, this.#codec, () => this.#forget(made));
    this.#byId.set(id, made);
    for (const broker of this.#untaken.keys()) this.#say(broker, made);
    return made;
  }

  #freeId(): number {
    do this.#lastId = (this.#lastId % 0xffffffff) + 1;
    while (this.#byId.has(this.#lastId));
    return this.#lastId;
  }

  #say({ link }: Broker, subscription: Subscription): void {
    if (!link.isOpen) return;
    const { id, pattern, whenFull, queueMax, wantsRetained } = subscription;
    writeSubscribe(link.writer, {
      subscription: id,
      pattern,
      whenFull: POLICIES.indexOf(whenFull),
      queueMax,
      wantsRetained,
    });
    link.flushSoon(false);
  }

  #forget(subscription: Subscription): void {
    this.#overfull.delete(subscription);
    if (!this.#byId.delete(subscription.id)) return;
    for (const { link } of this.#untaken.keys()) {
      if (!link.isOpen) continue;
      writeUnsubscribe(link.writer, subscription.id);
      link.flushSoon(false);
    }
  }

  // --- ClientPattern ---

  onRecord(broker: Broker, reader: BatchReader): void {
    switch (reader.kind) {
      case Kind.EVENT:
        return this.#onEvent(broker, reader);
      case Kind.PUBLISH: {
        const published = readPublished(reader);
        if (typeof published !== "string") this.publisher.onPublished(broker, published);
        return;
      }
      default:
        return this.#onSubscribed(reader);
    }
  }

  #onEvent(broker: Broker, reader: BatchReader): void {
    const record = this.#record;
    this.#names ??= new NameCache(NAMES_KEPT);
    if (record.read(reader, this.#names) !== undefined) return;
    this.#untaken.set(broker, (this.#untaken.get(broker) ?? 0) + record.bytes);
    this.#settling ??= setImmediate(this.#settle);
    const subscription = this.#byId.get(record.number);
    // It may have ended while this was on its way.
    if (subscription?.push(record)) this.#overfull.add(subscription);
  }

  #onSubscribed(reader: BatchReader): void {
    const answer = readSubscribed(reader);
    if (typeof answer === "string") return;
    const { subscription: id, status, reason } = answer;
    const subscription = this.#byId.get(id);
    if (reader.kind === Kind.SUBSCRIBE && status === Status.OK) return subscription?.accepted();
    subscription?.end(new RequestError(statusName(status), reason));
  }

  /** Readers had their turn. Only what they or the queues have now is taken from the brokers. */
  #settle = (): void => {
    this.#settling = undefined;
    for (const subscription of this.#overfull) subscription.trim();
    this.#overfull.clear();
    for (const [broker, bytes] of this.#untaken) {
      if (bytes < TAKEN_BYTES_MIN || !broker.link.isOpen) continue;
      writeTaken(broker.link.writer, bytes);
      broker.link.flushSoon(true);
      this.#untaken.set(broker, 0);
    }
  };

  onWelcome(broker: Broker): void {
    this.#untaken.set(broker, 0);
    for (const subscription of this.#byId.values()) this.#say(broker, subscription);
    this.publisher.onWelcome(broker);
  }

  onDown(broker: Broker, reason: string): void {
    this.#untaken.delete(broker);
    this.publisher.onDown(broker, reason);
  }

  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#settling);
    for (const subscription of [...this.#byId.values()]) subscription.end(undefined);
    this.publisher.close();
  }
}
