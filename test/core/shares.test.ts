// What one client, or one service, may cost the others.
import { expect, test } from "vitest";
import { Status } from "../../build/base/status.js";
import { WaitControl } from "../../build/core/wait-control.js";
import { Scene } from "./scene.ts";

const MiB = 1024 * 1024;

test("one client's bytes leave room in a queue, and in the broker, for the next client", () => {
  const scene = new Scene({ recordBytesMax: 16 * MiB });
  scene.client(1, 2);
  scene.worker(10);
  scene.ask(2, 1);
  const taken = [1, 2, 3, 4].filter(
    (i) => scene.ask(1, i, { bytes: 16 * MiB })[0] === `hold c1#${i}`,
  );
  expect(taken).toEqual([1, 2, 3, 4]);
  // The queue's 64 MiB are full; of a little less its one client has its share.
  scene.cancel(1, 4);
  for (let i = 5; i <= 20; i++) scene.ask(1, i, { bytes: MiB });
  expect(scene.ask(2, 2)).toEqual(["hold c2#2"]);
  // The same of all the broker holds, for whatever names.
  for (let i = 21; i <= 90; i++) scene.ask(1, i, { service: `none.${i % 9}`, bytes: MiB });
  expect(scene.lastReason).toBe("too many bytes in flight");
  expect(scene.ask(2, 3, { service: "other" })).toEqual(["hold c2#3"]);
});

test("who gets the number of a client that left owes nothing of what that owed", () => {
  const scene = new Scene({ fairQuantumBytes: 1024, lookAheadMax: 0 });
  scene.client(1, 2, 7);
  scene.worker(10);
  let sequence = 0;
  const ask = (peer: number, bytes = 10) => {
    scene.ask(peer, ++sequence, { bytes });
    return sequence;
  };
  const running = ask(1);
  for (let i = 0; i < 200; i++) for (const peer of [1, 2]) ask(peer);
  const large = ask(7, MiB);
  let effects = scene.reply(1, running);
  const next = () => {
    const [, peer, number] = /dispatch w10 c(\d)#(\d+)/.exec(effects.join(" ")) as RegExpExecArray;
    effects = scene.reply(Number(peer), Number(number));
    return Number(number);
  };
  while (next() !== large);
  scene.leave(7);
  scene.client(7);
  const small = ask(7);
  let served = 0;
  while (next() !== small) served++;
  expect(served).toBeLessThan(40);
});

test("what is known of one service's handlers says nothing of another's", () => {
  for (const isTask of [false, true]) {
    const scene = new Scene({}, 1000);
    scene.client(1);
    for (const peer of [10, 11, 12, 13]) scene.worker(peer, 1, ["fast", "slow"], true);
    for (let i = 1; i <= 8; i++) {
      scene.nowMs++;
      scene.ask(1, i, { service: "fast" });
      scene.reply(1, i, 3);
    }
    scene.nowMs += 50;
    const workers = [20, 21, 22, 23].map((i) => scene.ask(1, i, { service: "slow", isTask })[0]);
    expect(new Set(workers.map((effect) => effect.split(" ")[1])).size).toBe(4);
  }
});

test("a run ends where another service is asked for", () => {
  const scene = new Scene({}, 1000);
  scene.client(1);
  for (const peer of [10, 11]) scene.worker(peer, 1, ["fast", "slow"], true);
  for (let i = 1; i <= 4; i++) {
    scene.nowMs++;
    scene.ask(1, i, { service: "fast" });
    scene.reply(1, i, 3);
  }
  scene.nowMs++;
  const of = (i: number, service: string) => scene.ask(1, i, { service })[0].split(" ")[1];
  const first = of(10, "fast");
  expect(of(11, "fast")).toBe(first);
  expect(of(12, "slow")).not.toBe(first);
});

test("answers that are failures are served as well: they make no queue seem longer", () => {
  const scene = new Scene({}, 1000);
  scene.client(1);
  scene.worker(10);
  for (let i = 1; i <= 400; i++) {
    scene.nowMs++;
    scene.ask(1, i);
    if (i % 20 === 0) scene.reply(1, i);
    else scene.failure(1, i, Status.INTERNAL);
  }
  const { ratePerMs } = scene.core.registry.services.get("echo")!;
  expect(ratePerMs).toBeCloseTo(1, 1);
  // An hour of nothing says nothing of it.
  scene.nowMs += 3_600_000;
  scene.ask(1, 401);
  scene.reply(1, 401);
  expect(scene.core.registry.services.get("echo")!.ratePerMs).toBe(ratePerMs);
});

test("a wait at the target ends an overload", () => {
  const control = new WaitControl();
  const limits = { codelTargetMs: 100, codelIntervalMs: 200 } as never;
  control.judge(150, 150, 0, limits);
  control.judge(150, 150, 250, limits);
  expect(control.isOverloaded).toBe(true);
  control.judge(90, 90, 260, limits);
  expect(control.isOverloaded).toBe(false);
  control.judge(150, 150, 270, limits);
  expect(control.isOverloaded).toBe(false);
});

test("refusals of what waited too long are no turn of a low priority", () => {
  const limits = { codelTargetMs: 10, codelIntervalMs: 20, queueShortCount: 1, lookAheadMax: 0 };
  const scene = new Scene(limits, 1000);
  scene.client(1, 2);
  scene.worker(10);
  const priorities = new Map<number, number>();
  const current: [number, number][] = [];
  let lowCount = 0;
  const see = (effects: string[]) => {
    for (const effect of effects) {
      const found = /^dispatch w10 c(\d)#(\d+)/.exec(effect);
      if (found === null) continue;
      current.push([Number(found[1]), Number(found[2])]);
      if (priorities.get(Number(found[2])) === 7) lowCount++;
    }
  };
  const ask = (peer: number, priority: number) => {
    const sequence = priorities.size + 1;
    priorities.set(sequence, priority);
    see(scene.ask(peer, sequence, { priority }));
  };
  for (let i = 0; i < 1500; i++) ask(1, 0);
  for (let i = 0; i < 400; i++) {
    if (i % 10 === 0) ask(2, 7);
    scene.nowMs += 3;
    see(scene.reply(...(current.shift() as [number, number])));
  }
  expect(lowCount).toBeGreaterThanOrEqual(20);
});
