import fc from "fast-check";
import { expect, test } from "vitest";
import { PENDING_MAX, type Pending, PendingTable, UnsentLine } from "../../build/client/pending.js";

const pending = (sequence: number) => ({ sequence }) as Pending;

test("no number comes twice, and each finds its own request alone", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 20 }), { maxLength: 400 }), (steps) => {
      const table = new PendingTable();
      const live: Pending[] = [];
      const seen = new Set<number>();
      for (const step of steps) {
        if (step < 0 || step >= live.length) {
          const entry = pending(table.reserve());
          expect(seen.has(entry.sequence)).toBe(false);
          seen.add(entry.sequence);
          table.add(entry);
          live.push(entry);
        } else {
          const [gone] = live.splice(step, 1);
          table.delete(gone);
          expect(table.find(gone.sequence)).toBeUndefined();
        }
        expect(table.count).toBe(live.length);
        for (const entry of live) expect(table.find(entry.sequence)).toBe(entry);
        expect([...table]).toHaveLength(live.length);
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

test("a request renewed keeps its place under a number that never was", () => {
  const table = new PendingTable();
  const entry = pending(table.reserve());
  table.add(entry);
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
      const line = new UnsentLine();
      const twin: Pending[] = [];
      for (const [i, step] of steps.entries()) {
        if (step < 0 || step >= twin.length) {
          const entry = pending(i + 1);
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
