import fc from "fast-check";
import { expect, test } from "vitest";
import { Deadlines } from "../../build/base/deadlines.js";

const HOUR_MS = 3_600_000;
const SPAN_MS = 2 ** 32;

/** The timer wheel beside a plain list that is searched each time. */
class Twin {
  readonly wheel: Deadlines;
  readonly list = new Map<number, number>();
  /** All before this whole millisecond has fired. */
  #pastMs: number;

  constructor(readonly startMs: number) {
    this.wheel = new Deadlines(startMs);
    this.#pastMs = Math.floor(startMs);
  }

  set(slot: number, atMs: number): void {
    this.wheel.set(slot, atMs);
    // Rounded up; never before what has passed, never 49 days past it.
    const clamped = Math.min(atMs, this.#pastMs + SPAN_MS - 1);
    this.list.set(slot, Math.max(Math.ceil(clamped), this.#pastMs));
  }

  clear(slot: number): void {
    this.wheel.clear(slot);
    this.list.delete(slot);
  }

  advance(nowMs: number): void {
    const fired: [number, number][] = [];
    this.wheel.advance(nowMs, (slot) => {
      const atMs = this.list.get(slot);
      expect(atMs, `slot ${slot} fired twice or after it was cleared`).toBeDefined();
      expect(atMs, `slot ${slot} fired early`).toBeLessThanOrEqual(nowMs);
      fired.push([slot, atMs!]);
      this.list.delete(slot);
    });
    for (let i = 1; i < fired.length; i++) {
      expect(fired[i][1], "order of time").toBeGreaterThanOrEqual(fired[i - 1][1]);
    }
    for (const [slot, atMs] of this.list) {
      expect(atMs, `slot ${slot} was lost or late`).toBeGreaterThan(Math.floor(nowMs));
    }
    this.#pastMs = Math.max(this.#pastMs, Math.floor(nowMs) + 1);
    expect(this.wheel.count).toBe(this.list.size);
  }
}

const aheadMs = fc.oneof(
  fc.integer({ min: -50, max: 600 }),
  fc.double({ min: 0, max: 300, noNaN: true }),
  // The edges of the levels.
  fc.constantFrom(255, 256, 257, 65_535, 65_536, 65_537, 2 ** 24 - 1, 2 ** 24, 2 ** 24 + 1),
  fc.integer({ min: 0, max: 30 * HOUR_MS }),
);
const slot = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.constantFrom(1023, 1024, 5000));
const step = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), slot, ms: aheadMs }),
  fc.record({ kind: fc.constant("set" as const), slot, ms: aheadMs }),
  fc.record({ kind: fc.constant("clear" as const), slot, ms: fc.constant(0) }),
  fc.record({ kind: fc.constant("advance" as const), slot, ms: aheadMs }),
);
const startMs = fc.constantFrom(0, 0.5, 255, 256, 65_535.25, 2 ** 31 - 3, 1_790_000_000_123.4);

test("agrees with a plain list over any sets, clears and jumps", () => {
  fc.assert(
    fc.property(startMs, fc.array(step, { maxLength: 120 }), (start, steps) => {
      const twin = new Twin(start);
      let nowMs = start;
      for (const { kind, slot, ms } of steps) {
        if (kind === "set") twin.set(slot, nowMs + ms);
        else if (kind === "clear") twin.clear(slot);
        else {
          // A clock that goes backwards fires nothing and loses nothing.
          twin.advance(nowMs + ms);
          nowMs = Math.max(nowMs, nowMs + ms);
        }
      }
      twin.advance(nowMs + 31 * HOUR_MS);
      expect(twin.wheel.count).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test("fires at the millisecond, not before, whatever the distance and the start", () => {
  for (const start of [0, 100, 255, 256, 65_530, 2 ** 24 - 5]) {
    for (const ahead of [0, 1, 255, 256, 511, 65_535, 65_536, 100_000, 2 ** 24 + 3]) {
      const wheel = new Deadlines(start);
      const fired: number[] = [];
      wheel.set(7, start + ahead);
      // By a step in between, so that it comes down through the levels.
      wheel.advance(start + ahead / 2 - 1, (slot) => fired.push(slot));
      wheel.advance(start + ahead - 1, (slot) => fired.push(slot));
      expect(fired, `${start} + ${ahead}, 1 ms early`).toEqual([]);
      wheel.advance(start + ahead, (slot) => fired.push(slot));
      expect(fired, `${start} + ${ahead}`).toEqual([7]);
      expect(wheel.count).toBe(0);
    }
  }
});

test("a fraction of a millisecond is rounded up: never early", () => {
  const wheel = new Deadlines(0);
  const fired: number[] = [];
  wheel.set(1, 10.2);
  wheel.advance(10.9, (slot) => fired.push(slot));
  expect(fired).toEqual([]);
  wheel.advance(11, (slot) => fired.push(slot));
  expect(fired).toEqual([1]);
});

test("a time in the past fires at the next advance", () => {
  const wheel = new Deadlines(1000);
  wheel.advance(2000, () => {});
  wheel.set(3, 5);
  const fired: number[] = [];
  wheel.advance(2000, (slot) => fired.push(slot));
  expect(fired).toEqual([]);
  wheel.advance(2001, (slot) => fired.push(slot));
  expect(fired).toEqual([3]);
});

test("a time past the span of 49 days fires at its end", () => {
  const wheel = new Deadlines(0);
  const fired: number[] = [];
  wheel.set(1, SPAN_MS + 12 * HOUR_MS);
  wheel.set(2, Number.POSITIVE_INFINITY);
  wheel.set(3, SPAN_MS - 2);
  wheel.advance(SPAN_MS - 3, (slot) => fired.push(slot));
  expect(fired).toEqual([]);
  wheel.advance(SPAN_MS - 1, (slot) => fired.push(slot));
  expect(fired[0]).toBe(3);
  expect(fired.slice(1).sort()).toEqual([1, 2]);
});

test("a timer set or cleared while others fire is kept", () => {
  const wheel = new Deadlines(0);
  const fired: [number, number][] = [];
  wheel.set(1, 10);
  wheel.set(2, 20);
  wheel.set(3, 30);
  const fire = (slot: number) => {
    fired.push([slot, wheel.count]);
    if (slot === 1) {
      wheel.clear(2);
      wheel.set(4, 25);
      wheel.set(5, 400);
      // Its time has come already.
      wheel.set(6, 3);
    }
  };
  wheel.advance(300, fire);
  expect(fired.map(([slot]) => slot)).toEqual([1, 6, 4, 3]);
  wheel.advance(400, fire);
  expect(fired.at(-1)).toEqual([5, 0]);
});

test("what is set again while the wheel turns, late, goes off at its own time and once", () => {
  const round = fc.record({
    ahead: fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(65_535, 65_536, 65_541)),
    late: fc.integer({ min: 0, max: 20 }),
  });
  const rounds = fc.array(round, { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 300 }), rounds, (startMs, rounds) => {
      const wheel = new Deadlines(startMs);
      const due: number[] = [];
      let nowMs = startMs;
      let atMs = nowMs + rounds[0].ahead;
      wheel.set(0, atMs, nowMs);
      for (const { ahead, late } of rounds) {
        wheel.advance(atMs - 1, () => expect.unreachable("too early"));
        nowMs = atMs + late;
        atMs = nowMs + ahead;
        let count = 0;
        wheel.advance(nowMs, (slot) => {
          if (++count > 1) throw new Error("twice");
          // As the core does, whose clock is ahead of the wheel.
          wheel.set(slot, atMs, nowMs);
        });
        due.push(count);
      }
      expect(due).toEqual(rounds.map(() => 1));
    }),
    { numRuns: 500 },
  );
});
