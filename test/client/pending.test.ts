import fc from "fast-check";
import { expect, test } from "vitest";
import { PENDING_MAX, Pending, PendingTable, UnsentLine } from "../../build/client/pending.js";

test("no number comes twice, and each finds its own request alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 20 }), { maxLength: 400 }), (steps) => {
      const table = new PendingTable();
      const live: { entry: Pending; sequence: number }[] = [];
      const gone = new Set<number>();
      for (const step of steps) {
        if (step < 0 || step >= live.length) {
          const sequence = table.reserve();
          expect(gone.has(sequence) || live.some((other) => other.sequence === sequence)).toBe(
            false,
          );
          const entry = table.add(sequence);
          entry.isKept = step < 0 && sequence % 3 === 0;
          live.push({ entry, sequence });
        } else {
          const [{ entry, sequence }] = live.splice(step, 1);
          table.delete(entry);
          gone.add(sequence);
        }
        expect(table.count).toBe(live.length);
        for (const { entry, sequence } of live) {
          expect(table.find(sequence)).toBe(entry);
          expect(table.at(sequence % PENDING_MAX)).toBe(entry);
        }
        for (const sequence of gone) expect(table.find(sequence)).toBeUndefined();
        expect(new Set([...table])).toEqual(new Set(live.map(({ entry }) => entry)));
      }
    }),
  );
});

test("a place that was reserved for nothing is free again", () => {
  const table = new PendingTable();
  const first = table.reserve();
  table.unreserve(first);
  expect(table.count).toBe(0);
  expect(table.find(first)).toBeUndefined();
  expect(table.reserve() % PENDING_MAX).toBe(first % PENDING_MAX);
});

test("what has ended stands for another, and refers to nothing; what is kept stands for its own for ever", () => {
  const table = new PendingTable();
  const first = table.add(table.reserve());
  first.body = new Uint8Array(5);
  first.resolve = () => {};
  table.delete(first);
  expect(first.body).toHaveLength(0);
  expect(first.resolve).toBe(new Pending().resolve);
  const second = table.add(table.reserve());
  expect(second).toBe(first);
  second.isKept = true;
  const { sequence } = second;
  table.delete(second);
  const third = table.add(table.reserve());
  expect(third).not.toBe(second);
  expect(third.isKept).toBe(false);
  expect(second.sequence).toBe(sequence);
});

test("a request renewed keeps its place under a number that never was", () => {
  const table = new PendingTable();
  const entry = table.add(table.reserve());
  const seen = new Set<number>();
  for (let i = 0; i < 5; i++) {
    seen.add(entry.sequence);
    const before = entry.sequence;
    table.renew(entry);
    expect(seen.has(entry.sequence)).toBe(false);
    expect(entry.sequence % PENDING_MAX).toBe(before % PENDING_MAX);
    expect(table.find(before)).toBeUndefined();
    expect(table.find(entry.sequence)).toBe(entry);
  }
  seen.add(entry.sequence);
  table.delete(entry);
  expect(table.count).toBe(0);
  expect(seen.has(table.reserve())).toBe(false);
});

test("the unsent stand in line, and leave it from anywhere", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 9 }), { maxLength: 200 }), (steps) => {
      const line = new UnsentLine<Pending>();
      const twin: Pending[] = [];
      for (const [i, step] of steps.entries()) {
        if (step < 0 || step >= twin.length) {
          const entry = new Pending();
          entry.sequence = i + 1;
          line.push(entry);
          twin.push(entry);
        } else {
          line.remove(twin[step]);
          twin.splice(step, 1);
        }
        const order: number[] = [];
        for (let at = line.head; at !== undefined; at = at.next) order.push(at.sequence);
        expect(order).toEqual(twin.map(({ sequence }) => sequence));
      }
    }),
  );
});
