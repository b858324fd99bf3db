// Plain PUSH and PULL sockets under CURVE: what the key of each may.
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Pull, Push } from "zeromq";
import type { Grant } from "../../build/base/access.js";
import {
  type Broker,
  type BrokerOptions,
  Client,
  type SecurityEvent,
  Worker,
} from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { accessOf, curveOf, type KeyName, keyOf, socketKeys, startBroker } from "./curve-keys.js";

const any = "tcp://127.0.0.1:0";
const grants = {
  client: { push: ["default"], call: ["*"] },
  worker: { pull: ["default"], serve: ["*"] },
  both: { push: ["*"], pull: ["*"] },
} satisfies Partial<Record<KeyName, Grant>>;

let broker: Broker;
let events: SecurityEvent[];
const opened: { close(): unknown }[] = [];

async function start(options: BrokerOptions = {}, access = accessOf(grants)): Promise<void> {
  ({ broker, events } = await startBroker({ push: any, pull: any, ...options }, access));
}

afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
  await broker.close({ timeoutMs: 0 });
});

function kept<T extends { close(): unknown }>(it: T): T {
  opened.push(it);
  return it;
}

function pusher(keys: object, options: object = {}): Push {
  const socket = kept(new Push({ ...keys, linger: 0, ...options }));
  socket.connect(broker.push as string);
  return socket;
}

/** A PULL socket and what it has got. */
function puller(keys: object) {
  const socket = kept(new Pull({ ...keys, linger: 0 }));
  socket.connect(broker.pull as string);
  const got: string[] = [];
  const read = async () => {
    for await (const frames of socket) got.push(frames.map(String).join("|"));
  };
  read().catch(() => {});
  return { socket, got };
}

const counts = () => broker.stats.tasks.counts;
const queue = () => broker.stats.tasks.queues[0];
const refusals = (what: string) => broker.stats.refusals[what] ?? 0;

describe("whoever may", () => {
  beforeEach(() => start());

  test("what a PUSH sends reaches PULL sockets, frames and all, each of them a worker", async () => {
    const push = pusher(socketKeys("client"));
    const large = "x".repeat(200_000);
    await push.send("one");
    await push.send(["two", "", "frames"]);
    await push.send([large, large]);
    await eventually("they wait", () => queue()?.ready === 3);
    const { got } = puller(socketKeys("worker"));
    await eventually("all are there", () => got.length === 3);
    expect(got).toEqual(["one", "two||frames", `${large}|${large}`]);
    const other = puller(socketKeys("both"));
    await eventually("both are workers", () => broker.stats.workers === 2);
    for (let i = 0; i < 20; i++) await push.send(`${i}`);
    await eventually("all are done", () => got.length + other.got.length === 23);
    expect(other.got.length).toBeGreaterThan(0);
    expect(counts()).toMatchObject({ pushed: 23, done: 23, failed: 0 });
    other.socket.close();
    await eventually("one is left", () => broker.stats.workers === 1);
    await push.send("last");
    await eventually("it has it", () => got.at(-1) === "last");
    expect(events).toEqual([]);
  });

  test("native workers and clients take part", async () => {
    const seen: string[] = [];
    const handler = (task: Uint8Array) => void seen.push(Buffer.from(task).toString());
    const worker = await Worker.start({
      brokers: broker.backend,
      curve: curveOf("both"),
      queues: { default: { handler, raw: true } },
    });
    const push = pusher(socketKeys("client"));
    for (let i = 0; i < 10; i++) await push.send(`p${i}`);
    await eventually("the worker has all", () => seen.length === 10);
    await worker.close();
    const client = await Client.connect({ brokers: broker.frontend, curve: curveOf("client") });
    await client.push("default", "raw", { raw: true });
    await client.close();
    const { got } = puller(socketKeys("worker"));
    await eventually("the PULL has it", () => got.length === 1);
    expect(got).toEqual(["raw"]);
  });
});

describe("whoever may not", () => {
  beforeEach(() => start({ handshakeTimeoutMs: 1000 }));

  test.each([
    ["no key", {}, "mechanism", ""],
    [
      "a key that is not known",
      socketKeys("stranger"),
      "unauthenticated",
      keyOf.stranger.publicKey,
    ],
    ["a wrong server key", socketKeys("client", "stranger"), "hello-refused", ""],
  ])("%s: refused at both ports, counted and told", async (_, keys, what, key) => {
    for (const join of [() => pusher(keys), () => puller(keys).socket]) {
      const before = refusals(what);
      const socket = join();
      if (socket instanceof Push) socket.send("never").catch(() => {});
      await eventually("it is refused", () => refusals(what) > before);
      socket.close();
    }
    expect(events[0]).toMatchObject({ status: "UNAUTHENTICATED", what, key });
    expect(broker.stats.workers).toBe(0);
    expect(counts().pushed).toBe(0);
  });

  test("a key that is not granted it: denied and told; when it is, what it had to say comes, whole", async () => {
    const count = 100;
    const push = pusher(socketKeys("worker"));
    for (let i = 0; i < count; i++) await push.send(`${i}`);
    const { got } = puller(socketKeys("client"));
    const denied = (name: KeyName, action: string) => {
      const status = "PERMISSION_DENIED";
      const reason = `${name} may not ${action} default`;
      const key = keyOf[name].publicKey;
      return expect.objectContaining({ status, what: "denied", reason, key, name });
    };
    // Twice: it comes again, as ZeroMQ's sockets do, and nothing of what it has is taken from it.
    await eventually("both are denied", () => {
      return ["push", "pull"].every((action) => {
        return events.filter(({ reason }) => reason.endsWith(`${action} default`)).length > 1;
      });
    });
    expect(events).toContainEqual(denied("worker", "push"));
    expect(events).toContainEqual(denied("client", "pull"));
    expect(broker.stats.faults.denied).toBe(events.length);
    expect(refusals("denied")).toBeGreaterThanOrEqual(2);
    expect(broker.stats.workers).toBe(0);
    expect(counts().pushed).toBe(0);
    broker.reloadAccess(accessOf({ worker: { push: ["def*"] }, client: { pull: ["*"] } }));
    await eventually("all are there", () => got.length === count);
    expect(got).toEqual(Array.from({ length: count }, (_v, i) => `${i}`));
  });

  test("a right to other queues is none to this one", async () => {
    broker.reloadAccess(accessOf({ client: { push: ["mail.*"] } }));
    const push = pusher(socketKeys("client"));
    await push.send("never");
    await eventually("it is denied", () => broker.stats.faults.denied > 0);
    expect(counts().pushed).toBe(0);
  });

  test("one that says nothing, at either port, is cut off in time", async () => {
    for (const endpoint of [broker.push, broker.pull]) {
      const before = refusals("handshake-timeout");
      const socket = connect(Number(endpoint?.split(":")[2]), "127.0.0.1");
      await once(socket.resume(), "close");
      expect(refusals("handshake-timeout")).toBe(before + 1);
    }
  });
});

describe("the access file taken anew", () => {
  beforeEach(() => start());

  test("cuts off who may no longer push or pull, and nobody else", async () => {
    const [goes, stays] = [pusher(socketKeys("client")), pusher(socketKeys("both"))];
    const [lost, left] = [puller(socketKeys("worker")), puller(socketKeys("both"))];
    await eventually("both are workers", () => broker.stats.workers === 2);
    await goes.send("a");
    await stays.send("b");
    await eventually("both are done", () => lost.got.length + left.got.length === 2);
    expect(broker.reloadAccess(accessOf(grants)).cutCount).toBe(0);
    const { cutCount } = broker.reloadAccess(accessOf({ ...grants, client: {}, worker: {} }));
    expect(cutCount).toBe(2);
    expect(broker.stats.faults.denied).toBe(2);
    await eventually("one is left", () => broker.stats.workers === 1);
    const before = lost.got.length;
    await goes.send("never").catch(() => {});
    for (let i = 0; i < 10; i++) await stays.send(`${i}`);
    await eventually("they are done", () => left.got.length + before === 12);
    expect(lost.got.length).toBe(before);
    expect(counts()).toMatchObject({ pushed: 12, done: 12, failed: 0 });
    expect(left.got).not.toContain("never");
    // And they may again, without a word from them.
    broker.reloadAccess(accessOf(grants));
    await eventually("it is a worker again", () => broker.stats.workers === 2);
    await goes.send("again");
    await eventually("it is done", () => [...lost.got, ...left.got].includes("again"));
  });

  test("cuts off keys that are gone, with what they wait to push", async () => {
    await broker.close({ timeoutMs: 0 });
    await start({ tasks: { queueCountMax: 5 } });
    const push = pusher(socketKeys("client"));
    for (let i = 0; i < 10; i++) await push.send(`${i}`);
    await eventually("the queue is full", () => queue()?.ready === 5);
    expect(broker.reloadAccess(accessOf({ both: grants.both })).cutCount).toBe(1);
    expect(refusals("revoked")).toBe(1);
    const key = keyOf.client.publicKey;
    await eventually("it is told", () => events.length > 0);
    expect(events[0]).toMatchObject({ status: "UNAUTHENTICATED", what: "revoked", key });
    const { got } = puller(socketKeys("both"));
    await eventually("five are done", () => got.length === 5);
    await pusher(socketKeys("both")).send("behind");
    await eventually("so is another's", () => got.length === 6);
    expect(got).toEqual(["0", "1", "2", "3", "4", "behind"]);
    expect(broker.reloadAccess(accessOf({})).cutCount).toBe(2);
    await eventually("the PULL is gone", () => broker.stats.workers === 0);
  });
});

describe("bounds", () => {
  test("a full queue holds PUSH sockets up, and loses nothing, not even of one that is gone", async () => {
    await start({ tasks: { queueCountMax: 50 } });
    const count = 300;
    const push = pusher(socketKeys("client"), { linger: -1 });
    const other = pusher(socketKeys("both"));
    const body = "y".repeat(5000);
    for (let i = 0; i < count; i++) await push.send(`${i} ${body}`);
    await eventually("the queue is full", () => queue()?.ready === 50);
    push.close();
    const sent = other.send("other");
    expect(counts()).toMatchObject({ pushed: 50, refused: 0 });
    const { got } = puller(socketKeys("worker"));
    await sent;
    await eventually("all are there", () => got.length === count + 1);
    const own = got.filter((text) => text !== "other").map((text) => Number.parseInt(text, 10));
    expect(own).toEqual(Array.from({ length: count }, (_v, i) => i));
    expect(counts()).toMatchObject({ pushed: count + 1, done: count + 1, refused: 0 });
  });

  test("a PULL that reads nothing holds up no other, and is given more when it reads", async () => {
    // Other connections would be cut off that take nothing for so long.
    await start({ heartbeatTimeoutMs: 400 });
    const stuck = kept(new Pull({ ...socketKeys("worker"), linger: 0, receiveHighWaterMark: 1 }));
    stuck.connect(broker.pull as string);
    await eventually("it is a worker", () => broker.stats.workers === 1);
    const push = pusher(socketKeys("client"));
    const body = Buffer.alloc(1_000_000);
    // Until the network and ZeroMQ are full.
    await eventually("it takes no more", async () => {
      if ((queue()?.ready ?? 0) === 0) await push.send(body);
      return queue()?.isServed === false;
    });
    const { got } = puller(socketKeys("both"));
    for (let i = 0; i < 100; i++) await push.send(`${i}`);
    await eventually("another gets all", () => got.includes("99"));
    expect(counts().failed).toBe(0);
    expect(counts().retried).toBe(0);
    let count = 0;
    const read = async () => {
      for (; ; count++) await stuck.receive();
    };
    read().catch(() => {});
    await eventually("it is a worker again", () => broker.stats.workers === 2);
    // However long it took nothing, it was not cut off, and lost nothing.
    await eventually("they have all", () => count + got.length === counts().pushed);
  });

  test("connections are counted, and no more taken than may be", async () => {
    await start({ connectionsMax: 2 });
    const sockets = Array.from({ length: 3 }, () => pusher(socketKeys("client")));
    await eventually("one is too many", () => refusals("connections-max") > 0);
    for (const socket of sockets) socket.close();
    const push = pusher(socketKeys("client"));
    await push.send("x");
    await eventually("there is room again", () => queue()?.ready === 1);
  });

  test("what is too large is dropped and counted, and what follows taken", async () => {
    await start({ limits: { recordBytesMax: 1000 } });
    const push = pusher(socketKeys("client"));
    await push.send("x".repeat(2000));
    await push.send(Array.from({ length: 256 }, () => "f"));
    await push.send("fits");
    await eventually("one is taken", () => counts().pushed === 1);
    expect(broker.stats.faults.malformed).toBe(2);
  });
});
