// Majordomo messages of all kinds, whole, cut, mixed and made up, from peers that come and go, beside honest ones:
// nothing throws, whoever does as it should is served, and nothing is left in the end.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Random } from "../random.mjs";
import { clientHello, request, Stage } from "./fake-port.js";
import { seedOfRun } from "./processes.js";

const times = { heartbeatMs: 100, liveness: 3, busyLiveness: 8 };
const limits = {
  requestsMax: 64,
  clientInFlightMax: 8,
  queueCountMax: 32,
  servicesMax: 16,
  workerServicesMax: 4,
};
const MESSAGES = 20_000;
const sides = ["frontend", "backend"] as const;
type Side = (typeof sides)[number];

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});

afterEach(() => vi.useRealTimers());

it("20,000 messages", () => {
  const seed = seedOfRun();
  const random = new Random(seed);
  const stage = new Stage({ ...limits, recordBytesMax: 2000, queueBytesMax: 20_000 }, times);
  const { exchange } = stage;
  const { core } = exchange;
  const names = (side: Side) => [1, 2, 3, 4, 5, 6].map((n) => `${side} ${n}`);
  const addresses: Buffer[] = [Buffer.alloc(8), Buffer.alloc(0)];
  let honestAsked = 0;
  const waiting = new Set<string>();

  const text = () =>
    random.pick(["echo", "echo", "streams", "other", "mmi.service", "mmi.x", "", "a\n", "x"]);
  const part = (): Buffer => {
    const kinds = [
      () => Buffer.alloc(0),
      () => Buffer.from(text()),
      () => Buffer.of(random.below(9)),
      () => random.pick(addresses),
      () => Buffer.from(random.pick(["MDPC01", "MDPC02", "MDPW01", "MDPW02", "MDPW03"])),
      () => Buffer.alloc(random.pick([1, 8, 500, 2500]), 0xff),
    ];
    return random.pick(kinds)();
  };
  const whole = (side: Side): Buffer[] => {
    const version = 1 + random.below(2);
    const before = version === 1 || random.chance(50) ? [Buffer.alloc(0)] : [];
    const body = Array.from({ length: random.below(4) }, part);
    const service = Buffer.from(text());
    if (side === "frontend") {
      const command = version === 2 ? [Buffer.of(1)] : [];
      return [...before, Buffer.from(`MDPC0${version}`), ...command, service, ...body];
    }
    const header = Buffer.from(`MDPW0${version}`);
    const command = 1 + random.below(6);
    if (command === 1) return [...before, header, Buffer.of(1), service];
    const answer = [random.pick(addresses), Buffer.alloc(0), ...body];
    return [...before, header, Buffer.of(command), ...(random.chance(90) ? answer : body)];
  };
  const mutated = (side: Side): Buffer[] => {
    const frames = whole(side);
    if (random.chance(30)) frames.splice(random.below(frames.length), 1);
    if (random.chance(30)) frames.splice(random.below(frames.length + 1), 0, part());
    if (random.chance(10) && frames.length > 0) frames[random.below(frames.length)] = part();
    return frames.length === 0 ? [part()] : frames;
  };
  /** An honest worker that is there all along answers what it is handed. */
  const serve = () => {
    for (const frames of stage.takeMessages("backend", "honest")) {
      if (frames[2][0] === 5) stage.receive("backend", "honest", ready);
      if (frames[2][0] !== 2) continue;
      stage.receive("backend", "honest", [...frames.slice(0, 2), Buffer.of(3), ...frames.slice(3)]);
    }
  };
  /** A native client asks any of them for streams, and reads what comes; one is there for that most of the time. */
  let streams = 0;
  const stream = () => {
    const { slot, generation, session } = request(++streams);
    if (random.chance(20)) {
      stage.receive(
        "backend",
        "odd",
        ["MDPW02", "\x01", "streams"].map((text) => Buffer.from(text)),
      );
    }
    const grant = { partsMax: String(1 + random.below(6)), bytesMax: "4000" };
    const id = { slot, generation, session, sequence: streams, flags: 0 };
    const change = { service: "streams", flags: 9, timeoutMs: 500 };
    stage.send("frontend", "native", request(streams, change), {
      kind: "STREAM_CREDIT",
      ...id,
      ...grant,
    });
    if (random.chance(20)) stage.send("frontend", "native", { kind: "CANCEL", ...id, status: 0 });
    stage.take("frontend", "native");
  };
  stage.send("frontend", "native", clientHello());
  const ready = [Buffer.alloc(0), Buffer.from("MDPW01"), Buffer.of(1), Buffer.from("honest")];
  const question = ["", "MDPC01", "honest", "q"].map((frame) => Buffer.from(frame));
  stage.receive("backend", "honest", ready);

  for (let count = 0; count < MESSAGES; count++) {
    const side = random.pick(sides);
    const peer = random.pick(names(side));
    if (random.chance(2)) stage.receive(side, peer, [Buffer.alloc(0)]);
    else stage.receive(side, peer, random.chance(50) ? whole(side) : mutated(side));
    if (random.chance(30)) exchange.onTurn();
    if (random.chance(5)) vi.advanceTimersByTime(random.below(120));
    for (const name of ["odd", ...names("backend")]) {
      for (const frames of stage.takeMessages("backend", name)) {
        const address = frames.find((frame) => frame.length === 8);
        if (address === undefined) continue;
        addresses[2 + random.below(20)] = Buffer.from(address);
        // Some begin to answer, as they should or not.
        const head = frames.slice(0, frames.indexOf(address) - 1);
        for (let left = random.chance(50) ? random.below(6) : 0; left > 0; left--) {
          const command = Buffer.of(random.chance(80) ? 3 : 4);
          stage.receive("backend", name, [...head, command, address, Buffer.alloc(0), part()]);
        }
      }
    }
    for (let i = 2; i < 22; i++) addresses[i] ??= Buffer.alloc(8);
    for (const name of names("frontend")) stage.takeMessages("frontend", name);
    if (random.chance(5)) {
      const asker = `asker ${++honestAsked}`;
      waiting.add(asker);
      stage.receive("frontend", asker, question);
    }
    if (random.chance(15)) stream();
    exchange.onTurn();
    serve();
    stage.receive("backend", "honest", [...ready.slice(0, 2), Buffer.of(4)]);
    exchange.onTurn();
    for (const asker of waiting) {
      if (stage.takeMessages("frontend", asker).length === 0) continue;
      waiting.delete(asker);
      stage.receive("frontend", asker, [Buffer.alloc(0)]);
    }
    expect(core.requests.count).toBeLessThanOrEqual(limits.requestsMax);
    expect(exchange.peers.count).toBeLessThanOrEqual(15 + waiting.size);
  }

  const { alien, malformed, stranger, role } = exchange.faults;
  for (const faults of [alien, malformed, stranger, role]) expect(faults).toBeGreaterThan(100);
  expect(core.counts.stale).toBeGreaterThan(100);
  expect(core.counts.replies).toBeGreaterThan(100);
  expect(core.counts.parts).toBeGreaterThan(10);
  expect(honestAsked).toBeGreaterThan(100);
  // What the strangers had left no room for is tried again, and the last ones may still wait.
  expect(waiting.size).toBeLessThan(honestAsked / 20);
  for (const side of sides) {
    for (const peer of names(side)) stage.receive(side, peer, [Buffer.alloc(0)]);
  }
  for (const asker of waiting) stage.receive("frontend", asker, [Buffer.alloc(0)]);
  stage.receive("backend", "honest", [Buffer.alloc(0)]);
  stage.receive("backend", "odd", [Buffer.alloc(0)]);
  stage.receive("frontend", "native", [Buffer.alloc(0)]);
  exchange.onTurn();
  vi.advanceTimersByTime(20_000);
  expect([exchange.peers.count, core.requests.count, core.requests.bytesHeld]).toEqual([0, 0, 0]);
  expect(core.workerCount + core.clientCount).toBe(0);
  expect([exchange.majordomo.partRoom.count, exchange.majordomo.partRoom.cost]).toEqual([0, 0]);
  expect(vi.getTimerCount()).toBe(0);
  stage.close();
});
