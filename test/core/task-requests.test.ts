// Tasks as the core sees them: requests that wait as long as it takes, whose time runs from their dispatch.
import { expect, test } from "vitest";
import { Status } from "../../build/base/status.js";
import { Scene } from "./scene.ts";

const LAST_WORD_MS = 1000;
const task = { isTask: true, attempts: 1, timeoutMs: 500 };

function begun(limits = {}): Scene {
  const scene = new Scene(limits);
  scene.client(1);
  return scene;
}

test("a task's time runs from its dispatch, not while it waits for a worker", () => {
  const scene = begun();
  scene.worker(10);
  scene.ask(1, 1, task);
  scene.ask(1, 2, task);
  expect(scene.pass(400)).toEqual([]);
  expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1", "dispatch w10 c1#2"]);
  expect(scene.pass(499)).toEqual([]);
  expect(scene.pass(1)).toEqual(["abort w10 c1#2 DEADLINE_EXCEEDED"]);
});

test("a task that waits is not ended by what ends requests that wait", () => {
  const limits = { queueWaitMsMax: 200, absentWaitMs: 100, codelTargetMs: 10, codelIntervalMs: 10 };
  const scene = begun({
    ...limits,
    queueShortCount: 1,
    requestBytesMax: 100,
    queueBytesMax: 100,
    recordBytesMax: 100,
  });
  scene.worker(10);
  for (let i = 1; i <= 5; i++) scene.ask(1, i, task);
  expect(scene.core.requests.bytesHeld).toBe(0);
  for (let i = 1; i < 5; i++) {
    expect(scene.pass(450).filter((effect) => !effect.startsWith("credit"))).toEqual([]);
    expect(scene.reply(1, i).at(-1)).toBe(`dispatch w10 c1#${i + 1}`);
  }
  scene.reply(1, 5);
});

test("a task that waits and has no worker to wait for any more goes back", () => {
  const scene = begun();
  scene.worker(10);
  for (let i = 1; i <= 3; i++) scene.ask(1, i, { ...task, timeoutMs: 500_000 });
  scene.pass(100_000);
  scene.leave(10);
  expect([scene.lastAttempts, scene.core.requests.count]).toEqual([1, 2]);
  // It is looked after once a second: one who is away for less is waited for.
  expect(scene.pass(999)).toEqual([]);
  expect(scene.worker(11)).toEqual(["dispatch w11 c1#2"]);
  scene.pass(1000);
  scene.drain(11);
  expect(scene.failure(1, 2, Status.UNAVAILABLE, true)).toEqual(["hold c1#2", "drained w11"]);
  const ends = [2, 3].flatMap((i) => [`fail c1#${i} UNAVAILABLE`, `release c1#${i}`]);
  expect(scene.pass(1000).sort()).toEqual(ends.sort());
  expect(scene.lastAttempts).toBe(0);
  expect([scene.core.requests.count, scene.core.needsTick]).toEqual([0, false]);
});

test("what tasks hold is no room of requests, nor the other way round", () => {
  const scene = begun({ requestBytesMax: 100, queueBytesMax: 100, recordBytesMax: 100 });
  scene.ask(1, 1, { ...task, bytes: 90 });
  expect(scene.ask(1, 2, { service: "other", bytes: 90 })).toEqual(["hold c1#2"]);
  expect(scene.ask(1, 3, { ...task, service: "third", bytes: 90 })).toEqual(["hold c1#3"]);
  expect(scene.core.requests.bytesHeld).toBe(90);
  scene.cancel(1, 1);
  expect(scene.core.requests.bytesHeld).toBe(90);
});

test("a worker whose time for a task is over may say that it never began, for a second", () => {
  const scene = begun();
  scene.worker(10, 4);
  for (let i = 1; i <= 4; i++) scene.ask(1, i, task);
  expect(scene.pass(500)).toHaveLength(4);
  expect(scene.failure(1, 1, Status.DEADLINE_EXCEEDED, true)[0]).toBe(
    "fail c1#1 DEADLINE_EXCEEDED",
  );
  expect(scene.lastAttempts).toBe(0);
  expect(scene.failure(1, 2, Status.CANCELLED)[0]).toBe("fail c1#2 DEADLINE_EXCEEDED");
  expect(scene.lastAttempts).toBe(1);
  expect(scene.reply(1, 3)[0]).toBe("reply c1#3");
  expect(scene.pass(LAST_WORD_MS - 1)).toEqual([]);
  expect(scene.pass(1)).toEqual(["fail c1#4 DEADLINE_EXCEEDED", "release c1#4"]);
  expect(scene.lastAttempts).toBe(1);
  // Its credit comes back with its answer.
  expect(scene.core.worker(10)?.inFlight).toBe(1);
  expect(scene.reply(1, 4)).toEqual([]);
  expect([scene.core.requests.count, scene.core.needsTick]).toEqual([0, false]);
});

test("what a draining worker gives back after its time goes to another, with all of it", () => {
  const scene = begun();
  scene.worker(10);
  scene.ask(1, 1, task);
  scene.pass(500);
  scene.drain(10);
  expect(scene.failure(1, 1, Status.UNAVAILABLE, true)).toEqual(["hold c1#1", "drained w10"]);
  expect(scene.pass(LAST_WORD_MS - 1)).toEqual([]);
  scene.worker(11);
  expect(scene.pass(499)).toEqual([]);
  expect(scene.pass(1)).toEqual(["abort w11 c1#1 DEADLINE_EXCEEDED"]);
});

test("a broker that shuts down gives the tasks back that wait for a worker", () => {
  const scene = begun();
  scene.worker(10);
  for (let i = 1; i <= 3; i++) scene.ask(1, i, task);
  scene.ask(1, 4);
  const ends = [2, 3].flatMap((i) => [`fail c1#${i} UNAVAILABLE`, `release c1#${i}`]);
  expect(scene.do({ kind: "shutdown" })).toEqual(ends);
  expect(scene.lastAttempts).toBe(0);
  expect(scene.core.requests.count).toBe(2);
});

test("tasks are not held to what one client may have in flight", () => {
  const scene = begun({ clientInFlightMax: 2 });
  scene.worker(10, 4);
  for (let i = 1; i <= 4; i++) expect(scene.ask(1, i, task)).toEqual([`dispatch w10 c1#${i}`]);
  expect(scene.ask(1, 5)).toEqual(["fail c1#5 RESOURCE_EXHAUSTED"]);
});

test("tasks that go back go all at once, the younger ones too", () => {
  const scene = begun();
  scene.worker(10);
  scene.ask(1, 1, { ...task, timeoutMs: 60_000 });
  scene.ask(1, 2, task);
  scene.pass(500);
  scene.ask(1, 3, task);
  scene.leave(10);
  const ends = [2, 3].flatMap((i) => [`fail c1#${i} UNAVAILABLE`, `release c1#${i}`]);
  expect(scene.pass(500)).toEqual(ends);
});

test("a task that comes back while the broker shuts down waits for nobody", () => {
  const scene = begun();
  scene.worker(10);
  scene.ask(1, 1, task);
  scene.do({ kind: "shutdown" });
  scene.drain(10);
  const effects = scene.failure(1, 1, Status.UNAVAILABLE, true);
  expect(effects).toEqual(["fail c1#1 UNAVAILABLE", "release c1#1", "drained w10"]);
  expect(scene.lastAttempts).toBe(0);
});
