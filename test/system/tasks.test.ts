// Push-pull with a real broker, workers and clients.
import { afterEach, expect, test } from "vitest";
import { createCodec, generateKey } from "../../build/codec/index.js";
import {
  Broker,
  type BrokerOptions,
  Client,
  RequestError,
  type TaskContext,
  Worker,
  type WorkerOptions,
} from "../../build/index.js";
import { endAll, eventually } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const quick = { backoffMsMin: 5, backoffMsMax: 20 };

async function stage(options: Partial<BrokerOptions> = {}) {
  const broker = await Broker.start({ ...loopback, tasks: quick, ...options });
  const client = await Client.connect({ brokers: broker.frontend });
  const workers: Worker[] = [];
  return {
    broker,
    client,
    async worker(queues: WorkerOptions["queues"], more: Partial<WorkerOptions> = {}) {
      const worker = await Worker.start({ brokers: broker.backend, queues, ...more });
      workers.push(worker);
      return worker;
    },
    queue: (name: string) => broker.stats.tasks.queues.find((each) => each.name === name),
    [Symbol.asyncDispose]: async () => {
      await client.close({ timeoutMs: 0 });
      for (const worker of workers) await worker.close();
      await broker.close({ timeoutMs: 0 });
    },
  };
}

/** Resolves once `check` no longer throws. */
async function soon(check: () => void): Promise<void> {
  let last: unknown;
  const holds = () => {
    try {
      check();
      return true;
    } catch (error) {
      last = error;
      return false;
    }
  };
  await eventually("what is expected", holds).catch(() => {
    throw last;
  });
}

function failure(promise: Promise<unknown>): Promise<RequestError> {
  return promise.then(
    (value) => {
      throw new Error(`resolved with ${value}`);
    },
    (error) => error,
  );
}

test("a task is acknowledged by the broker and done by a worker that comes later", async () => {
  await using all = await stage();
  const headers = { from: "test" };
  const taskId = await all.client.push("mail.send", { to: "a@b" }, { headers });
  expect(taskId).toMatch(/^[0-9a-f]{32}$/);
  expect(all.queue("mail.send")).toMatchObject({ ready: 1, isServed: false });
  const seen: { task: unknown; context: TaskContext }[] = [];
  await all.worker({
    "mail.send": async (task: unknown, context) => void seen.push({ task, context }),
  });
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(1));
  expect(seen).toHaveLength(1);
  expect(seen[0].task).toEqual({ to: "a@b" });
  expect(seen[0].context).toMatchObject({ queue: "mail.send", taskId, attempt: 1, headers });
  expect(all.queue("mail.send")).toMatchObject({ ready: 0, inFlight: 0, bytes: 0, dead: 0 });
  expect(all.broker.stats.clients).toBe(1);
  expect(all.broker.stats.services).toEqual({});
});

test("a worker has no more tasks at once than its concurrency", async () => {
  await using all = await stage();
  let running = 0;
  let most = 0;
  await all.worker(
    {
      slow: async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
      },
    },
    { concurrency: 3 },
  );
  await Promise.all(Array.from({ length: 100 }, (_, i) => all.client.push("slow", i)));
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(100));
  expect(most).toBe(3);
});

test("what fails is tried again, then a dead letter, which can be listed and retried", async () => {
  await using all = await stage();
  const attempts: number[] = [];
  let isCured = false;
  await all.worker({
    ill: (_: unknown, { attempt }) => {
      attempts.push(attempt);
      if (!isCured) throw new RequestError("ABORTED", "not yet");
    },
  });
  const taskId = await all.client.push("ill", 1, { attempts: 3 });
  await soon(() => expect(all.queue("ill")?.dead).toBe(1));
  expect(attempts).toEqual([1, 2, 3]);
  const [letter, ...others] = await all.client.deadLetters("ill");
  expect(others).toEqual([]);
  expect(letter).toMatchObject({ taskId, attempts: 3, code: "ABORTED", reason: "not yet" });
  expect(letter.broker).toBe(all.broker.frontend[0]);
  isCured = true;
  expect(await all.client.retryDeadLetters("ill")).toBe(1);
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(1));
  expect(attempts).toEqual([1, 2, 3, 1]);
  expect(await all.client.deadLetters("ill")).toEqual([]);
});

test("a full queue refuses at once and says when to come again", async () => {
  await using all = await stage({ tasks: { ...quick, queueCountMax: 3 } });
  const { client } = all;
  for (let i = 0; i < 3; i++) await client.push("full", i);
  const error = await failure(client.push("full", 3));
  expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  expect(error.retryAfterMs).toBeGreaterThan(0);
  await client.push("other", 1);
  await all.worker({ full: () => {} });
  await soon(() => expect(all.queue("full")?.counts.done).toBe(3));
  await client.push("full", 4);
});

test("a delayed task waits for its time", async () => {
  await using all = await stage();
  const order: unknown[] = [];
  await all.worker({ later: (task: unknown) => void order.push(task) });
  await all.client.push("later", "second", { delayMs: 150 });
  await all.client.push("later", "first");
  expect(all.queue("later")).toMatchObject({ delayed: 1 });
  await soon(() => expect(order).toEqual(["first", "second"]));
});

test("an attempt that takes too long is aborted and tried again", async () => {
  await using all = await stage();
  const attempts: number[] = [];
  await all.worker({
    stuck: (_: unknown, context) => {
      attempts.push(context.attempt);
      if (context.attempt > 1) return undefined;
      return new Promise((_, reject) => {
        context.signal.addEventListener("abort", () => reject(context.signal.reason));
      });
    },
  });
  await all.client.push("stuck", 1, { attemptTimeoutMs: 50 });
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(1));
  expect(attempts).toEqual([1, 2]);
});

test("sealed tasks open again at the same worker and at another, and raw ones go as they are", async () => {
  const keys = [await generateKey()];
  const broker = await Broker.start({ ...loopback, tasks: quick });
  const client = await Client.connect({ brokers: broker.frontend, keys });
  const seen: unknown[] = [];
  const once = (task: unknown, { attempt }: TaskContext) => {
    seen.push(task);
    if (attempt < 3) throw new Error("again");
  };
  const raw = (task: Uint8Array) => void seen.push(Buffer.from(task).toString());
  const queues = { safe: once, bytes: { handler: raw, raw: true } };
  const worker = await Worker.start({ brokers: broker.backend, queues, keys });
  const large = "x".repeat(300_000);
  await client.push("safe", { large });
  await client.push("bytes", "as it is", { raw: true });
  await soon(() => expect(broker.stats.tasks.counts.done).toBe(2));
  expect(seen).toHaveLength(4);
  expect(seen.filter((each) => (each as { large?: string }).large === large)).toHaveLength(3);
  // A body of one queue does not open as that of another, or as a request.
  const codec = await createCodec({ keys });
  const context = { service: "safe", direction: "task", requestId: new Uint8Array(16) } as const;
  const sealed = codec.seal(1, context);
  expect(codec.open(sealed, context)).toBe(1);
  expect(codec.open(sealed, context)).toBe(1);
  expect(() => codec.open(sealed, { ...context, service: "other" })).toThrow(/REDIRECTED/);
  expect(() => codec.open(sealed, { ...context, direction: "request" })).toThrow(/REDIRECTED/);
  expect(() => codec.openRequest(sealed, { ...context, direction: "request" })).toThrow(/REDIREC/);
  codec.close();
  await client.close();
  await worker.close();
  await broker.close({ timeoutMs: 0 });
});

test("wrong arguments are refused by name", async () => {
  await using all = await stage();
  const { client } = all;
  expect(await failure(client.push("", 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
  for (const options of [
    { attempts: 0 },
    { delayMs: -1 },
    { priority: 8 },
    { attemptTimeoutMs: 0 },
  ]) {
    const error = await failure(client.push("q", 1, options));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain(Object.keys(options)[0]);
  }
  await expect(Worker.start({ brokers: all.broker.backend })).rejects.toThrow(/services must name/);
  const bad = { brokers: all.broker.backend, queues: { "a\u0001": () => {} } };
  await expect(Worker.start(bad)).rejects.toThrow(/queues: a name must/);
  await expect(Broker.start({ ...loopback, tasks: { queueCountMax: 0 } })).rejects.toThrow(
    /tasks.queueCountMax/,
  );
});

test("an attempt's time runs from when a worker has it: those that wait for their turn lose none", async () => {
  await using all = await stage();
  const ends: (() => void)[] = [];
  await all.worker(
    {
      q: () => new Promise<void>((resolve) => ends.push(resolve)),
    },
    { concurrency: 1 },
  );
  for (let i = 0; i < 5; i++) {
    await all.client.push("q", i, { attempts: 1, attemptTimeoutMs: 1500 });
  }
  for (let i = 0; i < 5; i++) {
    await eventually("it begins", () => ends.length > i);
    // Of five times as much each has enough, and all together have not.
    await new Promise((resolve) => setTimeout(resolve, 600));
    ends[i]();
  }
  await soon(() => expect(all.broker.stats.tasks.counts).toMatchObject({ done: 5, failed: 0 }));
});

test("order is kept however long tasks wait, also for a worker that comes back", async () => {
  const limits = { queueWaitMsMax: 50, absentWaitMs: 50 };
  await using all = await stage({ limits });
  const order: unknown[] = [];
  const work = () =>
    all.worker(
      {
        q: async (task: unknown) => {
          order.push(task);
          await new Promise((resolve) => setTimeout(resolve, 30));
        },
      },
      { concurrency: 1 },
    );
  const first = await work();
  await Promise.all(Array.from({ length: 20 }, (_, i) => all.client.push("q", i)));
  await soon(() => expect(order.length).toBeGreaterThan(5));
  await first.drain();
  await new Promise((resolve) => setTimeout(resolve, 200));
  await work();
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(20));
  expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
});

test("tasks that wait take no room of requests, and few of them wait in the core", async () => {
  await using all = await stage();
  const never = { raw: true, handler: () => new Promise<void>(() => {}) };
  await all.worker({ a: never, b: never }, { concurrency: 1 });
  const body = Buffer.alloc(4 * 1024 * 1024);
  for (let i = 0; i < 8; i++) await all.client.push(i % 2 === 0 ? "a" : "b", body, { raw: true });
  await soon(() => expect(all.broker.stats.requests).toBe(3));
  expect(all.broker.stats.requestBytes).toBe(0);
});

test("a retry is not spent on the run before it, which was told to stop and still runs", async () => {
  await using all = await stage();
  const attempts: number[] = [];
  let finish = () => {};
  const worker = await all.worker({
    q: async (_: unknown, { attempt }) => {
      attempts.push(attempt);
      if (attempts.length > 1) return;
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      throw new RequestError("ABORTED", "stopped");
    },
  });
  await all.client.push("q", 1, { attempts: 2, attemptTimeoutMs: 50 });
  // The first attempt is over; the second came here more than once, and was given back.
  await eventually("it comes again", () => worker.stats.received > 3);
  expect(attempts).toEqual([1]);
  expect(all.broker.stats.tasks.counts).toMatchObject({ failed: 1, dead: 0 });
  finish();
  await soon(() => expect(all.broker.stats.tasks.counts.done).toBe(1));
  expect(attempts).toEqual([1, 2]);
  expect(all.broker.stats.tasks.counts).toMatchObject({ failed: 1, dead: 0 });
});

test("what stands in a worker's own line when its time is over has not failed", async () => {
  await using one = await stage();
  await using two = await stage();
  const ran: unknown[] = [];
  let finish = () => {};
  const queues = {
    q: (task: unknown) => {
      ran.push(task);
      if (task === "patient") return undefined;
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    },
  };
  const brokers = [...one.broker.backend, ...two.broker.backend];
  await using worker = await Worker.start({ brokers, queues, concurrency: 1 });
  await eventually("both know it", () => two.broker.stats.workers + one.broker.stats.workers === 2);
  await one.client.push("q", "slow", { attempts: 1 });
  await eventually("it is busy", () => ran.length === 1);
  await two.client.push("q", "patient", { attempts: 1, attemptTimeoutMs: 30 });
  await eventually("it comes again and again", () => worker.stats.received > 4);
  expect(two.broker.stats.tasks.counts).toMatchObject({ failed: 0, dead: 0 });
  finish();
  await soon(() => expect(two.broker.stats.tasks.counts.done).toBe(1));
  expect(ran).toEqual(["slow", "patient"]);
  await soon(() => expect(worker.stats).toMatchObject({ running: 0, waiting: 0 }));
});
