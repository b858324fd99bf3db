// A subscriber whose process is stopped in the midst of a flood: what it costs, and what the others notice.
import { afterEach, expect, it } from "vitest";
import { Client, type SubscriptionStats } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

const MIB = 1024 * 1024;
/** So that nobody is taken for dead meanwhile. */
const PATIENT = { heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 120_000 };
const COUNT = 60_000;
const SIZE = 4096;

afterEach(endAll);

it("holds a bounded part of a flood for a stopped subscriber, and the others hear all", async () => {
  const any = "tcp://127.0.0.1:*";
  const broker = await Party.start("broker", { frontend: any, backend: any, ...PATIENT });
  const brokers = (await broker.until("frontend")) as string[];
  const options = { brokers, ...PATIENT, pattern: "flood", subscription: { queueMax: 65_536 } };
  const stopped = await Party.start("subscriber", options);
  const client = await Client.connect({ brokers, ...PATIENT });
  const other = client.subscribe("flood", { raw: true, queueMax: 65_536 });
  await other.ready();
  let heard = 0;
  const reading = (async () => {
    for await (const _ of other) if (++heard === COUNT) return;
  })();

  const body = new Uint8Array(SIZE).fill(7);
  // What is touched by any flood is there before it is measured.
  for (let i = 0; i < 2000; i++) await client.publish("flood", body, { raw: true });
  await eventually("the first are heard", () => heard === 2000);
  const before = await broker.stats();
  stopped.signal("SIGSTOP");
  let queuedBytesMost = 0;
  for (let i = 2000; i < COUNT; i++) {
    await client.publish("flood", body, { raw: true });
    if (i % 5000 !== 0) continue;
    await eventually("heard by the other", () => heard > i - 100);
    const { topics } = (await broker.stats()).stats;
    queuedBytesMost = Math.max(queuedBytesMost, topics.queuedBytes);
  }
  await reading;
  expect(other.stats).toMatchObject({ received: COUNT, missed: 0, dropped: 0 });
  const after = await broker.stats();
  expect(after.stats.topics.subscribers).toBe(2);
  // The queue is full, and went no further; of the 226 MiB that were meant for it most are gone.
  expect(queuedBytesMost).toBeGreaterThan(15 * MIB);
  expect(queuedBytesMost).toBeLessThanOrEqual(16 * MIB);
  expect(after.memory.rss - before.memory.rss).toBeLessThan(128 * MIB);

  stopped.signal("SIGCONT");
  await eventually("it catches up", async () => {
    return (await broker.stats()).stats.topics.queuedBytes === 0;
  });
  await client.publish("flood", "last", { raw: true });
  expect(await stopped.until("last")).toBe(COUNT + 1);
  const stats = (await stopped.until("stats")) as SubscriptionStats;
  expect(stats.dropped).toBeGreaterThan(10_000);
  expect(stats).toMatchObject({ missed: stats.dropped, received: COUNT + 1 - stats.dropped });
  await client.close();
});
