// Publish and subscribe, from client to client through a broker.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Publisher, Subscriber } from "zeromq";
import { createCodec, generateKey } from "../../build/codec/index.js";
import {
  Broker,
  type BrokerOptions,
  Client,
  type ClientOptions,
  type ConnectionEvent,
  type Subscription,
  type TopicEvent,
} from "../../build/index.js";
import { eventually } from "./processes.js";

const ANY = "tcp://127.0.0.1:*";
const loopback: BrokerOptions = { frontend: ANY, backend: ANY, xsub: ANY, xpub: ANY };

let broker: Broker;
let closers: (() => unknown)[];

beforeEach(async () => {
  closers = [];
  broker = await Broker.start(loopback);
});

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  await broker.close({ timeoutMs: 0 });
});

async function connect(options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend, ...options });
  closers.push(() => client.close({ timeoutMs: 0 }));
  return client;
}

async function subscribed<Body>(subscription: Subscription<Body>): Promise<Subscription<Body>> {
  await subscription.ready();
  return subscription;
}

/** The next `count` events. */
async function take<Body>(
  subscription: Subscription<Body>,
  count: number,
): Promise<TopicEvent<Body>[]> {
  const events: TopicEvent<Body>[] = [];
  while (events.length < count) {
    const { value, done } = await subscription.next();
    if (done) throw new Error(`over after ${events.length} events`);
    events.push(value);
  }
  return events;
}

const bodies = (events: TopicEvent[]) => events.map(({ body }) => body);
const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error) => error,
  );

describe("publish and subscribe", () => {
  it("takes events to those whose pattern matches, in order, numbered by topic and publisher", async () => {
    const [one, other, reader] = [await connect(), await connect(), await connect()];
    const all = await subscribed(reader.subscribe("orders.>"));
    const some = await subscribed(reader.subscribe("orders.*.new"));
    await one.publish("orders.eu.new", { n: 1 });
    await one.publish("orders.eu.gone", { n: 2 });
    await one.publish("elsewhere", { n: 3 });
    expect(await one.publish("orders.eu.new", { n: 4 }, { confirm: true })).toBe(2);
    expect(await other.publish("orders.eu.new", { n: 5 }, { confirm: true })).toBe(2);
    expect(await other.publish("nobody", 0, { confirm: true })).toBe(0);
    const heard = await take(all, 4);
    expect(
      heard.map(({ topic, body, sequence, missed }) => [topic, body, sequence, missed]),
    ).toEqual([
      ["orders.eu.new", { n: 1 }, 1, 0],
      ["orders.eu.gone", { n: 2 }, 1, 0],
      ["orders.eu.new", { n: 4 }, 2, 0],
      ["orders.eu.new", { n: 5 }, 1, 0],
    ]);
    expect(heard[0].publisher).toBe(heard[2].publisher);
    expect(heard[0].publisher).not.toBe(heard[3].publisher);
    expect(bodies(await take(some, 3))).toEqual([{ n: 1 }, { n: 4 }, { n: 5 }]);
  });

  it("ends with its loop, its signal, its close and its client", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    const left = await subscribed(reader.subscribe("a"));
    const aborted = new AbortController();
    const signalled = await subscribed(reader.subscribe("a", { signal: aborted.signal }));
    const closed = await subscribed(reader.subscribe("a"));
    const last = await subscribed(reader.subscribe("a"));
    await publisher.publish("a", 1);
    for await (const { body } of left) {
      expect(body).toBe(1);
      break;
    }
    await take(signalled, 1);
    aborted.abort();
    expect(await rejection(signalled.next())).toMatchObject({ code: "CANCELLED" });
    expect((await signalled.next()).done).toBe(true);
    const waiting = closed.next().then(() => closed.next());
    closed.close();
    expect((await waiting).done).toBe(true);
    await eventually("three are gone", () => broker.stats.topics.subscriptions === 1);
    await take(last, 1);
    const end = last.next();
    await reader.close();
    expect(await end).toEqual({ done: true, value: undefined });
    expect(() => reader.subscribe("a")).toThrow("closed");
    expect(await rejection(reader.publish("a", 1))).toMatchObject({ code: "UNAVAILABLE" });
    await eventually("all are gone", () => broker.stats.topics.subscriptions === 0);
  });

  it("gives large bodies as they are, to many", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    const body = new Uint8Array(3_000_000).map((_, i) => i * 7);
    const all = [1, 2, 3].map(() => reader.subscribe<Uint8Array>("big"));
    for (const each of all) await each.ready();
    await publisher.publish("big", body, { confirm: true });
    for (const each of all) expect(Buffer.compare((await take(each, 1))[0].body, body)).toBe(0);
    const raw = await subscribed(reader.subscribe<Uint8Array>("raw", { raw: true }));
    await publisher.publish("raw", body, { raw: true });
    expect(Buffer.compare((await take(raw, 1))[0].body, body)).toBe(0);
  });

  it("has 10,000 subscriptions of one client, each with its own events", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    const all = Array.from({ length: 10_000 }, (_, i) => reader.subscribe<number>(`t.${i}.x`));
    await all[9999].ready();
    expect(broker.stats.topics.subscriptions).toBe(10_000);
    const heard = Promise.all(all.map((each) => take(each, 2)));
    for (const round of [0, 10_000]) {
      for (let i = 0; i < 10_000; i++) await publisher.publish(`t.${i}.x`, i + round);
    }
    for (const [i, events] of (await heard).entries()) {
      expect(bodies(events)).toEqual([i, i + 10_000]);
    }
  });

  it("refuses what is no topic, pattern, body or option", async () => {
    const client = await connect();
    for (const topic of ["", "a.*", "a..b", "a\n", "x".repeat(256)]) {
      expect(await rejection(client.publish(topic, 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    expect(await rejection(client.publish("a", () => {}))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(await rejection(client.publish("a", 5, { raw: true }))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    expect(await rejection(client.publish("a", new Uint8Array(20_000_000)))).toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    for (const pattern of ["", "a*", "a.>.b"]) expect(() => client.subscribe(pattern)).toThrow();
    expect(() => client.subscribe("a", { queueMax: 0 })).toThrow(RangeError);
    expect(() => client.subscribe("a", { whenFull: "wait" as "disconnect" })).toThrow(RangeError);
  });

  it("is refused beyond the broker's limits, and says so", async () => {
    await broker.close({ timeoutMs: 0 });
    const limits = { clientSubscriptionsMax: 2, retainedCountMax: 1 };
    broker = await Broker.start({ ...loopback, limits });
    const client = await connect();
    await client.publish("a", 1, { retain: true, confirm: true });
    expect(await rejection(client.publish("b", 1, { retain: true, confirm: true }))).toMatchObject({
      code: "RESOURCE_EXHAUSTED",
    });
    await client.publish("c", 1, { retain: true });
    await eventually("counted", () => client.stats.publishRefused === 2);
    const [first, second, third] = [1, 2, 3].map(() => client.subscribe("a"));
    await Promise.all([first.ready(), second.ready()]);
    expect(await rejection(third.ready())).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await rejection(third.next())).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(broker.stats.topics).toMatchObject({ subscriptions: 2, subscribeRefused: 1 });
  });
});

describe("last values", () => {
  it("are not deleted by an empty body in raw bytes, which is refused and leaves no gap", async () => {
    const client = await connect();
    const events = await subscribed(client.subscribe<Uint8Array>("t", { raw: true }));
    await client.publish("t", "kept", { raw: true, retain: true });
    for (const empty of ["", new Uint8Array(0)]) {
      const error = await rejection(client.publish("t", empty, { raw: true, retain: true }));
      expect(error).toMatchObject({
        code: "INVALID_ARGUMENT",
        reason: expect.stringContaining("to delete"),
      });
    }
    await client.publish("t", "", { raw: true, confirm: true });
    expect(await take(events, 2)).toMatchObject([{ sequence: 1 }, { sequence: 2, missed: 0 }]);
    expect(broker.stats.topics.retained).toBe(1);
  });

  it("come to who subscribes later, until they are deleted", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    await publisher.publish("t.a", "old", { retain: true });
    await publisher.publish("t.a", "new", { retain: true });
    await publisher.publish("t.a", "passing");
    await publisher.publish("t.b", "b", { retain: true, confirm: true });
    const late = await subscribed(reader.subscribe("t.*"));
    const found = await take(late, 2);
    expect(found.map(({ body, isRetained }) => [body, isRetained]).sort()).toEqual([
      ["b", true],
      ["new", true],
    ]);
    await publisher.publish("t.a", undefined, { retain: true });
    await publisher.publish("t.a", "next", { confirm: true });
    // Nothing was missed: what passed before it subscribed was not for it, and a deletion is no event.
    expect(await take(late, 1)).toMatchObject([{ body: "next", missed: 0, sequence: 4 }]);
    const later = await subscribed(reader.subscribe("t.*"));
    const uninterested = await subscribed(reader.subscribe("t.*", { retained: false }));
    await publisher.publish("t.c", "c");
    expect(bodies(await take(later, 2))).toEqual(["b", "c"]);
    expect(bodies(await take(uninterested, 1))).toEqual(["c"]);
    expect(late.stats).toMatchObject({ missed: 0, dropped: 0, late: 0 });
  });
});

describe("one that does not read in time", () => {
  it("loses the oldest, the newest or its subscription, and counts what it missed", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    const options = { queueMax: 10 };
    const oldest = await subscribed(reader.subscribe("a", options));
    const newest = await subscribed(reader.subscribe("a", { ...options, whenFull: "drop-newest" }));
    const ended = await subscribed(reader.subscribe("a", { ...options, whenFull: "disconnect" }));
    for (let i = 1; i <= 100; i++) await publisher.publish("a", i);
    await publisher.publish("a", 101, { confirm: true });
    await eventually("queues are trimmed", () => {
      return oldest.stats.dropped === 91 && newest.stats.dropped === 91;
    });
    expect(bodies(await take(ended, 1))).toEqual([1]);
    const rest = [];
    const error = await rejection(
      (async () => {
        for await (const { body } of ended) rest.push(body);
      })(),
    );
    expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    const late = await take(oldest, 10);
    expect(late.map(({ body }) => body)).toEqual([92, 93, 94, 95, 96, 97, 98, 99, 100, 101]);
    expect(bodies(await take(newest, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    await publisher.publish("a", 102);
    // It had none before the gap, which is then not known of by sequences; the count of drops tells.
    expect(await take(oldest, 1)).toMatchObject([{ body: 102, missed: 0 }]);
    expect(await take(newest, 1)).toMatchObject([{ body: 102, missed: 91 }]);
    expect(newest.stats).toMatchObject({ received: 11, missed: 91, dropped: 91, queued: 0 });
  });

  it("keeps its replies and its other subscriptions", async () => {
    const [publisher, reader] = [await connect(), await connect()];
    await subscribed(reader.subscribe("flood", { queueMax: 5 }));
    const other = await subscribed(reader.subscribe("calm"));
    for (let i = 0; i < 2000; i++) await publisher.publish("flood", "x".repeat(1000));
    await publisher.publish("calm", "still here");
    expect(bodies(await take(other, 1))).toEqual(["still here"]);
    expect(await rejection(reader.request("nobody", 1, { timeoutMs: 200 }))).toBeDefined();
  });
});

describe("a publisher", () => {
  it("waits for the broker to take what it publishes, bounded, and is told beyond", async () => {
    const client = await connect();
    const all: Promise<unknown>[] = [];
    // Without a turn in between: nothing can be taken meanwhile.
    for (let i = 0; i < 200; i++) {
      all.push(
        client.publish("a", new Uint8Array(200_000), { raw: true }).then(
          () => "sent",
          (e) => e.code,
        ),
      );
    }
    const outcomes = await Promise.all(all);
    expect(new Set(outcomes)).toEqual(new Set(["sent", "RESOURCE_EXHAUSTED"]));
    const sentCount = outcomes.filter((outcome) => outcome === "sent").length;
    await eventually("all that was sent came", () => broker.stats.topics.published === sentCount);
    expect(client.stats).toMatchObject({ published: sentCount, publishWaiting: 0 });
  });

  it("sends what it published before it closed", async () => {
    const client = await Client.connect({ brokers: broker.frontend });
    for (let i = 0; i < 5000; i++) await client.publish("a", "x".repeat(100));
    await client.close();
    await eventually("all came", () => broker.stats.topics.published === 5000);
  });

  it("has no answer left open when there is no broker", async () => {
    const client = await Client.connect({
      brokers: ["tcp://127.0.0.1:1"],
      connectTimeoutMs: 0,
      timeoutMs: 50,
    });
    expect(await rejection(client.publish("a", 1))).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const waiting = rejection(client.publish("a", 1, { confirm: true }));
    await client.close({ timeoutMs: 0 });
    expect(await waiting).toMatchObject({ code: "CANCELLED" });
  });
});

describe("a broker that ends and comes back", () => {
  it("has the subscriptions again, and what was missed is a gap", async () => {
    const second = await Broker.start({ frontend: ANY, backend: ANY });
    closers.push(() => second.close({ timeoutMs: 0 }));
    const brokers = [...broker.frontend, ...second.frontend];
    const downs: string[] = [];
    const onConnection = ({ endpoint, state }: ConnectionEvent) => {
      if (state === "down") downs.push(endpoint);
    };
    const publisher = await connect({ brokers, onConnection });
    const reader = await connect();
    const events = await subscribed(reader.subscribe("a.*"));
    await publisher.publish("a.b", 1, { confirm: true });
    expect(await take(events, 1)).toMatchObject([{ body: 1, sequence: 1 }]);
    const { frontend } = broker;
    await broker.close({ timeoutMs: 0 });
    await eventually("the publisher knows", () => downs.length === 1);
    // Nobody listens at the other one.
    expect(await publisher.publish("a.b", 2, { confirm: true })).toBe(0);
    broker = await Broker.start({ ...loopback, frontend });
    await eventually("subscribed again", () => broker.stats.topics.subscriptions === 1);
    await second.close({ timeoutMs: 0 });
    await eventually("the publisher knows", () => downs.length === 2);
    await publisher.publish("a.b", 3, { confirm: true });
    expect(await take(events, 1)).toMatchObject([{ body: 3, sequence: 3, missed: 1 }]);
    expect(events.stats).toMatchObject({ received: 2, missed: 1, dropped: 0 });
  });

  it("of two brokers, each event is heard once", async () => {
    const second = await Broker.start({ frontend: ANY, backend: ANY });
    closers.push(() => second.close({ timeoutMs: 0 }));
    const brokers = [...broker.frontend, ...second.frontend];
    const [one, other] = [await connect({ brokers }), await connect({ brokers: second.frontend })];
    const reader = await connect({ brokers });
    const events = reader.subscribe("a");
    await eventually("at both", () => {
      return [broker, second].every(({ stats }) => stats.topics.subscriptions === 1);
    });
    for (let i = 0; i < 20; i++) await one.publish("a", `one ${i}`);
    for (let i = 0; i < 20; i++) await other.publish("a", `other ${i}`);
    const heard = bodies(await take(events, 40));
    expect(new Set(heard).size).toBe(40);
    expect(events.stats).toMatchObject({ missed: 0, late: 0, queued: 0 });
  });
});

describe("sealed events", () => {
  it("open for those with the key; others are refused them, and so are raw ones", async () => {
    const [key, strange] = [await generateKey(), await generateKey()];
    const publisher = await connect({ keys: [key] });
    const insider = await (await connect({ keys: [key] })).subscribe("secret");
    const outsider = await (await connect({ keys: [strange] })).subscribe("secret");
    const bytes = await (await connect()).subscribe<Uint8Array>("secret", { raw: true });
    for (const each of [insider, outsider, bytes]) await each.ready();
    await publisher.publish("secret", { pin: 1234 });
    await publisher.publish("secret", "in clear", { raw: true });
    await publisher.publish("secret", { pin: 5678 });
    // What was refused is missed.
    expect(await take(insider, 2)).toMatchObject([
      { body: { pin: 1234 }, missed: 0 },
      { body: { pin: 5678 }, missed: 1 },
    ]);
    expect(insider.stats).toMatchObject({ refused: 1, missed: 1 });
    const seen = await take(bytes, 3);
    expect(seen.map(({ isRaw }) => isRaw)).toEqual([false, true, false]);
    expect(Buffer.from(seen[0].body).includes("1234")).toBe(false);
    const end = outsider.next();
    await eventually("refused", () => outsider.stats.refused === 3);
    outsider.close();
    expect((await end).done).toBe(true);
  });

  it("are bound to topic, publisher and number", async () => {
    const codec = await createCodec({ keys: [await generateKey()] });
    const context = {
      service: "prices.gold",
      direction: "event",
      requestId: new Uint8Array(16).fill(7),
    } as const;
    const envelope = codec.seal({ price: 1 }, context);
    // As often as there are subscriptions.
    expect(codec.open(envelope, context)).toEqual({ price: 1 });
    expect(codec.open(envelope, context)).toEqual({ price: 1 });
    expect(() => codec.open(envelope, { ...context, service: "prices.lead" })).toThrow(
      "REDIRECTED",
    );
    expect(() => codec.open(envelope, { ...context, direction: "reply" })).toThrow("REDIRECTED");
    const requestId = new Uint8Array(16).fill(8);
    expect(() => codec.open(envelope, { ...context, requestId })).toThrow("SWAPPED");
    codec.close();
  });

  it("come again as kept values, after each of which the same is late", async () => {
    const keys = [await generateKey()];
    const [publisher, reader] = [await connect({ keys }), await connect({ keys })];
    await publisher.publish("state", "on", { retain: true, confirm: true });
    for (let i = 0; i < 2; i++) {
      const each = await subscribed(reader.subscribe("state"));
      expect(await take(each, 1)).toMatchObject([{ body: "on", isRetained: true }]);
    }
  });
});

describe("plain sockets", () => {
  function plainPub(): Publisher {
    const pub = new Publisher({ linger: 0 });
    pub.connect(broker.xsub[0]);
    closers.push(() => pub.close());
    return pub;
  }

  async function plainSub(...prefixes: string[]): Promise<Subscriber> {
    const before = broker.stats.topics.plain?.prefixes ?? 0;
    const sub = new Subscriber({ linger: 0 });
    sub.connect(broker.xpub[0]);
    sub.subscribe(...prefixes);
    closers.push(() => sub.close());
    const count = before + prefixes.length;
    await eventually("asked for", () => broker.stats.topics.plain?.prefixes === count);
    return sub;
  }

  /** Publishes again and again until `heard`: a PUB sends nothing before it knows who listens. */
  async function until(pub: Publisher, message: string[], heard: Promise<unknown>): Promise<void> {
    let isHeard = false;
    void heard.then(() => {
      isHeard = true;
    });
    await eventually("heard", async () => {
      if (!isHeard) await pub.send(message);
      return isHeard;
    });
  }

  it("SUB hears natives, by prefix, sealed bodies as they are", async () => {
    const keys = [await generateKey()];
    const [sealing, plain] = [await connect({ keys }), await connect()];
    const sub = await plainSub("orders.e", "weather");
    await plain.publish("orders.us", "not for it", { raw: true });
    await plain.publish("orders.eu", "for it", { raw: true });
    await sealing.publish("weather.bern", { sky: "blue" });
    const [first, second] = [await sub.receive(), await sub.receive()];
    expect(first.map(String)).toEqual(["orders.eu", "for it"]);
    expect(String(second[0])).toBe("weather.bern");
    expect(second[1].includes("blue")).toBe(false);
    expect(broker.stats.topics.plain).toMatchObject({ told: 2 });
  });

  it("PUB is heard by natives, raw, and by SUBs as it is; and asked for nothing else", async () => {
    const reader = await connect();
    const raw = await subscribed(reader.subscribe<Uint8Array>("weather.*.now", { raw: true }));
    const sub = await plainSub("weather.be");
    const pub = plainPub();
    const next = take(raw, 1);
    await until(pub, ["weather.bern.now", "rain", "", "more"], next);
    const [event] = await next;
    expect(Buffer.from(event.body).toString()).toBe("rainmore");
    expect(event).toMatchObject({ topic: "weather.bern.now", isRaw: true, sequence: 0 });
    expect(event.publisher).toBe("0".repeat(16));
    expect((await sub.receive()).map(String)).toEqual(["weather.bern.now", "rain", "", "more"]);
    // Beyond the prefixes nothing crosses the wire.
    const before = broker.stats.topics.plain?.heard as number;
    await pub.send(["sports.ski", "snow"]);
    await pub.send(["weather.", "no topic for natives"]);
    const plain = () => broker.stats.topics.plain as Record<string, number>;
    await eventually("counted", () => plain().notNative === 1);
    expect(plain().heard).toBe(before + 1);
    raw.close();
    await eventually("no longer asked for", () => plain().prefixes === 1);
  });
});
