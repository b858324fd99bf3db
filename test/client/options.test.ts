// Options that are none: a clear error at once, nothing sent, nothing kept, nothing left open.
import { afterEach, beforeEach, expect, test } from "vitest";
import { Broker, Client, Worker } from "../../build/index.js";
import { curveOf } from "../broker/curve-keys.js";
import { eventually } from "../system/processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
let broker: Broker;
let client: Client;

beforeEach(async () => {
  broker = await Broker.start(loopback);
  client = await Client.connect({ brokers: broker.frontend });
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  await broker.close({ timeoutMs: 0 });
});

test.each([
  [{ pendingMax: -1 }, "pendingMax must be a whole number 1..65536, got -1"],
  [{ attempts: "3" }, 'attempts must be a whole number 1..255, got "3"'],
  [{ retry: { backoffMsMin: 5000, backoffMsMax: 1 } }, "backoffMsMax"],
  [{ retry: true }, "retry: options must be an object, got true"],
  [{ retry: { budget: 1 } }, 'retry: unknown option "budget"'],
  [{ onConnection: 5 }, "onConnection must be a function, got 5"],
  [{ codec: {} }, "codec must be one that createCodec() made, got a object"],
] as [object, string][])(
  "Client.connect of %j is refused and connects to nobody",
  async (options, words) => {
    const connecting = Client.connect({ brokers: broker.frontend, ...options });
    await expect(connecting).rejects.toThrow(words);
    // Whoever comes behind it is the only other: one that was left open would be there before.
    const other = await Client.connect({ brokers: broker.frontend });
    expect(broker.stats.clients).toBe(2);
    await other.close();
  },
);

test.each([
  [{ onError: "x" }, 'onError must be a function, got "x"'],
  [{ onConnection: null }, "onConnection must be a function, got null"],
  [{ codec: {} }, "codec must be one that createCodec() made"],
] as [object, string][])("Worker.start of %j is refused", async (options, words) => {
  const services = { echo: (body: unknown) => body };
  const starting = Worker.start({ brokers: broker.backend, services, ...options } as never);
  await expect(starting).rejects.toThrow(words);
});

test.each(["ipc://@abstract", `ipc:///${"x".repeat(200)}`, "tcp://[zz]:5559"])(
  "an endpoint %s among others is refused before a connection is made to any",
  async (endpoint) => {
    const brokers = [...broker.frontend, endpoint];
    await expect(Client.connect({ brokers })).rejects.toThrow("brokers must be tcp://");
    const curve = curveOf("both");
    await expect(Client.connect({ brokers: [endpoint], curve })).rejects.toThrow("brokers must be");
    const services = { echo: (body: unknown) => body };
    const starting = Worker.start({ brokers: [...broker.backend, endpoint], services });
    await expect(starting).rejects.toThrow("brokers must be tcp://");
    const other = await Client.connect({ brokers: broker.frontend });
    expect(broker.stats).toMatchObject({ clients: 2, workers: 0, backendConnections: 0 });
    await other.close();
  },
);

const CALLS: [string, (options: never) => Promise<unknown>, string][] = [
  ["request", (options) => client.request("a", 1, options), "timeout"],
  ["stream", (options) => client.stream("a", 1, options).next(), "windw"],
  ["push", (options) => client.push("a", 1, options), "delay"],
  ["survey", (options) => client.survey("a", 1, options), "timeout"],
  ["publish", (options) => client.publish("a", 1, options), "retained"],
  ["subscribe", async (options) => client.subscribe("a", options), "whenful"],
];

const OTHERS: typeof CALLS = [
  ["retryDeadLetters", (options) => client.retryDeadLetters("a", options), "count"],
  ["close", (options) => client.close(options), "timeout"],
];

test.each([...CALLS, ...OTHERS])("%s names what it does not know", async (what, call, option) => {
  const words = `${what}: unknown option "${option}"`;
  await expect(call({ [option]: 1 } as never)).rejects.toThrow(words);
  await expect(call(null as never)).rejects.toThrow(`${what}: options must be an object, got null`);
  expect(client.stats).toMatchObject({ pending: 0, sent: 0, published: 0, subscriptions: 0 });
});

test("drain of a worker and close of a broker name it too", async () => {
  const services = { echo: (body: unknown) => body };
  await using worker = await Worker.start({ brokers: broker.backend, services });
  const wrong = { timeout: 1 } as never;
  await expect(worker.drain(wrong)).rejects.toThrow('drain: unknown option "timeout"');
  await expect(broker.close(wrong)).rejects.toThrow('close: unknown option "timeout"');
  expect(await client.request("echo", 1)).toBe(1);
});

test.each(CALLS.filter(([what]) => what !== "publish"))(
  "%s takes no signal that is none, and nothing is left of it",
  async (_, call) => {
    const signal = new AbortController();
    await expect(call({ signal } as never)).rejects.toThrow(
      "signal must be an AbortSignal, got object",
    );
    expect(client.stats).toMatchObject({ pending: 0, sent: 0, subscriptions: 0 });
    await client.close();
  },
);

test("headers that are no object are refused", async () => {
  for (const headers of ["abc", 5, null]) {
    const asking = client.request("a", 1, { headers: headers as never });
    await expect(asking).rejects.toThrow("headers must be an object of strings");
  }
});

test("null is no signal, as fetch has it", async () => {
  const services = { echo: (body: unknown) => body };
  await using _worker = await Worker.start({ brokers: broker.backend, services });
  expect(await client.request("echo", 1, { signal: null })).toBe(1);
});

test("what inherits an enumerable property from Object.prototype has no option of that name", async () => {
  const services = { echo: (body: unknown) => body };
  await using _worker = await Worker.start({ brokers: broker.backend, services });
  Object.defineProperty(Object.prototype, "extra", {
    value: 1,
    enumerable: true,
    configurable: true,
    writable: true,
  });
  try {
    expect(await client.request("echo", 1, { timeoutMs: 5000 })).toBe(1);
  } finally {
    Reflect.deleteProperty(Object.prototype, "extra");
  }
});

test.each([-1, Number.NaN, "10", null])(
  "a time of %s to close within is none",
  async (timeoutMs) => {
    const services = { echo: (body: unknown) => body };
    await using worker = await Worker.start({ brokers: broker.backend, services });
    const options = { timeoutMs } as never;
    const words = "timeoutMs must be a number of ms from 0 on, or Infinity";
    await expect(client.close(options)).rejects.toThrow(words);
    await expect(worker.drain(options)).rejects.toThrow(words);
    await expect(broker.close(options)).rejects.toThrow(words);
    // All as it was.
    expect(await client.request("echo", 1)).toBe(1);
  },
);

test.each([Infinity, 2 ** 31])(
  "to close within %s ms is to wait, not to end at once",
  async (timeoutMs) => {
    let release = (_: string) => {};
    const services = { slow: () => new Promise<string>((resolve) => (release = resolve)) };
    const worker = await Worker.start({ brokers: broker.backend, services });
    const asking = client.request("slow", 1, { attempts: 1 });
    await eventually("it runs", () => worker.stats.running === 1);
    const closing = [
      client.close({ timeoutMs }),
      worker.drain({ timeoutMs }),
      broker.close({ timeoutMs }),
    ];
    let isOver = false;
    Promise.race(closing).then(() => {
      isOver = true;
    });
    // The broker has heard of all: it took DRAIN.
    await eventually(
      "the worker takes no more",
      () => broker.stats.services.slow?.isServed === false,
    );
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    release("done");
    expect(await asking).toBe("done");
    await Promise.all(closing);
  },
);

test("a survey that no broker takes ends with its deadline, before what has a later one", async () => {
  await broker.close({ timeoutMs: 0 });
  const ends: string[] = [];
  const note = (name: string) => () => void ends.push(name);
  await Promise.all([
    client.request("a", 1, { timeoutMs: 1500 }).catch(note("request")),
    client.survey("a", 1, { timeoutMs: 100 }).catch(note("survey")),
  ]);
  expect(ends).toEqual(["survey", "request"]);
});
