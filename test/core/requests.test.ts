import { expect, test } from "vitest";
import { NONE, RequestState, Requests } from "../../build/core/requests.js";

const { FREE, QUEUED, DISPATCHED, ABANDONED } = RequestState;
const states = [FREE, QUEUED, DISPATCHED, ABANDONED];

const allowed = new Set([
  `${FREE}-${QUEUED}`,
  `${FREE}-${DISPATCHED}`,
  `${QUEUED}-${DISPATCHED}`,
  `${QUEUED}-${FREE}`,
  `${DISPATCHED}-${FREE}`,
  `${DISPATCHED}-${QUEUED}`,
  `${DISPATCHED}-${ABANDONED}`,
  `${ABANDONED}-${FREE}`,
]);

for (const from of states) {
  for (const to of states) {
    const may = allowed.has(`${from}-${to}`);
    test(`state ${from} -> ${to} is ${may ? "allowed" : "a bug"}`, () => {
      const requests = new Requests(8);
      const slot = requests.allocate();
      requests.state[slot] = from;
      if (may) {
        requests.move(slot, to);
        expect(requests.state[slot]).toBe(to);
      } else {
        expect(() => requests.move(slot, to)).toThrow(`bug: request state ${from} -> ${to}`);
        expect(requests.state[slot]).toBe(from);
      }
    });
  }
}

test("slots are distinct, grow to the limit and no further, and come back", () => {
  const requests = new Requests(3000);
  expect(requests.capacity).toBe(1024);
  const slots = new Set<number>();
  for (let i = 0; i < 3000; i++) {
    const slot = requests.allocate();
    requests.move(slot, QUEUED);
    requests.sequence[slot] = i;
    requests.generation[slot] = i;
    slots.add(slot);
  }
  expect(slots.size).toBe(3000);
  expect([requests.count, requests.capacity]).toEqual([3000, 3000]);
  expect(requests.allocate()).toBe(NONE);
  expect(requests.count).toBe(3000);
  // What was written before growing is still there.
  let index = 0;
  for (const slot of slots) expect(requests.sequence[slot]).toBe(index++);
  for (const slot of slots) requests.free(slot);
  expect(requests.count).toBe(0);
  const again = requests.allocate();
  expect(slots).toContain(again);
});

test("a slot keeps its generation when reused, and forgets worker and attempts", () => {
  const requests = new Requests(1);
  const slot = requests.allocate();
  requests.move(slot, DISPATCHED);
  requests.generation[slot] = 7;
  requests.worker[slot] = 3;
  requests.attempt[slot] = 2;
  requests.free(slot);
  expect(() => requests.free(slot)).toThrow("bug: request state 0 -> 0");
  expect(requests.allocate()).toBe(slot);
  expect(requests.generation[slot]).toBe(7);
  expect([requests.worker[slot], requests.attempt[slot]]).toEqual([NONE, 0]);
});

test("never more slots than the limit, small or odd", () => {
  for (const max of [1, 2, 1023, 1025]) {
    const requests = new Requests(max);
    for (let i = 0; i < max; i++) expect(requests.allocate()).not.toBe(NONE);
    expect(requests.allocate()).toBe(NONE);
    expect(requests.capacity).toBe(max);
  }
});
