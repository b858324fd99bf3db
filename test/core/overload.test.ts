// Overload, exactly: the production core in virtual time, five times what its workers can do for 30 s,
// 50 clients of which one offers half of it.
import { describe, expect, test } from "vitest";
import { type OverloadOptions, OverloadScene, quantile } from "./overload-scene.ts";

const load: OverloadOptions = {
  seed: Number(process.env.WASMQ_SEED ?? 1),
  clients: 50,
  offeredPerSecond: 20_000,
  workers: 4,
  concurrency: 10,
  serviceMs: 10,
  obeysCredit: false,
};

const BURST_MS = 30_000;
/** How long it may take until overload is known and what had piled up by then is gone. */
const ONSET_MS = 2_000;

interface Burst {
  scene: OverloadScene;
  /** What nearly all requests waited at most before it. */
  quietMs: number;
  /** The most that the broker held in the beginning. */
  onsetMost: number;
}

function burst(options: OverloadOptions): Burst {
  const scene = new OverloadScene(options);
  expect(scene.capacityPerSecond).toBe(4_000);
  // Some quiet before, as there is.
  scene.run(1_000, scene.capacityPerSecond / 2);
  const quietMs = quantile(scene.waits, 0.99);
  scene.resetFigures();
  scene.run(ONSET_MS);
  const onsetMost = scene.heldMost;
  scene.heldMost = 0;
  scene.run(BURST_MS - ONSET_MS);
  return { scene, quietMs, onsetMost };
}

function expectGoodput(scene: OverloadScene): void {
  const replied = scene.clients.reduce((sum, client) => sum + client.replied, 0);
  expect(replied).toBeGreaterThanOrEqual(0.95 * scene.capacityPerSecond * (BURST_MS / 1000));
}

function expectFairness(scene: OverloadScene): void {
  const share = (scene.capacityPerSecond * (BURST_MS / 1000)) / scene.clients.length;
  for (const [peer, { replied }] of scene.clients.entries()) {
    expect(Math.abs(replied - share), `client ${peer}: ${replied}`).toBeLessThan(share * 0.2);
  }
}

/** Ten seconds after the burst all is as if it had not been. */
function expectBaseline({ scene, quietMs }: Burst): void {
  for (const client of scene.clients) client.unsent = 0;
  scene.run(10_000, scene.capacityPerSecond / 2);
  scene.resetFigures();
  scene.run(2_000, scene.capacityPerSecond / 2);
  const { core, limits } = scene;
  expect(scene.clients.reduce((sum, client) => sum + client.refused, 0)).toBe(0);
  expect(quantile(scene.waits, 0.99)).toBeLessThanOrEqual(quietMs + 1);
  for (const [peer] of scene.clients.entries()) {
    expect(core.client(peer)?.credit).toBe(limits.clientInFlightMax);
  }
  scene.run(100, 0);
  expect([core.requests.count, core.requests.bytesHeld, core.needsTick]).toEqual([0, 0, false]);
}

describe("five times the capacity for 30 s, of clients that hold nothing back", () => {
  const run = burst(load);
  const { scene, onsetMost } = run;

  test("goodput is at least 95% of capacity", () => expectGoodput(scene));

  test("each client is within 20% of its fair share", () => expectFairness(scene));

  test("what is accepted waits twice the target at most, but for 1%", () => {
    expect(quantile(scene.waits, 0.99)).toBeLessThanOrEqual(2 * scene.limits.codelTargetMs);
  });

  test("most refusals are instant, and none later than the wait allowed", () => {
    expect(quantile(scene.refusalWaits, 0.5)).toBe(0);
    const { codelTargetMs, codelIntervalMs } = scene.limits;
    expect(quantile(scene.refusalWaits, 1)).toBeLessThan(2 * codelTargetMs + codelIntervalMs);
  });

  test("what was refused is counted as refused, at the door or late", () => {
    const { counts } = scene.core;
    const refused = scene.clients.reduce((sum, client) => sum + client.refused, 0);
    expect(counts.expired).toBe(0);
    expect(counts.refusedAfterWait).toBeGreaterThan(0);
    // What was refused before the figures were reset, there is none: it was quiet.
    expect(counts.refused).toBe(refused);
  });

  test("the broker holds what it does in the wait allowed, and at first what came until it knew", () => {
    const { limits, capacityPerSecond } = scene;
    const inTime = (capacityPerSecond * 2 * limits.codelTargetMs) / 1000;
    expect(scene.heldMost).toBeLessThan(inTime);
    const { codelTargetMs, codelIntervalMs } = limits;
    const knownMs = 1.25 * codelTargetMs + codelIntervalMs;
    // At five times the capacity the wait grows by 4 ms in 5.
    expect(onsetMost).toBeLessThan((load.offeredPerSecond * knownMs) / 1000);
    expect(scene.bytesMost).toBeLessThanOrEqual(onsetMost * 100);
  });

  test("10 s later nothing tells of it", () => expectBaseline(run));
});

describe("the same, of clients that obey their credit", () => {
  const run = burst({ ...load, obeysCredit: true });
  const { scene } = run;

  test("goodput is at least 95% of capacity", () => expectGoodput(scene));

  test("each client is within 20% of its fair share", () => expectFairness(scene));

  test("what is accepted waits twice the target at most, but for 1%", () => {
    expect(quantile(scene.waits, 0.99)).toBeLessThanOrEqual(2 * scene.limits.codelTargetMs);
  });

  test("load waits at the edge: but for the first second hardly anything is refused", () => {
    const refused = scene.clients.reduce((sum, client) => sum + client.refused, 0);
    expect(refused).toBeLessThan(load.offeredPerSecond);
    const unsent = scene.clients.reduce((sum, client) => sum + client.unsent, 0);
    expect(unsent).toBeGreaterThan(10 * load.offeredPerSecond);
  });

  test("CREDIT records are rare", () => {
    expect(scene.leastCreditGapMs).toBeGreaterThanOrEqual(100);
    for (const client of scene.clients) expect(client.creditRecords).toBeLessThan(30);
  });

  test("10 s later nothing tells of it", () => expectBaseline(run));
});
