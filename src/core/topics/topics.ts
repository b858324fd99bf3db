import { assert } from "../../base/assert.js";
import type { StatusCode } from "../../base/status.js";
import { Status } from "../../base/status.js";
import { isPattern, isTopic } from "../../base/topic.js";
import { PatternTrie } from "./pattern-trie.js";
import { type Retained, RetainedStore } from "./retained.js";
import { type SubscriptionLimits, SubscriptionRoom } from "./subscription-room.js";
import { Subscriber, Subscription, type TopicEvent, type WhenFull } from "./subscriptions.js";
import { SEND_COST, WalkPace, walkPaceMax } from "./walk-pace.js";

/** What bounds publish and subscribe; see Limits, of which it is a part. Bytes and counts. */
export interface TopicLimits extends SubscriptionLimits {
  /** The longest queue that a subscription may ask for, in events. */
  readonly eventQueueCountMax: number;
  /** Bytes of events that may wait for one peer. */
  readonly clientEventBytesMax: number;
  /** Bytes of all events that wait; one that waits for many counts once. */
  readonly eventBytesMax: number;
  /** Bytes of events that may be on their way to a peer. */
  readonly eventWindowBytes: number;
  /** Topics whose last value is kept, and the bytes of these, the nodes of their topics included. */
  readonly retainedCountMax: number;
  readonly retainedBytesMax: number;
}

/** Up to so many bytes on their way, another may follow whatever its size: nobody is told of fewer. */
export const UNTOLD_BYTES_MAX = 64 * 1024;

/** What the core of publish and subscribe decides. Methods must not call back into it. */
export interface TopicEffects<E> {
  /** Send `event` to `peer`; `dropped` events of this subscription are lost since the last one. */
  deliver(peer: number, subscription: number, event: E, isRetained: boolean, dropped: number): void;
  /** `event` outlasts its message: one like it whose bytes are its own. */
  keep(event: E): E;
  /** Tell `peer` that this subscription is over. */
  end(peer: number, subscription: number, status: StatusCode, reason: string): void;
  /** One more subscription has `pattern`, or one fewer. */
  listen(pattern: string, isOneMore: boolean): void;
}

/** What it has counted; all only grow. */
export interface TopicCounts {
  published: number;
  /** Publications that were not taken. */
  publishRefused: number;
  /** Events sent to subscriptions. */
  delivered: number;
  /** Events that found a full queue, by what became of them. */
  droppedOldest: number;
  droppedNewest: number;
  disconnected: number;
  subscribeRefused: number;
}

export interface Refusal {
  status: StatusCode;
  reason: string;
}

/** So many of its queue go for one event at most, where the bytes of all are used up: each is looked at. */
const LOOKED_AT_MAX = 1024;

/** Topics whose subscriptions are remembered, and how many of these; past either all are found anew. */
const MATCHES_MAX = 32_768;
const MATCHED_MAX = 262_144;

interface Match<E extends TopicEvent> {
  epoch: number;
  subscriptions: readonly Subscription<E>[];
}

/**
 * Every decision of publish and subscribe: who gets an event, now or later, and who will not. Pure. What
 * is on its way to a peer is bounded by what it says to have taken, so that one which does not read
 * fills its own queues and nothing else.
 */
export class Topics<E extends TopicEvent> {
  readonly counts: TopicCounts = {
    published: 0,
    publishRefused: 0,
    delivered: 0,
    droppedOldest: 0,
    droppedNewest: 0,
    disconnected: 0,
    subscribeRefused: 0,
  };
  readonly trie = new PatternTrie<Subscription<E>>();
  readonly retained: RetainedStore<E>;
  readonly pace: WalkPace<Subscriber<E>>;
  readonly room: SubscriptionRoom;
  /** Events in queues, each as often as it waits, and the bytes of these, each once. */
  queuedCount = 0;
  queuedBytes = 0;
  /** Subscriptions that the last publication went to, queued or dropped for some perhaps. */
  heard = 0;
  readonly #limits: TopicLimits;
  readonly #effects: TopicEffects<E>;
  readonly #subscribers = new Map<number, Subscriber<E>>();
  readonly #matches = new Map<string, Match<E>>();
  /** Entries of all lists in there. */
  #matchedCount = 0;
  /** Grows with each subscription that comes or goes. */
  #epoch = 0;

  constructor(effects: TopicEffects<E>, limits: TopicLimits, pace = walkPaceMax) {
    this.pace = new WalkPace(pace);
    this.room = new SubscriptionRoom(limits);
    this.#effects = effects;
    this.#limits = limits;
    this.retained = new RetainedStore<E>(limits.retainedCountMax, limits.retainedBytesMax);
  }

  // --- commands ---

  /** Gives `event` to all who listen, and keeps it as its topic's last value if it `isKept`. */
  publish(event: E, isKept: boolean): Refusal | undefined {
    const subscriptions = this.#matching(event.topic);
    this.heard = 0;
    if (subscriptions === undefined) {
      return this.#refusePublish(Status.INVALID_ARGUMENT, "topic is none");
    }
    let kept: E | undefined;
    if (isKept) {
      const refusal = this.retained.refusal(event.topic, event.bytes);
      if (refusal !== undefined) return this.#refusePublish(Status.RESOURCE_EXHAUSTED, refusal);
      kept = this.#effects.keep(event);
      this.retained.set(kept);
    }
    this.counts.published++;
    for (const subscription of subscriptions) {
      if (subscription.isOver) continue;
      this.heard++;
      const { subscriber } = subscription;
      if (subscriber.isIdle && this.#hasRoom(subscriber, event.bytes)) {
        this.#deliver(subscription, event, false);
      } else {
        kept ??= this.#effects.keep(event);
        this.#enqueue(subscription, kept);
      }
    }
    return undefined;
  }

  /** Forgets the last value of `topic`; nobody is told. */
  deleteRetained(topic: string): void {
    this.retained.delete(topic);
  }

  /**
   * `peer` listens to `pattern` from now on, under a number of its own that it does not use yet. It has
   * last values to come: `pump` sends them, and `turn` those that are too many for this one.
   */
  subscribe(
    peer: number,
    id: number,
    pattern: string,
    options: { whenFull: WhenFull; queueMax: number; wantsRetained: boolean },
  ): Refusal | undefined {
    const known = this.#subscribers.get(peer);
    const refusal = this.#subscribeRefusal(known, id, pattern);
    if (refusal !== undefined) {
      this.counts.subscribeRefused++;
      return refusal;
    }
    const subscriber = known ?? new Subscriber<E>(peer);
    this.#subscribers.set(peer, subscriber);
    const queueMax = Math.min(Math.max(1, options.queueMax), this.#limits.eventQueueCountMax);
    const { version } = this.retained;
    const subscription = new Subscription(
      subscriber,
      id,
      pattern,
      options.whenFull,
      queueMax,
      version,
    );
    subscriber.subscriptions.set(id, subscription);
    this.room.add(subscriber, pattern);
    this.trie.add(pattern, subscription);
    this.#epoch++;
    if (options.wantsRetained && this.retained.count > 0) subscriber.catchingUp.add(subscription);
    this.#effects.listen(pattern, true);
    return undefined;
  }

  unsubscribe(peer: number, id: number): void {
    const subscription = this.#subscribers.get(peer)?.subscriptions.get(id);
    if (subscription !== undefined) this.#remove(subscription);
  }

  /** `peer` has read so many bytes of events. */
  taken(peer: number, bytes: number): void {
    const subscriber = this.#subscribers.get(peer);
    if (subscriber === undefined) return;
    subscriber.outstanding = Math.max(0, subscriber.outstanding - bytes);
    this.#pump(subscriber);
  }

  /** Whether `turn` is to be called in the next turn of the event loop. */
  get needsTurn(): boolean {
    return this.pace.needsTurn;
  }

  /** A new turn of the event loop: goes on with the last values of those for whom the one before was too short. */
  turn(): void {
    this.pace.begin((subscriber) => this.#pump(subscriber));
  }

  /** Sends what waits for `peer`, as far as it has room, and last values as far as this turn reaches. */
  pump(peer: number): void {
    const subscriber = this.#subscribers.get(peer);
    if (subscriber !== undefined) this.#pump(subscriber);
  }

  /** `peer` is gone. */
  leave(peer: number): void {
    const subscriber = this.#subscribers.get(peer);
    if (subscriber === undefined) return;
    for (const subscription of subscriber.subscriptions.values()) this.#remove(subscription);
    this.pace.forget(subscriber);
    this.#subscribers.delete(peer);
  }

  // --- what is asked of it ---

  /** Bytes of events on their way to `peer`. */
  outstanding(peer: number): number {
    return this.#subscribers.get(peer)?.outstanding ?? 0;
  }

  /** What `peer` listens to. */
  *subscriptionsOf(peer: number): Iterable<{ readonly id: number; readonly pattern: string }> {
    yield* this.#subscribers.get(peer)?.subscriptions.values() ?? [];
  }

  get subscriptionCount(): number {
    return this.room.count;
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }

  // --- who listens ---

  /** undefined where `topic` is none. */
  #matching(topic: string): readonly Subscription<E>[] | undefined {
    const known = this.#matches.get(topic);
    if (known?.epoch === this.#epoch) return known.subscriptions;
    if (known === undefined && !isTopic(topic)) return undefined;
    const subscriptions: Subscription<E>[] = [];
    this.trie.match(topic, subscriptions);
    this.#matchedCount += subscriptions.length - (known?.subscriptions.length ?? 0);
    if (this.#matches.size >= MATCHES_MAX || this.#matchedCount > MATCHED_MAX) {
      this.#matches.clear();
      this.#matchedCount = subscriptions.length;
    }
    this.#matches.set(topic, { epoch: this.#epoch, subscriptions });
    return subscriptions;
  }

  #subscribeRefusal(
    known: Subscriber<E> | undefined,
    id: number,
    pattern: string,
  ): Refusal | undefined {
    if (!isPattern(pattern)) return { status: Status.INVALID_ARGUMENT, reason: "pattern is none" };
    if (known?.subscriptions.has(id)) {
      return { status: Status.INVALID_ARGUMENT, reason: `subscription ${id} is there already` };
    }
    return this.room.refusal(known, pattern);
  }

  #refusePublish(status: StatusCode, reason: string): Refusal {
    this.counts.publishRefused++;
    return { status, reason };
  }

  #remove(subscription: Subscription<E>): void {
    const { subscriber, id, pattern, queue } = subscription;
    assert(!subscription.isOver, "a subscription ends once");
    subscription.isOver = true;
    subscription.walk = undefined;
    subscription.found = undefined;
    subscriber.subscriptions.delete(id);
    subscriber.catchingUp.delete(subscription);
    subscriber.waiting.delete(subscription);
    while (queue.count > 0) this.#release(subscription, queue.shift() as E);
    this.trie.delete(pattern, subscription);
    this.room.delete(subscriber, pattern);
    this.#epoch++;
    this.#effects.listen(pattern, false);
    // Lists of who listens must not keep those alive who do no more.
    if (this.subscriptionCount > 0) return;
    this.#matches.clear();
    this.#matchedCount = 0;
  }

  // --- queues ---

  #hasRoom({ outstanding }: Subscriber<E>, bytes: number): boolean {
    return outstanding + bytes <= this.#limits.eventWindowBytes || outstanding <= UNTOLD_BYTES_MAX;
  }

  #deliver(subscription: Subscription<E>, event: E, isRetained: boolean): void {
    const { subscriber, id, dropped } = subscription;
    subscriber.outstanding += event.bytes;
    subscription.dropped = 0;
    this.counts.delivered++;
    this.#effects.deliver(subscriber.peer, id, event, isRetained, dropped);
  }

  #enqueue(subscription: Subscription<E>, event: E): void {
    const { subscriber, queue, whenFull } = subscription;
    if (whenFull === "drop-oldest" && this.#canMakeRoom(subscription, event)) {
      while (queue.count > 0 && this.#isFull(subscription, event)) {
        this.#release(subscription, queue.shift() as E);
        subscription.dropped++;
        this.counts.droppedOldest++;
      }
    }
    if (this.#isFull(subscription, event)) {
      if (whenFull === "disconnect") return this.#disconnect(subscription);
      // Also where others' queues have taken all the room there is.
      subscription.dropped++;
      this.counts.droppedNewest++;
      return;
    }
    queue.push(event);
    this.queuedCount++;
    subscription.queuedBytes += event.bytes;
    subscriber.queuedBytes += event.bytes;
    if (event.holds++ === 0) this.queuedBytes += event.bytes;
    subscriber.waiting.add(subscription);
  }

  /** Whether an event has room once the oldest of its own queue go: else they would go for nothing. */
  #canMakeRoom({ queue, queuedBytes, subscriber }: Subscription<E>, { bytes, holds }: E): boolean {
    const { clientEventBytesMax, eventBytesMax } = this.#limits;
    if (subscriber.queuedBytes - queuedBytes + bytes > clientEventBytesMax) return false;
    if (holds > 0) return true;
    let missing = this.queuedBytes + bytes - eventBytesMax;
    for (let i = 0; missing > 0 && i < queue.count && i < LOOKED_AT_MAX; i++) {
      const oldest = queue.at(i) as E;
      // What waits for others too keeps its bytes until it has gone to them.
      if (oldest.holds === 1) missing -= oldest.bytes;
    }
    return missing <= 0;
  }

  #isFull({ queue, queueMax, subscriber }: Subscription<E>, { bytes, holds }: E): boolean {
    const { clientEventBytesMax, eventBytesMax } = this.#limits;
    return (
      queue.count >= queueMax ||
      subscriber.queuedBytes + bytes > clientEventBytesMax ||
      (holds === 0 && this.queuedBytes + bytes > eventBytesMax)
    );
  }

  /** `event` waits in the queue of `subscription` no more. */
  #release(subscription: Subscription<E>, event: E): void {
    const { subscriber } = subscription;
    this.queuedCount--;
    subscription.queuedBytes -= event.bytes;
    subscriber.queuedBytes -= event.bytes;
    if (--event.holds === 0) this.queuedBytes -= event.bytes;
  }

  #disconnect(subscription: Subscription<E>): void {
    const { subscriber, id, queueMax } = subscription;
    this.counts.disconnected++;
    this.#remove(subscription);
    const reason = `its reader is too slow: ${queueMax} events wait, or all the bytes that may`;
    this.#effects.end(subscriber.peer, id, Status.RESOURCE_EXHAUSTED, reason);
  }

  /** Last values first, then one of each queue in turn. */
  #pump(subscriber: Subscriber<E>): void {
    for (;;) {
      const catching = first(subscriber.catchingUp);
      if (catching !== undefined) {
        if (!this.#catchUp(catching)) return;
        continue;
      }
      const subscription = first(subscriber.waiting);
      if (subscription === undefined) return;
      const event = subscription.queue.peek() as E;
      if (!this.#hasRoom(subscriber, event.bytes)) return;
      subscription.queue.shift();
      this.#release(subscription, event);
      subscriber.waiting.delete(subscription);
      if (subscription.queue.count > 0) subscriber.waiting.add(subscription);
      this.#deliver(subscription, event, false);
    }
  }

  /** Sends the next of the last values; false when there is no room for it, or this turn has done its share. */
  #catchUp(subscription: Subscription<E>): boolean {
    const { subscriber, sinceVersion } = subscription;
    const left = this.pace.left(subscriber);
    if (left <= 0) {
      this.pace.wait(subscriber);
      return false;
    }
    const next = subscription.found ?? this.#nextRetained(subscription, left);
    if (next === undefined) {
      if (subscription.walk?.isDone) {
        subscription.walk = undefined;
        subscriber.catchingUp.delete(subscription);
      }
      return true;
    }
    const { event, version } = next;
    // It may have been deleted since; a newer one stands in the queue as an event, or is counted as dropped.
    const isWanted = event !== undefined && version <= sinceVersion;
    if (isWanted && !this.#hasRoom(subscriber, event.bytes)) {
      subscription.found = next;
      return false;
    }
    subscription.found = undefined;
    if (isWanted) {
      this.pace.spend(subscriber, SEND_COST);
      this.#deliver(subscription, event, true);
    }
    return true;
  }

  #nextRetained(subscription: Subscription<E>, visitsMax: number): Retained<E> | undefined {
    const { subscriber, pattern, sinceVersion } = subscription;
    const before = subscription.walk?.visitedCount ?? 0;
    subscription.walk ??= this.retained.walk(pattern, sinceVersion);
    const found = subscription.walk.next(visitsMax);
    this.pace.spend(subscriber, subscription.walk.visitedCount - before);
    return found;
  }
}

function first<T>(set: Set<T>): T | undefined {
  return set.size === 0 ? undefined : (set.values().next().value as T);
}
