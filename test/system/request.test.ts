import { afterEach, expect, test } from "vitest";
import {
  Broker,
  Client,
  type RequestContext,
  RequestError,
  Worker,
  type WorkerOptions,
} from "../../build/index.js";
import { endAll, eventually } from "./processes.js";

afterEach(endAll);

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

/** A broker, a worker of these services and a client, closed when the test ends. */
async function trio(services: WorkerOptions["services"], options: Partial<WorkerOptions> = {}) {
  const broker = await Broker.start(loopback);
  const worker = await Worker.start({ brokers: broker.backend, services, ...options });
  const client = await Client.connect({ brokers: broker.frontend });
  return {
    broker,
    worker,
    client,
    [Symbol.asyncDispose]: async () => {
      await client.close({ timeoutMs: 0 });
      await worker.close();
      await broker.close({ timeoutMs: 0 });
    },
  };
}

function failure(promise: Promise<unknown>): Promise<RequestError> {
  return promise.then(
    (reply) => {
      throw new Error(`replied ${reply}`);
    },
    (error) => error,
  );
}

test("a handler sees the request and what is to be known about it", async () => {
  let seen: RequestContext | undefined;
  await using all = await trio({
    greet: (request: { name: string }, context: RequestContext) => {
      seen = context;
      return `hello ${request.name}`;
    },
  });
  const headers = { traceparent: "00-abc", "naïve 键": "värde 值", __proto__x: "" };
  const reply = await all.client.request("greet", { name: "世界" }, { timeoutMs: 5000, headers });
  expect(reply).toBe("hello 世界");
  expect(seen?.service).toBe("greet");
  expect(seen?.headers).toEqual(headers);
  expect(seen?.attempt).toBe(1);
  expect(seen?.requestId).toMatch(/^[0-9a-f]{32}$/);
  expect(seen?.timeLeftMs).toBeLessThanOrEqual(5000);
  expect(seen?.signal.aborted).toBe(false);
});

test("a handler that throws fails its request with INTERNAL and nothing else", async () => {
  const errors: unknown[] = [];
  await using all = await trio(
    {
      sync: () => {
        throw new Error("no luck");
      },
      async: async () => {
        await null;
        throw "text";
      },
      meant: () => {
        throw new RequestError("ABORTED", "out of stock", 250);
      },
      unserializable: () => ({ f: () => {} }),
      fine: () => 1,
    },
    { onError: (error) => errors.push(error) },
  );
  const { client } = all;
  const [sync, asynchronous, meant, unserializable, fine] = await Promise.all([
    failure(client.request("sync", 0)),
    failure(client.request("async", 0)),
    failure(client.request("meant", 0)),
    failure(client.request("unserializable", 0)),
    client.request("fine", 0),
  ]);
  expect(sync).toMatchObject({ code: "INTERNAL", reason: "handler failed: no luck" });
  expect(asynchronous).toMatchObject({ code: "INTERNAL", reason: "handler failed: text" });
  expect(meant).toMatchObject({ code: "ABORTED", reason: "out of stock", retryAfterMs: 250 });
  expect(unserializable.code).toBe("INTERNAL");
  expect(fine).toBe(1);
  expect(errors).toHaveLength(3);
});

test("a request that cannot be sent rejects with its reason", async () => {
  await using all = await trio({ echo: (body) => body });
  const { client } = all;
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  expect(await failure(client.request("echo", cyclic))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await failure(client.request("", 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await failure(client.request("a\nb", 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await failure(client.request("echo", 1, { raw: true }))).toMatchObject({
    code: "INVALID_ARGUMENT",
  });
  expect(await failure(client.request("echo", 1, { timeoutMs: 0 }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    reason: "timeoutMs must be a whole number 1..86400000, got 0",
  });
  await expect(client.request("echo", 1, { priority: 8 })).rejects.toThrow("priority");
  await expect(client.request("echo", 1, { attempts: 0 })).rejects.toThrow("attempts");
  expect(client.stats.pending).toBe(0);
  expect(await client.request("echo", 1)).toBe(1);
});

test("bodies of every size arrive as they were", async () => {
  await using all = await trio({ echo: (body) => body });
  for (const size of [0, 1, 127, 128, 4096, 8100, 8192, 65_536, 1_000_000, 4_000_000]) {
    const bytes = new Uint8Array(size).map((_, i) => (i * 31) ^ (i >> 8));
    const reply = await all.client.request<Uint8Array>("echo", bytes);
    expect(Buffer.compare(reply, bytes)).toBe(0);
  }
});

test("what is larger than the broker takes is refused alone", async () => {
  const broker = await Broker.start({ ...loopback, limits: { recordBytesMax: 100_000 } });
  const services = { size: (bytes: Uint8Array) => bytes.length, grow: (n: number) => noise(n) };
  const worker = await Worker.start({ brokers: broker.backend, services });
  const client = await Client.connect({ brokers: broker.frontend });
  const large = failure(client.request("size", noise(5_000_000)));
  expect(await client.request("size", noise(90_000))).toBe(90_000);
  expect(await large).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect((await large).reason).toMatch(/^request of 50000\d\d bytes; the broker takes 100000$/);
  const grown = await failure(client.request("grow", 5_000_000));
  expect(grown).toMatchObject({ code: "INTERNAL" });
  expect(grown.reason).toMatch(/^reply of 50000\d\d bytes; the broker takes 100000$/);
  expect(await client.request("grow", 10)).toHaveLength(10);
  expect(client.stats.resent).toBe(0);
  expect(worker.stats).toMatchObject({ replied: 2, failed: 1 });
  await client.close();
  await worker.drain();
  await broker.close();
});

/** Bytes that do not compress. */
function noise(size: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  });
}

test("a deadline ends the request, and the handler's signal", async () => {
  let signal: AbortSignal | undefined;
  await using all = await trio({
    hang: (_: unknown, context: RequestContext) => {
      signal = context.signal;
      return new Promise((_, reject) =>
        context.signal.addEventListener("abort", () => reject(context.signal.reason)),
      );
    },
  });
  const error = await failure(all.client.request("hang", 0, { timeoutMs: 50 }));
  expect(error.code).toBe("DEADLINE_EXCEEDED");
  await eventually("the handler is told", () => signal?.aborted === true);
  expect(signal?.reason).toMatchObject({ name: "TimeoutError", message: "deadline passed" });
  await eventually("the worker is free", () => all.broker.stats.requests === 0);
});

test("a cancelled request: the handler's signal aborts, a waiting one is not run", async () => {
  const started: number[] = [];
  let signal: AbortSignal | undefined;
  await using all = await trio(
    {
      hang: (request: number, context: RequestContext) => {
        started.push(request);
        signal = context.signal;
        return new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
    },
    { concurrency: 1 },
  );
  const running = new AbortController();
  const waiting = new AbortController();
  const first = failure(all.client.request("hang", 1, { signal: running.signal }));
  await eventually("it runs", () => started.length === 1);
  const second = failure(all.client.request("hang", 2, { signal: waiting.signal }));
  await eventually("it waits", () => all.broker.stats.queued === 1);
  waiting.abort();
  running.abort(new Error("changed my mind"));
  expect(await second).toMatchObject({ code: "CANCELLED" });
  expect(await first).toMatchObject({ code: "CANCELLED", reason: "changed my mind" });
  await eventually("the handler is told", () => signal?.aborted === true);
  expect(signal?.reason).toMatchObject({ name: "AbortError", message: "cancelled by the client" });
  await eventually("nothing is held", () => all.broker.stats.requests === 0);
  expect(started).toEqual([1]);
  const aborted = AbortSignal.abort();
  expect(await failure(all.client.request("hang", 3, { signal: aborted }))).toMatchObject({
    code: "CANCELLED",
  });
});

test("priorities: the urgent first", async () => {
  const order: number[] = [];
  let release: (() => void) | undefined;
  await using all = await trio(
    {
      work: async (request: number) => {
        if (request === -1) await new Promise<void>((resolve) => (release = resolve));
        order.push(request);
      },
    },
    { concurrency: 1 },
  );
  const { client, broker } = all;
  const blocker = client.request("work", -1);
  await eventually("it runs", () => release !== undefined);
  const others = [7, 3, 5, 0].map((priority) => client.request("work", priority, { priority }));
  await eventually("they wait", () => broker.stats.queued === 4);
  release?.();
  await Promise.all([blocker, ...others]);
  expect(order).toEqual([-1, 0, 3, 5, 7]);
});

test("the client's own queue is bounded, without a broker too", async () => {
  const client = await Client.connect({
    brokers: ["tcp://127.0.0.1:1"],
    connectTimeoutMs: 0,
    pendingMax: 10,
  });
  const waiting = Array.from({ length: 10 }, () =>
    failure(client.request("x", 1, { timeoutMs: 30 })),
  );
  expect(await failure(client.request("x", 1))).toMatchObject({
    code: "RESOURCE_EXHAUSTED",
    retryAfterMs: 10,
  });
  for (const error of await Promise.all(waiting)) expect(error.code).toBe("DEADLINE_EXCEEDED");
  await client.close();
});

test("requests beyond the broker's credit wait in the client, and all are answered", async () => {
  const broker = await Broker.start({ ...loopback, limits: { clientInFlightMax: 8 } });
  const worker = await Worker.start({ brokers: broker.backend, services: { echo: (b) => b } });
  const client = await Client.connect({ brokers: broker.frontend });
  const numbers = Array.from({ length: 500 }, (_, i) => i);
  expect(await Promise.all(numbers.map((i) => client.request("echo", i)))).toEqual(numbers);
  expect(broker.stats.counts.refused).toBe(0);
  await client.close();
  await worker.drain();
  await broker.close();
});

test('concurrency "auto" grows while handlers wait, and the broker hands out as much', async () => {
  let runningCount = 0;
  let peak = 0;
  const options = { concurrency: "auto", concurrencyMax: 24 } as const;
  const work = async () => {
    peak = Math.max(peak, ++runningCount);
    await new Promise((resolve) => setTimeout(resolve, 20));
    runningCount--;
  };
  await using all = await trio({ work }, options);
  expect(all.worker.stats.concurrency).toBe(8);
  let isDone = false;
  const asking = Array.from({ length: 100 }, async () => {
    while (!isDone) await all.client.request("work", 0);
  });
  await eventually("all that is allowed run", () => peak === 24);
  isDone = true;
  await Promise.all(asking);
  expect(peak).toBe(24);
});

test("concurrency out of range is refused by name", async () => {
  const options = { brokers: ["tcp://127.0.0.1:1"], services: { a: () => 1 } };
  await expect(Worker.start({ ...options, concurrency: 0 })).rejects.toThrow("concurrency must");
  await expect(
    Worker.start({ ...options, concurrency: "auto", concurrencyMax: 65_536 }),
  ).rejects.toThrow("concurrencyMax must be a whole number 1..65535, got 65536");
});

test("close finishes what is in flight, then rejects", async () => {
  let release: (() => void) | undefined;
  await using all = await trio({
    wait: () => new Promise<string>((resolve) => (release = () => resolve("done"))),
  });
  const asking = all.client.request("wait", 0);
  await eventually("it runs", () => release !== undefined);
  const closing = all.client.close();
  expect(await failure(all.client.request("wait", 0))).toMatchObject({ code: "UNAVAILABLE" });
  release?.();
  expect(await asking).toBe("done");
  await closing;
  await eventually("the broker forgets it", () => all.broker.stats.clients === 0);
});

test("a close that cannot wait ends what is left as CANCELLED", async () => {
  await using all = await trio({ hang: () => new Promise(() => {}) });
  const asking = failure(all.client.request("hang", 0));
  await all.client.close({ timeoutMs: 20 });
  expect(await asking).toMatchObject({ code: "CANCELLED" });
});

test("connect and start say which broker did not answer", async () => {
  const brokers = ["tcp://127.0.0.1:1"];
  const client = failure(Client.connect({ brokers, connectTimeoutMs: 100 }));
  expect(await client).toMatchObject({ code: "UNAVAILABLE" });
  expect((await client).reason).toContain("tcp://127.0.0.1:1");
  const services = { x: () => 1 };
  const worker = failure(Worker.start({ brokers, services, connectTimeoutMs: 100 }));
  expect(await worker).toMatchObject({ code: "UNAVAILABLE" });
  await expect(Client.connect({ brokers: [] })).rejects.toThrow("brokers");
  await expect(Client.connect({ brokers: ["http://x"] })).rejects.toThrow("http://x");
  await expect(Worker.start({ brokers, services: {} })).rejects.toThrow("services");
  await expect(Worker.start({ brokers, services, concurrency: 0 })).rejects.toThrow(
    "concurrency must be a whole number 1..65535, got 0",
  );
});

test("a worker at the frontend and a client at the backend are refused by name", async () => {
  await using broker = await Broker.start(loopback);
  const worker = failure(
    Worker.start({ brokers: broker.frontend, services: { x: () => 1 }, connectTimeoutMs: 300 }),
  );
  expect((await worker).reason).toContain("a worker belongs at the backend");
  const client = failure(Client.connect({ brokers: broker.backend, connectTimeoutMs: 300 }));
  expect((await client).reason).toContain("a client belongs at the frontend");
});

test("what a listener throws costs no request its answer", async () => {
  const thrown: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => thrown.push(error));
  try {
    const boom = () => {
      throw new Error("listener");
    };
    await using all = await trio(
      { fail: boom, fine: () => 1 },
      { onError: boom, onConnection: boom },
    );
    expect(await failure(all.client.request("fail", 0))).toMatchObject({ code: "INTERNAL" });
    expect(await all.client.request("fine", 0)).toBe(1);
    expect(all.broker.stats.counts.redelivered).toBe(0);
    expect(thrown).toHaveLength(2);
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
});

test("whatever a handler throws, its request ends and its place is free", async () => {
  const thrown: unknown[] = [
    Object.create(null),
    Object.assign(new Error("x"), { message: Symbol("s") }),
    new RequestError("ABORTED", undefined as unknown as string),
    new RequestError("ABORTED", "x", 1n as unknown as number),
    new RequestError("NONSENSE" as "ABORTED", "x"),
    undefined,
    null,
  ];
  await using all = await trio(
    {
      fail: (index: number) => {
        throw thrown[index];
      },
      fine: () => 1,
    },
    { concurrency: 1 },
  );
  for (const [index] of thrown.entries()) {
    const error = await failure(all.client.request("fail", index));
    expect(["INTERNAL", "ABORTED"]).toContain(error.code);
  }
  expect(await all.client.request("fine", 0)).toBe(1);
  expect(all.worker.stats.running).toBe(0);
  expect(all.broker.stats.requests).toBe(0);
});

test("many clients whose numbers are alike: each cancel reaches its own handler", async () => {
  let runningCount = 0;
  let abortedCount = 0;
  await using all = await trio(
    {
      hang: (_: unknown, { signal }: RequestContext) => {
        runningCount++;
        return new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => {
            abortedCount++;
            resolve();
          });
        });
      },
    },
    { concurrency: 500 },
  );
  const clients = await Promise.all(
    Array.from({ length: 200 }, () => Client.connect({ brokers: all.broker.frontend })),
  );
  const abortion = new AbortController();
  const asking = clients.map((client) =>
    failure(client.request("hang", 0, { signal: abortion.signal })),
  );
  await eventually("all run", () => runningCount === 200);
  abortion.abort();
  await Promise.all(asking);
  await eventually("all are told", () => abortedCount === 200);
  await Promise.all(clients.map((client) => client.close()));
});

test("close and drain may meet, and come twice", async () => {
  await using all = await trio({ hang: () => new Promise(() => {}) });
  const asking = failure(all.client.request("hang", 0));
  await eventually("it runs", () => all.worker.stats.running === 1);
  const draining = all.worker.drain();
  const slow = all.client.close({ timeoutMs: 20_000 });
  await all.client.close({ timeoutMs: 10 });
  expect(await asking).toMatchObject({ code: "CANCELLED" });
  await slow;
  await all.worker.close();
  await draining;
});

test("a worker or client that is refused leaves nothing behind", async () => {
  await using broker = await Broker.start(loopback);
  const services = { x: () => 1 };
  const options = { brokers: broker.backend, services };
  await expect(Worker.start({ ...options, connectTimeoutMs: -1 })).rejects.toThrow(RangeError);
  await expect(Worker.start({ ...options, recentAgeMsMax: Number.NaN })).rejects.toThrow(
    RangeError,
  );
  await expect(Worker.start({ ...options, heartbeatTimeoutMs: -5 })).rejects.toThrow(
    "heartbeatTimeoutMs must be a whole number 1..3600000, got -5",
  );
  await expect(Client.connect({ brokers: ["tcp://127.0.0.1:0"] })).rejects.toThrow("no port");
  expect(broker.stats.workers).toBe(0);
});
