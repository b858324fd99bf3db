// What plain PUB and SUB sockets may cost the broker, and what is not lost at its marks.

import { afterEach, expect, it } from "vitest";
import { Publisher, Subscriber, XPublisher } from "zeromq";
import { Broker, type BrokerOptions, Client } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { connectTo, encodeMessage, handshakeBytes } from "../zmtp/zmtp-peer.js";
import { accessOf, socketKeys, startBroker } from "./curve-keys.js";

const ANY = "tcp://127.0.0.1:0";
const loopback: BrokerOptions = { frontend: ANY, backend: ANY, xsub: ANY, xpub: ANY };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(options: BrokerOptions = {}): Promise<Broker> {
  const broker = await Broker.start({ ...loopback, ...options });
  closers.push(() => broker.close({ timeoutMs: 0 }));
  return broker;
}

const plain = (broker: Broker) => broker.stats.topics.plain as Record<string, number>;

async function rawSub(endpoint: string) {
  const socket = connectTo(endpoint);
  closers.push(() => socket.destroy());
  let size = 0;
  socket.on("data", (bytes) => {
    size += bytes.length;
  });
  socket.write(handshakeBytes("SUB"));
  await eventually("its greeting and READY are here", () => size > 64 + 20);
  const ask = (prefix: Buffer) => {
    socket.write(encodeMessage([Buffer.concat([Buffer.of(1), prefix])]));
  };
  return { socket, ask };
}

it("a prefix longer than a topic is not kept, and one that is far longer ends its connection", async () => {
  const broker = await start();
  const { socket, ask } = await rawSub(broker.xpub[0]);
  ask(Buffer.alloc(256, "a"));
  ask(Buffer.alloc(255, "a"));
  await eventually("the one that may be is kept", () => plain(broker).prefixes === 1);
  expect(plain(broker).prefixesRefused).toBe(1);
  // Perhaps with an error: what it sends is not read to the end.
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  ask(Buffer.alloc(100_000, "b"));
  await closed;
  // Else the next would be counted, too.
  const { ask: askAgain } = await rawSub(broker.xpub[0]);
  askAgain(Buffer.from("x"));
  await eventually("the last one's is gone", () => plain(broker).prefixes === 1);
  expect(plain(broker).prefixesRefused).toBe(1);
});

it("a PUB is asked for all that is listened to, whether it was there before or comes later", async () => {
  const broker = await start();
  const COUNT = 3000;
  /** What it is asked for. */
  const publisher = () => {
    const socket = new XPublisher({ linger: 0, receiveHighWaterMark: 0 });
    closers.push(() => socket.close());
    socket.connect(broker.xsub[0]);
    const asked = new Set<string>();
    void (async () => {
      for await (const [wish] of socket) asked.add(String(wish));
    })();
    return asked;
  };
  const early = publisher();
  const client = await Client.connect({ brokers: broker.frontend });
  closers.push(() => client.close({ timeoutMs: 0 }));
  const subscriptions = Array.from({ length: COUNT }, (_, i) => client.subscribe(`t${i}.x`));
  await Promise.all(subscriptions.map((each) => each.ready()));
  const late = publisher();
  await eventually("both are asked for all", () => early.size === COUNT && late.size === COUNT);
});

/** Makes SUB sockets of a key that ask for prefixes. */
function subscriberAt(broker: Broker) {
  return (key: "client" | "worker", ...prefixes: string[]) => {
    const socket = new Subscriber({ ...socketKeys(key), linger: 0 });
    closers.push(() => socket.close());
    socket.connect(broker.xpub[0]);
    socket.subscribe(...prefixes);
    return socket;
  };
}

it("one key has no more prefixes than one client has subscriptions, over all its connections", async () => {
  const limits = { clientSubscriptionsMax: 3, subscriptionsMax: 10 };
  const access = accessOf({ client: { subscribe: [">"] }, worker: { subscribe: [">"] } });
  const { broker } = await startBroker({ xsub: ANY, xpub: ANY, limits }, access);
  closers.push(() => broker.close({ timeoutMs: 0 }));
  const sub = subscriberAt(broker);
  sub("client", "a", "b");
  await eventually("both are asked for", () => plain(broker).prefixes === 2);
  const second = sub("client", "c", "d");
  await eventually("one is too many", () => plain(broker).prefixesRefused === 1);
  expect(plain(broker).prefixes).toBe(3);
  sub("worker", "e", "f");
  await eventually("others have their own room", () => plain(broker).prefixes === 5);
  second.close();
  await eventually("and it has it back", () => plain(broker).prefixes === 4);
});

it("prefixes are counted in bytes too, those of one key and those of all", async () => {
  const each = 512 + 4 * 4;
  const limits = { clientSubscriptionBytesMax: 2 * each, subscriptionBytesMax: 3 * each };
  const access = accessOf({ client: { subscribe: [">"] }, worker: { subscribe: [">"] } });
  const { broker } = await startBroker({ xsub: ANY, xpub: ANY, limits }, access);
  closers.push(() => broker.close({ timeoutMs: 0 }));
  const sub = subscriberAt(broker);
  sub("client", "aaaa", "bbbb", "cccc");
  await eventually("its third is refused", () => plain(broker).prefixesRefused === 1);
  sub("worker", "dddd", "eeee");
  await eventually("the fourth of all is refused", () => plain(broker).prefixesRefused === 2);
  expect(plain(broker).prefixes).toBe(3);
});

it("a key may not say what is longer than a topic: its first 255 bytes are not all of it", async () => {
  const access = accessOf({ client: { publish: ["a.>"] }, worker: { subscribe: [">"] } });
  const { broker } = await startBroker({ xsub: ANY, xpub: ANY }, access);
  closers.push(() => broker.close({ timeoutMs: 0 }));
  const sub = new Subscriber({ ...socketKeys("worker"), linger: 0 });
  const pub = new Publisher({ ...socketKeys("client"), linger: 0 });
  closers.push(
    () => sub.close(),
    () => pub.close(),
  );
  sub.connect(broker.xpub[0]);
  sub.subscribe("");
  pub.connect(broker.xsub[0]);
  await eventually("it is asked", async () => {
    await pub.send(["a.b", "first"]);
    return plain(broker).told > 0;
  });
  const told = plain(broker).told;
  await pub.send([`a.${"b".repeat(300)}`, "too long"]);
  await pub.send(["a.end", "last"]);
  for (
    let [topic] = await sub.receive();
    String(topic) !== "a.end";
    [topic] = await sub.receive()
  ) {
    expect(String(topic)).toBe("a.b");
  }
  expect(plain(broker)).toMatchObject({ overlong: 1 });
  expect(told).toBeGreaterThan(0);
});
