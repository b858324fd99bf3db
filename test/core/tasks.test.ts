import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Status } from "../../build/base/status.js";
import { backoffMs } from "../../build/core/tasks/backoff.js";
import { MemoryTaskStore, type TaskStore } from "../../build/core/tasks/store.js";
import { type PushedTask, Task, taskKey } from "../../build/core/tasks/task.js";
import {
  defaultTaskLimits,
  resolveTaskLimits,
  type TaskLimits,
} from "../../build/core/tasks/task-limits.js";
import { type TaskOutlet, Tasks } from "../../build/core/tasks/tasks.js";

/** Tasks, a core that has room for so many, and what was told to whom. */
class Desk implements TaskOutlet {
  readonly tasks: Tasks;
  readonly given = new Map<number, Task>();
  readonly told: string[] = [];
  room = 0;
  served = true;
  /** What the core does with what it is given, at once. */
  onGive: (sequence: number) => void = () => {};
  nowMs = 1000;

  constructor(limits: Partial<TaskLimits> = {}, store?: TaskStore, random = () => 0.5) {
    const memory = new MemoryTaskStore();
    const resolved = resolveTaskLimits(limits);
    this.tasks = new Tasks(this, store ?? memory, resolved, random, this.nowMs);
    memory.onKept = (task) => this.tasks.onKept(task);
  }

  hasRoom = () => this.given.size < this.room;
  isServed = () => this.served;

  give(task: Task, sequence: number): void {
    expect(this.given.has(sequence)).toBe(false);
    this.given.set(sequence, task);
    this.onGive(sequence);
  }

  pushed(pusher: number, sequence: number, status: number, _reason: string, retryAfterMs: number) {
    if (status === Status.RESOURCE_EXHAUSTED) expect(retryAfterMs).toBeGreaterThan(0);
    this.told.push(`${pusher}:${sequence}:${status}`);
  }

  push(sequence: number, more: Partial<PushedTask> & { delayMs?: number; pusher?: number } = {}) {
    const { delayMs = 0, pusher = 1, ...rest } = more;
    this.tasks.push(pusher, pushedOf(sequence, rest), delayMs, this.nowMs);
    this.tasks.settle(this.nowMs);
  }

  /** The tasks that the core has, by number, in the order given. */
  get at(): number[] {
    return [...this.given.values()].map(({ pushed }) => pushed.sequence);
  }

  #take(sequence: number): number {
    const found = [...this.given].find(([, { pushed }]) => pushed.sequence === sequence);
    if (found === undefined) throw new Error(`task ${sequence} is not given`);
    this.given.delete(found[0]);
    return found[0];
  }

  done(sequence: number): void {
    this.tasks.noteDone(this.#take(sequence));
    this.tasks.settle(this.nowMs);
  }

  fail(sequence: number, { attempts = 1, retryAfterMs = 0 } = {}): void {
    const status = Status.ABORTED;
    this.tasks.noteFailed(this.#take(sequence), status, "no", retryAfterMs, attempts);
    this.tasks.settle(this.nowMs);
  }

  wait(ms: number): void {
    this.nowMs += ms;
    this.tasks.tick(this.nowMs);
  }
}

function pushedOf(sequence: number, more: Partial<PushedTask> = {}): PushedTask {
  const bytes = more.bytes ?? 100;
  const held = new Uint8Array(8);
  const record = { bytes: held, view: new DataView(held.buffer), at: 0, size: 8, frames: [] };
  return {
    owner: "",
    sessionLow: 1,
    sessionHigh: 2,
    sequence,
    queue: "q",
    priority: 4,
    attemptsMax: 3,
    attemptTimeoutMs: 1000,
    record,
    ...more,
    bytes,
  };
}

describe("tasks", () => {
  test("are given in order, as far as there is room", () => {
    const desk = new Desk();
    for (const sequence of [1, 2, 3]) desk.push(sequence);
    expect(desk.told).toEqual(["1:1:0", "1:2:0", "1:3:0"]);
    expect(desk.at).toEqual([]);
    desk.room = 2;
    desk.wait(1);
    expect(desk.at).toEqual([1, 2]);
    desk.done(1);
    expect(desk.at).toEqual([2, 3]);
    expect(desk.tasks.counts).toMatchObject({ pushed: 3, done: 1 });
  });

  test("of a higher priority go first, and the lowest is not starved", () => {
    const desk = new Desk();
    for (let i = 1; i <= 40; i++) desk.push(i, { priority: i <= 3 ? 7 : 0 });
    desk.room = 40;
    desk.wait(1);
    expect(desk.at.slice(0, 3)).toEqual([4, 5, 6]);
    expect(desk.at.indexOf(1)).toBe(15);
    expect(new Set(desk.at).size).toBe(40);
  });

  test("of every priority between get their turn", () => {
    const desk = new Desk({ queueCountMax: 65_536 });
    for (let i = 0; i < 640; i++) desk.push(i + 1, { priority: [0, 4, 5, 7][i % 4] });
    desk.room = 160;
    desk.wait(1);
    const counts = new Map<number, number>();
    for (const { pushed } of desk.given.values()) {
      counts.set(pushed.priority, (counts.get(pushed.priority) ?? 0) + 1);
    }
    expect([...counts].sort()).toEqual([
      [0, 150],
      [4, 4],
      [5, 3],
      [7, 3],
    ]);
  });

  test("that come back since nobody serves their queue any more are first again, in their order", () => {
    const desk = new Desk();
    desk.room = 3;
    for (const sequence of [1, 2, 3, 4, 5]) desk.push(sequence);
    desk.room = 0;
    desk.served = false;
    for (const sequence of [2, 3, 1]) desk.fail(sequence, { attempts: 0 });
    expect(desk.tasks.givenCount).toBe(0);
    expect(desk.tasks.queues.get("q")).toMatchObject({ readyCount: 5, delayedCount: 0 });
    expect(desk.tasks.needsTick).toBe(false);
    desk.served = true;
    desk.room = 9;
    // Whoever comes has no rest to wait for.
    desk.wait(0);
    expect(desk.at).toEqual([1, 2, 3, 4, 5]);
    expect(desk.tasks.counts.failed).toBe(0);
  });

  test("rest as long as their handler said, and shortly again once they were begun", () => {
    const desk = new Desk({ backoffMsMin: 1, backoffMsMax: 1 });
    desk.room = 1;
    desk.push(1, { attemptsMax: 9 });
    desk.fail(1, { retryAfterMs: 10_000 });
    desk.wait(9_900);
    expect(desk.at).toEqual([]);
    desk.wait(200);
    for (const waitMs of [20, 40, 80, 160]) {
      desk.fail(1, { attempts: 0 });
      desk.wait(waitMs - 1);
      expect(desk.at).toEqual([]);
      desk.wait(1);
      expect(desk.at).toEqual([1]);
    }
    desk.fail(1);
    desk.wait(1);
    desk.fail(1, { attempts: 0 });
    desk.wait(20);
    expect(desk.at).toEqual([1]);
  });

  test("that are done leave their pusher's share", () => {
    const desk = new Desk({ bytesMax: 1000, queueBytesMax: 1000 });
    desk.push(1);
    desk.room = 2;
    desk.wait(0);
    for (let i = 2; i <= 100; i++) {
      desk.push(i);
      desk.done(i);
    }
    expect(desk.told.filter((told) => !told.endsWith(":0"))).toEqual([]);
  });

  test("wait longer after each failure, within their bounds, and die after the last", () => {
    const limits = { backoffMsMin: 100, backoffMsMax: 250 };
    const desk = new Desk(limits);
    desk.room = 1;
    desk.push(1, { attemptsMax: 4 });
    for (const waitMs of [75, 150, 188]) {
      desk.fail(1);
      desk.wait(waitMs - 1);
      expect(desk.at).toEqual([]);
      desk.wait(1);
      expect(desk.at).toEqual([1]);
    }
    desk.fail(1);
    desk.wait(10_000);
    expect(desk.at).toEqual([]);
    expect(desk.tasks.needsTick).toBe(false);
    const [dead] = desk.tasks.deadLetters("q");
    expect(dead).toMatchObject({ failedCount: 4, status: Status.ABORTED, reason: "no" });
    expect(desk.tasks.counts).toMatchObject({ failed: 4, retried: 3, dead: 1, done: 0 });
    const resolved = resolveTaskLimits(limits);
    for (let n = 1; n <= 255; n++) {
      for (const random of [0, 0.999]) {
        expect(backoffMs(n, resolved, random)).toBeGreaterThanOrEqual(50);
        expect(backoffMs(n, resolved, random)).toBeLessThanOrEqual(250);
      }
    }
  });

  test("that no worker began on have not failed, and wait alone, longer each time", () => {
    const desk = new Desk();
    desk.room = 1;
    desk.push(1, { attemptsMax: 1 });
    // Whatever the worker says of when.
    const retryAfterMs = 0xffffffff;
    for (const waitMs of [20, 40, 80, 160, 320, 640, 1000, 1000]) {
      desk.fail(1, { attempts: 0, retryAfterMs });
      expect(desk.at).toEqual([]);
      expect(desk.tasks.needsTick).toBe(true);
      desk.wait(waitMs - 1);
      expect(desk.at).toEqual([]);
      desk.wait(1);
      expect(desk.at).toEqual([1]);
    }
    desk.push(2);
    desk.fail(1, { attempts: 0, retryAfterMs });
    expect(desk.at).toEqual([2]);
    expect(desk.tasks.counts).toMatchObject({ failed: 0, dead: 0 });
  });

  test("that the core refuses as they are given rest their queue, for a second at most", () => {
    const desk = new Desk();
    desk.onGive = (sequence) => {
      desk.given.delete(sequence);
      desk.tasks.noteFailed(sequence, Status.RESOURCE_EXHAUSTED, "full", 0xffffffff, 0);
    };
    desk.room = 10;
    for (let i = 1; i <= 2; i++) desk.push(i);
    desk.onGive = () => {};
    desk.wait(999);
    expect(desk.at).toEqual([]);
    desk.wait(1);
    expect(desk.at).toEqual([1, 2]);
  });

  test("are the same by id, queue and owner", () => {
    const desk = new Desk();
    desk.push(1);
    desk.push(1);
    desk.push(1, { queue: "r" });
    desk.push(1, { owner: "another" });
    expect(desk.tasks.counts).toMatchObject({ pushed: 3, repeated: 1 });
  });

  test("that the core refuses as they are given do not go round and round", () => {
    const desk = new Desk();
    let refusals = 0;
    desk.onGive = (sequence) => {
      refusals++;
      desk.given.delete(sequence);
      desk.tasks.noteFailed(sequence, Status.RESOURCE_EXHAUSTED, "full", 0, 0);
    };
    desk.room = 10;
    for (let i = 1; i <= 5; i++) desk.push(i);
    desk.wait(1);
    // One a push and one in a tick at most, however long it is tried.
    expect(refusals).toBeLessThanOrEqual(6);
    desk.onGive = () => {};
    desk.wait(100);
    expect(desk.at).toEqual([1, 2, 3, 4, 5]);
  });

  test("are taken once, however often they are pushed, until they are forgotten", () => {
    const desk = new Desk({ recentCountMax: 2, recentAgeMsMax: 1000 });
    desk.room = 9;
    for (let again = 0; again < 3; again++) desk.push(1);
    expect(desk.at).toEqual([1]);
    desk.done(1);
    desk.push(1);
    expect(desk.at).toEqual([]);
    expect(desk.told).toEqual(["1:1:0", "1:1:0", "1:1:0", "1:1:0"]);
    expect(desk.tasks.counts).toMatchObject({ pushed: 1, repeated: 3 });
    desk.wait(1001);
    desk.push(1);
    expect(desk.at).toEqual([1]);
    for (const sequence of [2, 3]) desk.push(sequence);
    for (const sequence of [1, 2, 3]) desk.done(sequence);
    desk.push(1);
    desk.push(3);
    expect(desk.at).toEqual([1]);
  });

  test("beyond count or bytes are refused at once, of a queue and of all", () => {
    const limits = { queueCountMax: 2, countMax: 3, queueBytesMax: 1000, bytesMax: 1500 };
    const desk = new Desk(limits);
    desk.push(1);
    desk.push(2);
    desk.push(3);
    desk.push(4, { queue: "r" });
    desk.push(5, { queue: "r" });
    expect(desk.told).toEqual(["1:1:0", "1:2:0", "1:3:8", "1:4:0", "1:5:8"]);
    const heavy = new Desk(limits);
    heavy.push(1, { bytes: 900 });
    heavy.push(2, { bytes: 101 });
    heavy.push(3, { bytes: 100 });
    expect(heavy.told).toEqual(["1:1:0", "1:2:8", "1:3:0"]);
  });

  test("that can never fit are refused for good", () => {
    const desk = new Desk({ queueBytesMax: 1000 });
    desk.push(1, { bytes: 1001 });
    desk.push(2, { bytes: 1000 });
    expect(desk.told).toEqual([`1:1:${Status.INVALID_ARGUMENT}`, "1:2:0"]);
    expect(desk.tasks.counts).toMatchObject({ refused: 1, pushed: 1 });
  });

  test("of one client leave room for the next, in count, bytes and queues", () => {
    const some = { queueCountMax: 90, countMax: 90, queueBytesMax: 9000, bytesMax: 9000 };
    const byCount = new Desk(some);
    const byBytes = new Desk({ ...some, countMax: 1000 });
    const byQueues = new Desk({ queuesMax: 9 });
    for (const desk of [byCount, byBytes, byQueues]) {
      const queueOf = (i: number) => (desk === byQueues ? `q${i % 50}` : "q");
      desk.room = 100;
      for (let i = 1; i <= 100; i++) desk.push(i, { queue: queueOf(i), bytes: 100 });
      const mine = desk.tasks.count;
      expect(desk.tasks.counts.refused).toBe(100 - mine);
      // Another session, or, where keys are shown, another key.
      desk.push(101, { queue: queueOf(-1), sessionLow: 9, bytes: 100 });
      if (desk !== byQueues) desk.push(102, { owner: "key", bytes: 100 });
      expect(desk.told.slice(-2).every((each) => each.endsWith(":0"))).toBe(desk !== byQueues);
      expect(desk.told.at(-1)).toMatch(/:0$/);
      // What is done makes room again, and in the end nothing is counted for anybody.
      for (const sequence of desk.at) desk.done(sequence);
      for (let i = 201; i <= 200 + mine; i++) desk.push(i, { queue: queueOf(i % 8), bytes: 100 });
      expect(desk.told.slice(-mine).every((each) => each.endsWith(":0"))).toBe(true);
    }
    expect([byCount, byBytes].map((desk) => desk.tasks.count)).toEqual([80, 80]);
  });

  test("of too many queues are refused, unless one is empty", () => {
    const desk = new Desk({ queuesMax: 2 });
    desk.room = 1;
    desk.push(1, { queue: "a" });
    desk.push(2, { queue: "b" });
    desk.push(3, { queue: "c" });
    expect(desk.told.at(-1)).toBe("1:3:8");
    desk.done(1);
    desk.push(3, { queue: "c" });
    expect(desk.told.at(-1)).toBe("1:3:0");
    expect([...desk.tasks.queues.keys()]).toEqual(["b", "c"]);
  });

  test("that are delayed wait, and count as held", () => {
    const desk = new Desk({ queueCountMax: 1 });
    desk.room = 1;
    desk.push(1, { delayMs: 500 });
    desk.push(2);
    expect(desk.told).toEqual(["1:1:0", "1:2:8"]);
    desk.wait(499);
    expect(desk.at).toEqual([]);
    desk.wait(1);
    expect(desk.at).toEqual([1]);
  });
});

describe("dead letters", () => {
  function withDead(count: number, limits: Partial<TaskLimits> = {}): Desk {
    const desk = new Desk(limits);
    desk.room = count;
    for (let i = 1; i <= count; i++) desk.push(i, { attemptsMax: 1 });
    for (let i = 1; i <= count; i++) desk.fail(i);
    return desk;
  }

  test("are bounded in count and bytes: the oldest go, and are counted", () => {
    const byCount = withDead(5, { deadCountMax: 3 });
    const numbers = (desk: Desk) => desk.tasks.deadLetters("q").map((each) => each.pushed.sequence);
    expect(numbers(byCount)).toEqual([3, 4, 5]);
    expect(byCount.tasks.counts).toMatchObject({ dead: 5, deadDropped: 2 });
    const byBytes = withDead(5, { deadQueueBytesMax: 250, deadBytesMax: 250 });
    expect(numbers(byBytes)).toEqual([4, 5]);
    expect(byBytes.tasks.deadBytes).toBe(200);
    expect(byBytes.tasks.bytes).toBe(0);
  });

  function numbersOf(desk: Desk, queue: string): number[] {
    return desk.tasks.deadLetters(queue).map(({ pushed }) => pushed.sequence);
  }

  test("go by their age, of whatever queue, when all together are too many", () => {
    const told: string[] = [];
    const store = new MemoryTaskStore();
    Object.assign(store, {
      drop: (task: Task) => told.push(`drop ${task.pushed.sequence}`),
      note: (task: Task) => told.push(`note ${task.pushed.sequence}`),
    });
    const desk = new Desk({ deadQueueBytesMax: 300, deadBytesMax: 500 }, store);
    store.onKept = (task) => desk.tasks.onKept(task);
    desk.room = 1;
    for (const [i, queue] of ["a", "b", "b", "a", "b", "c", "c", "a"].entries()) {
      desk.push(i, { queue, attemptsMax: 1 });
      desk.fail(i);
    }
    expect(numbersOf(desk, "a")).toEqual([3, 7]);
    expect(numbersOf(desk, "b")).toEqual([4]);
    expect(numbersOf(desk, "c")).toEqual([5, 6]);
    expect(told.filter((each) => each.startsWith("drop"))).toEqual(["drop 0", "drop 1", "drop 2"]);
    expect(desk.tasks.counts).toMatchObject({ dead: 8, deadDropped: 3 });
    // One that is too large by itself costs no other its place, and is not noted once it is dropped.
    desk.push(9, { queue: "b", attemptsMax: 1, bytes: 301 });
    desk.fail(9);
    expect(numbersOf(desk, "b")).toEqual([4]);
    expect(told.filter((each) => each.endsWith(" 9"))).toEqual(["drop 9"]);
    expect(desk.tasks.deadBytes).toBe(500);
    expect(desk.tasks.counts).toMatchObject({ dead: 9, deadDropped: 4 });
  });

  test("alone keep no queue from a new one: the queue whose oldest is oldest goes, and is counted", () => {
    const desk = new Desk({ queuesMax: 3 });
    desk.room = 1;
    for (const [i, queue] of ["a", "b", "a"].entries()) {
      desk.push(i, { queue, attemptsMax: 1 });
      desk.fail(i);
      desk.wait(1);
    }
    desk.room = 0;
    desk.push(3, { queue: "c" });
    desk.push(4, { queue: "d" });
    expect([...desk.tasks.queues.keys()]).toEqual(["b", "c", "d"]);
    expect(desk.tasks.counts).toMatchObject({ refused: 0, deadDropped: 2 });
    desk.push(5, { queue: "e" });
    desk.push(6, { queue: "f" });
    expect(desk.told.slice(-2)).toEqual(["1:5:0", "1:6:8"]);
    expect(desk.tasks.deadBytes).toBe(0);
  });

  test("are retried oldest first, with all their attempts, as far as there is room", () => {
    const desk = withDead(4, { queueCountMax: 4 });
    desk.room = 0;
    expect(desk.tasks.retryDead("q", 1, desk.nowMs)).toBe(1);
    desk.push(9);
    desk.push(10);
    expect(desk.tasks.retryDead("q", 10, desk.nowMs)).toBe(1);
    expect(desk.tasks.deadLetters("q")).toHaveLength(2);
    const behind = (skip: number) => desk.tasks.deadLetters("q", 9, skip);
    expect(behind(1).map((each) => each.pushed.sequence)).toEqual([4]);
    expect(behind(2)).toEqual([]);
    desk.room = 9;
    desk.wait(1);
    expect(desk.at).toEqual([1, 9, 10, 2]);
    desk.fail(1);
    expect(desk.tasks.deadLetters("q").map((each) => each.pushed.sequence)).toEqual([3, 4, 1]);
    expect(desk.tasks.retryDead("none", 1, desk.nowMs)).toBe(0);
  });
});

describe("a store that takes its time", () => {
  class SlowStore implements TaskStore {
    readonly waiting: Task[] = [];
    readonly notes: string[] = [];
    keep = (task: Task) => void this.waiting.push(task);
    note = (task: Task) => void this.notes.push(`${task.pushed.sequence} ${task.state}`);
    drop = (task: Task) => void this.notes.push(`${task.pushed.sequence} dropped`);
    load = () => {};
  }

  test("is waited for before a task is acknowledged or tried", () => {
    const store = new SlowStore();
    const desk = new Desk({}, store);
    desk.room = 9;
    desk.push(1);
    desk.push(1, { pusher: 2 });
    desk.push(2);
    expect([desk.told, desk.at]).toEqual([[], []]);
    desk.tasks.onKept(store.waiting[0]);
    desk.tasks.onNotKept(store.waiting[1], "disk is full");
    desk.wait(1);
    // The one who pushed last is who waits.
    expect(desk.told).toEqual(["2:1:0", "1:2:14"]);
    expect(desk.at).toEqual([1]);
    expect(desk.tasks.count).toBe(1);
    desk.fail(1);
    desk.wait(1000);
    desk.done(1);
    expect(store.notes).toEqual(["1 delayed", "1 dropped"]);
    // What was not kept may be pushed again.
    desk.push(2);
    expect(store.waiting).toHaveLength(3);
  });

  test("gives back after a restart what it kept", () => {
    const desk = new Desk();
    const make = (sequence: number, state: Task["state"], dueMs: number) => {
      const task = new Task(taskKey(pushedOf(sequence)), pushedOf(sequence));
      Object.assign(task, { state, dueMs, failedCount: 1 });
      desk.tasks.restore(task);
    };
    make(1, "ready", 0);
    make(2, "delayed", desk.nowMs + 100);
    make(3, "dead", 0);
    desk.room = 9;
    desk.wait(1);
    expect(desk.at).toEqual([1]);
    desk.wait(100);
    expect(desk.at).toEqual([1, 2]);
    expect(desk.tasks.deadLetters("q")).toHaveLength(1);
    desk.push(3);
    expect(desk.tasks.counts).toMatchObject({ repeated: 1, pushed: 0 });
  });
});

test("limits that are none are refused by name", () => {
  expect(resolveTaskLimits()).toEqual(defaultTaskLimits);
  expect(() => resolveTaskLimits({ queueCountMax: 0 })).toThrow(/tasks.queueCountMax must be/);
  expect(() => resolveTaskLimits({ backoffMsMin: 99, backoffMsMax: 9 })).toThrow(/must not exceed/);
  expect(() => resolveTaskLimits({ nonsense: 1 } as object)).toThrow(/unknown limit "nonsense"/);
  expect(() => resolveTaskLimits({ attemptsDefault: 256 })).toThrow(/1..255, got 256/);
});

// A naive model: every task in one list, with its state; times are looked at one by one.
type Step =
  | { what: "push"; sequence: number; priority: number; attemptsMax: number; delayMs: number }
  | { what: "done" | "fail" | "untouched"; pick: number }
  | { what: "wait"; ms: number }
  | { what: "room"; room: number }
  | { what: "retry"; count: number };

const steps = fc.array(
  fc.oneof(
    fc.record({
      what: fc.constant("push" as const),
      sequence: fc.integer({ min: 1, max: 30 }),
      priority: fc.integer({ min: 0, max: 7 }),
      attemptsMax: fc.integer({ min: 1, max: 3 }),
      delayMs: fc.constantFrom(0, 0, 50, 400),
    }),
    fc.record({
      what: fc.constantFrom("done" as const, "fail" as const, "untouched" as const),
      pick: fc.nat(100),
    }),
    fc.record({ what: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ what: fc.constant("room" as const), room: fc.integer({ min: 0, max: 5 }) }),
    fc.record({ what: fc.constant("retry" as const), count: fc.integer({ min: 1, max: 3 }) }),
  ),
  { maxLength: 120 },
);

test("whatever comes, tasks are where a list of them would have them", () => {
  const limits = { queueCountMax: 8, deadCountMax: 3, backoffMsMin: 100, backoffMsMax: 200 };
  fc.assert(
    fc.property(steps, (list: Step[]) => {
      const desk = new Desk(limits, undefined, () => 0);
      const live = new Map<number, { failures: number; most: number; readyMs: number }>();
      let dead: number[] = [];
      const most = new Map<number, number>();
      const ended = new Set<number>();
      for (const step of list) {
        const { given } = desk;
        const picked = "pick" in step ? [...given.values()][step.pick % given.size] : undefined;
        const number = picked?.pushed.sequence ?? 0;
        switch (step.what) {
          case "push": {
            const { sequence, priority, attemptsMax, delayMs } = step;
            const isKnown = live.has(sequence) || dead.includes(sequence) || ended.has(sequence);
            const isTaken = isKnown || live.size < 8;
            desk.push(sequence, { priority, attemptsMax, delayMs });
            expect(desk.told.at(-1)).toBe(`1:${sequence}:${isTaken ? 0 : 8}`);
            if (isKnown || !isTaken) break;
            most.set(sequence, attemptsMax);
            live.set(sequence, { failures: 0, most: attemptsMax, readyMs: desk.nowMs + delayMs });
            break;
          }
          case "done":
            if (picked === undefined) break;
            desk.done(number);
            live.delete(number);
            ended.add(number);
            break;
          case "fail": {
            if (picked === undefined) break;
            desk.fail(number);
            const task = live.get(number);
            if (task === undefined) throw new Error("given, but not live");
            task.readyMs = desk.nowMs + Math.min(50 * 2 ** task.failures, 100);
            if (++task.failures < task.most) break;
            live.delete(number);
            dead.push(number);
            if (dead.length > 3) ended.add(dead.shift() as number);
            break;
          }
          case "untouched":
            if (picked !== undefined) desk.fail(number, { attempts: 0 });
            break;
          case "wait":
            desk.wait(step.ms);
            break;
          case "room":
            desk.room = step.room;
            break;
          case "retry": {
            const count = Math.min(step.count, dead.length, 8 - live.size);
            expect(desk.tasks.retryDead("q", step.count, desk.nowMs)).toBe(count);
            for (const sequence of dead.slice(0, count)) {
              const attempts = most.get(sequence) ?? 0;
              live.set(sequence, { failures: 0, most: attempts, readyMs: desk.nowMs });
            }
            dead = dead.slice(count);
            break;
          }
          default:
            step satisfies never;
        }
        for (const sequence of desk.at) {
          expect(live.has(sequence)).toBe(true);
          expect(live.get(sequence)?.readyMs).toBeLessThanOrEqual(desk.nowMs);
        }
        expect(new Set(desk.at).size).toBe(desk.at.length);
        const queue = desk.tasks.queues.get("q");
        const { readyCount = 0, delayedCount = 0, givenCount = 0 } = queue ?? {};
        expect(readyCount + delayedCount + givenCount).toBe(live.size);
        expect(desk.tasks.count).toBe(live.size);
        expect(desk.tasks.bytes).toBe(live.size * 100);
        expect(desk.tasks.deadLetters("q").map((each) => each.pushed.sequence)).toEqual(dead);
        const { pushed, done, deadDropped } = desk.tasks.counts;
        expect(pushed).toBe(done + deadDropped + live.size + dead.length);
      }
      // In the end, with room and time, nothing is left waiting.
      desk.room = 100;
      desk.wait(10_000);
      expect(new Set(desk.at)).toEqual(new Set(live.keys()));
    }),
    { numRuns: 300 },
  );
});
