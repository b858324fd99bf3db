// Who computes for long is not taken for dead, and who is stopped is: a worker by its pulse, a client by the
// broker's patience.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, type MockInstance, test, vi } from "vitest";
import { NetPort } from "../../build/broker/net-port.js";
import { Broker, Client, Worker } from "../../build/index.js";
import { accessOf, curveOf, socketKeys, startBroker } from "../broker/curve-keys.js";
import { pulseHello, workerHello } from "../broker/fake-port.js";
import { RawPeer } from "../broker/processes.js";
import { endAll, eventually, Party } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const quick = { heartbeatIntervalMs: 200, heartbeatTimeoutMs: 600 };

let broker: Broker;
let client: Client;
let closers: (() => unknown)[];
let onPulse: MockInstance<NetPort["onPulse"]>;

beforeEach(async () => {
  onPulse = vi.spyOn(NetPort.prototype, "onPulse");
  closers = [];
  broker = await Broker.start({ ...loopback, ...quick });
  client = await Client.connect({ brokers: broker.frontend });
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  await endAll();
  for (const close of closers.reverse()) await close();
  await broker.close({ timeoutMs: 0 });
  vi.restoreAllMocks();
});

const startWorker = (options: object = {}) =>
  Party.start("worker", { brokers: broker.backend, name: "w", ...options });
/** Connections of workers and their pulses. */
const until = (count: number) =>
  eventually(`${count} connections`, () => broker.stats.backendConnections === count);

/** So many times a pulse has said whose it is. */
const untilPulses = (count: number) =>
  eventually(`${count} pulses`, () => onPulse.mock.results.length === count);

/** Between a worker and the broker; the connections through it in the order they were made. */
async function proxy() {
  const lines: Socket[] = [];
  let isOpen = true;
  const server = createServer((near) => {
    if (!isOpen) return void near.destroy();
    const far = connect(Number(broker.backend[0].split(":").at(-1)), "127.0.0.1");
    lines.push(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      one.on("error", () => {});
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const line of lines) line.destroy();
    server.close();
  });
  return {
    endpoint: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines,
    set isOpen(value: boolean) {
      isOpen = value;
    },
  };
}

test("a worker that computes for five times the heartbeat's timeout keeps its request", async () => {
  // It comes with WELCOME: there is no time left for anything else.
  const asking = client.request("block", 3000);
  await eventually("it waits", () => broker.stats.queued === 1);
  await startWorker();
  expect(await asking).toEqual({ worker: "w" });
  expect(await client.request("block", 3000)).toEqual({ worker: "w" });
  const { counts, workers, refusals } = broker.stats;
  expect({ redelivered: counts.redelivered, workers, refusals }) //
    .toEqual({ redelivered: 0, workers: 1, refusals: {} });
});

test("a worker that is stopped is taken for dead with its pulse, and comes back", async () => {
  const stopped = await startWorker({ name: "stopped", concurrency: 1, delayMs: 50 });
  await until(2);
  const asking = Array.from({ length: 10 }, (_, n) => client.request<object>("work", n));
  await stopped.until("running");
  stopped.signal("SIGSTOP");
  await startWorker({ name: "other" });
  const replies = await Promise.all(asking);
  expect(replies.at(-1)).toMatchObject({ worker: "other" });
  await until(2);
  expect(broker.stats.refusals.silent).toBeGreaterThanOrEqual(1);
  expect(broker.stats.counts.redelivered).toBeGreaterThanOrEqual(1);
  stopped.signal("SIGCONT");
  await until(4);
  expect(broker.stats.workers).toBe(2);
});

test("over IPv6 a worker has its pulse too", async ({ skip }) => {
  const endpoint = "tcp://[::1]:0";
  const six = await Broker.start({ frontend: endpoint, backend: endpoint, ...quick }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRNOTAVAIL" && error.code !== "EAFNOSUPPORT") throw error;
      return undefined;
    },
  );
  if (six === undefined) return skip("this machine has no IPv6");
  closers.push(() => six.close({ timeoutMs: 0 }));
  const asker = await Client.connect({ brokers: six.frontend });
  closers.push(() => asker.close({ timeoutMs: 0 }));
  await startWorker({ brokers: six.backend });
  await untilPulses(1);
  // Longer than its patience with one that has none.
  expect(await asker.request("block", 4000, { attempts: 1 })).toEqual({ worker: "w" });
  expect(six.stats.refusals).toEqual({});
});

test("under CURVE the same: one that computes keeps its request, one that is stopped is dead", async () => {
  const { broker: curved } = await startBroker(quick);
  closers.push(() => curved.close({ timeoutMs: 0 }));
  const asker = await Client.connect({ brokers: curved.frontend, curve: curveOf("both") });
  closers.push(() => asker.close({ timeoutMs: 0 }));
  const worker = { brokers: curved.backend, curve: curveOf("both") };
  const party = await startWorker(worker);
  await untilPulses(1);
  expect(await asker.request("block", 3000, { attempts: 1 })).toEqual({ worker: "w" });
  expect(curved.stats.refusals).toEqual({});
  party.signal("SIGSTOP");
  await eventually("it is dead", () => curved.stats.workers === 0);
  expect(curved.stats.refusals.silent).toBeGreaterThanOrEqual(1);
  party.signal("SIGCONT");
  await eventually("it is back", () => curved.stats.workers === 1);
});

test("under CURVE a pulse of another key is none", async () => {
  const { broker: curved } = await startBroker();
  closers.push(() => curved.close({ timeoutMs: 0 }));
  const [endpoint] = curved.backend;
  const peer = (key: "worker" | "both") => {
    const made = new RawPeer(endpoint, socketKeys(key));
    closers.push(() => made.close());
    return made;
  };
  const worker = peer("worker");
  await worker.say(workerHello());
  expect(await worker.receive()).toMatchObject({ kind: "WELCOME" });
  const stranger = peer("both");
  await stranger.say(pulseHello());
  expect(await stranger.receive()).toMatchObject({ kind: "ERROR", status: 7 });
  await peer("worker").say(pulseHello());
  await untilPulses(2);
  expect(onPulse.mock.results.map(({ value }) => value)).toEqual([false, true]);
});

/** A worker and its pulse, of frames, under CURVE. */
async function rawPair(curved: Broker) {
  const [endpoint] = curved.backend;
  const made = [socketKeys("worker"), socketKeys("worker")].map((keys) => {
    const peer = new RawPeer(endpoint, keys);
    closers.push(() => peer.close());
    return peer;
  });
  const [worker, pulse] = made;
  await worker.say(workerHello());
  expect(await worker.receive()).toMatchObject({ kind: "WELCOME" });
  await pulse.say(pulseHello());
  await untilPulses(1);
  expect(curved.stats.backendConnections).toBe(2);
  return { worker, pulse };
}

test("a worker whose key is gone is cut off with its pulse, and counted once", async () => {
  const { broker: curved } = await startBroker({ heartbeatTimeoutMs: 60_000 });
  closers.push(() => curved.close({ timeoutMs: 0 }));
  await rawPair(curved);
  expect(curved.reloadAccess(accessOf({ client: { call: ["*"] } })).cutCount).toBe(1);
  await eventually("both come no more", () => (curved.stats.refusals.unauthenticated ?? 0) >= 2);
  expect(curved.stats).toMatchObject({ workers: 0, backendConnections: 0 });
  expect(curved.stats.refusals.revoked).toBe(1);
});

test("a pulse that says anything else is no worker beside, and let go", async () => {
  const { broker: curved } = await startBroker();
  closers.push(() => curved.close({ timeoutMs: 0 }));
  const { pulse } = await rawPair(curved);
  await pulse.say(workerHello(["echo"], 4, "8877665544332211"));
  await eventually("it is let go", () => curved.stats.refusals["pulse-spoke"] === 1);
  expect(curved.stats.workers).toBe(1);
});

test("a client that computes for as long keeps its connection, and gets its replies", async () => {
  await startWorker({ delayMs: 20 });
  const options = { brokers: broker.frontend, ...quick, blockMs: 3000 };
  const party = await Party.start("blocking-client", options);
  await party.until("blocking");
  expect(broker.stats.clients).toBe(2);
  expect(await party.until("told")).toEqual({ connections: ["up welcome"], failed: [], resent: 0 });
  expect(broker.stats.refusals).toEqual({});
});

test("a worker without its pulse answers for itself: computing, it is taken for dead", async () => {
  const between = await proxy();
  await startWorker({ brokers: [between.endpoint] });
  await untilPulses(1);
  expect(between.lines).toHaveLength(2);
  between.isOpen = false;
  between.lines[1].destroy();
  await until(1);
  // While it does nothing else, it answers in time.
  const startMs = performance.now();
  await eventually("some heartbeats", () => performance.now() - startMs > 1500);
  expect(broker.stats.workers).toBe(1);
  const error = await client.request("block", 6000, { attempts: 1 }).catch((reason) => reason);
  expect(error).toMatchObject({ code: "UNAVAILABLE" });
  expect(broker.stats.refusals).toEqual({ silent: 1 });
  between.isOpen = true;
  await until(2);
});

test("a pulse that was cut off comes again, and stands for its worker as before", async () => {
  const between = await proxy();
  await startWorker({ brokers: [between.endpoint] });
  await untilPulses(1);
  between.lines[1].destroy();
  await untilPulses(2);
  expect(await client.request("block", 3000, { attempts: 1 })).toEqual({ worker: "w" });
  expect(broker.stats.refusals).toEqual({});
});

test("a pulse ends with its worker, whichever of them ends the other", async () => {
  const worker = await Worker.start({ brokers: broker.backend, services: { nothing: () => null } });
  await untilPulses(1);
  await until(2);
  await worker.close();
  await until(0);
  const party = await startWorker();
  await untilPulses(2);
  await until(2);
  await party.kill();
  await until(0);
  expect(broker.stats.workers).toBe(0);
  // One that drains is told BYE, and then leaves.
  const draining = await startWorker();
  await untilPulses(3);
  await until(2);
  draining.signal("SIGTERM");
  expect(await draining.exit()).toBe(0);
  await until(0);
  expect(broker.stats.faults.role).toBe(0);
});

test("a worker that came by two endpoints of one broker has a pulse for each of its connections", async () => {
  const peers = [workerHello(), workerHello(), pulseHello(), pulseHello()].map((hello) => {
    const peer = new RawPeer(broker.backend[0]);
    closers.push(() => peer.close());
    return { peer, hello };
  });
  for (const { peer, hello } of peers.slice(0, 2)) {
    await peer.say(hello);
    await peer.receive(({ kind }) => kind === "WELCOME");
  }
  for (const { peer, hello } of peers.slice(2)) await peer.say(hello);
  await untilPulses(2);
  const workers = onPulse.mock.calls.map(([, workerId]) => workerId.readUInt32LE());
  expect(new Set(workers).size).toBe(2);
  await peers[1].peer.say({ kind: "BYE" });
  await eventually("one has left", () => broker.stats.workers === 1);
  // The other is found all the same.
  const another = new RawPeer(broker.backend[0]);
  closers.push(() => another.close());
  await another.say(pulseHello());
  await untilPulses(3);
  expect(onPulse.mock.results.map(({ value }) => value)).toEqual([true, true, true]);
  expect(broker.stats.faults.role).toBe(0);
});

test("a pulse of an unknown session is refused and counted, and others are none the worse", async () => {
  const worker = new RawPeer(broker.backend[0]);
  closers.push(() => worker.close());
  await worker.say(workerHello());
  await worker.receive(({ kind }) => kind === "WELCOME");
  const pulse = new RawPeer(broker.backend[0]);
  closers.push(() => pulse.close());
  await pulse.say(pulseHello("00000000000000ff"));
  expect(await pulse.receive()).toMatchObject({ kind: "ERROR", status: 7, record: 0 });
  expect(broker.stats.faults.role).toBe(1);
  // The same connection may say better.
  await pulse.say(pulseHello());
  await pulse.say(pulseHello());
  await worker.say({ kind: "BYE" });
  await eventually("it is gone", () => broker.stats.workers === 0);
  expect(broker.stats.faults.role).toBe(1);
});
