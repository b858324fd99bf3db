// Every kind of client against every kind of worker, through one broker.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Broker } from "../../build/index.js";
import { clients, workers } from "./kinds.js";
import { eventually, Program } from "./program.js";

let broker: Broker;
beforeAll(async () => {
  broker = await Broker.start({ frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" });
});
afterAll(() => broker.close());

const clientKinds = Object.keys(clients);
const workerKinds = Object.keys(workers);
/** Java and Python take a second of a core to start. */
const STARTING_COUNT_MAX = 4;

/** A body in one record, one beyond ASCII, and one that travels as a frame of its own. */
const BODIES = ["hello", "größe 数", "x".repeat(20_000)];

const startWorker = (kind: string, name: string, delayMs = 0) =>
  new Program(`worker ${kind}`, [...workers[kind], broker.backend[0], name, String(delayMs)]);

const startClient = (kind: string, ...bodies: string[]) =>
  new Program(`client ${kind}`, [...clients[kind], broker.frontend[0], ...bodies]);

const isServing = (count: number) => () => broker.stats.workers === count;

describe.each(workerKinds)("a worker in %s", (kind) => {
  test("answers clients of every kind", async () => {
    await eventually("those before it are gone", isServing(0));
    startWorker(kind, "first");
    await eventually(`${kind} is there`, isServing(1));
    const answers: Record<string, string> = {};
    const waiting = [...clientKinds];
    const askOneAfterAnother = async () => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        answers[next] = await startClient(next, ...BODIES).output();
      }
    };
    await Promise.all(Array.from({ length: STARTING_COUNT_MAX }, askOneAfterAnother));
    const expected = BODIES.map((body) => `first ${body}\n`).join("");
    for (const client of clientKinds) expect([client, answers[client]]).toEqual([client, expected]);
  });

  test("killed in mid-request: another answers, clients of every kind", async () => {
    await eventually("those before it are gone", isServing(0));
    const { redelivered } = broker.stats.counts;
    const dying = startWorker(kind, "dying", 86_400_000);
    await eventually(`${kind} is there`, isServing(1));
    const asking = clientKinds.map((client) => startClient(client, client));
    await eventually("all have asked", () => broker.stats.requests >= asking.length);
    await dying.until("running ");
    // The next kind in turn takes over what was begun.
    const other = workerKinds[(workerKinds.indexOf(kind) + 1) % workerKinds.length];
    startWorker(other, "other");
    await eventually(`${other} is there`, isServing(2));
    await dying.kill();
    for (const [index, client] of asking.entries()) {
      expect(await client.output()).toBe(`other ${clientKinds[index]}\n`);
    }
    expect(broker.stats.counts.redelivered).toBeGreaterThan(redelivered);
  });
});
