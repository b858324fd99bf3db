// Native workers are sent past the acceptor to a port of their own, and stay where they are when they
// cannot get there.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { Dealer, Router } from "zeromq";
import { Broker, Client, Worker } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { Kind, Role } from "../../build/wire/layout.js";
import {
  readHello,
  readWelcome,
  writeHello,
  writeWelcome,
} from "../../build/wire/session-record.js";
import { endAll, eventually } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const services = { echo: (request: unknown) => request };

/** What the broker says to a worker's HELLO, told to a socket that is then closed. */
async function welcomeAt(endpoint: string, canMove: boolean) {
  const dealer = new Dealer({ linger: 0 });
  dealer.connect(endpoint);
  const writer = new BatchWriter();
  writeHello(writer, {
    role: Role.WORKER,
    sessionLow: 7,
    sessionHigh: 7,
    concurrency: 1,
    services: ["probe"],
    canMove,
  });
  await dealer.send(writer.finish());
  const reader = new BatchReader();
  reader.open(await dealer.receive(), 0);
  reader.next();
  const welcome = readWelcome(reader);
  dealer.close();
  if (typeof welcome === "string") throw new Error(welcome);
  return welcome;
}

async function expectServed(broker: Broker): Promise<void> {
  await using client = await Client.connect({ brokers: broker.frontend });
  expect(await client.request("echo", { n: 1 })).toEqual({ n: 1 });
}

function portOf(endpoint: string): number {
  return Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
}

test("a native worker moves, and one that says nothing of moving is taken where it is", async () => {
  await using broker = await Broker.start(loopback);
  await using _worker = await Worker.start({ brokers: broker.backend, services });
  // The acceptor has let go of the connection that it came over.
  await eventually("it has moved", () => broker.stats.backendConnections === 0);
  expect(broker.stats.workers).toBe(1);
  await expectServed(broker);
  const elsewhere = await welcomeAt(broker.backend[0], true);
  expect(elsewhere.directPort).not.toBe(0);
  expect(elsewhere.directPort).not.toBe(portOf(broker.backend[0]));
  expect((await welcomeAt(broker.backend[0], false)).directPort).toBe(0);
});

test("a worker is sent nowhere when the broker has no direct port", async () => {
  await using broker = await Broker.start({ ...loopback, directPort: false });
  await using _worker = await Worker.start({ brokers: broker.backend, services });
  expect(broker.stats.backendConnections).toBe(1);
  await expectServed(broker);
});

test("over ipc the direct port is a path beside the backend's", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wqd-"));
  try {
    const backend = `ipc://${folder}/backend`;
    await using broker = await Broker.start({ ...loopback, backend });
    await using _worker = await Worker.start({ brokers: [backend], services });
    await eventually("it has moved", () => broker.stats.backendConnections === 0);
    await expectServed(broker);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** A backend that sends every worker on to `port`, until one says that it stays. */
async function sendingTo(port: number): Promise<{ router: Router; stayed: Promise<void> }> {
  const router = new Router({ linger: 0 });
  await router.bind("tcp://127.0.0.1:*");
  const stayed = (async () => {
    for (;;) {
      const [routingId, ...frames] = await router.receive();
      const reader = new BatchReader();
      reader.open(frames, 0);
      reader.next();
      if (reader.kind !== Kind.HELLO) continue;
      const hello = readHello(reader);
      if (typeof hello === "string") throw new Error(hello);
      const writer = new BatchWriter();
      const directPort = hello.canMove ? port : 0;
      const welcome = { brokerLow: 1, brokerHigh: 2, inFlightMax: 10, recordMax: 65_536 };
      writeWelcome(writer, { ...welcome, directPort });
      await router.send([routingId, ...writer.finish()]);
      if (!hello.canMove) return;
    }
  })();
  return { router, stayed };
}

test("a worker stays when the direct port is refused, is mute, or is another broker's", async () => {
  const mute: Server = createServer(() => {});
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  await using other = await Broker.start({ ...loopback, directPort: false });
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const closedPort = (closed.address() as { port: number }).port;
  await new Promise((resolve) => closed.close(resolve));
  const mutePort = (mute.address() as { port: number }).port;
  for (const port of [closedPort, mutePort, portOf(other.backend[0])]) {
    const { router, stayed } = await sendingTo(port);
    const worker = await Worker.start({ brokers: [router.lastEndpoint as string], services });
    await stayed;
    await worker.close();
    router.close();
  }
  await eventually("the other broker has let go of it", () => other.stats.workers === 0);
  mute.close();
});

test("a direct port that was asked for by its number must be had", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  await expect(Broker.start({ ...loopback, directPort: port })).rejects.toThrow(/directPort/);
  taken.close();
});
