import fc from "fast-check";
import { expect, test } from "vitest";
import { PRIORITY_COUNT } from "../../build/core/limits.js";
import { Queue } from "../../build/core/queue.js";
import { NONE, Requests } from "../../build/core/requests.js";

class Line {
  readonly requests = new Requests(1 << 14);
  readonly queue = new Queue(this.requests);

  request(client: number, priority = 4, bytes = 1): number {
    const slot = this.requests.allocate();
    this.requests.client[slot] = client;
    this.requests.priority[slot] = priority;
    this.requests.bytes[slot] = bytes;
    return slot;
  }

  push(client: number, priority = 4, bytes = 1): number {
    const slot = this.request(client, priority, bytes);
    this.queue.push(slot);
    return slot;
  }

  /** Whose requests come out, in order. */
  clients(count: number): number[] {
    return Array.from({ length: count }, () => this.requests.client[this.queue.take()]);
  }

  priorities(count: number): number[] {
    return Array.from({ length: count }, () => this.requests.priority[this.queue.take()]);
  }
}

test("an empty queue gives NONE", () => {
  const { queue } = new Line();
  expect(queue.take()).toBe(NONE);
  expect([queue.count, queue.bytes, queue.clientCount(1)]).toEqual([0, 0, 0]);
});

test("one client is served in the order it asked", () => {
  const line = new Line();
  const slots = [1, 1, 1, 1].map((client) => line.push(client));
  expect(slots.map(() => line.queue.take())).toEqual(slots);
});

test("clients take turns, however many one of them has waiting", () => {
  const line = new Line();
  for (let i = 0; i < 100; i++) line.push(1);
  line.push(2);
  line.push(3);
  line.push(2);
  expect(line.clients(6)).toEqual([1, 2, 3, 1, 2, 1]);
});

test("a client that comes late or comes again waits one turn of the others", () => {
  const line = new Line();
  for (const client of [1, 1, 1, 1, 2, 2, 2]) line.push(client);
  expect(line.clients(1)).toEqual([1]);
  line.push(3);
  expect(line.clients(2)).toEqual([2, 1]);
  // Its turn was behind 1 when it came.
  expect(line.clients(1)).toEqual([3]);
  line.push(3);
  expect(line.clients(4)).toEqual([2, 1, 3, 2]);
});

test("over any mix of clients the shares differ by no more than one", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 5, max: 40 }), { minLength: 2, maxLength: 6 }), (n) => {
      const line = new Line();
      for (const [client, count] of n.entries()) for (let i = 0; i < count; i++) line.push(client);
      const least = Math.min(...n);
      const taken = line.clients(least * n.length);
      const shares = n.map((_, client) => taken.filter((each) => each === client).length);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }),
    { numRuns: 50 },
  );
});

test("a higher priority goes first, and the lowest is not starved", () => {
  const line = new Line();
  for (let i = 0; i < 400; i++) line.push(1, 0);
  for (let i = 0; i < 10; i++) line.push(2, 7);
  const order = line.priorities(160);
  expect(order.slice(0, 15)).toEqual(new Array(15).fill(0));
  expect(order.filter((priority) => priority === 7).length).toBe(10);
  // Each sixteenth comes from below.
  expect(order.indexOf(7)).toBe(15);
  expect(order.indexOf(7, 16)).toBe(31);
});

test("every level below the highest has its turn", () => {
  const line = new Line();
  for (let priority = 0; priority < PRIORITY_COUNT; priority++) {
    for (let i = 0; i < 300; i++) line.push(priority, priority);
  }
  const order = line.priorities(16 * 7 * 2);
  for (let priority = 1; priority < PRIORITY_COUNT; priority++) {
    expect(order.filter((each) => each === priority).length, `priority ${priority}`).toBe(2);
  }
});

test("what a worker gave back goes first, in the order given back, whatever its priority", () => {
  const line = new Line();
  line.push(1, 0);
  line.push(1, 0);
  const returned = [line.request(2, 7), line.request(1, 3), line.request(2, 7)];
  for (const slot of returned) line.queue.pushReturned(slot);
  expect(line.queue.clientCount(2)).toBe(2);
  expect([line.queue.take(), line.queue.take(), line.queue.take()]).toEqual(returned);
  // Its mark is gone with it.
  expect([...returned].map((slot) => line.requests.priority[slot])).toEqual([7, 3, 7]);
  expect(line.priorities(2)).toEqual([0, 0]);
});

interface Waiting {
  slot: number;
  client: number;
  priority: number;
  bytes: number;
  returned: boolean;
}

test("any pushes, takes and removals: counts as recounted, order within a client kept", () => {
  const step = fc.record({
    kind: fc.constantFrom("push", "push", "push", "return", "take", "remove"),
    client: fc.integer({ min: 0, max: 4 }),
    priority: fc.integer({ min: 0, max: PRIORITY_COUNT - 1 }),
    bytes: fc.integer({ min: 0, max: 1000 }),
    which: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const line = new Line();
      const waiting: Waiting[] = [];
      const gone = (slot: number) => {
        const at = waiting.findIndex((each) => each.slot === slot);
        expect(at, "what comes out was waiting").not.toBe(-1);
        waiting.splice(at, 1);
      };
      const takeOne = () => {
        const slot = line.queue.take();
        if (slot === NONE) return expect(waiting.length).toBe(0);
        const taken = waiting.find((each) => each.slot === slot)!;
        const first =
          waiting.find((each) => each.returned) ??
          waiting.find((each) => each.client === taken.client && each.priority === taken.priority);
        expect(slot, "given back first, else the oldest of its client").toBe(first?.slot);
        gone(slot);
      };
      for (const { kind, client, priority, bytes, which } of steps) {
        if (kind === "push" || kind === "return") {
          const slot = line.request(client, priority, bytes);
          const returned = kind === "return";
          if (returned) line.queue.pushReturned(slot);
          else line.queue.push(slot);
          waiting.push({ slot, client, priority, bytes, returned });
        } else if (kind === "take") takeOne();
        else if (waiting.length > 0) {
          const { slot } = waiting[which % waiting.length];
          line.queue.remove(slot);
          gone(slot);
        }
        expect(line.queue.count).toBe(waiting.length);
        expect(line.queue.bytes).toBe(waiting.reduce((sum, each) => sum + each.bytes, 0));
        for (let each = 0; each <= 4; each++) {
          const count = waiting.filter((request) => request.client === each).length;
          expect(line.queue.clientCount(each)).toBe(count);
        }
      }
      while (waiting.length > 0) takeOne();
      expect(line.queue.take()).toBe(NONE);
    }),
    { numRuns: 200 },
  );
});
