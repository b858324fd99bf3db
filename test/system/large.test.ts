import { Worker as Thread } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createCodec, generateKey } from "../../build/codec/index.js";
import { Broker, Client, RequestError, Worker } from "../../build/index.js";
import { eventually } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const keys = [await generateKey()];
const rows = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ index, name: `item ${index}`, price: index / 7 }));
const large = rows(4000);

/** Called before each message to a codec's thread. */
let onPost: ((thread: Thread, message: { what: string }) => void) | undefined;
let tasks: string[] = [];
const postMessage = Thread.prototype.postMessage;

beforeEach(() => {
  tasks = [];
  onPost = undefined;
  Thread.prototype.postMessage = function (this: Thread, ...args: unknown[]) {
    const message = args[0] as { what: string };
    if (message.what === "seal" || message.what === "open") tasks.push(message.what);
    onPost?.(this, message);
    return postMessage.apply(this, args as never);
  };
});
afterEach(() => {
  Thread.prototype.postMessage = postMessage;
});

/** The status that each ended with; every one must end. */
async function outcomes(requests: Promise<unknown>[]): Promise<string[]> {
  const results = await Promise.allSettled(requests);
  return results.map((each) => {
    if (each.status === "fulfilled") return "OK";
    expect(each.reason).toBeInstanceOf(RequestError);
    return (each.reason as RequestError).code;
  });
}

async function trio(services: Record<string, (body: never) => unknown>) {
  const broker = await Broker.start(loopback);
  const worker = await Worker.start({ brokers: broker.backend, keys, services });
  const client = await Client.connect({ brokers: broker.frontend, keys });
  return {
    broker,
    worker,
    client,
    [Symbol.asyncDispose]: async () => {
      await client.close({ timeoutMs: 0 });
      await worker.close();
      await broker.close();
    },
  };
}

test("large bodies go through the threads of both ends, small ones do not", async () => {
  await using all = await trio({ echo: (body) => body, rows: (count) => rows(count) });
  expect(await all.client.request("echo", { small: true })).toEqual({ small: true });
  expect(tasks).toEqual([]);
  expect(await all.client.request("echo", large)).toEqual(large);
  expect(tasks).toEqual(["seal", "open", "seal", "open"]);
  expect(await all.client.request("rows", 4000)).toEqual(large);
  expect(tasks).toHaveLength(6);
});

test("many large and small ones at once: each has its own reply", async () => {
  await using all = await trio({ echo: (body) => body });
  const bodies = Array.from({ length: 60 }, (_, index) => (index % 3 ? index : rows(3000 + index)));
  const replies = await Promise.all(bodies.map((body) => all.client.request("echo", body)));
  expect(replies).toEqual(bodies);
  expect(all.client.stats).toMatchObject({ replies: 60, failures: 0, pending: 0, late: 0 });
  expect(all.worker.stats).toMatchObject({ replied: 60, refused: 0, running: 0 });
});

describe("while the thread has the request's body", () => {
  test("a cancel ends it: nothing is sent", async () => {
    await using all = await trio({ echo: (body) => body });
    const stop = new AbortController();
    const request = all.client.request("echo", large, { signal: stop.signal });
    stop.abort(new Error("changed my mind"));
    expect(await outcomes([request])).toEqual(["CANCELLED"]);
    expect(await all.client.request("echo", 1)).toBe(1);
    // The thread's answer to the first one has come when that to a second one has.
    expect(await all.client.request("echo", large)).toEqual(large);
    expect(all.client.stats).toMatchObject({ sent: 2, replies: 2, failures: 1, pending: 0 });
    expect(all.worker.stats.received).toBe(2);
  });

  test("close() ends it, and all settle", async () => {
    await using all = await trio({ echo: (body) => body });
    const requests = Array.from({ length: 10 }, () => all.client.request("echo", large));
    await all.client.close({ timeoutMs: 0 });
    expect(await outcomes(requests)).toEqual(new Array(10).fill("CANCELLED"));
  });

  test("a close() that waits lets them through", async () => {
    await using all = await trio({ echo: (body) => body });
    const requests = Array.from({ length: 10 }, () => all.client.request("echo", large));
    await all.client.close();
    expect(await outcomes(requests)).toEqual(new Array(10).fill("OK"));
  });

  test("its deadline passes: DEADLINE_EXCEEDED, and nothing is sent", async () => {
    await using all = await trio({ echo: (body) => body });
    const blobs = Array.from({ length: 3 }, () => new Uint8Array(12 * 2 ** 20));
    const slow = blobs.map((blob) => all.client.request("echo", blob, { timeoutMs: 1 }));
    expect(await outcomes(slow)).toEqual(new Array(3).fill("DEADLINE_EXCEEDED"));
    expect(await all.client.request("echo", 1)).toBe(1);
    expect(all.client.stats.pending).toBe(0);
  });

  test("the thread is lost: what it had is UNAVAILABLE, the rest goes through", async () => {
    await using all = await trio({ count: (body: unknown[]) => body.length });
    expect(await all.client.request("count", large)).toBe(4000);
    let isLost = false;
    onPost = (thread, { what }) => {
      if (what !== "seal" || isLost) return;
      isLost = true;
      void thread.terminate();
    };
    const requests = Array.from({ length: 4 }, () => all.client.request("count", large));
    expect(await outcomes(requests)).toEqual(["UNAVAILABLE", "UNAVAILABLE", "OK", "OK"]);
    expect(all.worker.stats.replied).toBe(3);
  });
});

describe("while the thread has the reply", () => {
  test("a cancel ends it, once", async () => {
    await using all = await trio({ rows: (count) => rows(count) });
    const stop = new AbortController();
    // The first to be opened is the reply at the client: the request is small.
    onPost = (_thread, { what }) => what === "open" && stop.abort(new Error("too late"));
    const request = all.client.request("rows", 4000, { signal: stop.signal });
    expect(await outcomes([request])).toEqual(["CANCELLED"]);
    onPost = undefined;
    expect(await all.client.request("rows", 4000)).toEqual(large);
    expect(all.client.stats).toMatchObject({ replies: 1, failures: 1, pending: 0, late: 0 });
  });

  test("close() ends it", async () => {
    await using all = await trio({ rows: (count) => rows(count) });
    let closing: Promise<void> | undefined;
    onPost = (_thread, { what }) => {
      if (what === "open") closing ??= all.client.close({ timeoutMs: 0 });
    };
    expect(await outcomes([all.client.request("rows", 4000)])).toEqual(["CANCELLED"]);
    await closing;
  });

  test("the broker is gone: the reply is here, and is not asked for again", async () => {
    await using all = await trio({ rows: (count) => rows(count) });
    let closing: Promise<unknown> | undefined;
    onPost = (_thread, { what }) => {
      if (what === "open") closing ??= all.broker.close();
    };
    expect(await all.client.request("rows", 4000)).toEqual(large);
    await closing;
    expect(all.client.stats).toMatchObject({ replies: 1, resent: 0, pending: 0 });
  });

  test("the worker's thread is lost with it: sealed again, the handler does not run twice", async () => {
    let runCount = 0;
    await using all = await trio({
      rows: (count) => {
        runCount++;
        return rows(count);
      },
    });
    expect(await all.client.request("rows", 4000)).toEqual(large);
    onPost = (thread, { what }) => {
      if (what === "seal") void thread.terminate();
    };
    expect(await all.client.request("rows", 4000)).toEqual(large);
    expect(runCount).toBe(2);
  });
});

describe("while the worker's thread has the request", () => {
  /** Cancels when the worker's thread is given the body; the first to be opened is the request. */
  test("a cancel is heard: the handler does not begin", async () => {
    let runCount = 0;
    await using all = await trio({ count: () => ++runCount });
    const stop = new AbortController();
    // Blobs, so that the thread is still at it when the cancel comes by.
    const blob = new Uint8Array(14 * 2 ** 20).map((_, at) => Math.imul(at, 2654435761) >>> 24);
    let held: (() => void) | undefined;
    const emit = Thread.prototype.emit;
    // The thread's answer is held back until the worker has heard of the cancel.
    Thread.prototype.emit = function (this: Thread, ...args: unknown[]) {
      const isAnswer = args[0] === "message" && tasks.at(-1) === "open" && held === undefined;
      if (!isAnswer) return emit.apply(this, args as never);
      held = () => emit.apply(this, args as never);
      stop.abort();
      return true;
    };
    try {
      const request = all.client.request("count", blob, { signal: stop.signal });
      expect(await outcomes([request])).toEqual(["CANCELLED"]);
      // What comes behind the CANCEL on the same connection comes after it.
      expect(await all.client.request("count", 1)).toBe(1);
    } finally {
      Thread.prototype.emit = emit;
    }
    held?.();
    await eventually("it is over", () => all.worker.stats.running === 0);
    expect(runCount).toBe(1);
    expect(all.worker.stats).toMatchObject({ refused: 0, failed: 1, replied: 1 });
  });

  test("a drain waits for it; close() does not, and nothing is left", async () => {
    const broker = await Broker.start(loopback);
    const codec = await createCodec({ keys });
    const services = { count: (body: unknown[]) => body.length };
    const options = { brokers: broker.backend, codec, services: services as never };
    const client = await Client.connect({ brokers: broker.frontend, keys });

    let worker = await Worker.start(options);
    let draining: Promise<boolean> | undefined;
    onPost = (_thread, { what }) => {
      if (what === "open") draining ??= worker.drain();
    };
    expect(await client.request("count", large)).toBe(4000);
    expect(await draining).toBe(true);
    expect(worker.stats).toMatchObject({ replied: 1, running: 0 });

    onPost = undefined;
    worker = await Worker.start(options);
    let closing: Promise<void> | undefined;
    onPost = (_thread, { what }) => {
      if (what === "open") closing ??= worker.close();
    };
    const request = client.request("count", large, { attempts: 1 });
    expect(await outcomes([request])).toEqual(["UNAVAILABLE"]);
    await closing;
    await eventually("it is over", () => worker.stats.running === 0);
    await client.close();
    await broker.close();
    codec.close();
  });
});
