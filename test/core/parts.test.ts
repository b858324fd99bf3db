// Replies that come in parts: the core says whose a part is, and when no other worker may begin anew.
import { expect, it } from "vitest";
import { Scene } from "./scene.js";

function asked(): Scene {
  const scene = new Scene();
  scene.client(1);
  scene.worker(10);
  scene.ask(1, 1);
  return scene;
}

it("passes parts to the client that waits, and leaves the request with its worker", () => {
  const scene = asked();
  expect(scene.part(1, 1)).toEqual(["part c1#1"]);
  expect(scene.part(1, 1, false)).toEqual(["part c1#1"]);
  expect(scene.core.worker(10)?.inFlight).toBe(1);
  expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
  expect(scene.core.counts).toMatchObject({ replies: 1, stale: 0 });
});

it("counts parts of attempts that are not current as stale", () => {
  const scene = asked();
  const attempt = scene.attempt(1, 1);
  expect(scene.partFor({ ...attempt, generation: attempt.generation + 1 })).toEqual([]);
  expect(scene.partFor({ ...attempt, worker: 11 })).toEqual([]);
  expect(scene.partFor({ ...attempt, slot: 0xffffffff })).toEqual([]);
  scene.reply(1, 1);
  expect(scene.partFor(attempt)).toEqual([]);
  expect(scene.core.counts.stale).toBe(4);
});

it("drops parts that nobody waits for any more", () => {
  const scene = asked();
  const attempt = scene.attempt(1, 1);
  scene.cancel(1, 1);
  expect(scene.partFor(attempt)).toEqual([]);
  expect(scene.core.counts.stale).toBe(0);
});

it("fails a request whose worker is lost after a part was passed on, and gives on any other", () => {
  const scene = asked();
  scene.worker(11);
  scene.part(1, 1, true);
  expect(scene.leave(10)).toEqual(["fail c1#1 UNAVAILABLE", "release c1#1"]);
  expect(scene.lastAttempts).toBe(1);

  scene.ask(1, 2);
  scene.part(1, 2, false);
  scene.worker(12);
  expect(scene.leave(11)).toContain("dispatch w12 c1#2");
});
