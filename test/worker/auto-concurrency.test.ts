import { expect, test } from "vitest";
import { AutoConcurrency } from "../../build/worker/auto-concurrency.js";
import { Random } from "../random.mjs";

/** Numbers from 0 to below 1. */
function chance(seed: number): () => number {
  const random = new Random(seed);
  return () => random.below(2 ** 32) / 2 ** 32;
}

/** What the handlers wait for: how long one takes that begins as one of `running`. */
type Latency = (running: number) => number;

/** Takes `baseMs`, until more than `knee` at once queue there. */
const kneeAt =
  (knee: number, baseMs = 10): Latency =>
  (running) =>
    baseMs * Math.max(1, running / knee);

/** A worker that always has `demand` requests to run, by an own clock. */
class Scene {
  latency: Latency;
  demand = Infinity;
  nowMs = 1_000_000;
  /** The limit at the end of each 100 ms. */
  limits: number[] = [];
  ended = 0;
  readonly auto: AutoConcurrency;
  readonly #random: () => number;
  readonly #jitter: number;
  /** The last ends first. */
  #running: { beganMs: number; endsMs: number }[] = [];

  constructor(latency: Latency, { most = 1000, jitter = 0, seed = 1 } = {}) {
    this.latency = latency;
    this.#jitter = jitter;
    this.#random = chance(seed);
    this.auto = new AutoConcurrency(most, this.nowMs, this.#random);
  }

  run(seconds: number): this {
    const endMs = this.nowMs + seconds * 1000;
    let nextMs = this.nowMs;
    while (this.nowMs < endMs) {
      this.#begin();
      const first = this.#running.pop() as { beganMs: number; endsMs: number };
      this.nowMs = first.endsMs;
      for (; nextMs <= this.nowMs; nextMs += 100) this.limits.push(this.auto.limit);
      this.ended++;
      this.auto.onEnd(first.beganMs, this.nowMs, this.#running.length);
      if (this.auto.limit < 1) throw new Error(`limit ${this.auto.limit}`);
    }
    return this;
  }

  /** The limits of the last `seconds`, least and greatest. */
  range(seconds: number): [number, number] {
    const latest = this.limits.slice(-seconds * 10);
    return [Math.min(...latest), Math.max(...latest)];
  }

  /** The limit at rest: the median of the last ten seconds. */
  get settled(): number {
    const latest = this.limits.slice(-100).sort((a, b) => a - b);
    return latest[latest.length >> 1];
  }

  #begin(): void {
    while (this.#running.length < Math.min(this.auto.limit, this.demand)) {
      const factor = 1 + this.#jitter * (2 * this.#random() - 1);
      const tookMs = this.latency(this.#running.length + 1) * factor;
      const endsMs = this.nowMs + tookMs;
      let at = 0;
      let end = this.#running.length;
      while (at < end) {
        const middle = (at + end) >> 1;
        if (this.#running[middle].endsMs > endsMs) at = middle + 1;
        else end = middle;
      }
      this.#running.splice(at, 0, { beganMs: this.nowMs, endsMs });
      this.auto.onBegin(this.#running.length);
    }
  }
}

for (const knee of [4, 16, 64, 200]) {
  test(`comes to rest a little above where ${knee} at once begin to queue`, () => {
    for (const jitter of [0, 0.3]) {
      const scene = new Scene(kneeAt(knee, knee), { jitter }).run(40);
      // 1.5 x knee is tolerated, and the square root is added to find out.
      expect(scene.settled).toBeGreaterThanOrEqual(knee);
      expect(scene.settled).toBeLessThanOrEqual(1.5 * knee + 2 * Math.sqrt(1.5 * knee) + 1);
      // And stays there: no slow drift, and the probes cost little.
      const endedBefore = scene.ended;
      scene.run(200);
      expect(scene.range(150)[1]).toBeLessThanOrEqual(1.5 * knee + 3 * Math.sqrt(1.5 * knee) + 1);
      const capacity = 200 * 1000;
      expect(scene.ended - endedBefore).toBeGreaterThan(0.94 * capacity);
    }
  });
}

test("what waits without end for nobody grows to the most, and no further", () => {
  const scene = new Scene(() => 50, { most: 100 }).run(30);
  expect(scene.settled).toBe(100);
  expect(Math.max(...scene.limits)).toBe(100);
});

test("a handler that computes, each as long as all that run: a few, and never 0", () => {
  const scene = new Scene((running) => 5 * running).run(60);
  expect(scene.settled).toBeLessThanOrEqual(5);
  expect(new Scene((running) => 5 * running, { most: 1 }).run(20).range(20)).toEqual([1, 1]);
});

test("shrinks when what it waits for can do less, and grows back", () => {
  const scene = new Scene(kneeAt(128, 50)).run(30);
  expect(scene.settled).toBeGreaterThanOrEqual(128);
  scene.latency = kneeAt(8, 50);
  scene.run(20);
  expect(scene.settled).toBeLessThanOrEqual(22);
  expect(scene.settled).toBeGreaterThanOrEqual(8);
  scene.latency = kneeAt(128, 50);
  scene.run(40);
  expect(scene.settled).toBeGreaterThanOrEqual(128);
});

test("what became slower by itself, with no queue, is found out at the next probe", () => {
  const scene = new Scene(kneeAt(64)).run(30);
  scene.latency = kneeAt(64, 40);
  scene.run(5);
  expect(scene.auto.limit).toBeLessThan(32);
  scene.run(60);
  expect(scene.settled).toBeGreaterThanOrEqual(64);
});

test("with little to do it stays as it is", () => {
  const scene = new Scene(() => 10);
  scene.demand = 3;
  expect(scene.run(30).settled).toBe(8);
  // Reached but for one: nothing is known of more.
  scene.demand = 7;
  expect(scene.run(30).settled).toBe(8);
});

test("handlers that take no time at all, or very long, are no trouble", () => {
  const instant = new Scene(() => 0.05, { most: 50 }).run(1);
  expect(instant.settled).toBeGreaterThan(8);
  const slow = new Scene(kneeAt(32, 20_000), { most: 1000 }).run(4000);
  expect(slow.settled).toBeGreaterThanOrEqual(32);
  expect(slow.settled).toBeLessThanOrEqual(64);
});
