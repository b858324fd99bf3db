// Publish and subscribe under weather: the production core of it (core/topics) between clients that come and
// go, stop reading, and lose their connections, beside a model that knows what each subscription is owed.
import { Sequences } from "../../build/client/sequences.js";
import { type Limits, resolveLimits } from "../../build/core/limits.js";
import type { TopicEvent, WhenFull } from "../../build/core/topics/subscriptions.js";
import {
  type TopicEffects,
  type Topics,
  UNTOLD_BYTES_MAX,
} from "../../build/core/topics/topics.js";
import type { WalkPaceMax } from "../../build/core/topics/walk-pace.js";
import { Random } from "../random.mjs";
import { Log, must } from "./log.ts";

export type TopicsClass = typeof Topics;

const TOPICS = ["a", "a.b", "a.b.c", "a.c", "b", "b.b", "c.a.b"];
const PATTERNS = [...TOPICS, "*", ">", "a.*", "a.>", "*.b", "*.*", "a.*.c", "*.>", "c.*.>"];
const POLICIES: readonly WhenFull[] = ["drop-oldest", "drop-newest", "disconnect"];
const CLIENTS = 4;
const KIB = 1024;

interface SimEvent extends TopicEvent {
  readonly publisher: number;
  readonly sequence: number;
  isOwn: boolean;
}

type Upward =
  | { kind: "publish"; event: SimEvent; isKept: boolean }
  | { kind: "delete"; topic: string }
  | { kind: "subscribe"; id: number; pattern: string; options: SubscribeOptions }
  | { kind: "unsubscribe"; id: number }
  | { kind: "taken"; bytes: number };
type Downward =
  | { kind: "event"; id: number; event: SimEvent; isRetained: boolean }
  | { kind: "end"; id: number };

interface SubscribeOptions {
  whenFull: WhenFull;
  queueMax: number;
  wantsRetained: boolean;
}

/** What the model knows that one subscription is owed. */
interface Owed {
  readonly options: SubscribeOptions;
  readonly pattern: string;
  /** All that it matched since it began, and how far it came. */
  readonly events: SimEvent[];
  next: number;
  delivered: number;
  dropped: number;
  /** Values kept when it began, by topic, that it has not been sent. */
  readonly kept: Map<string, SimEvent>;
}

/** One pattern at a time, by the words of PROTOCOL 6. */
function matches(pattern: string, topic: string): boolean {
  const wanted = pattern.split(".");
  const tokens = topic.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return index < tokens.length;
    if (index >= tokens.length || (token !== "*" && token !== tokens[index])) return false;
  }
  return wanted.length === tokens.length;
}

/** As the page has it (docs/pubsub.md). */
function subscriptionBytes(pattern: string): number {
  return 512 + 320 * pattern.split(".").length + 4 * pattern.length;
}

/** Of last values, and of the nodes of their topics. */
function retainedBytes(events: readonly SimEvent[]): number {
  const nodes = new Set<string>();
  for (const { topic } of events) {
    const tokens = topic.split(".");
    for (let count = 1; count <= tokens.length; count++)
      nodes.add(tokens.slice(0, count).join("."));
  }
  return events.reduce((sum, { bytes }) => sum + bytes, 256 * nodes.size);
}

const nameOf = ({ topic, publisher, sequence }: SimEvent) => `${topic} ${publisher}#${sequence}`;

/** A broker's core of topics, and what it should do. */
class ModelledTopics implements TopicEffects<SimEvent> {
  readonly topics: Topics<SimEvent>;
  readonly owed = new Map<number, Map<number, Owed>>();
  readonly kept = new Map<string, SimEvent>();
  readonly outstanding = new Map<number, number>();
  send: (peer: number, message: Downward) => void = () => {};
  #listening = 0;

  constructor(
    TopicsUnderTest: TopicsClass,
    readonly limits: Limits,
    readonly log: Log,
    pace: WalkPaceMax,
  ) {
    this.topics = new TopicsUnderTest<SimEvent>(this, limits, pace);
  }

  on(peer: number, message: Upward): void {
    const { topics } = this;
    switch (message.kind) {
      case "publish":
        this.#publish(message.event, message.isKept);
        break;
      case "delete":
        this.kept.delete(message.topic);
        topics.deleteRetained(message.topic);
        break;
      case "subscribe":
        this.#subscribe(peer, message);
        break;
      case "unsubscribe":
        this.owed.get(peer)?.delete(message.id);
        topics.unsubscribe(peer, message.id);
        break;
      case "taken":
        this.outstanding.set(peer, (this.outstanding.get(peer) ?? 0) - message.bytes);
        topics.taken(peer, message.bytes);
        break;
      default:
        message satisfies never;
    }
    this.check();
  }

  leave(peer: number): void {
    this.owed.delete(peer);
    this.outstanding.delete(peer);
    this.topics.leave(peer);
    this.check();
  }

  turn(): void {
    this.log.meet("turn");
    this.topics.turn();
    this.check();
  }

  #publish(event: SimEvent, isKept: boolean): void {
    const { retainedCountMax, retainedBytesMax } = this.limits;
    const others = [...this.kept.values()].filter(({ topic }) => topic !== event.topic);
    const bytes = retainedBytes([...others, event]);
    const isTooMuch = isKept && (others.length >= retainedCountMax || bytes > retainedBytesMax);
    if (!isTooMuch) {
      if (isKept) this.kept.set(event.topic, event);
      for (const subscriptions of this.owed.values()) {
        for (const owed of subscriptions.values()) {
          if (!matches(owed.pattern, event.topic)) continue;
          owed.events.push(event);
          // A newer one comes as an event.
          if (isKept) owed.kept.delete(event.topic);
        }
      }
    }
    const { clientEventBytesMax, eventBytesMax, clientSubscriptionsMax } = this.limits;
    // Room for it in every subscription that one peer may have.
    const isEasy =
      this.topics.queuedCount === 0 &&
      event.bytes * clientSubscriptionsMax <= Math.min(clientEventBytesMax, eventBytesMax);
    const dropsBefore = this.#dropCount;
    const refusal = this.topics.publish(event, isKept);
    must(
      !isEasy || this.#dropCount === dropsBefore,
      `${nameOf(event)} dropped where nothing waits`,
    );
    must((refusal !== undefined) === isTooMuch, `${nameOf(event)}: ${refusal?.reason}`);
    this.log.effect(`publish ${isTooMuch ? "refused" : this.topics.heard}`);
    event.isOwn = true;
  }

  get #dropCount(): number {
    const { droppedOldest, droppedNewest, disconnected } = this.topics.counts;
    return droppedOldest + droppedNewest + disconnected;
  }

  #subscribe(peer: number, message: Upward & { kind: "subscribe" }): void {
    const { id, pattern, options } = message;
    const mine = this.owed.get(peer) ?? new Map<number, Owed>();
    const { clientSubscriptionsMax, subscriptionsMax } = this.limits;
    const count = [...this.owed.values()].reduce((sum, { size }) => sum + size, 0);
    const bytes = subscriptionBytes(pattern);
    const isTooMuch =
      mine.size >= clientSubscriptionsMax ||
      count >= subscriptionsMax ||
      this.#bytesOf([mine]) + bytes > this.limits.clientSubscriptionBytesMax ||
      this.#bytesOf([...this.owed.values()]) + bytes > this.limits.subscriptionBytesMax;
    const refusal = this.topics.subscribe(peer, id, pattern, options);
    must((refusal !== undefined) === isTooMuch, `subscribe ${pattern}: ${refusal?.reason}`);
    if (refusal !== undefined) {
      this.log.effect("subscribe refused");
      return this.send(peer, { kind: "end", id });
    }
    const kept = new Map<string, SimEvent>();
    for (const [topic, event] of options.wantsRetained ? this.kept : []) {
      if (matches(pattern, topic)) kept.set(topic, event);
    }
    mine.set(id, { options, pattern, events: [], next: 0, delivered: 0, dropped: 0, kept });
    this.owed.set(peer, mine);
    this.topics.pump(peer);
  }

  #bytesOf(held: readonly Map<number, Owed>[]): number {
    const patterns = held.flatMap((each) => [...each.values()].map(({ pattern }) => pattern));
    return patterns.reduce((sum, pattern) => sum + subscriptionBytes(pattern), 0);
  }

  // --- effects ---

  deliver(peer: number, id: number, event: SimEvent, isRetained: boolean, dropped: number): void {
    const what = `${id} of ${peer} gets ${nameOf(event)}`;
    this.log.effect(`${what} ${isRetained} ${dropped}`);
    this.log.meet(isRetained ? "retained" : "event");
    const owed = this.owed.get(peer)?.get(id);
    must(owed !== undefined, `${what}, and is not there`);
    const before = this.outstanding.get(peer) ?? 0;
    const isRoom =
      before <= UNTOLD_BYTES_MAX || before + event.bytes <= this.limits.eventWindowBytes;
    must(isRoom, `${what} beyond the window`);
    this.outstanding.set(peer, before + event.bytes);
    owed.dropped += dropped;
    if (dropped > 0) this.log.meet("dropped");
    if (isRetained) {
      must(owed.next === 0, `${what}, kept, behind an event`);
      must(owed.kept.get(event.topic)?.sequence === event.sequence, `${what}, not kept for it`);
      owed.kept.delete(event.topic);
    } else {
      const at = owed.events.findIndex((each, index) => {
        return index >= owed.next && nameOf(each) === nameOf(event);
      });
      must(at >= 0, `${what}, which is not owed to it, or not any more`);
      owed.next = at + 1;
      owed.delivered++;
      must(owed.delivered + owed.dropped <= owed.events.length, `${what}: too much is dropped`);
    }
    this.send(peer, { kind: "event", id, event, isRetained });
  }

  keep(event: SimEvent): SimEvent {
    this.log.meet("kept");
    return { ...event, holds: 0, isOwn: true };
  }

  end(peer: number, id: number): void {
    const owed = this.owed.get(peer)?.get(id);
    must(owed?.options.whenFull === "disconnect", `${id} of ${peer} was not to be ended`);
    this.log.effect(`end ${id} of ${peer}`);
    this.log.meet("disconnected");
    this.owed.get(peer)?.delete(id);
    this.send(peer, { kind: "end", id });
  }

  listen(_pattern: string, isOneMore: boolean): void {
    this.#listening += isOneMore ? 1 : -1;
  }

  /** What must hold after each step. */
  check(): void {
    const { topics, limits } = this;
    const count = [...this.owed.values()].reduce((sum, { size }) => sum + size, 0);
    must(topics.subscriptionCount === count, `${topics.subscriptionCount}, not ${count}, listen`);
    must(this.#listening === count, `${this.#listening}, not ${count}, were told to listen`);
    must(topics.queuedBytes <= limits.eventBytesMax, `${topics.queuedBytes} bytes wait`);
    must(topics.queuedCount >= 0 && topics.queuedBytes >= 0, "less than nothing waits");
    must((topics.queuedCount === 0) === (topics.queuedBytes === 0), "bytes of no events wait");
    must(
      topics.room.bytes === this.#bytesOf([...this.owed.values()]),
      `${topics.room.bytes} taken`,
    );
    const bytes = retainedBytes([...this.kept.values()]);
    const { retained } = topics;
    must(retained.count === this.kept.size, `${retained.count} values kept`);
    must(retained.bytes === bytes, `${retained.bytes}, not ${bytes}, bytes kept`);
    for (const [peer, outstanding] of this.outstanding) {
      must(topics.outstanding(peer) === outstanding, `${peer}: ${topics.outstanding(peer)} sent`);
    }
  }

  /** All is read, and of each subscription the last event is delivered: nothing may be left open. */
  checkAtRest(): void {
    must(this.topics.queuedCount === 0, "something waits for nobody");
    for (const [peer, subscriptions] of this.owed) {
      for (const [id, { events, delivered, dropped, kept }] of subscriptions) {
        const what = `${id} of ${peer}`;
        const open = events.length - delivered - dropped;
        must(open === 0, `${what}: ${events.length} - ${delivered} - ${dropped} is missing`);
        for (const [topic, event] of kept) {
          must(this.kept.get(topic) !== event, `${what} never got the value of ${topic}`);
        }
      }
    }
  }
}

interface Link {
  broker: ModelledTopics;
  peer: number;
  readonly up: Upward[];
  readonly down: Downward[];
  untaken: number;
}

class SimClient {
  readonly sequences = new Map<string, number>();
  readonly subscriptions = new Map<
    number,
    { pattern: string; options: SubscribeOptions; seen: Sequences; last: Map<string, number> }
  >();
  links: (Link | undefined)[] = [];
  isStopped = false;
  nextId = 0;

  constructor(readonly publisher: number) {}
}

export interface TopicsOutcome {
  digest: string;
  log: Log;
}

/** Runs one seed of publish and subscribe; throws where something does not hold. */
export function simulateTopics(
  TopicsUnderTest: TopicsClass,
  seed: number,
  steps: number,
): TopicsOutcome {
  return new TopicsWorld(TopicsUnderTest, seed).run(steps);
}

class TopicsWorld {
  readonly log = new Log();
  readonly #random: Random;
  readonly #limits: Limits;
  /** So little that last values come over many turns. */
  readonly #pace: WalkPaceMax;
  readonly #TopicsUnderTest: TopicsClass;
  readonly #brokers: ModelledTopics[] = [];
  readonly #clients: SimClient[] = [];
  #peerCount = 0;
  #clientCount = 0;

  constructor(TopicsUnderTest: TopicsClass, seed: number) {
    const random = new Random(seed);
    this.#random = random;
    this.#TopicsUnderTest = TopicsUnderTest;
    this.#limits = resolveLimits({
      subscriptionsMax: 8 + random.below(8),
      clientSubscriptionsMax: 2 + random.below(5),
      subscriptionBytesMax: 9000 + random.below(12_000),
      clientSubscriptionBytesMax: 3000 + random.below(6000),
      eventQueueCountMax: 8,
      clientEventBytesMax: (20 + random.below(200)) * KIB,
      eventBytesMax: (220 + random.below(200)) * KIB,
      eventWindowBytes: (64 + random.below(200)) * KIB,
      retainedCountMax: 2 + random.below(5),
      retainedBytesMax: (50 + random.below(100)) * KIB,
    });
    this.#pace = { turnMax: 1 + random.below(30), subscriberMax: 1 + random.below(10) };
    for (let i = random.pick([1, 1, 2]); i > 0; i--) this.#brokers.push(this.#newBroker());
    for (let i = 0; i < CLIENTS; i++) this.#clients.push(new SimClient(++this.#clientCount));
  }

  run(steps: number): TopicsOutcome {
    for (let step = 0; step < steps; step++) this.#step();
    this.#heal();
    return { digest: this.log.digest.toString(16), log: this.log };
  }

  #newBroker(): ModelledTopics {
    const made = new ModelledTopics(this.#TopicsUnderTest, this.#limits, this.log, this.#pace);
    made.send = (peer, message) => {
      for (const { links } of this.#clients) {
        for (const link of links) if (link?.peer === peer) link.down.push(message);
      }
    };
    return made;
  }

  #step(): void {
    const random = this.#random;
    const client = random.pick(this.#clients);
    this.#connect();
    const what = random.below(100);
    if (what < 34) this.#publish(client);
    else if (what < 46) this.#subscribe(client);
    else if (what < 50) this.#unsubscribe(client);
    else if (what < 53) client.isStopped = !client.isStopped;
    else if (what < 55) this.#cut(client);
    else if (what < 56) this.#restart(random.below(this.#brokers.length));
    else for (let i = random.below(8); i >= 0; i--) this.#deliver();
  }

  #connect(): void {
    for (const client of this.#clients) {
      for (const [index, broker] of this.#brokers.entries()) {
        if (client.links[index] !== undefined) continue;
        const link: Link = { broker, peer: ++this.#peerCount, up: [], down: [], untaken: 0 };
        client.links[index] = link;
        for (const [id, { pattern, options }] of client.subscriptions) {
          link.up.push({ kind: "subscribe", id, pattern, options });
        }
      }
    }
  }

  #publish(client: SimClient): void {
    const random = this.#random;
    const link = client.links.find((each) => each !== undefined);
    const topic = random.pick(TOPICS);
    if (random.chance(5)) {
      link?.up.push({ kind: "delete", topic });
      return;
    }
    const sequence = (client.sequences.get(topic) ?? 0) + 1;
    client.sequences.set(topic, sequence);
    const bytes = random.chance(90) ? KIB * (1 + random.below(30)) : 300 * KIB;
    const { publisher } = client;
    const event = { topic, bytes, holds: 0, publisher, sequence, isOwn: false };
    link?.up.push({ kind: "publish", event, isKept: random.chance(20) });
  }

  #subscribe(client: SimClient): void {
    const random = this.#random;
    const id = ++client.nextId;
    const options = {
      whenFull: random.pick(POLICIES),
      queueMax: 1 + random.below(4),
      wantsRetained: random.chance(70),
    };
    const pattern = random.pick(PATTERNS);
    client.subscriptions.set(id, { pattern, options, seen: new Sequences(), last: new Map() });
    for (const link of client.links) link?.up.push({ kind: "subscribe", id, pattern, options });
  }

  #unsubscribe(client: SimClient): void {
    const ids = [...client.subscriptions.keys()];
    if (ids.length > 0) this.#forget(client, this.#random.pick(ids));
  }

  #forget(client: SimClient, id: number): void {
    if (!client.subscriptions.delete(id)) return;
    for (const link of client.links) link?.up.push({ kind: "unsubscribe", id });
  }

  /** The connections of a client are lost with what was on its way. */
  #cut(client: SimClient): void {
    for (const [index, link] of client.links.entries()) {
      if (link !== undefined) link.broker.leave(link.peer);
      client.links[index] = undefined;
    }
    this.log.meet("cut");
  }

  #restart(index: number): void {
    this.#brokers[index] = this.#newBroker();
    for (const client of this.#clients) client.links[index] = undefined;
    this.log.meet("restart");
  }

  /** The next message of one pipe; false when there is none. */
  #deliver(): boolean {
    const ready: (() => void)[] = [];
    for (const broker of this.#brokers) {
      if (broker.topics.needsTurn) ready.push(() => broker.turn());
    }
    for (const client of this.#clients) {
      for (const link of client.links) {
        if (link === undefined) continue;
        const { up, down, broker, peer } = link;
        if (up.length > 0) ready.push(() => broker.on(peer, up.shift() as Upward));
        if (down.length === 0 || client.isStopped) continue;
        ready.push(() => this.#read(client, link, down.shift() as Downward));
      }
    }
    if (ready.length > 0) this.#random.pick(ready)();
    return ready.length > 0;
  }

  #read(client: SimClient, link: Link, message: Downward): void {
    if (message.kind === "end") return this.#forget(client, message.id);
    const { event, id, isRetained } = message;
    link.untaken += event.bytes;
    if (link.untaken >= UNTOLD_BYTES_MAX / 2 || this.#random.chance(20)) {
      link.up.push({ kind: "taken", bytes: link.untaken });
      link.untaken = 0;
    }
    const subscription = client.subscriptions.get(id);
    if (subscription === undefined) return;
    const { topic, publisher, sequence } = event;
    const { seen, last } = subscription;
    if (seen.isLate(topic, publisher, 0, sequence)) return this.log.meet("late");
    const key = `${topic} ${publisher}`;
    const before = last.get(key);
    must(before === undefined || sequence > before, `${id} heard ${nameOf(event)} late`);
    last.set(key, sequence);
    const missed = seen.note(topic, publisher, 0, sequence, isRetained, 0);
    const isKnown = before !== undefined && missed > 0;
    must(!isKnown || missed === sequence - (before as number) - 1, `${id} miscounts ${missed}`);
    if (missed > 0) this.log.meet("missed");
  }

  /** Everybody reads, all arrives, and a last event on each topic tells what was dropped. */
  #heal(): void {
    for (const client of this.#clients) client.isStopped = false;
    this.#connect();
    this.#settle();
    for (const topic of TOPICS) {
      for (const link of this.#clients[0].links) {
        const event = { topic, bytes: 1, holds: 0, publisher: 0, sequence: 1, isOwn: false };
        link?.up.push({ kind: "publish", event, isKept: false });
      }
      this.#settle();
    }
    for (const broker of this.#brokers) broker.checkAtRest();
    for (const client of this.#clients) this.#cut(client);
    for (const { topics } of this.#brokers) {
      must(topics.subscriptionCount === 0 && topics.subscriberCount === 0, "somebody is left");
      must(topics.room.bytes === 0, `${topics.room.bytes} bytes of subscriptions are left`);
      must(topics.trie.nodeCount === 1, `${topics.trie.nodeCount} nodes are left`);
      must(topics.queuedBytes === 0 && topics.queuedCount === 0, "events are left");
    }
  }

  #settle(): void {
    for (let count = 0; this.#deliver(); count++) must(count < 100_000, "messages without end");
  }
}
