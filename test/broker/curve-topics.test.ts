// Plain PUB and SUB sockets under CURVE: what the key of each may.

import { afterEach, beforeEach, expect, test } from "vitest";
import { Publisher, Subscriber } from "zeromq";
import { type Broker, Client, type SecurityEvent } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { accessOf, curveOf, type KeyName, keyOf, socketKeys, startBroker } from "./curve-keys.js";

const grants = {
  client: { publish: [">"], subscribe: ["news.>", "prices.eu.*"] },
  worker: { publish: ["prices.>"], subscribe: [">"] },
};

let broker: Broker;
let events: SecurityEvent[];
const opened: { close(): unknown }[] = [];

beforeEach(async () => {
  const any = "tcp://127.0.0.1:0";
  ({ broker, events } = await startBroker({ xsub: any, xpub: any }, accessOf(grants)));
});

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await broker.close({ timeoutMs: 0 });
});

/** A SUB, and what it has heard. */
function subscriber(key: KeyName, ...prefixes: string[]) {
  const socket = new Subscriber({ ...socketKeys(key), linger: 0 });
  opened.push(socket);
  socket.connect(broker.xpub[0]);
  socket.subscribe(...prefixes);
  const heard: string[] = [];
  const hear = async () => {
    for await (const frames of socket) heard.push(frames.map(String).join(" "));
  };
  hear().catch(() => {});
  return { socket, heard };
}

async function publisher(key: KeyName): Promise<Publisher> {
  const socket = new Publisher({ ...socketKeys(key), linger: 0 });
  opened.push(socket);
  socket.connect(broker.xsub[0]);
  return socket;
}

async function client(): Promise<Client> {
  const made = await Client.connect({ brokers: broker.frontend, curve: curveOf("client") });
  opened.push({ close: () => made.close({ timeoutMs: 0 }) });
  return made;
}

const prefixes = () => broker.stats.topics.plain?.prefixes ?? 0;

/** Says this until `isHeard`: a PUB tells nobody what it sends before it is asked for it. */
async function sayUntil(socket: Publisher, frames: string[], isHeard: () => boolean) {
  await eventually(`${frames} is heard`, async () => {
    await socket.send(frames);
    return isHeard();
  });
}

test("a SUB hears what its key may of what it asks for, and a PUB is heard on what its key may", async () => {
  const all = subscriber("worker", "");
  const some = subscriber("client", "news.", "prices.", "prices.eu.x");
  await eventually("what may be heard is asked for", () => prefixes() === 2);
  // Its grant ends there, and a prefix goes on: `prices.eu.xy.z` would be heard too.
  const asked = events.map(({ reason }) => reason).sort();
  expect(asked).toEqual([
    "client may not subscribe prices....",
    "client may not subscribe prices.eu.x...",
  ]);
  const native = await client();
  await native.publish("news.a", Buffer.from("1"), { raw: true });
  await native.publish("prices.eu.x", Buffer.from("2"), { raw: true });
  await eventually("both are told", () => all.heard.length === 2);
  await eventually("it is told one", () => some.heard.length === 1);
  expect(some.heard[0]).toMatch(/^news\.a /);

  const pub = await publisher("worker");
  await sayUntil(pub, ["prices.us", "3"], () => all.heard.includes("prices.us 3"));
  await pub.send(["news.b", "4"]);
  await pub.send(["prices.us", "5"]);
  await eventually("what follows is told", () => all.heard.includes("prices.us 5"));
  expect(all.heard).not.toContain("news.b 4");
  expect(some.heard.length).toBe(1);
  expect(events[2]).toMatchObject({
    status: "PERMISSION_DENIED",
    reason: "worker may not publish news.b",
    key: keyOf.worker.publicKey,
  });
});

test("no key and an unknown one are refused at both ports; a SUB that goes takes its wishes along", async () => {
  for (const [keys, counted] of [
    [{}, "mechanism"],
    [socketKeys("stranger"), "unauthenticated"],
  ] as const) {
    for (const endpoint of [broker.xpub[0], broker.xsub[0]]) {
      const before = broker.stats.refusals[counted] ?? 0;
      const socket = new Subscriber({ ...keys, linger: 0 });
      socket.connect(endpoint);
      await eventually("it is refused", () => (broker.stats.refusals[counted] ?? 0) > before);
      socket.close();
    }
  }
  const { socket } = subscriber("worker", "a", "b");
  await eventually("it is there", () => prefixes() === 2);
  socket.close();
  await eventually("they are gone", () => prefixes() === 0);
});

test("another access file: a SUB hears no more what it may not, again what it may, nothing without its key", async () => {
  const { heard } = subscriber("worker", "news.", "prices.");
  const native = await client();
  const say = (topic: string) => native.publish(topic, 1);
  const topics = () => heard.map((text) => text.split(" ")[0]);
  await eventually("both are asked for", () => prefixes() === 2);
  broker.reloadAccess(accessOf({ ...grants, worker: { subscribe: ["prices.>"] } }));
  await say("news.1");
  await say("prices.1");
  await eventually("one is told", () => heard.length === 1);
  broker.reloadAccess(accessOf(grants));
  await say("news.2");
  await eventually("another is told", () => heard.length === 2);
  expect(topics()).toEqual(["prices.1", "news.2"]);
  expect(broker.reloadAccess(accessOf({ client: grants.client })).cutCount).toBe(1);
  await eventually("it is gone", () => prefixes() === 0);
  expect(broker.stats.refusals.revoked).toBe(1);
});
