// Overload: a client that ignores refusals, against a worker that cannot keep up.
import { expect, it } from "vitest";
import { Client } from "../../build/client/client.js";
import { BrokerProcess, FloodProcess, WorkerProcess } from "./processes.js";

const MiB = 1024 * 1024;
const COUNT = 1_000_000;
const DEADLINE_MS = 5000;

it("a burst of a million requests is refused at once, bounded, and over when it is over", async () => {
  const broker = await BrokerProcess.start();
  // Ten at once, 10 ms each: a little under 1000/s.
  const worker = await WorkerProcess.start(broker.backend, 10, 10);
  const client = await Client.connect({ brokers: [broker.frontend] });
  for (let i = 0; i < 20; i++) await client.request("echo", "warm", { raw: true });
  const heldIdle = await broker.collect();
  const rssIdle = broker.rssBytes;
  let rssPeak = rssIdle;
  const sampler = setInterval(() => {
    rssPeak = Math.max(rssPeak, broker.rssBytes);
  }, 10);

  const flood = new FloodProcess(broker.frontend, COUNT, 256, DEADLINE_MS);
  let isFlooding = true;
  const summaryDue = flood.summary.finally(() => {
    isFlooding = false;
  });
  // An honest client beside it: one request after another.
  const honestMs: number[] = [];
  while (isFlooding) {
    const startMs = performance.now();
    const answer = await client.request("echo", "me", { raw: true, timeoutMs: DEADLINE_MS });
    expect(Buffer.from(answer as Uint8Array).toString()).toBe("me");
    honestMs.push(performance.now() - startMs);
  }
  const summary = await summaryDue;
  clearInterval(sampler);

  const stats = await broker.until(({ requests }) => requests === 0);
  await client.request("echo", "after", { raw: true });
  await client.close();
  await broker.until(({ clients }) => clients === 0);
  const heldAfter = await broker.collect();
  const rssAfter = broker.rssBytes;
  honestMs.sort((a, b) => a - b);
  const mib = (bytes: number) => Math.round(bytes / MiB);
  console.log(
    JSON.stringify({
      ...summary,
      rssMiB: { idle: mib(rssIdle), peak: mib(rssPeak), after: mib(rssAfter) },
      heldMiB: { idle: mib(heldIdle), after: mib(heldAfter) },
      honest: {
        count: honestMs.length,
        p50: honestMs[honestMs.length >> 1],
        p99: honestMs[Math.floor(honestMs.length * 0.99)],
      },
      faults: stats.faults,
    }),
  );

  // Each request has ended exactly once.
  const failures = Object.values(summary.statuses).reduce((sum, n) => sum + n, 0);
  expect(summary).toMatchObject({ sent: COUNT, wrong: 0, unknown: 0, twice: 0, never: 0 });
  expect(summary.replies + failures).toBe(COUNT);
  expect(Object.keys(summary.statuses).sort()).toEqual(["8"]);
  // It was told to hold back.
  expect(summary.credits).toBeGreaterThan(0);
  // Most were refused, those accepted flowed on, beside them those of others: how many depends on how long it took, which
  // was less than a second where all else was quick.
  expect(summary.statuses[8]).toBeGreaterThan(COUNT / 2);
  expect(summary.replies).toBeGreaterThan(200);
  expect(honestMs.length).toBeGreaterThan(10);
  // At once, not when its wait was over: 10 s are the most. On a slow day this machine is behind by a second.
  expect(summary.refusalMs.p50).toBeLessThan(3000);
  expect(rssPeak).toBeLessThan(200 * MiB);
  // Idle again.
  expect(stats).toMatchObject({ requests: 0, requestBytes: 0, queued: 0, workers: 1 });
  expect(stats.services.echo).toMatchObject({ queued: 0, inFlight: 0 });
  expect(stats.faults).toMatchObject({ malformed: 0, unread: 0 });
  // What the broker holds is back. The resident size keeps what malloc and V8 do not return.
  expect(heldAfter - heldIdle).toBeLessThan(24 * MiB);
  expect(rssAfter).toBeLessThan(200 * MiB);
  worker.kill();
  await broker.close();
});
