import { Status, type StatusCode } from "../base/status.js";
import type { TopicEvent, WhenFull } from "../core/topics/subscriptions.js";
import {
  type Refusal,
  type TopicCounts,
  type TopicEffects,
  Topics,
} from "../core/topics/topics.js";
import type { BatchReader } from "../wire/batch.js";
import {
  EventRecord,
  forwardEvent,
  isBodyEmpty,
  readPublishAsk,
  readSubscribe,
  readTaken,
  readUnsubscribe,
  writePublished,
  writeSubscribed,
} from "../wire/event-record.js";
import { EventFlag, Kind, TAKEN_BYTES } from "../wire/layout.js";
import type { HeldRecord } from "../wire/request-record.js";
import { NameCache } from "../wire/text.js";
import { ownRecord } from "./bodies.js";
import type { Host, Pattern } from "./host.js";
import type { Peer } from "./peers.js";

/** An event, and the PUBLISH that it came as. */
export interface HeldEvent extends TopicEvent {
  topic: string;
  bytes: number;
  readonly record: HeldRecord;
}

/** Who else hears what is published, and is heard: the plain PUB and SUB sockets. */
export interface PlainTopics {
  /** An event of a native publisher, in the bytes of its message. */
  onEvent(topic: string, record: HeldRecord): void;
  /** One more native subscription has `pattern`, or one fewer. */
  listen(pattern: string, isOneMore: boolean): void;
  readonly counts: Readonly<Record<string, number>>;
  /** What keys may hear has changed. */
  recheck(): void;
  close(): void;
}

/** What a broker holds of publish and subscribe now, and has counted. */
export interface TopicStats extends TopicCounts {
  subscriptions: number;
  /** What these take in memory, as the limits on them count it. */
  subscriptionBytes: number;
  /** Clients with subscriptions. */
  subscribers: number;
  /** Events that wait for subscribers, each as often as it does, and their bytes, each once. */
  queued: number;
  queuedBytes: number;
  /** Topics whose last value is kept, and the bytes of these, their topics included. */
  retained: number;
  retainedBytes: number;
  /** Of plain PUB and SUB sockets; undefined where the broker has none. */
  plain: Readonly<Record<string, number>> | undefined;
}

/** By PROTOCOL 6.3. */
const POLICIES: readonly WhenFull[] = ["drop-oldest", "drop-newest", "disconnect"];
/** Topics whose names are remembered by their bytes. */
const NAMES_KEPT = 32_768;
const TAKEN = { status: Status.OK, reason: "" };

/**
 * Publish and subscribe at the broker (PROTOCOL 6): records to commands of core/topics, and what it
 * decides to records. A publication is read once, and copied once for each subscription into the batch
 * of its peer; a large body is a frame that all of them share.
 */
export class PubSub implements Pattern, TopicEffects<HeldEvent> {
  readonly kinds = new Map([
    [Kind.PUBLISH, "client"],
    [Kind.SUBSCRIBE, "client"],
    [Kind.UNSUBSCRIBE, "client"],
    [Kind.EVENT, "client"],
  ] as const);
  readonly needsTick = false;
  readonly topics: Topics<HeldEvent>;
  /** The plain sockets, where the broker has them. */
  plain: PlainTopics | undefined;
  readonly #host: Host;
  readonly #record = new EventRecord();
  /** Made with the first publication: most brokers have none. */
  #names: NameCache | undefined;
  /** The publication at hand; written over by the next. */
  readonly #event = { topic: "", bytes: 0, holds: 0, record: this.#record.held };
  /** Bytes published by each peer that it has not been told of, by index. */
  readonly #untold: number[] = [];
  #turn: NodeJS.Immediate | undefined;

  constructor(host: Host) {
    this.#host = host;
    this.topics = new Topics<HeldEvent>(this, host.limits);
  }

  get stats(): TopicStats {
    const { counts, room, subscriberCount, queuedCount, queuedBytes, retained } = this.topics;
    return {
      ...counts,
      subscriptions: room.count,
      subscriptionBytes: room.bytes,
      subscribers: subscriberCount,
      queued: queuedCount,
      queuedBytes,
      retained: retained.count,
      retainedBytes: retained.bytes,
      plain: this.plain === undefined ? undefined : { ...this.plain.counts },
    };
  }

  /** The same, as it is shown: what there is now apart from what only grows. */
  get state(): { topics: Record<string, number>; topicCounts: Record<string, number> } {
    const {
      plain,
      subscriptions,
      subscriptionBytes,
      subscribers,
      queued,
      queuedBytes,
      retained,
      retainedBytes,
      ...rest
    } = this.stats;
    const { prefixes: plainPrefixes = 0, ...plainCounts } = plain ?? {};
    const topicCounts: Record<string, number> = { ...rest };
    for (const [name, count] of Object.entries(plainCounts)) {
      topicCounts[`plain${name[0].toUpperCase()}${name.slice(1)}`] = count;
    }
    const waiting = { subscribers, queued, queuedBytes, retained, retainedBytes };
    const now = { subscriptions, subscriptionBytes, ...waiting, plainPrefixes };
    return { topics: now, topicCounts };
  }

  onRecord(peer: Peer, reader: BatchReader): void {
    switch (reader.kind) {
      case Kind.PUBLISH:
        return this.#onPublish(peer, reader);
      case Kind.SUBSCRIBE:
        return this.#onSubscribe(peer, reader);
      case Kind.UNSUBSCRIBE:
        return this.#onUnsubscribe(peer, reader);
      default:
        return this.#onTaken(peer, reader);
    }
  }

  onLeave(peer: Peer): void {
    this.#untold[peer.index] = 0;
    this.topics.leave(peer.index);
  }

  recheck(peer: Peer): void {
    const { access, index } = peer;
    if (access === undefined) return;
    for (const { id, pattern } of [...this.topics.subscriptionsOf(index)]) {
      const reason = access.denial("subscribe", pattern);
      if (reason === undefined) continue;
      this.topics.unsubscribe(index, id);
      this.end(index, id, Status.PERMISSION_DENIED, reason);
    }
  }

  onTick(): void {}

  close(): void {
    clearImmediate(this.#turn);
    this.plain?.close();
  }

  /** Goes on with last values in the next turn of the event loop, if there are more than one turn looks for. */
  #goOnSoon(): void {
    if (!this.topics.needsTurn) return;
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#host.begin();
      this.topics.turn();
      this.#host.onTurn();
      this.#goOnSoon();
    });
  }

  // --- in ---

  #onPublish(peer: Peer, reader: BatchReader): void {
    const asked = readPublishAsk(reader);
    if (asked !== undefined) return this.#answerPublish(peer, asked, 0, undefined);
    const record = this.#record;
    this.#names ??= new NameCache(NAMES_KEPT);
    const fault = record.read(reader, this.#names);
    if (fault !== undefined) return this.#host.malformed(fault);
    const { bytes, number: confirm } = record;
    if (bytes > this.#host.limits.recordBytesMax) {
      return this.#host.malformed("PUBLISH larger than the broker takes");
    }
    const refusal = this.#publish(peer, bytes);
    const untold = (this.#untold[peer.index] ?? 0) + bytes;
    this.#untold[peer.index] = untold;
    if (confirm === 0 && refusal === undefined && untold < TAKEN_BYTES) return;
    this.#answerPublish(peer, confirm, refusal === undefined ? this.topics.heard : 0, refusal);
  }

  #answerPublish(peer: Peer, confirm: number, heard: number, refusal: Refusal | undefined): void {
    const { status, reason } = refusal ?? TAKEN;
    const taken = this.#untold[peer.index] ?? 0;
    this.#untold[peer.index] = 0;
    writePublished(peer.outbox.writer, { status, taken, confirm, heard, reason });
    peer.wrote();
  }

  #publish(peer: Peer, bytes: number): Refusal | undefined {
    const { topic, held, flags } = this.#record;
    if (peer.access !== undefined) {
      const reason = peer.access.denial("publish", topic);
      if (reason !== undefined) return { status: Status.PERMISSION_DENIED, reason };
    }
    const isKept = (flags & EventFlag.RETAIN) !== 0;
    if (isKept && isBodyEmpty(held)) {
      this.topics.heard = 0;
      this.topics.deleteRetained(topic);
      return undefined;
    }
    const event = this.#event;
    event.topic = topic;
    event.bytes = bytes;
    event.holds = 0;
    const refusal = this.topics.publish(event, isKept);
    if (refusal === undefined) this.plain?.onEvent(topic, held);
    return refusal;
  }

  #onSubscribe(peer: Peer, reader: BatchReader): void {
    const fields = readSubscribe(reader);
    if (typeof fields === "string") return this.#host.malformed(fields);
    const { subscription, pattern, whenFull, queueMax, wantsRetained } = fields;
    const denial = peer.access?.denial("subscribe", pattern);
    if (denial !== undefined) {
      this.#answer(peer, Kind.SUBSCRIBE, subscription, Status.PERMISSION_DENIED, denial);
      return;
    }
    const options = { whenFull: POLICIES[whenFull], queueMax, wantsRetained };
    const refusal = this.topics.subscribe(peer.index, subscription, pattern, options);
    const { status, reason } = refusal ?? TAKEN;
    this.#answer(peer, Kind.SUBSCRIBE, subscription, status, reason);
    // Behind the answer.
    if (wantsRetained) this.topics.pump(peer.index);
    this.#goOnSoon();
  }

  #onUnsubscribe(peer: Peer, reader: BatchReader): void {
    const subscription = readUnsubscribe(reader);
    if (typeof subscription === "string") return this.#host.malformed(subscription);
    this.topics.unsubscribe(peer.index, subscription);
  }

  #onTaken(peer: Peer, reader: BatchReader): void {
    const bytes = readTaken(reader);
    if (typeof bytes === "string") return this.#host.malformed(bytes);
    this.topics.taken(peer.index, bytes);
    peer.outbox.eventBytes = this.topics.outstanding(peer.index);
    this.#goOnSoon();
  }

  // --- what a plain publisher brings ---

  /** An event that came in otherwise than as a record of a peer. Not within a message of a port. */
  publish(event: HeldEvent): void {
    this.topics.publish(event, false);
  }

  // --- effects ---

  deliver(
    index: number,
    subscription: number,
    event: HeldEvent,
    isRetained: boolean,
    dropped: number,
  ): void {
    const peer = this.#host.peers.at(index) as Peer;
    forwardEvent(peer.outbox.writer, event.record, subscription, isRetained, dropped);
    // It may be owed these beside what it is owed else.
    peer.outbox.eventBytes += event.bytes;
    peer.wrote();
  }

  keep({ topic, bytes, record }: HeldEvent): HeldEvent {
    return { topic, bytes, holds: 0, record: ownRecord(record) };
  }

  listen(pattern: string, isOneMore: boolean): void {
    this.plain?.listen(pattern, isOneMore);
  }

  end(index: number, subscription: number, status: StatusCode, reason: string): void {
    const peer = this.#host.peers.at(index) as Peer;
    this.#answer(peer, Kind.UNSUBSCRIBE, subscription, status, reason);
  }

  #answer(
    peer: Peer,
    kind: typeof Kind.SUBSCRIBE | typeof Kind.UNSUBSCRIBE,
    subscription: number,
    status: StatusCode,
    reason: string,
  ): void {
    writeSubscribed(peer.outbox.writer, kind, { subscription, status, reason });
    peer.wrote();
  }
}
