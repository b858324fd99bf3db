import { expect, test } from "vitest";
import { STICKY_MAX, TwoChoices } from "../../build/client/two-choices.js";
import { Random } from "../random.mjs";

const broker = (name: string, inFlight = 0) => ({
  name,
  inFlight,
  hasRoom: true,
  isWriting: false,
});

/** Numbers from 0 to below 1. */
function chance(seed: number): () => number {
  const random = new Random(seed);
  return () => random.below(2 ** 32) / 2 ** 32;
}

/** Numbers that come in this order, again and again. */
function cycle(...values: number[]): () => number {
  let next = 0;
  return () => values[next++ % values.length];
}

test("of two chosen by chance, the one with fewer in flight", () => {
  const brokers = [broker("a", 5), broker("b", 3), broker("c", 1)];
  // The first draw names one of three, the second where the search for another begins.
  expect(new TwoChoices(brokers, cycle(0, 0.4)).pick()?.name).toBe("b");
  expect(new TwoChoices(brokers, cycle(0.4, 0.99)).pick()?.name).toBe("c");
  // The best is not among the two: chance keeps clients from all going the same way.
  expect(new TwoChoices(brokers, cycle(0.4, 0)).pick()?.name).toBe("b");
});

test("one without room is passed over; without any there is none", () => {
  const brokers = [broker("a"), broker("b"), broker("c")];
  brokers[1].hasRoom = false;
  brokers[2].hasRoom = false;
  for (const draw of [0, 0.4, 0.8]) {
    expect(new TwoChoices(brokers, () => draw).pick()?.name).toBe("a");
  }
  brokers[0].hasRoom = false;
  expect(new TwoChoices(brokers, () => 0).pick()).toBeUndefined();
  expect(new TwoChoices([], () => 0).pick()).toBeUndefined();
});

test("a batch stays with its broker until that has too many more than the other", () => {
  const brokers = [broker("a"), broker("b")];
  const choices = new TwoChoices(brokers, chance(7));
  const first = choices.pick() as (typeof brokers)[0];
  const other = brokers.find((each) => each !== first) as (typeof brokers)[0];
  first.isWriting = true;
  for (first.inFlight = 0; first.inFlight < STICKY_MAX; first.inFlight++) {
    expect(choices.pick()).toBe(first);
  }
  // Then the other, until that has as many more: two batches a turn, however much is written.
  other.isWriting = true;
  for (; other.inFlight < 2 * STICKY_MAX; other.inFlight++) expect(choices.pick()).toBe(other);
  expect(choices.pick()).toBe(first);
});

test("a batch leaves a broker without room", () => {
  const brokers = [broker("a"), broker("b", 9)];
  const choices = new TwoChoices(brokers, () => 0);
  expect(choices.pick()?.name).toBe("a");
  brokers[0].isWriting = true;
  brokers[0].hasRoom = false;
  expect(choices.pick()?.name).toBe("b");
});

test("ten clients that see only their own share the load of five brokers", () => {
  const random = chance(1);
  const counts = new Array(5).fill(0);
  for (let client = 0; client < 10; client++) {
    const brokers = counts.map((_, i) => broker(String(i)));
    const choices = new TwoChoices(brokers, random);
    for (let i = 0; i < 200; i++) {
      const picked = choices.pick() as (typeof brokers)[0];
      picked.inFlight++;
      counts[Number(picked.name)]++;
    }
  }
  // 400 each; one choice alone would spread by some 20 a client.
  for (const count of counts) expect(Math.abs(count - 400)).toBeLessThanOrEqual(30);
});
