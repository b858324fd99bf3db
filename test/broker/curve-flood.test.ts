// Strangers who open connections by the thousand and finish no handshake: each is bounded, and those
// who work go on. The flood comes from a process of its own; 10,000 connections are open at its end at most.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Broker, Client, Worker } from "../../build/index.js";
import { eventually } from "../system/processes.js";
import { curveOf, keyOf, startBroker } from "./curve-keys.js";

/** Descriptors that this process and its like may have, to spare for what else it has open. */
const fileLimit = Number(
  (process.report.getReport() as { userLimits?: { open_files?: { soft: unknown } } }).userLimits
    ?.open_files?.soft ?? 1024,
);
const COUNT = Math.min(10_000, fileLimit - 2000);

let broker: Broker;
let worker: Worker;
let client: Client;
let flood: ChildProcess | undefined;

beforeEach(async () => {
  ({ broker } = await startBroker({ handshakeTimeoutMs: 1000 }));
  worker = await Worker.start({
    brokers: broker.backend,
    curve: curveOf("worker"),
    services: { echo: (body) => body },
  });
  client = await Client.connect({ brokers: broker.frontend, curve: curveOf("client") });
});

afterEach(async () => {
  flood?.kill("SIGKILL");
  await client.close({ timeoutMs: 0 });
  await worker.close();
  await broker.close({ timeoutMs: 0 });
});

const path = fileURLToPath(new URL("fixtures/half-open.mjs", import.meta.url));

/** Refusals by the bounds of a handshake. */
function boundedCount(): number {
  const { "handshakes-max": max = 0, "handshake-timeout": late = 0 } = broker.stats.refusals;
  return max + late;
}

for (const kind of ["silent", "greeting", "garbage", "hello"] as const) {
  test(`${COUNT} connections that end at: ${kind}`, { timeout: 120_000 }, async () => {
    const port = Number(broker.backend[0].split(":")[2]);
    const serverKey = keyOf.broker.publicKey;
    const child = fork(path, [JSON.stringify({ port, count: COUNT, kind, serverKey })]);
    flood = child;
    let opened = 0;
    let closed = 0;
    let connectionsMax = 0;
    child.on("message", (message: { opened?: number; closed?: number }) => {
      opened = message.opened ?? opened;
      closed = message.closed ?? closed;
    });
    let replies = 0;
    const isOver = () => opened === COUNT && closed === COUNT;
    const work = async () => {
      while (!isOver()) {
        expect(await client.request("echo", replies)).toBeTypeOf("number");
        replies++;
        connectionsMax = Math.max(connectionsMax, broker.stats.backendConnections);
      }
    };
    await Promise.all([work(), work()]);
    child.send("end");
    await once(child, "exit");
    console.log(kind, JSON.stringify({ COUNT, replies, connectionsMax, ...broker.stats.refusals }));

    // Never more than the bound of handshakes, whatever is outside; our worker and its pulse beside.
    expect(connectionsMax).toBeLessThanOrEqual(1024 + 2);
    expect(client.stats).toMatchObject({ failures: 0, resent: 0 });
    const refusals = broker.stats.refusals;
    if (kind === "garbage") expect(refusals["hello-refused"]).toBeGreaterThan(0);
    expect(boundedCount() + (refusals["hello-refused"] ?? 0)).toBe(COUNT);
    expect(broker.stats).toMatchObject({ clients: 1, workers: 1 });
    await eventually("nothing is left of it", () => broker.stats.backendConnections === 2);
    // And one who is known still comes in.
    const another = await Client.connect({ brokers: broker.frontend, curve: curveOf("both") });
    expect(await another.request("echo", "x")).toBe("x");
    await another.close();
  });
}
