import { describe, expect, test } from "vitest";
import { Client } from "../../build/core/clients.js";
import { Credits } from "../../build/core/credits.js";
import { defaultLimits } from "../../build/core/limits.js";
import { Scene } from "./scene.ts";

const limits = {
  codelTargetMs: 100,
  codelIntervalMs: 1000,
  queueShortCount: 4,
  clientInFlightMax: 1000,
  clientCreditMin: 2,
  lookAheadMax: 0,
};

/** A worker of concurrency 1 that answers 1000 requests a second, one each ms. */
class Busy extends Scene {
  #sequence = 0;
  readonly #working: [number, number][] = [];
  told: string[] = [];

  constructor() {
    super(limits);
    this.client(1, 2, 3);
    this.worker(10);
  }

  asks(peer: number, count: number, service = "echo"): void {
    for (let i = 0; i < count; i++) this.#note(this.ask(peer, ++this.#sequence, { service }));
  }

  /** For so many ms an answer each, and a tick each 5. */
  works(ms: number): void {
    for (let i = 1; i <= ms; i++) {
      this.nowMs++;
      const [peer, sequence] = this.#working.shift() ?? [0, 0];
      if (peer !== 0) this.#note(this.reply(peer, sequence));
      if (i % 5 === 0) this.#note(this.pass(0));
    }
  }

  #note(effects: string[]): void {
    for (const effect of effects) {
      const dispatched = /^dispatch w10 c(\d+)#(\d+)/.exec(effect);
      if (dispatched !== null) this.#working.push([Number(dispatched[1]), Number(dispatched[2])]);
      if (effect.startsWith("credit")) this.told.push(effect);
    }
  }

  /** What was told since the last look. */
  news(): string[] {
    return this.told.splice(0);
  }
}

describe("client credit", () => {
  test("comes back only when nothing has piled up for five reviews, 100 ms apart", () => {
    const credits = new Credits(defaultLimits);
    const client = new Client(1, 32_768);
    client.inFlight = 1000;
    const waiting = { client: 1, count: 1000 };
    const queue = { count: 1000, waiters: new Map([[1, waiting]]) };
    const service = { queue, limits: defaultLimits, isServed: true, ratePerMs: 0.4 };
    const told: number[] = [];
    const review = (nowMs: number) => {
      const effects = { credit: () => told.push(nowMs) };
      credits.review(nowMs, [service] as never, new Map([[1, client]]), effects as never);
    };
    review(0);
    queue.count = 0;
    for (let nowMs = 100; nowMs <= 600; nowMs += 100) review(nowMs);
    expect(told).toEqual([0, 600]);
  });

  test("a queue of less than the target takes nothing from anybody", () => {
    const scene = new Busy();
    scene.asks(1, 90);
    scene.works(80);
    scene.asks(1, 80);
    scene.works(300);
    expect(scene.news()).toEqual([]);
    expect(scene.core.needsTick).toBe(false);
  });

  test("whose requests pile up gives back what is beyond its part, and gets it again later", () => {
    const scene = new Busy();
    scene.asks(1, 200);
    scene.works(105);
    scene.news();
    scene.asks(1, 700);
    scene.asks(2, 10);
    scene.works(100);
    // 700 or so wait, and 100 would be good: half of that, in equal parts, is 25 each.
    const [first, ...rest] = scene.news();
    expect(rest).toEqual([]);
    const [, credit] = /^credit c1 (\d+)$/.exec(first) ?? [];
    expect(Number(credit)).toBeGreaterThanOrEqual(20);
    expect(Number(credit)).toBeLessThanOrEqual(60);
    expect(scene.core.client(1)?.credit).toBe(Number(credit));
    expect(scene.core.client(2)?.credit).toBe(1000);
    // All is done: nothing changes for a while, then it doubles until it is whole.
    scene.works(800);
    scene.news();
    expect(scene.core.requests.count).toBe(0);
    expect(scene.core.needsTick).toBe(true);
    scene.works(1500);
    const credits = scene.news().map((told) => Number(told.split(" ")[2]));
    for (const [index, each] of credits.entries()) {
      if (index > 0) expect(each).toBe(Math.min(1000, credits[index - 1] * 2));
    }
    expect(credits.at(-1)).toBe(1000);
    expect(scene.core.needsTick).toBe(false);
  });

  test("requests at other services are not held against it", () => {
    const scene = new Busy();
    scene.worker(11, 400, ["other"]);
    scene.asks(2, 400, "other");
    scene.asks(2, 5);
    scene.asks(1, 100);
    scene.works(90);
    scene.asks(1, 600);
    scene.works(110);
    expect(scene.news().every((told) => told.startsWith("credit c1 "))).toBe(true);
    expect(scene.core.client(2)?.credit).toBe(1000);
  });

  test("no client is told more than once in 100 ms, nor of less than the least", () => {
    const scene = new Busy();
    const latest = new Map<string, number>();
    for (let round = 0; round < 400; round++) {
      for (const peer of [1, 2, 3]) scene.asks(peer, (round * 7 + peer) % 9);
      scene.works(5);
      for (const told of scene.news()) {
        const [, client, credit] = told.split(" ");
        expect(Number(credit)).toBeGreaterThanOrEqual(2);
        expect(scene.nowMs - (latest.get(client) ?? -Infinity)).toBeGreaterThanOrEqual(100);
        latest.set(client, scene.nowMs);
      }
    }
    expect(latest.size).toBe(3);
  });

  test("a client that leaves with little credit leaves nothing behind", () => {
    const scene = new Busy();
    scene.asks(1, 800);
    scene.works(300);
    expect(scene.core.client(1)?.credit).toBeLessThan(1000);
    scene.leave(1);
    expect(scene.core.needsTick).toBe(false);
    scene.client(1);
    expect(scene.core.client(1)?.credit).toBe(1000);
  });
});
