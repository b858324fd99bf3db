import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../build/core/limits.js";
import { bestWorker, Pool } from "../../build/core/pool.js";
import { Ranking } from "../../build/core/ranking.js";
import { Requests } from "../../build/core/requests.js";
import { Service } from "../../build/core/services.js";
import { Worker } from "../../build/core/workers.js";

const pool = new Pool("echo", []);

function newWorker(peer: number, concurrency = 1, inPool = pool): Worker {
  return new Worker(peer, concurrency, true, inPool);
}

describe("Ranking", () => {
  test("agrees with a naive scan over any appends and removals", () => {
    const step = fc.record({
      peer: fc.integer({ min: 0, max: 30 }),
      rank: fc.oneof(
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 0, max: 1022 }),
        fc.constantFrom(31, 32, 33, 991, 992, 1022),
      ),
      remove: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const ranking = new Ranking();
        const workers = Array.from({ length: 31 }, (_, peer) => newWorker(peer));
        let list: { worker: Worker; rank: number }[] = [];
        for (const { peer, rank, remove } of steps) {
          const worker = workers[peer];
          if (worker.ranking !== undefined) {
            ranking.remove(worker);
            list = list.filter((each) => each.worker !== worker);
          } else if (!remove) {
            ranking.append(worker, rank);
            list.push({ worker, rank });
          }
          const least = Math.min(...list.map((each) => each.rank));
          // The list is in order of appending.
          expect(ranking.first()).toBe(list.find((each) => each.rank === least)?.worker);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("ranks from 1023 on are kept, as one", () => {
    const ranking = new Ranking();
    const [one, other] = [newWorker(1), newWorker(2)];
    ranking.append(one, 60_000);
    ranking.append(other, 1023);
    expect(ranking.first()).toBe(one);
    ranking.remove(one);
    expect(ranking.first()).toBe(other);
    ranking.remove(other);
    expect(ranking.first()).toBeUndefined();
  });
});

describe("bestWorker", () => {
  interface Case {
    pools: Pool[];
    workers: Worker[];
    service: Service;
  }

  function newCase(poolCount: number, concurrencies: number[]): Case {
    const service = new Service(0, "echo", new Requests(8), defaultLimits);
    const pools = Array.from({ length: poolCount }, (_, i) => new Pool(`${i}`, [service]));
    const workers = concurrencies.map((concurrency, i) =>
      newWorker(i, concurrency, pools[i % poolCount]),
    );
    service.pools.push(...pools);
    return { pools, workers, service };
  }

  test("the fewest in flight of those with free concurrency; else the least over", () => {
    const shape = fc.tuple(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 9 }),
    );
    const move = fc.record({
      which: fc.nat(),
      kind: fc.constantFrom("take", "take", "answer", "ahead", "drain"),
    });
    fc.assert(
      fc.property(shape, fc.array(move, { maxLength: 100 }), ([poolCount, sizes], moves) => {
        const { workers, service } = newCase(poolCount, sizes);
        let clock = 0;
        for (const worker of workers) {
          worker.idleSince = ++clock;
          worker.pool.place(worker);
        }
        for (const { which, kind } of moves) {
          const worker = workers[which % workers.length];
          if (kind === "take" && worker.room > 0) worker.inFlight++;
          else if (kind === "answer" && worker.inFlight > 0) {
            worker.inFlight--;
            worker.idleSince = ++clock;
          } else if (kind === "ahead") worker.lookAhead = which % 3;
          else if (kind === "drain" && which % 5 === 0 && worker.state === "ready") {
            worker.move("draining");
          } else continue;
          worker.pool.place(worker);

          const best = bestWorker(service);
          const free = workers.filter((w) => w.state === "ready" && w.inFlight < w.concurrency);
          const over = workers.filter((w) => w.room > 0);
          if (free.length > 0) {
            const least = Math.min(...free.map((w) => w.inFlight));
            expect(free, "none is over while one is free").toContain(best);
            expect(best!.inFlight).toBe(least);
          } else if (over.length > 0) {
            const least = Math.min(...over.map((w) => w.inFlight - w.concurrency));
            expect(best!.inFlight - best!.concurrency).toBe(least);
          } else expect(best).toBeUndefined();
        }
      }),
      { numRuns: 200 },
    );
  });

  test("of idle workers the longest idle, in one pool or in several", () => {
    for (const poolCount of [1, 2, 3]) {
      const { workers, service } = newCase(poolCount, new Array(6).fill(1));
      let clock = 0;
      for (const index of [3, 0, 5, 1, 4, 2]) {
        workers[index].idleSince = ++clock;
        workers[index].pool.place(workers[index]);
      }
      const order: number[] = [];
      for (let best = bestWorker(service); best !== undefined; best = bestWorker(service)) {
        order.push(best.peer);
        best.inFlight++;
        best.pool.place(best);
      }
      expect(order, `${poolCount} pools`).toEqual([3, 0, 5, 1, 4, 2]);
    }
  });

  test("a service without pools has no worker", () => {
    expect(bestWorker(newCase(0, []).service)).toBeUndefined();
  });
});

test("hungry services of a pool take turns", () => {
  const requests = new Requests(8);
  const [a, b, c] = ["a", "b", "c"].map(
    (name, index) => new Service(index, name, requests, defaultLimits),
  );
  const shared = new Pool("abc", [a, b, c]);
  expect(shared.nextHungry()).toBeUndefined();
  shared.setHungry(a, true);
  expect([shared.nextHungry(), shared.nextHungry()]).toEqual([a, a]);
  shared.setHungry(b, true);
  shared.setHungry(c, true);
  const turns = [0, 1, 2, 3, 4, 5].map(() => shared.nextHungry()?.name);
  expect(turns.slice(0, 3).sort()).toEqual(["a", "b", "c"]);
  expect(turns.slice(3)).toEqual(turns.slice(0, 3));
  shared.setHungry(b, false);
  expect([shared.nextHungry(), shared.nextHungry()]).not.toContain(b);
});

test("a worker moves only forward", () => {
  const worker = newWorker(1);
  worker.move("draining");
  expect(worker.room).toBe(0);
  expect(() => worker.move("ready")).toThrow("bug: worker state draining -> ready");
  worker.move("gone");
  expect(() => worker.move("draining")).toThrow("bug: worker state gone -> draining");
});
