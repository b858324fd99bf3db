// What a handler throws may be anything, also what cannot be read: its request is answered, and its place free.
import { expect, test } from "vitest";
import { Broker, Client, RequestError, Worker } from "../../build/index.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

const unreadable = () =>
  Object.defineProperty(new Error(), "message", {
    get() {
      throw new Error("no");
    },
  });
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};

test.each([
  ["an error without words", unreadable],
  ["a revoked proxy", revoked],
  ["a symbol", () => Symbol("x")],
] as const)("%s, thrown at once or later", async (_, thrown) => {
  await using broker = await Broker.start(loopback);
  await using worker = await Worker.start({
    brokers: broker.backend,
    concurrency: 1,
    services: {
      sync: () => {
        throw thrown();
      },
      later: async () => {
        await null;
        throw thrown();
      },
      echo: (body: unknown) => body,
    },
    onError: () => {},
  });
  const client = await Client.connect({ brokers: broker.frontend });
  for (const service of ["sync", "later", "sync"]) {
    const asking = client.request(service, 1, { attempts: 1 });
    await expect(asking).rejects.toMatchObject({ code: "INTERNAL", reason: /^handler failed/ });
  }
  // They waited in line behind one another too.
  const ends = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) =>
      client.request(i % 2 ? "sync" : "later", i, { attempts: 1 }),
    ),
  );
  expect(ends.every(({ status }) => status === "rejected")).toBe(true);
  expect(await client.request("echo", 1)).toBe(1);
  expect(worker.stats).toMatchObject({ running: 0, waiting: 0 });
  await client.close();
});

test("a worker that a handler closes runs nothing of what came behind it", async () => {
  await using broker = await Broker.start(loopback);
  const ran: unknown[] = [];
  const worker: Worker = await Worker.start({
    brokers: broker.backend,
    concurrency: 64,
    services: {
      stop: () => {
        ran.push("stop");
        void worker.close();
      },
      echo: (body: unknown) => {
        ran.push(body);
        return body;
      },
    },
  });
  const client = await Client.connect({ brokers: broker.frontend });
  const ends = ["stop", "echo", "echo", "echo"].map((service, i) =>
    client.request(service, i, { attempts: 1, timeoutMs: 2000 }).catch(() => {}),
  );
  await Promise.all(ends);
  expect(ran).toEqual(["stop"]);
  await client.close({ timeoutMs: 0 });
});

test("without onError the first failure of each service is a warning of the process", async () => {
  await using broker = await Broker.start(loopback);
  await using _worker = await Worker.start({
    brokers: broker.backend,
    services: {
      price: () => {
        throw new Error("no stock");
      },
      odd: () => {
        throw revoked();
      },
      meant: () => {
        throw new RequestError("NOT_FOUND", "no such thing");
      },
      stopped: (_: unknown, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    },
  });
  const warned: { message: string; code?: string; detail?: string }[] = [];
  const onWarning = (warning: Error) => void warned.push(warning);
  process.on("warning", onWarning);
  const client = await Client.connect({ brokers: broker.frontend });
  for (const service of ["stopped", "price", "price", "odd", "meant"]) {
    const asking = client.request(service, 1, { attempts: 1, timeoutMs: 500 });
    await expect(asking).rejects.toThrow();
  }
  await client.close();
  process.off("warning", onWarning);
  expect(warned.map(({ code }) => code)).toEqual(["WASMQ_HANDLER", "WASMQ_HANDLER"]);
  expect(warned[0].message).toMatch(/^a handler of "price" failed/);
  expect(warned[0].detail).toMatch(/^Error: no stock\n +at /);
  expect(warned[1].message).toMatch(/^a handler of "odd" failed/);
});
