import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BUCKET_COUNT, bucketEndMs, bucketOf, quantileMs } from "../../build/base/histogram.js";
import { Status } from "../../build/base/status.js";
import { Meters, OTHER_ROW } from "../../build/core/meters.js";
import { Scene } from "./scene.ts";

const LAST_MS = 2 ** 26 / 1000;

describe("buckets", () => {
  test("each time is below the end of its bucket and not below that of the one before", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 100_000, noNaN: true }), (ms) => {
        const bucket = bucketOf(ms);
        expect(ms).toBeLessThan(bucketEndMs(bucket));
        // Whole microseconds are counted: what is below one is not seen.
        if (bucket > 0) expect(ms + 0.001).toBeGreaterThan(bucketEndMs(bucket - 1));
      }),
    );
  });

  test("their ends rise, by a quarter at most", () => {
    const ends = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucketEndMs(bucket));
    expect(ends[0]).toBe(0.016);
    expect(ends.at(-2)).toBe(LAST_MS);
    expect(ends.at(-1)).toBe(Infinity);
    for (let at = 1; at < BUCKET_COUNT - 1; at++) {
      expect(ends[at] / ends[at - 1]).toBeGreaterThan(1);
      expect(ends[at] / ends[at - 1]).toBeLessThanOrEqual(1.25);
    }
  });

  test.each([
    [0, 0],
    [-1, 0],
    [0.0159, 0],
    [0.016, 1],
    [LAST_MS, BUCKET_COUNT - 1],
    [1e12, BUCKET_COUNT - 1],
  ])("%d ms is in bucket %d", (ms, bucket) => expect(bucketOf(ms)).toBe(bucket));

  test("a quantile is within an eighth of the true one", () => {
    const times = fc.array(fc.double({ min: 0.1, max: 60_000, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(times, fc.constantFrom(0.5, 0.9, 0.99, 1), (values, q) => {
        const counts = new Map<number, number>();
        for (const ms of values) counts.set(bucketOf(ms), (counts.get(bucketOf(ms)) ?? 0) + 1);
        const buckets = [...counts]
          .sort(([one], [other]) => one - other)
          .map(([bucket, count]) => [bucketEndMs(bucket), count] as const);
        const sorted = values.toSorted((one, other) => one - other);
        const exact = sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
        // In the same bucket, which is a quarter wide at most.
        expect(bucketOf(quantileMs(buckets, q) - 1e-9)).toBe(bucketOf(exact));
      }),
    );
  });

  test("a quantile of nothing is 0, and of what is past all bounds the last", () => {
    expect(quantileMs([], 0.5)).toBe(0);
    expect(quantileMs([[Infinity, 3]], 0.5)).toBe(LAST_MS);
  });
});

describe("rows", () => {
  test("stay what they are while others are added, and go to the others when folded", () => {
    const meters = new Meters();
    meters.onAnswered(3, 5);
    meters.onWaited(3, 7);
    meters.onUnanswered(3);
    meters.onOutcome(3, Status.UNAVAILABLE, 2);
    for (const row of [8, 9, 100, 5000]) {
      meters.require(row);
      expect(meters.served(3)).toMatchObject({ count: 1, sumMs: 5 });
      expect(meters.waited(3, 1)).toMatchObject({ count: 3, sumMs: 7 });
      expect(meters.served(row)).toEqual({ count: 0, sumMs: 0, buckets: [] });
    }
    meters.onAnswered(5000, 70_000);
    meters.fold(3);
    meters.fold(5000);
    for (const row of [3, 5000]) {
      expect(meters.served(row).count + meters.waited(row, 0).count).toBe(0);
      expect(meters.outcomes(row).every((count) => count === 0)).toBe(true);
    }
    expect(meters.served(OTHER_ROW)).toMatchObject({ count: 2, sumMs: 70_005 });
    expect(meters.waited(OTHER_ROW, 0)).toMatchObject({ count: 3, sumMs: 7 });
    expect(meters.outcomes(OTHER_ROW)[Status.UNAVAILABLE]).toBe(2);
  });
});

/** What is metered of `name`, in few words. */
function metered({ core }: Scene, name = "echo") {
  const { meters, services } = core.registry;
  const { row, replyCount, inFlight } = services.get(name)!;
  const { count, sumMs } = meters.waited(row, inFlight);
  const served = meters.served(row);
  return { row, replies: replyCount, waited: [count, sumMs], served: [served.count, served.sumMs] };
}

describe("what the core meters", () => {
  test("times of waiting and of serving", () => {
    const scene = new Scene();
    scene.client(1);
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2);
    scene.pass(30);
    scene.reply(1, 1);
    scene.pass(5);
    expect(metered(scene)).toMatchObject({ replies: 1, waited: [2, 30], served: [1, 30] });
    scene.reply(1, 2);
    expect(metered(scene)).toMatchObject({ replies: 2, waited: [2, 30], served: [2, 35] });
  });

  test("a lost worker: the request waits twice and is served once", () => {
    const scene = new Scene();
    scene.client(1);
    scene.worker(10);
    scene.ask(1, 1);
    scene.pass(4);
    scene.leave(10);
    scene.pass(6);
    scene.worker(11);
    scene.pass(3);
    scene.reply(1, 1);
    expect(metered(scene)).toMatchObject({ replies: 1, waited: [2, 6], served: [1, 3] });
  });

  test("a cancelled request is served until its worker answers", () => {
    const scene = new Scene();
    scene.client(1);
    scene.worker(10);
    scene.ask(1, 1);
    scene.cancel(1, 1);
    scene.pass(9);
    scene.reply(1, 1);
    const { row } = metered(scene);
    expect(metered(scene)).toMatchObject({ replies: 0, waited: [1, 0], served: [1, 9] });
    expect(scene.core.registry.meters.outcomes(row)[Status.CANCELLED]).toBe(1);
  });

  test("names that nobody ever served share one row", () => {
    const scene = new Scene({ servicesMax: 8, workerServicesMax: 8, absentWaitMs: 10 });
    scene.client(1);
    for (let index = 0; index < 20; index++) scene.ask(1, index + 1, { service: `no.${index}` });
    expect(metered(scene, "no.0").row).toBe(OTHER_ROW);
    scene.pass(20);
    const { services, meters } = scene.core.registry;
    expect(services.size).toBe(0);
    expect(meters.outcomes(OTHER_ROW)[Status.NOT_FOUND]).toBe(20);
  });

  test("a service that is forgotten leaves its counts with the others", () => {
    const scene = new Scene({ servicesMax: 2, workerServicesMax: 2 });
    scene.client(1);
    scene.worker(10, 1, ["old"]);
    scene.ask(1, 1, { service: "old" });
    scene.reply(1, 1);
    scene.leave(10);
    scene.worker(11, 1, ["b", "c"]);
    const { services, meters } = scene.core.registry;
    expect([...services.keys()].sort()).toEqual(["b", "c"]);
    expect(meters.outcomes(OTHER_ROW)[Status.OK]).toBe(1);
    for (const name of ["b", "c"]) expect(metered(scene, name).served).toEqual([0, 0]);
  });
});
