import { describe, expect, test } from "vitest";
import { Status } from "../../build/base/status.js";
import { Scene } from "./scene.ts";

/** A scene with clients 1, 2 and 3. */
function newScene(...limits: ConstructorParameters<typeof Scene>): Scene {
  const scene = new Scene(...limits);
  scene.client(1, 2, 3);
  return scene;
}

/** Nothing is left of any request. */
function expectEmpty({ core }: Scene): void {
  expect([core.requests.count, core.requests.bytesHeld, core.needsTick]).toEqual([0, 0, false]);
  for (const service of core.registry.services.values()) {
    expect([service.queue.count, service.queue.bytes, service.inFlight]).toEqual([0, 0, 0]);
  }
  const { requests, replies, failures, cancelled } = core.counts;
  expect(replies + failures + cancelled).toBe(requests);
}

describe("routes to idle", () => {
  test("the longest idle of the idle workers", () => {
    const scene = newScene();
    for (const peer of [10, 11, 12]) scene.worker(peer);
    expect(scene.ask(1, 1)).toEqual(["dispatch w10 c1#1"]);
    expect(scene.ask(1, 2)).toEqual(["dispatch w11 c1#2"]);
    scene.reply(1, 2);
    scene.reply(1, 1);
    expect(scene.ask(1, 3)).toEqual(["dispatch w12 c1#3"]);
    expect(scene.ask(1, 4)).toEqual(["dispatch w11 c1#4"]);
    expect(scene.ask(1, 5)).toEqual(["dispatch w10 c1#5"]);
  });

  test("the longest idle, also where workers serve different services", () => {
    const scene = newScene();
    scene.worker(10, 1, ["echo"]);
    scene.worker(11, 1, ["echo", "other"]);
    for (const sequence of [1, 2]) scene.ask(1, sequence);
    // 10 joined first, and answered last.
    scene.reply(1, 2);
    scene.reply(1, 1);
    expect(scene.ask(1, 3)).toEqual(["dispatch w11 c1#3"]);
    expect(scene.ask(1, 4)).toEqual(["dispatch w10 c1#4"]);
  });

  test("no second request while another of the service is idle, whoever has more credit", () => {
    const scene = newScene();
    scene.worker(10, 8);
    scene.worker(11, 1);
    scene.worker(12, 2, ["echo", "other"]);
    const first = [1, 2, 3].flatMap((sequence) => scene.ask(1, sequence));
    expect(first).toEqual(["dispatch w10 c1#1", "dispatch w11 c1#2", "dispatch w12 c1#3"]);
    expect(scene.ask(1, 4)).toEqual(["dispatch w10 c1#4"]);
    expect(scene.ask(1, 5)).toEqual(["dispatch w12 c1#5"]);
    // Both others are full.
    expect(scene.ask(1, 6)).toEqual(["dispatch w10 c1#6"]);
  });

  test("only to workers of the service", () => {
    const scene = newScene();
    scene.worker(10, 5, ["other"]);
    expect(scene.ask(1, 1)).toEqual(["hold c1#1"]);
    expect(scene.worker(11)).toEqual(["dispatch w11 c1#1"]);
  });

  test("a worker beyond its concurrency only while none has free concurrency", () => {
    const scene = newScene();
    scene.worker(10, 1, ["echo"], true);
    scene.worker(11, 1, ["echo"], true);
    // Fast answers under load earn look-ahead.
    for (let sequence = 0; sequence < 3_000; sequence++) scene.ask(3, sequence);
    const busy = ["c3#0", "c3#1"];
    while (busy.length > 0) {
      const [client, sequence] = busy.shift()!.slice(1).split("#").map(Number);
      scene.nowMs += 0.01;
      for (const effect of scene.reply(client, sequence)) {
        if (effect.startsWith("dispatch")) busy.push(effect.split(" ")[2]);
      }
    }
    const { core } = scene;
    expect(core.worker(10)!.lookAhead).toBeGreaterThan(0);
    expect(core.worker(11)!.lookAhead).toBeGreaterThan(0);
    const held = () => [core.worker(10)!.inFlight, core.worker(11)!.inFlight].sort();
    scene.ask(2, 1);
    expect(held()).toEqual([0, 1]);
    scene.ask(2, 2);
    expect(held()).toEqual([1, 1]);
    scene.ask(2, 3);
    expect(held()).toEqual([1, 2]);
    scene.ask(2, 4);
    expect(held()).toEqual([2, 2]);
  });

  describe("in runs", () => {
    /** Two idle workers whose handlers took so long. */
    function twoOf(handlerUs: number, limits?: object) {
      const scene = newScene(limits);
      scene.worker(10, 1, ["echo"], true);
      scene.worker(11, 1, ["echo"], true);
      scene.ask(1, 1);
      scene.ask(1, 2);
      scene.reply(1, 1, handlerUs);
      scene.reply(1, 2, handlerUs);
      scene.nowMs += 10;
      return scene;
    }
    const workersOf = (scene: Scene, count: number, first = 100) =>
      Array.from({ length: count }, (_, i) => scene.ask(1, first + i)[0].split(" ")[1]).join(" ");

    test("what comes at once stays together where it is fast: as much as takes 0.2 ms", () => {
      expect(workersOf(twoOf(50), 8)).toBe("w10 w10 w10 w10 w11 w11 w11 w11");
    });

    test("one each where it takes longer, or is not known", () => {
      for (const handlerUs of [0, 150, 1_000, 100_000]) {
        expect(workersOf(twoOf(handlerUs), 2)).toBe("w10 w11");
      }
    });

    test("what comes later goes to who is idle", () => {
      const scene = twoOf(10);
      expect(workersOf(scene, 2)).toBe("w10 w10");
      scene.nowMs += 0.3;
      expect(workersOf(scene, 2, 200)).toBe("w11 w11");
    });

    test("64 at most, however fast", () => {
      const dealt = workersOf(twoOf(1), 65).split(" ");
      expect([dealt[63], dealt[64]]).toEqual(["w10", "w11"]);
    });

    test("a slow answer ends them, and one fast answer does not bring them back", () => {
      const scene = twoOf(10);
      scene.ask(1, 3);
      scene.ask(1, 4);
      scene.nowMs += 100;
      scene.reply(1, 3, 100_000);
      scene.reply(1, 4, 10);
      scene.nowMs += 10;
      // 11 is longest idle, and no slower than before.
      expect(workersOf(scene, 2)).toBe("w11 w11");
      scene.nowMs += 10;
      expect(workersOf(scene, 2, 200)).toBe("w10 w11");
    });

    test("none without look-ahead", () => {
      expect(workersOf(twoOf(1, { lookAheadMs: 0 }), 2)).toBe("w10 w11");
      expect(workersOf(twoOf(1, { lookAheadMax: 0 }), 2)).toBe("w10 w11");
    });
  });

  test("a worker of several services serves those that wait in turn", () => {
    const scene = newScene();
    for (const sequence of [1, 2, 3]) scene.ask(1, sequence, { service: "a" });
    for (const sequence of [4, 5, 6]) scene.ask(1, sequence, { service: "b" });
    const order = [scene.worker(10, 1, ["a", "b"])];
    for (let i = 0; i < 5; i++) {
      const sequence = Number(order.at(-1)!.at(-1)!.split("#")[1]);
      order.push(scene.reply(1, sequence).slice(-1));
    }
    expect(order.flat()).toEqual([1, 4, 2, 5, 3, 6].map((n) => `dispatch w10 c1#${n}`));
  });
});

describe("one outcome", () => {
  test("a reply finds its client; the worker gets the next at once", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.ask(2, 1)).toEqual(["hold c2#1"]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1", "dispatch w10 c2#1"]);
    expect(scene.reply(2, 1)).toEqual(["reply c2#1", "release c2#1"]);
    expectEmpty(scene);
  });

  test("a worker's failure is passed on, and its credit returns", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.failure(1, 1, Status.INTERNAL)).toEqual(["fail c1#1 INTERNAL", "release c1#1"]);
    expect(scene.core.worker(10)!.inFlight).toBe(0);
    expectEmpty(scene);
  });

  test("a request in flight sent again is dropped; ended, its number is free again", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.ask(1, 1)).toEqual([]);
    scene.ask(1, 2);
    expect(scene.ask(1, 2)).toEqual([]);
    expect(scene.core.counts.repeated).toBe(2);
    // The same number of another client is another request.
    expect(scene.ask(2, 1)).toEqual(["hold c2#1"]);
    scene.reply(1, 1);
    expect(scene.ask(1, 1)).toEqual(["hold c1#1"]);
  });

  test("a client that is no client, a worker that asks: refused, no state", () => {
    const scene = newScene();
    scene.worker(10);
    expect(scene.ask(99, 1)).toEqual(["refuse p99 UNAUTHENTICATED"]);
    expect(scene.ask(10, 1)).toEqual(["refuse p10 UNAUTHENTICATED"]);
    expect(scene.cancel(99, 1)).toEqual([]);
    expect(scene.leave(99)).toEqual([]);
    expect(scene.drain(99)).toEqual([]);
    expect(scene.do({ kind: "credit", peer: 99, concurrency: 1 })).toEqual([
      "refuse p99 INVALID_ARGUMENT",
    ]);
    expect(scene.do({ kind: "join-client", peer: 10 })).toEqual(["refuse p10 PERMISSION_DENIED"]);
    expect(scene.worker(1)).toEqual(["refuse p1 INVALID_ARGUMENT"]);
    expect([scene.core.clientCount, scene.core.workerCount]).toEqual([3, 1]);
    expectEmpty(scene);
  });

  test("a hello with bad numbers is refused", () => {
    const scene = newScene({ workerServicesMax: 2, concurrencyMax: 8 });
    expect(scene.worker(10, 0)).toEqual(["refuse p10 INVALID_ARGUMENT"]);
    expect(scene.worker(10, 9)).toEqual(["refuse p10 INVALID_ARGUMENT"]);
    expect(scene.worker(10, 1, [])).toEqual(["refuse p10 INVALID_ARGUMENT"]);
    expect(scene.worker(10, 1, ["a", "b", "c"])).toEqual(["refuse p10 INVALID_ARGUMENT"]);
    expect([scene.core.workerCount, scene.core.registry.services.size]).toEqual([0, 0]);
  });

  test("a hello said twice changes nothing", () => {
    const scene = newScene();
    scene.worker(10, 1);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.worker(10, 5)).toEqual([]);
    scene.client(1);
    expect(scene.core.worker(10)!.concurrency).toBe(1);
    scene.reply(1, 1);
    scene.reply(1, 2);
    expectEmpty(scene);
  });
});

describe("a worker's death", () => {
  test("what it had goes first in line, in order, before what waited", () => {
    const scene = newScene();
    scene.worker(10, 3);
    for (const sequence of [1, 2, 3, 4]) scene.ask(1, sequence, { priority: 0 });
    scene.ask(2, 1, { priority: 0 });
    expect(scene.leave(10)).toEqual(["hold c1#1", "hold c1#2", "hold c1#3"]);
    expect(scene.core.counts.redelivered).toBe(0);
    expect(scene.worker(11, 5)).toEqual([
      "dispatch w11 c1#1",
      "dispatch w11 c1#2",
      "dispatch w11 c1#3",
      "dispatch w11 c1#4",
      "dispatch w11 c2#1",
    ]);
    expect(scene.core.counts.redelivered).toBe(3);
  });

  test("it goes to another worker at once", () => {
    const scene = newScene();
    scene.worker(10, 2);
    scene.ask(1, 1);
    scene.ask(1, 2);
    scene.worker(11, 1);
    expect(scene.leave(10)).toEqual(["hold c1#1", "hold c1#2", "dispatch w11 c1#1"]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1", "dispatch w11 c1#2"]);
    scene.reply(1, 2);
    expectEmpty(scene);
  });

  test("up to `attempts`, then UNAVAILABLE", () => {
    const scene = newScene();
    scene.ask(1, 1, { attempts: 1 });
    scene.ask(1, 2, { attempts: 2 });
    scene.ask(1, 3);
    scene.worker(10, 3);
    expect(scene.leave(10)).toEqual([
      "fail c1#1 UNAVAILABLE",
      "release c1#1",
      "hold c1#2",
      "hold c1#3",
    ]);
    scene.worker(11, 3);
    expect(scene.leave(11)).toEqual(["fail c1#2 UNAVAILABLE", "release c1#2", "hold c1#3"]);
    scene.worker(12, 3);
    expect(scene.leave(12)).toEqual(["fail c1#3 UNAVAILABLE", "release c1#3"]);
    expect(scene.lastReason).toContain("3");
    expectEmpty(scene);
  });

  test("nobody waits: no requeue", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.cancel(1, 1);
    expect(scene.leave(10)).toEqual([]);
    expectEmpty(scene);
  });

  test("a draining worker's death loses nothing either", () => {
    const scene = newScene();
    scene.worker(10, 2);
    scene.ask(1, 1);
    scene.drain(10);
    expect(scene.leave(10)).toEqual(["hold c1#1"]);
    expect(scene.worker(11)).toEqual(["dispatch w11 c1#1"]);
  });
});

describe("stale and forged answers are dropped and counted", () => {
  const at = (scene: Scene) => scene.attempt(1, 1);

  function inFlight(): Scene {
    const scene = newScene();
    scene.worker(10);
    scene.worker(11);
    scene.ask(1, 1);
    return scene;
  }

  test("of another worker, another generation, no slot, a free slot, a stranger", () => {
    const scene = inFlight();
    const { slot, generation } = at(scene);
    const forged = [
      { ...at(scene), worker: 11 },
      { ...at(scene), worker: 99 },
      { ...at(scene), worker: 1 },
      { ...at(scene), generation: generation + 1 },
      { ...at(scene), generation: generation - 1 },
      { ...at(scene), slot: slot + 1 },
      { ...at(scene), slot: -1 },
      { ...at(scene), slot: scene.core.requests.capacity },
      { ...at(scene), slot: 2 ** 32 - 1 },
      { worker: 10, slot: slot + 1, generation: 0 },
    ];
    for (const [index, answer] of forged.entries()) {
      expect(scene.replyFor(answer), `forged ${index}`).toEqual([]);
      expect(scene.core.counts.stale).toBe(index + 1);
    }
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expectEmpty(scene);
  });

  test("a second answer", () => {
    const scene = inFlight();
    scene.reply(1, 1);
    expect(scene.reply(1, 1)).toEqual([]);
    expect(scene.failure(1, 1, Status.INTERNAL)).toEqual([]);
    // The slot is another request's now, with the same worker.
    scene.ask(1, 2);
    scene.ask(1, 3);
    expect(scene.replyFor(at(scene))).toEqual([]);
    expect(scene.core.counts.stale).toBe(3);
  });

  test("of a worker that was taken for dead", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    const first = at(scene);
    scene.leave(10);
    expect(scene.replyFor(first), "while it waits again").toEqual([]);
    scene.worker(10);
    expect(at(scene).slot, "same worker number, same slot").toBe(first.slot);
    expect(scene.replyFor(first), "while it is with the next").toEqual([]);
    expect(scene.core.counts.stale).toBe(2);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expectEmpty(scene);
  });
});

describe("deadlines", () => {
  test("passed in the queue: DEADLINE_EXCEEDED, and never dispatched", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2, { timeoutMs: 50 });
    expect(scene.pass(49)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#2 DEADLINE_EXCEEDED", "release c1#2"]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expect(scene.core.counts).toMatchObject({ expired: 1, refused: 0 });
    expectEmpty(scene);
  });

  test("passed in the queue, and no tick came before the worker was free", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2, { timeoutMs: 50.5 });
    scene.ask(1, 3, { timeoutMs: 50.7 });
    scene.ask(1, 4, { timeoutMs: 51 });
    scene.nowMs = 50.7;
    expect(scene.reply(1, 1)).toEqual([
      "reply c1#1",
      "release c1#1",
      "fail c1#2 DEADLINE_EXCEEDED",
      "release c1#2",
      "fail c1#3 DEADLINE_EXCEEDED",
      "release c1#3",
      "dispatch w10 c1#4",
    ]);
    scene.reply(1, 4);
    expect(scene.pass(100)).toEqual([]);
    expectEmpty(scene);
  });

  test("passed in flight: the worker is told, its credit returns when it answers", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1, { timeoutMs: 50 });
    scene.ask(1, 2);
    expect(scene.pass(50)).toEqual([
      "fail c1#1 DEADLINE_EXCEEDED",
      "abort w10 c1#1 DEADLINE_EXCEEDED",
      "release c1#1",
    ]);
    expect(scene.core.worker(10)!.inFlight).toBe(1);
    // Late, but it is this worker's answer: it is free again, and the client hears no more.
    expect(scene.reply(1, 1)).toEqual(["dispatch w10 c1#2"]);
    scene.reply(1, 2);
    expect(scene.core.counts.stale).toBe(0);
    expectEmpty(scene);
  });

  test("no deadline given: the longest allowed; a longer one is cut to it", () => {
    const scene = newScene({ timeoutMsMax: 60_000, queueWaitMsMax: 10_000 });
    scene.worker(10, 2);
    scene.ask(1, 1);
    scene.ask(1, 2, { timeoutMs: 999_999_999 });
    expect(scene.pass(59_999)).toEqual([]);
    expect(
      scene
        .pass(1)
        .filter((effect) => effect.startsWith("fail"))
        .sort(),
    ).toEqual(["fail c1#1 DEADLINE_EXCEEDED", "fail c1#2 DEADLINE_EXCEEDED"]);
  });

  test("a redelivery keeps its first deadline", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1, { timeoutMs: 100 });
    scene.pass(60);
    scene.leave(10);
    scene.worker(11);
    expect(scene.pass(40)[0]).toBe("fail c1#1 DEADLINE_EXCEEDED");
  });

  test("waited too long for a busy worker: RESOURCE_EXHAUSTED with retry-after", () => {
    const scene = newScene({ queueWaitMsMax: 200, absentWaitMs: 100 });
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.pass(199)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#2 RESOURCE_EXHAUSTED", "release c1#2"]);
    expect(scene.lastRetryAfterMs).toBeGreaterThan(0);
    expect(scene.core.counts).toMatchObject({ refused: 1, refusedAfterWait: 1, expired: 0 });
    // In flight, it is the deadline alone that counts.
    expect(scene.pass(10_000)).toEqual([]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expectEmpty(scene);
  });

  test("dispatched after a wait, the limit on waiting does not end it", () => {
    const scene = newScene({ queueWaitMsMax: 200, absentWaitMs: 100 });
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2, { timeoutMs: 500 });
    scene.pass(100);
    scene.reply(1, 1);
    expect(scene.pass(399)).toEqual([]);
    expect(scene.pass(1)[0]).toBe("fail c1#2 DEADLINE_EXCEEDED");
  });
});

describe("absent services", () => {
  test("never served: NOT_FOUND before its own deadline, so that its client hears why", () => {
    const scene = newScene({ absentWaitMs: 100 });
    scene.ask(1, 1, { service: "nobody", timeoutMs: 50 });
    scene.ask(1, 2, { service: "nobody", timeoutMs: 500 });
    expect(scene.pass(44)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#1 NOT_FOUND", "release c1#1"]);
    expect(scene.pass(54)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#2 NOT_FOUND", "release c1#2"]);
  });

  test("never served: NOT_FOUND after a while, and the name is forgotten", () => {
    const scene = newScene({ absentWaitMs: 100 });
    expect(scene.ask(1, 1, { service: "typo" })).toEqual(["hold c1#1"]);
    expect(scene.pass(99)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#1 NOT_FOUND", "release c1#1"]);
    expect(scene.core.registry.services.size).toBe(0);
    expect(scene.core.counts).toMatchObject({ refused: 1, expired: 0, failures: 1 });
    expectEmpty(scene);
  });

  test("served once: UNAVAILABLE", () => {
    const scene = newScene({ absentWaitMs: 100 });
    scene.worker(10);
    scene.leave(10);
    scene.ask(1, 1);
    expect(scene.pass(100)).toEqual(["fail c1#1 UNAVAILABLE", "release c1#1"]);
    expect(scene.lastRetryAfterMs).toBe(1000);
    expect(scene.core.counts).toMatchObject({ refusedAfterWait: 1, expired: 0 });
    expectEmpty(scene);
  });

  test("what waits when the last worker leaves hears of it too, in the time it has", () => {
    const scene = newScene({ absentWaitMs: 1000 });
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2, { timeoutMs: 500 });
    scene.ask(1, 3, { timeoutMs: 5000 });
    scene.pass(400);
    scene.drain(10);
    expect(scene.pass(50)).toEqual(["fail c1#2 UNAVAILABLE", "release c1#2"]);
    expect(scene.pass(549)).toEqual([]);
    expect(scene.pass(1)).toEqual(["fail c1#3 UNAVAILABLE", "release c1#3"]);
    // One that waits for longer than it would for nobody is looked after once a second.
    scene.reply(1, 1);
    scene.worker(11);
    scene.ask(1, 4);
    scene.ask(1, 5, { timeoutMs: 9000 });
    scene.pass(3500);
    scene.drain(11);
    expect(scene.pass(1000)).toEqual(["fail c1#5 UNAVAILABLE", "release c1#5"]);
  });

  test("a worker that comes in time takes what waits", () => {
    const scene = newScene({ absentWaitMs: 100 });
    scene.ask(1, 1);
    scene.pass(99);
    expect(scene.worker(10)).toEqual(["dispatch w10 c1#1"]);
    expect(scene.pass(500)).toEqual([]);
  });

  test("with more unknown names than half of servicesMax: NOT_FOUND at once", () => {
    const scene = newScene({ servicesMax: 4, workerServicesMax: 2 });
    scene.ask(1, 1, { service: "a" });
    scene.ask(1, 2, { service: "b" });
    expect(scene.ask(1, 3, { service: "c" })).toEqual(["fail c1#3 NOT_FOUND"]);
    scene.cancel(1, 1);
    expect(scene.ask(1, 3, { service: "c" })).toEqual(["hold c1#3"]);
  });
});

describe("cancel and leave", () => {
  test("cancelled in the queue: gone, and nobody is told", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.cancel(1, 2)).toEqual(["release c1#2"]);
    expect(scene.cancel(1, 2)).toEqual([]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expect(scene.core.counts.cancelled).toBe(1);
    expectEmpty(scene);
  });

  test("cancelled in flight: the worker is told, its credit returns when it answers", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.cancel(1, 1)).toEqual(["abort w10 c1#1 CANCELLED", "release c1#1"]);
    expect(scene.cancel(1, 1)).toEqual([]);
    expect(scene.failure(1, 1, Status.CANCELLED)).toEqual(["dispatch w10 c1#2"]);
    scene.reply(1, 2);
    expectEmpty(scene);
  });

  test("another client's request cannot be cancelled", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.cancel(2, 1)).toEqual([]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
  });

  test("a client that leaves takes with it what it asked, and nothing else", () => {
    const scene = newScene();
    scene.worker(10, 2);
    scene.ask(1, 1);
    scene.ask(2, 1);
    scene.ask(1, 2);
    scene.ask(2, 2);
    expect(scene.leave(1).sort()).toEqual([
      "abort w10 c1#1 CANCELLED",
      "release c1#1",
      "release c1#2",
    ]);
    expect(scene.reply(1, 1)).toEqual(["dispatch w10 c2#2"]);
    expect(scene.reply(2, 1)).toEqual(["reply c2#1", "release c2#1"]);
    scene.reply(2, 2);
    expect(scene.core.clientCount).toBe(2);
    expect(scene.ask(1, 5)).toEqual(["refuse p1 UNAUTHENTICATED"]);
    expectEmpty(scene);
  });
});

describe("drain", () => {
  test("no new work; in flight finishes; told once", () => {
    const scene = newScene();
    scene.worker(10, 2);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.drain(10)).toEqual([]);
    expect(scene.drain(10)).toEqual([]);
    expect(scene.ask(1, 3)).toEqual(["hold c1#3"]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    // Credit does not bring it back.
    expect(scene.do({ kind: "credit", peer: 10, concurrency: 5 })).toEqual([]);
    expect(scene.reply(1, 2)).toEqual(["reply c1#2", "release c1#2", "drained w10"]);
    expect(scene.drain(10)).toEqual([]);
    expect(scene.leave(10)).toEqual([]);
    expect(scene.worker(11)).toEqual(["dispatch w11 c1#3"]);
  });

  test("with nothing in flight: at once", () => {
    const scene = newScene();
    scene.worker(10);
    expect(scene.drain(10)).toEqual(["drained w10"]);
    expect(scene.drain(10)).toEqual([]);
  });

  test("what it never started on goes to another, first in line, and counts no attempt", () => {
    const scene = newScene();
    scene.worker(10, 2);
    scene.ask(1, 1, { attempts: 1 });
    scene.ask(1, 2, { attempts: 1 });
    scene.ask(1, 3);
    scene.worker(11, 1, ["echo"]);
    scene.ask(1, 4);
    scene.drain(10);
    expect(scene.failure(1, 2, Status.UNAVAILABLE, true)).toEqual(["hold c1#2"]);
    expect(scene.reply(1, 3).at(-1)).toBe("dispatch w11 c1#2");
    expect(scene.failure(1, 1, Status.UNAVAILABLE, true)).toEqual(["hold c1#1", "drained w10"]);
    expect(scene.core.counts.redelivered).toBe(0);
    // Its single attempt is with w11 now.
    scene.leave(10);
    expect(scene.leave(11)).toEqual(["fail c1#2 UNAVAILABLE", "release c1#2"]);
    expect(scene.worker(12)).toEqual(["dispatch w12 c1#1"]);
  });

  test("an aborted one is waited for", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    scene.cancel(1, 1);
    expect(scene.drain(10)).toEqual([]);
    expect(scene.failure(1, 1, Status.CANCELLED, true)).toEqual(["drained w10"]);
    expectEmpty(scene);
  });

  test("untouched, from a worker that does not drain, is a failure like any", () => {
    const scene = newScene();
    scene.worker(10);
    scene.ask(1, 1);
    expect(scene.failure(1, 1, Status.UNAVAILABLE, true)).toEqual([
      "fail c1#1 UNAVAILABLE",
      "release c1#1",
    ]);
    expect(scene.lastAttempts).toBe(0);
  });
});

test("a failure says how many attempts were made: none unless a worker may have begun", () => {
  const scene = newScene({ queueCountMax: 1 });
  scene.worker(10);
  scene.ask(1, 1);
  expect(scene.failure(1, 1, Status.INTERNAL)).toEqual(["fail c1#1 INTERNAL", "release c1#1"]);
  expect(scene.lastAttempts).toBe(1);
  scene.ask(1, 2, { attempts: 2 });
  scene.ask(1, 3);
  expect(scene.ask(1, 4)).toEqual(["fail c1#4 RESOURCE_EXHAUSTED"]);
  expect(scene.lastAttempts).toBe(0);
  // Two workers die of the second; the third never had one.
  scene.leave(10);
  scene.worker(11);
  expect(scene.leave(11)).toContain("fail c1#2 UNAVAILABLE");
  expect(scene.lastAttempts).toBe(2);
  const ended = scene.pass(10_000);
  expect(ended).toContain("fail c1#3 UNAVAILABLE");
  expect(scene.lastAttempts).toBe(0);
});

describe("credit", () => {
  test("more is used at once, less when the work is done", () => {
    const scene = newScene();
    scene.worker(10, 1);
    for (const sequence of [1, 2, 3, 4, 5]) scene.ask(1, sequence);
    expect(scene.do({ kind: "credit", peer: 10, concurrency: 3 })).toEqual([
      "dispatch w10 c1#2",
      "dispatch w10 c1#3",
    ]);
    expect(scene.do({ kind: "credit", peer: 10, concurrency: 1 })).toEqual([]);
    expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1"]);
    expect(scene.reply(1, 2)).toEqual(["reply c1#2", "release c1#2"]);
    expect(scene.reply(1, 3).at(-1)).toBe("dispatch w10 c1#4");
  });

  test("out of range is refused, and changes nothing", () => {
    const scene = newScene();
    scene.worker(10, 2);
    for (const concurrency of [0, -1, 65_536, Number.NaN]) {
      expect(scene.do({ kind: "credit", peer: 10, concurrency })).toEqual([
        "refuse p10 INVALID_ARGUMENT",
      ]);
    }
    expect(scene.core.worker(10)!.concurrency).toBe(2);
  });
});

describe("stays bounded", () => {
  const fail = (sequence: number, client = 1) => `fail c${client}#${sequence} RESOURCE_EXHAUSTED`;

  test("a queue by count", () => {
    const scene = newScene({ queueCountMax: 4 });
    const [, , , , fifth] = [1, 2, 3, 4, 5].map((sequence) => scene.ask(1, sequence));
    expect(fifth).toEqual([fail(5)]);
    expect(scene.lastRetryAfterMs).toBeGreaterThan(0);
    expect(scene.core.counts).toMatchObject({ refused: 1, refusedAfterWait: 0, failures: 0 });
    // Another service has a queue of its own.
    expect(scene.ask(1, 6, { service: "other" })).toEqual(["hold c1#6"]);
  });

  test("a queue by bytes", () => {
    const scene = newScene({ queueBytesMax: 100, recordBytesMax: 100 });
    scene.ask(1, 1, { bytes: 60 });
    expect(scene.ask(1, 2, { bytes: 41 })).toEqual([fail(2)]);
    expect(scene.ask(1, 3, { bytes: 40 })).toEqual(["hold c1#3"]);
    scene.cancel(1, 1);
    expect(scene.ask(1, 4, { bytes: 60 })).toEqual(["hold c1#4"]);
  });

  test("a queue by the share of one client: another still gets in", () => {
    const scene = newScene({ queueCountMax: 100, queueShare: 1 });
    let held = 0;
    for (let sequence = 0; sequence < 100; sequence++) {
      if (scene.ask(1, sequence)[0].startsWith("hold")) held++;
    }
    // Half, since it may fill up to the space still free.
    expect(held).toBe(50);
    expect(scene.ask(2, 1)).toEqual(["hold c2#1"]);
    expect(scene.ask(3, 1)).toEqual(["hold c3#1"]);
    expect(scene.ask(1, 100)).toEqual([fail(100)]);
  });

  test("one client by what it has in flight, the queue included", () => {
    const scene = newScene({ clientInFlightMax: 2 });
    scene.worker(10, 1);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.ask(1, 3)).toEqual([fail(3)]);
    expect(scene.ask(2, 1)).toEqual(["hold c2#1"]);
    scene.reply(1, 1);
    expect(scene.ask(1, 3)).toEqual(["hold c1#3"]);
    scene.cancel(1, 3);
    expect(scene.ask(1, 4)).toEqual(["hold c1#4"]);
  });

  test("the broker by requests, those that only a worker still has included", () => {
    const scene = newScene({ requestsMax: 2, queueCountMax: 2, clientInFlightMax: 2 });
    scene.worker(10, 5);
    scene.ask(1, 1);
    scene.ask(1, 2);
    expect(scene.ask(2, 1)).toEqual([fail(1, 2)]);
    scene.cancel(1, 1);
    expect(scene.ask(2, 1)).toEqual([fail(1, 2)]);
    scene.reply(1, 1);
    expect(scene.ask(2, 1)).toEqual(["dispatch w10 c2#1"]);
  });

  test("the broker by bytes", () => {
    const limits = { requestBytesMax: 100, queueBytesMax: 100, recordBytesMax: 100 };
    const scene = newScene(limits);
    scene.worker(10, 5);
    scene.ask(1, 1, { bytes: 90 });
    expect(scene.ask(2, 1, { bytes: 11 })).toEqual([fail(1, 2)]);
    expect(scene.ask(2, 2, { bytes: 10 })).toEqual(["dispatch w10 c2#2"]);
    expect(scene.core.requests.bytesHeld).toBe(100);
    scene.cancel(1, 1);
    expect(scene.core.requests.bytesHeld).toBe(10);
  });

  test("a request too large, of a priority there is not: INVALID_ARGUMENT", () => {
    const scene = newScene({ recordBytesMax: 100 });
    expect(scene.ask(1, 1, { bytes: 101 })).toEqual(["fail c1#1 INVALID_ARGUMENT"]);
    expect(scene.ask(1, 1, { priority: 8 })).toEqual(["fail c1#1 INVALID_ARGUMENT"]);
    expect(scene.core.counts.refused).toBe(2);
    expectEmpty(scene);
  });

  test("slots are reused: memory does not follow the number of requests", () => {
    const scene = newScene();
    scene.worker(10, 4);
    for (let sequence = 0; sequence < 20_000; sequence++) {
      scene.ask(1, sequence);
      scene.reply(1, sequence);
    }
    expect(scene.core.requests.capacity).toBe(1024);
    expect(scene.core.counts.replies).toBe(20_000);
    expectEmpty(scene);
  });

  test("after a burst the broker is as before", () => {
    const scene = newScene({ queueCountMax: 100 });
    scene.worker(10, 2);
    let refused = 0;
    for (let sequence = 0; sequence < 500; sequence++) {
      if (scene.ask((sequence % 3) + 1, sequence)[0].startsWith("fail")) refused++;
    }
    expect(refused).toBeGreaterThan(300);
    scene.pass(10_000);
    for (const sequence of [0, 1]) scene.reply((sequence % 3) + 1, sequence);
    expectEmpty(scene);
    expect(scene.ask(1, 1000)).toEqual(["dispatch w10 c1#1000"]);
  });
});

test("clients take turns, and priorities go first", () => {
  const scene = newScene();
  scene.worker(10);
  scene.ask(3, 0);
  for (const sequence of [1, 2, 3]) scene.ask(1, sequence);
  scene.ask(2, 1);
  scene.ask(2, 9, { priority: 0 });
  const order: string[] = [];
  let [client, sequence] = [3, 0];
  for (let i = 0; i < 5; i++) {
    const name = scene.reply(client, sequence).at(-1)!.split(" ")[2];
    order.push(name);
    [client, sequence] = name.slice(1).split("#").map(Number);
  }
  expect(order).toEqual(["c2#9", "c1#1", "c2#1", "c1#2", "c1#3"]);
});

test("shutdown: no new requests; those it holds still end", () => {
  const scene = newScene();
  scene.worker(10);
  scene.ask(1, 1);
  scene.ask(1, 2);
  expect(scene.do({ kind: "shutdown" })).toEqual([]);
  expect(scene.ask(1, 3)).toEqual(["fail c1#3 UNAVAILABLE"]);
  expect(scene.lastRetryAfterMs).toBeGreaterThan(0);
  expect(scene.reply(1, 1)).toEqual(["reply c1#1", "release c1#1", "dispatch w10 c1#2"]);
  expect(scene.reply(1, 2)).toEqual(["reply c1#2", "release c1#2"]);
  expectEmpty(scene);
});

test("a clock that starts anywhere", () => {
  for (const startMs of [0.25, 2 ** 31 - 10, 1_790_000_000_000.7]) {
    const scene = newScene({}, startMs);
    scene.worker(10);
    scene.ask(1, 1, { timeoutMs: 100 });
    expect(scene.pass(99)).toEqual([]);
    expect(scene.pass(2)[0]).toBe("fail c1#1 DEADLINE_EXCEEDED");
  }
});
