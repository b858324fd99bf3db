import fc from "fast-check";
import { expect, test } from "vitest";
import { Outcome, RecentReplies } from "../../build/worker/recent-replies.js";

const body = (fill: number, size = 10) => new Uint8Array(size).fill(fill);

test("a reply is found by its whole id, for as long as it is young", () => {
  const recent = new RecentReplies(4096, 1000);
  recent.add(1, 2, 3, 1, body(7), 100);
  expect(recent.find(1, 2, 3, 1100)).toEqual({ flags: 1, body: body(7) });
  expect(recent.find(1, 2, 3, 1101)).toBeUndefined();
  expect(recent.find(9, 2, 3, 100)).toBeUndefined();
  expect(recent.find(1, 9, 3, 100)).toBeUndefined();
  expect(recent.find(1, 2, 3 + 2 ** 32, 100)).toBeUndefined();
});

test("what is found is a copy: later replies do not change it", () => {
  const recent = new RecentReplies(1024, 1000);
  recent.add(1, 1, 1, 0, body(1, 64), 0);
  const found = recent.find(1, 1, 1, 0);
  for (let i = 2; i < 100; i++) recent.add(1, 1, i, 0, body(255, 64), 0);
  expect(found?.body).toEqual(body(1, 64));
  expect(recent.find(1, 1, 1, 0)).toBeUndefined();
});

test("of a reply that would take more than its share only the fact is remembered", () => {
  const recent = new RecentReplies(1024, 1000);
  recent.add(1, 1, 1, 0, body(1, 300), 0);
  expect(recent.find(1, 1, 1, 0)).toEqual({ flags: Outcome.NOT_KEPT, body: body(0, 0) });
});

test("whatever is added, what is found is what was added last under that id", () => {
  const step = fc.record({
    session: fc.integer({ min: 1, max: 2 }),
    sequence: fc.integer({ min: 1, max: 40 }),
    size: fc.integer({ min: 0, max: 120 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const recent = new RecentReplies(2048, 1000);
      const last = new Map<string, Uint8Array>();
      for (const [i, { session, sequence, size }] of steps.entries()) {
        // A body that looks like an entry must not be taken for one.
        const bytes = Buffer.alloc(size, i & 255);
        if (size >= 32) {
          bytes.writeUInt32LE(session, 0);
          bytes.writeUInt32LE(5, 4);
          bytes.writeDoubleLE(sequence, 8);
        }
        recent.add(session, 5, sequence, 0, bytes, 0);
        last.set(`${session}#${sequence}`, bytes);
        expect(recent.find(session, 5, sequence, 0)?.body).toEqual(Uint8Array.from(bytes));
        for (const [id, expected] of last) {
          const [ofSession, ofSequence] = id.split("#").map(Number);
          const found = recent.find(ofSession, 5, ofSequence, 0);
          if (found !== undefined) expect(found.body).toEqual(Uint8Array.from(expected));
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("of the latest few thousand, hardly one is lost to another", () => {
  const recent = new RecentReplies(1024 * 1024, 1000);
  for (let i = 0; i < 3000; i++) recent.add(77, 1, (i + 1) * 65_536 + (i % 64), 0, body(i), 0);
  let lostCount = 0;
  for (let i = 0; i < 3000; i++) {
    if (recent.find(77, 1, (i + 1) * 65_536 + (i % 64), 0) === undefined) lostCount++;
  }
  // With one place for each it would be some 70.
  expect(lostCount).toBeLessThan(3);
});

test("the caller's own number in the flags is kept, of a reply that is too large too", () => {
  const recent = new RecentReplies(1024, 1000);
  const own = 262_143 * 1024;
  recent.add(1, 1, 1, own | 1, body(1, 8), 0);
  recent.add(1, 1, 2, own | 1, body(1, 1000), 0);
  expect(recent.find(1, 1, 1, 0)?.flags).toBe(own | 1);
  expect(recent.find(1, 1, 2, 0)?.flags).toBe(own | Outcome.NOT_KEPT);
});
