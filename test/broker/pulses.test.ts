// The second connection of a worker, as the exchange sees it.
import { afterEach, beforeEach, expect, it } from "vitest";
import { clientHello, pulseHello, request, Stage, workerHello } from "./fake-port.js";

let stage: Stage;

beforeEach(() => {
  stage = new Stage();
});

afterEach(() => stage.close());

const other = "8877665544332211";
const pulses = () => stage.ports.backend.pulses;

function startWorker(peer: string, session?: string): void {
  stage.send("backend", peer, workerHello(["echo"], 4, session));
  expect(stage.take("backend", peer)).toMatchObject([{ kind: "WELCOME" }]);
}

it("stands for the worker of its session, is told nothing, and is no worker", () => {
  startWorker("w");
  startWorker("v", other);
  stage.send("backend", "p", pulseHello());
  stage.send("backend", "q", pulseHello(other));
  expect(pulses()).toEqual([
    ["p", "w"],
    ["q", "v"],
  ]);
  expect([stage.take("backend", "p"), stage.take("backend", "q")]).toEqual([[], []]);
  expect([stage.exchange.core.workerCount, stage.exchange.peers.count]).toEqual([2, 2]);
  // The notice of its end is of nobody that is known.
  stage.receive("backend", "p", [new Uint8Array(0)]);
  expect(stage.exchange.core.workerCount).toBe(2);
  expect(stage.exchange.faults.role).toBe(0);
});

it("is refused and counted where no worker has its session, or not any more", () => {
  startWorker("w", other);
  const refused = { kind: "ERROR", status: 7, record: 0 };
  stage.send("backend", "p", pulseHello());
  expect(stage.take("backend", "p")).toMatchObject([refused]);
  stage.send("frontend", "c", clientHello());
  stage.take("frontend", "c");
  // Of a client there is none, wherever it asks.
  stage.send("frontend", "p", pulseHello());
  stage.send("backend", "p", pulseHello());
  expect(stage.take("frontend", "p")).toMatchObject([refused]);
  expect(stage.take("backend", "p")).toMatchObject([refused]);
  stage.send("backend", "w", { kind: "BYE" });
  stage.send("backend", "p", pulseHello(other));
  expect(stage.take("backend", "p")).toMatchObject([refused]);
  expect(pulses()).toEqual([]);
  expect(stage.exchange.faults.role).toBe(4);
});

it("is refused on a connection that is known, which stays what it is", () => {
  startWorker("w");
  startWorker("v", other);
  stage.send("backend", "v", pulseHello());
  expect(stage.take("backend", "v")).toMatchObject([{ kind: "ERROR", status: 7 }]);
  expect(pulses()).toEqual([]);
  expect(stage.exchange.core.workerCount).toBe(2);
});

it("stands for the latest of two connections with its session: the other may be long dead", () => {
  startWorker("w");
  startWorker("again");
  stage.send("backend", "p", pulseHello());
  stage.receive("backend", "w", [new Uint8Array(0)]);
  stage.send("backend", "q", pulseHello());
  expect(pulses()).toEqual([
    ["p", "again"],
    ["q", "again"],
  ]);
});

it("may be asked for by a stranger as often as it likes: it costs no look at all workers", () => {
  for (let i = 1; i <= 5000; i++) startWorker(`w${i}`, i.toString(16).padStart(16, "0"));
  const hellos = Array.from({ length: 2000 }, () => pulseHello("ffffffffffffffff"));
  const beganMs = performance.now();
  for (let i = 0; i < 50; i++) stage.send("backend", "p", ...hellos);
  // A look at each would be half a thousand million.
  expect(performance.now() - beganMs).toBeLessThan(5000);
  expect(stage.exchange.faults.role).toBe(100_000);
  expect(stage.take("backend", "p")).toHaveLength(50);
});

it("that says more is a stranger all the same", () => {
  startWorker("w");
  stage.send("backend", "p", pulseHello(), request(1));
  expect(stage.take("backend", "p")).toMatchObject([{ kind: "ERROR", status: 16, record: 1 }]);
  expect(stage.exchange.faults.stranger).toBe(1);
});
