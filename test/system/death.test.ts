import { randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import { formatServiceKey, generateKey, generateServiceKey } from "../../build/codec/index.js";
import { Broker, Client, type RequestContext, RequestError, Worker } from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

/** Asks `count` times, `depth` at once; returns the worker's name for each, or the error. */
async function askAll(client: Client, count: number, depth: number, timeoutMs = 20_000) {
  const answers: string[] = new Array(count);
  let next = 0;
  const asker = async () => {
    for (let i = next++; i < count; i = next++) {
      answers[i] = await client
        .request<{ worker: string; echo: number }>("work", i, { timeoutMs })
        .then(({ worker, echo }) => (echo === i ? worker : "wrong"))
        .catch((error: RequestError) => error.message);
    }
  };
  await Promise.all(Array.from({ length: depth }, asker));
  return answers;
}

test("kill -9 of one of 3 workers under load: every request answered, none twice", async () => {
  await using broker = await Broker.start(loopback);
  const options = { brokers: broker.backend, delayMs: 2, concurrency: 8 };
  const workers: Party[] = [];
  for (const name of ["a", "b", "c"]) {
    workers.push(await Party.start("worker", { ...options, name }));
  }
  await using client = await Client.connect({ brokers: broker.frontend });
  const asking = askAll(client, 3000, 64);
  await workers[1].until("running", (count) => (count as number) >= 50);
  const killedMs = performance.now();
  workers[1].signal("SIGKILL");
  await eventually("the death is noticed", () => broker.stats.workers === 2);
  const noticedMs = performance.now() - killedMs;
  const answers = await asking;
  expect(new Set(answers)).toEqual(new Set(["a", "b", "c"]));
  expect(client.stats.replies).toBe(3000);
  expect(client.stats.late).toBe(0);
  expect(broker.stats.counts.redelivered).toBeGreaterThan(0);
  expect(broker.stats.requests).toBe(0);
  // Some 5 ms; by heartbeat alone it would be 1000.
  expect(noticedMs).toBeLessThan(500);
});

test("kill -9 under load, with keys agreed on: the retry opens on a worker that never heard of us", async () => {
  const serviceKey = await generateServiceKey();
  await using broker = await Broker.start(loopback);
  const options = {
    brokers: broker.backend,
    delayMs: 2,
    concurrency: 8,
    serviceKey: formatServiceKey(serviceKey),
  };
  const first = await Party.start("worker", { ...options, name: "first" });
  // All that it knows: the public key.
  await using client = await Client.connect({
    brokers: broker.frontend,
    servicePublicKeys: { work: serviceKey.publicKey },
  });
  expect(client.isSealed).toBe(true);
  const asking = askAll(client, 1000, 64);
  await first.until("running", (count) => (count as number) >= 50);
  first.signal("SIGKILL");
  await first.exit();
  // What it had begun goes to those that come up now.
  await Promise.all(["second", "third"].map((name) => Party.start("worker", { ...options, name })));
  const others = (await asking).filter((name) => name !== "first");
  expect(others.length).toBeGreaterThan(0);
  expect(others.filter((name) => name !== "second" && name !== "third")).toEqual([]);
  expect(client.stats.replies).toBe(1000);
  expect(broker.stats.counts.redelivered).toBeGreaterThan(0);
});

test("SIGSTOP of a worker: its work goes elsewhere, and it may come back", async () => {
  await using broker = await Broker.start(loopback);
  const options = { brokers: broker.backend, delayMs: 1, concurrency: 4 };
  const stopped = await Party.start("worker", { ...options, name: "stopped" });
  await Party.start("worker", { ...options, name: "other" });
  await using client = await Client.connect({ brokers: broker.frontend });
  const asking = askAll(client, 2000, 32);
  await stopped.until("running", (count) => (count as number) >= 20);
  stopped.signal("SIGSTOP");
  await eventually("it is taken for dead", () => broker.stats.workers === 1);
  const answers = await asking;
  expect(answers.filter((name) => name !== "stopped" && name !== "other")).toEqual([]);
  expect(client.stats.late).toBe(0);
  stopped.signal("SIGCONT");
  await eventually("it is back", () => broker.stats.workers === 2);
  expect(new Set(await askAll(client, 200, 32))).toContain("stopped");
});

test("a worker busy in a long computation is not taken for dead", async () => {
  await using broker = await Broker.start({
    ...loopback,
    heartbeatIntervalMs: 250,
    heartbeatTimeoutMs: 1000,
  });
  await Party.start("worker", { brokers: broker.backend, name: "busy" });
  await using client = await Client.connect({ brokers: broker.frontend });
  expect(await client.request("block", 3000)).toEqual({ worker: "busy" });
  expect(broker.stats.counts.redelivered).toBe(0);
});

test("a request whose every worker dies ends as UNAVAILABLE, after its attempts", async () => {
  await using broker = await Broker.start(loopback);
  await using client = await Client.connect({ brokers: broker.frontend });
  const workers: Party[] = [];
  for (const name of ["a", "b"]) {
    const options = { brokers: broker.backend, name, delayMs: 60_000 };
    workers.push(await Party.start("worker", options));
  }
  const asking = client.request("work", 1, { attempts: 2 }).catch((error: RequestError) => error);
  for (let died = 0; died < 2; died++) {
    await eventually("it runs", () => workers.some((worker) => worker.count("running") > 0));
    const index = workers.findIndex((worker) => worker.count("running") > 0);
    await workers[index].kill();
    workers.splice(index, 1);
  }
  expect(await asking).toMatchObject({ code: "UNAVAILABLE", reason: expect.stringContaining("2") });
});

test("attempts: 1 is not run again", async () => {
  await using broker = await Broker.start(loopback);
  await using client = await Client.connect({ brokers: broker.frontend });
  const first = await Party.start("worker", {
    brokers: broker.backend,
    name: "first",
    delayMs: 60_000,
  });
  const asking = client.request("work", 1, { attempts: 1 }).catch((error: RequestError) => error);
  await first.until("running");
  const second = await Party.start("worker", { brokers: broker.backend, name: "second" });
  await first.kill();
  expect(await asking).toMatchObject({ code: "UNAVAILABLE" });
  expect(second.count("running")).toBe(0);
});

test("a broker restarted in mid-work loses no request whose client still waits", async () => {
  const first = await Party.start("broker", loopback);
  const [frontend] = (await first.until("frontend")) as string[];
  const [backend] = (await first.until("backend")) as string[];
  let executions = 0;
  await using worker = await Worker.start({
    brokers: [backend],
    concurrency: 16,
    services: {
      work: async (request: number) => {
        executions++;
        await new Promise((resolve) => setTimeout(resolve, 3));
        return { worker: "w", echo: request };
      },
    },
  });
  await using client = await Client.connect({ brokers: [frontend] });
  const asking = askAll(client, 3000, 64, 30_000);
  await eventually("some are answered", () => client.stats.replies >= 300);
  await first.kill();
  await Party.start("broker", { frontend, backend });
  const answers = await asking;
  expect(answers.filter((answer) => answer !== "w")).toEqual([]);
  expect(client.stats.resent).toBeGreaterThan(0);
  expect(client.stats.late).toBe(0);
  // Those that had run were answered from memory or joined, not run again.
  expect(executions).toBe(3000);
  expect(worker.stats.refused).toBe(0);
});

test("a worker drains: what it has is answered, what comes goes elsewhere", async () => {
  await using broker = await Broker.start(loopback);
  const options = { brokers: broker.backend, delayMs: 5, concurrency: 8 };
  const leaving = await Party.start("worker", { ...options, name: "leaving" });
  await Party.start("worker", { ...options, name: "staying" });
  await using client = await Client.connect({ brokers: broker.frontend });
  const asking = askAll(client, 1000, 32);
  await leaving.until("running", (count) => (count as number) >= 20);
  leaving.signal("SIGTERM");
  expect(await leaving.exit()).toBe(0);
  const answers = await asking;
  expect(new Set(answers)).toEqual(new Set(["leaving", "staying"]));
  expect(broker.stats.counts.redelivered).toBe(0);
  expect(broker.stats.counts.failures).toBe(0);
});

test("a broker drains: what it holds is answered, then it leaves", async () => {
  const broker = await Party.start("broker", loopback);
  const brokers = (await broker.until("frontend")) as string[];
  const backends = (await broker.until("backend")) as string[];
  await Party.start("worker", { brokers: backends, name: "w", delayMs: 200, concurrency: 2 });
  await using client = await Client.connect({ brokers });
  const asking = askAll(client, 8, 8);
  await eventually("it has them", async () => (await broker.stats()).stats.requests === 8);
  broker.signal("SIGTERM");
  expect(await asking).toEqual(new Array(8).fill("w"));
  expect(await broker.exit()).toBe(0);
});

test("a broker lost: what may not be tried again ends, what waits its turn goes on", async () => {
  const options = { ...loopback, limits: { clientInFlightMax: 2 } };
  const first = await Party.start("broker", options);
  const [frontend] = (await first.until("frontend")) as string[];
  const [backend] = (await first.until("backend")) as string[];
  await using client = await Client.connect({ brokers: [frontend] });
  // Nobody serves it: two are in flight, the others wait in the client.
  const once = [1, 2].map((i) => client.request("work", i, { attempts: 1 }).catch((e) => e.code));
  const others = [3, 4, 5].map((i) => client.request<{ echo: number }>("work", i));
  await eventually("it has two", async () => (await first.stats()).stats.requests === 2);
  await first.kill();
  expect(await Promise.all(once)).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
  await Party.start("broker", { ...options, frontend, backend });
  await Party.start("worker", { brokers: [backend], name: "w" });
  expect((await Promise.all(others)).map(({ echo }) => echo)).toEqual([3, 4, 5]);
});

test("a broker lost while sealed handlers run: each outcome arrives, none is run twice", async () => {
  const keys = [await generateKey()];
  const first = await Party.start("broker", loopback);
  const [frontend] = (await first.until("frontend")) as string[];
  const [backend] = (await first.until("backend")) as string[];
  const ran: string[] = [];
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const service = (name: string, outcome: () => unknown) => [
    name,
    async () => {
      ran.push(name);
      await released;
      return outcome();
    },
  ];
  await using worker = await Worker.start({
    brokers: [backend],
    keys,
    services: Object.fromEntries([
      service("small", () => "small"),
      service("large", () => new Uint8Array(2_000_000)),
      service("huge", () => randomBytes(5_000_000)),
      service("meant", () => {
        throw new RequestError("NOT_FOUND", "no such order");
      }),
      service("thrown", () => {
        throw new Error("x");
      }),
    ]),
  });
  await using client = await Client.connect({ brokers: [frontend], keys });
  const ask = (name: string) =>
    client.request<{ length: number }>(name, 0).then(
      ({ length }) => length,
      (error: RequestError) => `${error.code} ${error.reason}`,
    );
  const names = ["small", "large", "huge", "meant", "thrown"];
  const asking = Promise.all(names.map(ask));
  await eventually("all run", () => ran.length === names.length);
  await first.kill();
  await eventually("the worker knows", () => client.stats.resent === names.length);
  release();
  await eventually("all have ended", () => worker.stats.running === 0);
  await Party.start("broker", { frontend, backend });
  expect(await asking).toEqual([
    5,
    2_000_000,
    "ABORTED it has run; its reply was a stream, or too large to remember",
    "NOT_FOUND no such order",
    "INTERNAL handler failed",
  ]);
  expect(ran).toHaveLength(names.length);
});

test("without a broker a running handler still sees its deadline; what has not begun is dropped", async () => {
  const broker = await Party.start("broker", { ...loopback, limits: { lookAheadMs: 1000 } });
  const [frontend] = (await broker.until("frontend")) as string[];
  const [backend] = (await broker.until("backend")) as string[];
  let isAborted = false;
  const began: number[] = [];
  await using worker = await Worker.start({
    brokers: [backend],
    concurrency: 1,
    services: {
      quick: () => 1,
      work: (request: number, { signal }: RequestContext) => {
        began.push(request);
        return new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => {
            isAborted = true;
            resolve();
          });
        });
      },
    },
  });
  await using client = await Client.connect({ brokers: [frontend] });
  // Earns the worker some look-ahead, so that a request may wait at it.
  await eventually("it has look-ahead", async () => {
    await Promise.all(Array.from({ length: 50 }, () => client.request("quick", 0)));
    const waiting = Array.from({ length: 4 }, (_, i) =>
      client.request("work", i, { timeoutMs: 1500 }).catch(() => {}),
    );
    await eventually("one runs", () => began.length > 0);
    void waiting;
    return worker.stats.waiting > 0;
  });
  const beganCount = began.length;
  await broker.kill();
  await eventually("what waited is dropped", () => worker.stats.waiting === 0);
  await eventually("the handler is told of its deadline", () => isAborted);
  expect(began).toHaveLength(beganCount);
  await client.close({ timeoutMs: 0 });
});

test("a sealed request given back after very many others is opened all the same", async () => {
  const keys = [await generateKey()];
  // Of 2000 at once on a busy machine some may wait for longer than the usual target.
  await using broker = await Broker.start({ ...loopback, limits: { codelTargetMs: 0 } });
  const first = await Worker.start({
    brokers: broker.backend,
    keys,
    services: { slow: () => new Promise(() => {}) },
  });
  await using client = await Client.connect({ brokers: broker.frontend, keys });
  const slow = client.request("slow", 0);
  await eventually("it runs", () => first.stats.running === 1);
  await using _second = await Worker.start({
    brokers: broker.backend,
    keys,
    concurrency: 64,
    services: { slow: () => "done", fast: (x: unknown) => x },
  });
  for (let asked = 0; asked < 70_000; asked += 2000) {
    await Promise.all(Array.from({ length: 2000 }, (_, i) => client.request("fast", i)));
  }
  await first.close();
  expect(await slow).toBe("done");
});
