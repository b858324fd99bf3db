// What Majordomo programs do beside asking and answering: they find services, take a reply in parts, and
// come back when the broker does.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Broker } from "../../build/index.js";
import { clients, python, workers } from "./kinds.js";
import { eventually, Program } from "./program.js";

let broker: Broker;
beforeEach(async () => {
  broker = await Broker.start({ frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" });
});
afterEach(async () => {
  await broker.close({ timeoutMs: 0 });
});

const isMajordomo = (kind: string) => kind.includes("Majordomo");

/** A program of `kind`, for another service than `default`. */
function start(kinds: typeof clients, kind: string, service: string, ...args: string[]): Program {
  return new Program(kind, [...kinds[kind].slice(0, -1), service, ...args]);
}

describe.each(Object.keys(clients).filter(isMajordomo))("a client in %s", (kind) => {
  test("finds out which services there are", async () => {
    start(workers, "C Majordomo", "echo", broker.backend[0], "a");
    await eventually("the worker is there", () => broker.stats.workers === 1);
    const [frontend] = broker.frontend;
    const asked = start(clients, kind, "mmi.service", frontend, "echo", "nobody");
    expect(await asked.output()).toBe("200\n404\n");
    expect(await start(clients, kind, "mmi.other", frontend, "x").output()).toBe("501\n");
  });
});

describe.each(Object.keys(workers).filter(isMajordomo))("a worker in %s", (kind) => {
  test("comes to the next broker at the same address", async () => {
    const worker = start(workers, kind, "echo", broker.backend[0], "a");
    await eventually("it is there", () => broker.stats.workers === 1);
    const { frontend, backend } = broker;
    await broker.close();
    broker = await Broker.start({ frontend, backend });
    await eventually("it is back", () => broker.stats.workers === 1);
    const asked = start(clients, "Python Majordomo", "echo", frontend[0], "hello");
    expect(await asked.output()).toBe("a hello\n");
    expect(worker.stderr).toBe("");
  });

  test("begins anew when it was stopped for too long", async () => {
    const worker = start(workers, kind, "echo", broker.backend[0], "a");
    await eventually("it is there", () => broker.stats.workers === 1);
    worker.signal("SIGSTOP");
    await eventually("it is gone", () => broker.stats.workers === 0);
    worker.signal("SIGCONT");
    await eventually("it is back", () => broker.stats.workers === 1);
  });
});

test("a reply in parts: as they come to a client of 0.2, as one to any other", async () => {
  const program = [python, "examples/majordomo/mdworker.py", "--v2", "--parts"];
  new Program("worker", [...program, "default", broker.backend[0], "a"]);
  await eventually("it is there", () => broker.stats.workers === 1);
  for (const kind of Object.keys(clients)) {
    const client = new Program(kind, [...clients[kind], broker.frontend[0], "hello"]);
    const expected = kind.endsWith("0.2") ? "a\nhello\n" : /^a ?hello\n$/;
    expect([kind, await client.output()]).toEqual([kind, expect.stringMatching(expected)]);
  }
});
