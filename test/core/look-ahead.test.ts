import { expect, test } from "vitest";
import { defaultLimits, resolveLimits } from "../../build/core/limits.js";
import { beginBusy, lookAheadAfterReply } from "../../build/core/look-ahead.js";
import { Pool } from "../../build/core/pool.js";
import { Worker } from "../../build/core/workers.js";
import { Scene } from "./scene.ts";

/**
 * A service under constant load: one worker of so many lanes, a handler of so many ms, half of
 * `roundTripMs` each way. Gives the look-ahead over time.
 */
function load(options: {
  handlerMs: number;
  concurrency?: number;
  roundTripMs?: number;
  durationMs: number;
  lookAhead?: boolean;
  limits?: object;
  /** Added to the n-th handler's time. */
  jitterMs?: (n: number) => number;
}): number[] {
  const { handlerMs, concurrency = 1, roundTripMs = 0.2, durationMs } = options;
  const scene = new Scene(options.limits);
  scene.client(1);
  scene.worker(10, concurrency, ["echo"], options.lookAhead ?? true);
  // Requests at the worker, and when each lane is free.
  const lanes: number[] = new Array(concurrency).fill(0);
  const done: { atMs: number; sequence: number }[] = [];
  let sequence = 0;
  let handled = 0;
  const take = (effects: string[]) => {
    for (const effect of effects) {
      if (!effect.startsWith("dispatch")) continue;
      const lane = lanes.indexOf(Math.min(...lanes));
      const startMs = Math.max(lanes[lane], scene.nowMs + roundTripMs / 2);
      lanes[lane] = startMs + handlerMs + (options.jitterMs?.(handled++) ?? 0);
      done.push({ atMs: lanes[lane] + roundTripMs / 2, sequence: Number(effect.split("#")[1]) });
      done.sort((a, b) => a.atMs - b.atMs);
    }
  };
  const waiting = 2_000;
  for (let i = 0; i < waiting; i++) take(scene.ask(1, ++sequence));
  const lookAheads: number[] = [];
  while (scene.nowMs < durationMs && done.length > 0) {
    const next = done.shift()!;
    scene.nowMs = next.atMs;
    take(scene.reply(1, next.sequence));
    take(scene.ask(1, ++sequence));
    lookAheads.push(scene.core.worker(10)!.lookAhead);
  }
  return lookAheads;
}

test("a slow handler gets none", () => {
  expect(Math.max(...load({ handlerMs: 300, durationMs: 5_000 }))).toBe(0);
  expect(Math.max(...load({ handlerMs: 3, durationMs: 500 }))).toBe(0);
});

test("many slow handlers at once get none, though their answers come in bursts", () => {
  const together = { handlerMs: 300, concurrency: 64, durationMs: 5_000 };
  expect(Math.max(...load(together))).toBe(0);
  // Begun together, they end within a few milliseconds of each other.
  const scattered = { ...together, jitterMs: (n: number) => ((n * 7) % 64) / 16 };
  expect(Math.max(...load(scattered))).toBe(0);
});

test("a fast handler gets about lookAheadMs of work, and keeps it", () => {
  const lookAheads = load({ handlerMs: 0.01, durationMs: 100 });
  const settled = lookAheads.slice(-2_000);
  // 2 ms of 10 us each.
  expect(Math.max(...settled)).toBeLessThanOrEqual(220);
  expect(Math.min(...settled)).toBeGreaterThanOrEqual(150);
});

test("it doubles at most, and never passes lookAheadMax", () => {
  const lookAheads = load({ handlerMs: 0.01, durationMs: 60 });
  for (let i = 1; i < lookAheads.length; i++) {
    expect(lookAheads[i]).toBeLessThanOrEqual(lookAheads[i - 1] * 2 + 1);
  }
  const capped = load({ handlerMs: 0.01, durationMs: 60, limits: { lookAheadMax: 17 } });
  expect(Math.max(...capped)).toBe(17);
  const off = load({ handlerMs: 0.01, durationMs: 30, limits: { lookAheadMs: 0 } });
  expect(Math.max(...off)).toBe(0);
});

test("a worker that takes none, as a REP one, gets none", () => {
  expect(Math.max(...load({ handlerMs: 0.01, durationMs: 50, lookAhead: false }))).toBe(0);
});

test("a worker that turns slow loses it at the first slow answer", () => {
  const limits = resolveLimits();
  const worker = new Worker(1, 1, true, new Pool("echo", []));
  worker.lookAhead = 200;
  beginBusy(worker, 0);
  expect(lookAheadAfterReply(worker, limits, 300, 300)).toBe(0);
});

test("no look-ahead is adapted within a window", () => {
  const worker = new Worker(1, 1, true, new Pool("echo", []));
  beginBusy(worker, 0);
  for (let i = 1; i < 100; i++) {
    expect(lookAheadAfterReply(worker, defaultLimits, i / 101, 0.01)).toBe(0);
  }
  expect(lookAheadAfterReply(worker, defaultLimits, 1, 0.01)).toBe(1);
});
