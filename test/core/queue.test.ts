import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  defaultLimits,
  PRIORITY_COUNT,
  type QueueOrder,
  resolveLimits,
  type ServiceLimits,
} from "../../build/core/limits.js";
import { Queue } from "../../build/core/queue.js";
import { NONE, RequestState, Requests } from "../../build/core/requests.js";

class Line {
  readonly requests = new Requests(1 << 14);
  readonly queue: Queue;

  constructor(limits: ServiceLimits = defaultLimits) {
    this.queue = new Queue(this.requests, limits);
  }

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

  /** Whose requests come out, in order, while so many are served each millisecond. */
  clients(count: number, ratePerMs = 0): number[] {
    return Array.from({ length: count }, () => this.requests.client[this.queue.take(0, ratePerMs)]);
  }

  priorities(count: number): number[] {
    return Array.from({ length: count }, () => this.requests.priority[this.queue.take(0, 0)]);
  }
}

test("an empty queue gives NONE", () => {
  const { queue } = new Line();
  expect(queue.take(0, 0)).toBe(NONE);
  expect([queue.count, queue.bytes, queue.clientCount(1)]).toEqual([0, 0, 0]);
});

test("one client is served in the order it asked", () => {
  const line = new Line();
  const slots = [1, 1, 1, 1].map((client) => line.push(client));
  expect(slots.map(() => line.queue.take(0, 0))).toEqual(slots);
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
  expect([line.queue.take(0, 0), line.queue.take(0, 0), line.queue.take(0, 0)]).toEqual(returned);
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
        const slot = line.queue.take(0, 0);
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
      expect(line.queue.take(0, 0)).toBe(NONE);
    }),
    { numRuns: 200 },
  );
});

/** What each client gets of so many bytes taken, while all of them have requests waiting. */
function bytesShared(sizes: readonly number[], bytes: number, ratePerMs = 0): number[] {
  const line = new Line();
  const shares = sizes.map(() => 0);
  for (const [client, size] of sizes.entries())
    for (let i = 0; i < 40; i++) line.push(client, 4, size);
  for (let taken = 0; taken < bytes; ) {
    const slot = line.queue.take(0, ratePerMs);
    const client = line.requests.client[slot];
    shares[client] += line.requests.bytes[slot];
    taken += line.requests.bytes[slot];
    line.requests.move(slot, RequestState.QUEUED);
    line.requests.free(slot);
    line.push(client, 4, sizes[client]);
  }
  return shares;
}

test("large requests share by bytes, whatever their sizes", () => {
  const [one, other, third] = bytesShared([1 << 20, 1 << 16, 1 << 18], 300 << 20);
  for (const share of [one, other, third]) {
    expect(share).toBeGreaterThan(98 << 20);
    expect(share).toBeLessThan(102 << 20);
  }
});

test("a small request counts as the quantum: 1 MiB bodies get 16 times the bytes of 1 KiB, not 1024", () => {
  const [large, small] = bytesShared([1 << 20, 1 << 10], 256 << 20);
  expect(large / small).toBeGreaterThan(15);
  expect(large / small).toBeLessThan(17);
});

test("over any sizes, no client falls behind another by more than one request and one turn", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 2, maxLength: 6 });
  // The quanta of a turn while so many are served each millisecond.
  const turns = fc.constantFrom({ ratePerMs: 0, quanta: 1 }, { ratePerMs: 1000, quanta: 16 });
  fc.assert(
    fc.property(sizes, turns, (each, { ratePerMs, quanta }) => {
      const shares = bytesShared(each, 20_000_000, ratePerMs).map((share, client) => {
        return (share / each[client]) * Math.max(each[client], defaultLimits.fairQuantumBytes);
      });
      const most = Math.max(...each, defaultLimits.fairQuantumBytes * quanta);
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(2 * most);
    }),
    { numRuns: 50 },
  );
});

test("fast requests go in runs of a client, as long as the run and the round are short", () => {
  const runs = (clientCount: number, ratePerMs: number) => {
    const line = new Line();
    for (let client = 1; client <= clientCount; client++) {
      for (let i = 0; i < 40; i++) line.push(client);
    }
    // The first turn began before anything was known of the rate.
    const order = line.clients(33, ratePerMs);
    const from = order.indexOf(2);
    return order.slice(from).findIndex((client) => client !== 2);
  };
  expect(runs(2, 0.9)).toBe(1);
  expect(runs(3, 10)).toBe(5);
  expect(runs(3, 1000)).toBe(16);
  expect(runs(200, 16)).toBe(4);
});

test("what a client had too much of is not forgotten while others wait", () => {
  const line = new Line();
  const quantum = defaultLimits.fairQuantumBytes;
  line.push(1, 4, 8 * quantum);
  for (let i = 0; i < 40; i++) line.push(2);
  expect(line.clients(1)).toEqual([1]);
  // It comes back when its one request is answered, and pays for that one first.
  line.push(1, 4, 8 * quantum);
  const order = line.clients(12);
  expect(order.indexOf(1)).toBe(8);
  expect(line.queue.waiters.size).toBe(2);
  // With nothing left that waits, nobody is owed.
  while (line.queue.count > 0) line.queue.take(0, 0);
  expect(line.queue.waiters.size).toBe(0);
});

test("all eight levels flooded without end: each is served, the lowest at least once in 112", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 8, maxLength: 8 }),
      (clients) => {
        const line = new Line();
        const ask = (priority: number) => {
          for (let client = 0; client < clients[priority]; client++) line.push(client, priority);
        };
        for (let priority = 0; priority < PRIORITY_COUNT; priority++) ask(priority);
        const latest = new Array(PRIORITY_COUNT).fill(0);
        for (let taken = 1; taken <= 1000; taken++) {
          const slot = line.queue.take(0, 0);
          const priority = line.requests.priority[slot];
          expect(taken - latest[priority], `priority ${priority}`).toBeLessThanOrEqual(16 * 7);
          latest[priority] = taken;
          // Whoever is served asks again.
          line.push(line.requests.client[slot], priority);
        }
        for (const each of latest) expect(1000 - each).toBeLessThanOrEqual(16 * 7);
      },
    ),
    { numRuns: 20 },
  );
});

describe("waits that are too long", () => {
  const limits = resolveLimits({ codelTargetMs: 10, codelIntervalMs: 20, queueShortCount: 2 });

  /** A queue that stands: client 1 asks each ms, and each second ms one is taken. */
  function standing(queueOrder: QueueOrder, priority = 4) {
    const line = new Line({ ...limits, queueOrder });
    const waits: number[] = [];
    let staleCount = 0;
    for (let nowMs = 0; nowMs < 400; nowMs++) {
      const pushed = line.push(1, priority);
      line.requests.sinceMs[pushed] = nowMs;
      if (nowMs % 2 === 0) continue;
      let slot = line.queue.take(nowMs, 0);
      while (line.queue.tookStale) {
        staleCount++;
        expect(nowMs - line.requests.sinceMs[slot]).toBeGreaterThan(20);
        slot = line.queue.take(nowMs, 0);
      }
      waits.push(nowMs - line.requests.sinceMs[slot]);
    }
    return { waits, staleCount, line };
  }

  test("past two intervals nothing is handed out that waited twice the target", () => {
    const { waits, staleCount, line } = standing("fifo");
    expect(Math.max(...waits.slice(30))).toBeLessThanOrEqual(20);
    expect(staleCount).toBeGreaterThan(150);
    expect(line.queue.isOverloaded(4)).toBe(true);
    while (line.queue.count > 0) line.queue.take(400, 0);
    expect(line.queue.isOverloaded(4)).toBe(false);
  });

  test("a burst that is over within the interval costs nothing", () => {
    const line = new Line(limits);
    for (let i = 0; i < 18; i++) line.push(1);
    for (let nowMs = 1; nowMs <= 18; nowMs++) {
      line.queue.take(nowMs, 0);
      expect(line.queue.tookStale).toBe(false);
    }
  });

  test("high priorities, what was given back and short queues are spared", () => {
    expect(standing("fifo", 3).staleCount).toBe(0);
    const { line } = standing("fifo");
    const returned = line.request(1);
    line.queue.pushReturned(returned);
    expect(line.queue.take(10_000, 0)).toBe(returned);
    expect(line.queue.tookStale).toBe(false);
    for (let left = line.queue.count; left > 0; left--) {
      line.queue.take(10_000, 0);
      expect(line.queue.tookStale).toBe(left > 2);
    }
  });

  test("newest first, when that is asked for: fresh while it stands, and in order before", () => {
    const { waits, staleCount } = standing("newest-first-when-overloaded");
    expect(waits.slice(0, 10)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(Math.max(...waits.slice(30))).toBeLessThanOrEqual(2);
    expect(staleCount).toBeGreaterThan(150);
  });
});
