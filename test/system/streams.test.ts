// Streams from end to end: one process where nothing dies.
import { randomBytes } from "node:crypto";
import { EventEmitter, on, once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { generateKey, generateServiceKey } from "../../build/codec/index.js";
import {
  Broker,
  Client,
  type RequestError,
  type StreamOptions,
  Worker,
} from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:*", backend: "tcp://127.0.0.1:*" };

afterEach(endAll);

/** What no compressor makes smaller. */
const noise = randomBytes(16_384);

interface Counted {
  n: number;
}

/** Counts up, and tells how far it came, whether it was told to stop, and whether it cleaned up. */
class Counter {
  made = 0;
  stopped = 0;
  returned = 0;

  readonly count = async function* (
    this: Counter,
    { to, size = 0 }: { to: number; size?: number },
    { signal }: { signal: AbortSignal },
  ) {
    signal.addEventListener("abort", () => this.stopped++);
    try {
      for (let n = 0; n < to; n++) {
        this.made++;
        yield size === 0 ? { n } : { n, filler: noise.slice(0, size) };
      }
      return "all";
    } finally {
      this.returned++;
    }
  };
}

/** A broker, a worker that counts and a client of them. */
async function trio(services: Record<string, unknown> = {}, keys: object[] = [{}, {}]) {
  const counter = new Counter();
  const broker = await Broker.start(loopback);
  const worker = await Worker.start({
    brokers: broker.backend,
    services: { count: counter.count.bind(counter) as never, ...(services as object) },
    ...keys[0],
  });
  const client = await Client.connect({ brokers: broker.frontend, ...keys[1] });
  const close = async () => {
    await client.close({ timeoutMs: 0 });
    await worker.close();
    await broker.close({ timeoutMs: 0 });
  };
  return { counter, broker, worker, client, [Symbol.asyncDispose]: close };
}

async function numbers(client: Client, body: object, options?: StreamOptions): Promise<number[]> {
  const seen: number[] = [];
  for await (const { n } of client.stream<Counted>("count", body, options)) seen.push(n);
  return seen;
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: RequestError) => error,
  );

describe("parts arrive in order, then the end", () => {
  it("in clear", async () => {
    await using t = await trio();
    expect(await numbers(t.client, { to: 1000 })).toEqual(upTo(1000));
    expect(t.worker.stats).toMatchObject({ parts: 1000, replied: 1 });
    expect(t.client.stats).toMatchObject({ parts: 1000, replies: 1, failures: 0, late: 0 });
    expect(t.broker.stats.counts).toMatchObject({ parts: 1000, replies: 1, stale: 0 });
  });

  it("sealed under a shared key", async () => {
    const keys = [await generateKey()];
    await using t = await trio({}, [{ keys }, { keys }]);
    expect(await numbers(t.client, { to: 1000 })).toEqual(upTo(1000));
  });

  it("sealed by key agreement", async () => {
    const key = await generateServiceKey();
    const client = { servicePublicKeys: { count: key.publicKey } };
    await using t = await trio({}, [{ serviceKeys: [key] }, client]);
    expect(await numbers(t.client, { to: 1000 })).toEqual(upTo(1000));
  });

  it("in raw bytes", async () => {
    const handler = async function* (body: Uint8Array) {
      for (const byte of body) yield Uint8Array.of(byte);
      yield "text";
    };
    await using t = await trio({ raw: { handler, raw: true } });
    const seen: string[] = [];
    const stream = t.client.stream<Uint8Array>("raw", "abc", { raw: true });
    for await (const part of stream) seen.push(Buffer.from(part).toString());
    expect(seen).toEqual(["a", "b", "c", "text"]);
  });

  it("small ones beside some that go through the codec's thread, as frames", async () => {
    const keys = [await generateKey()];
    const sizes = [10, 300_000, 20, 9_000, 100_000, 5];
    const mixed = async function* () {
      for (const size of sizes) yield new Uint8Array(size).map((_, at) => (at * size) & 0xff);
    };
    await using t = await trio({ mixed }, [{ keys }, { keys }]);
    const seen: number[] = [];
    for await (const part of t.client.stream<Uint8Array>("mixed", null)) {
      expect(part.every((byte, at) => byte === ((at * part.length) & 0xff))).toBe(true);
      seen.push(part.length);
    }
    expect(seen).toEqual(sizes);
  });

  it("with what the generator returned, and nothing behind it", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted, string>("count", { to: 1 });
    expect(await stream.next()).toEqual({ done: false, value: { n: 0 } });
    expect(await stream.next()).toEqual({ done: true, value: "all" });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  it("to several that wait at once, each its own", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 3 });
    const all = await Promise.all(upTo(5).map(() => stream.next()));
    expect(all.map(({ value, done }) => (done ? "end" : value.n))).toEqual([0, 1, 2, "end", "end"]);
  });
});

describe("what is no stream", () => {
  it("a handler that returns a value gives one part", async () => {
    await using t = await trio({ plain: (body: number) => body + 1 });
    const seen: unknown[] = [];
    for await (const part of t.client.stream("plain", 41)) seen.push(part);
    expect(seen).toEqual([42]);
  });

  it("a handler that resolves with an iterable streams it", async () => {
    await using t = await trio({ later: async () => upToLater(3) });
    const seen: unknown[] = [];
    for await (const part of t.client.stream("later", null)) seen.push(part);
    expect(seen).toEqual([0, 1, 2]);
  });

  it("a request to a generator is refused before it runs", async () => {
    await using t = await trio();
    const error = await failureOf(t.client.request("count", { to: 3 }));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(error?.reason).toMatch("client.stream()");
    expect(t.counter.made).toBe(0);
  });

  it.each([
    [{ window: 0 }, "window"],
    [{ windowBytes: 2 ** 31 }, "windowBytes"],
    [{ timeoutMs: -1 }, "timeoutMs"],
  ])("options %o reject at the first part", async (options, name) => {
    await using t = await trio();
    const error = await failureOf(numbers(t.client, { to: 1 }, options));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(error?.reason).toMatch(name);
  });
});

async function* upToLater(count: number) {
  yield* upTo(count);
}

describe("flow control", () => {
  it.each([1, 2, 7, 32, 100])(
    "a window of %i: the handler is never further ahead",
    async (window) => {
      await using t = await trio();
      let read = 0;
      let aheadMax = 0;
      for await (const { n } of t.client.stream<Counted>("count", { to: 500 }, { window })) {
        expect(n).toBe(read++);
        aheadMax = Math.max(aheadMax, t.counter.made - read);
      }
      expect(read).toBe(500);
      expect(aheadMax).toBeLessThanOrEqual(window);
    },
  );

  it("a reader that stopped stops the handler at its window", async () => {
    await using t = await trio({ echo: (body: unknown) => body });
    const stream = t.client.stream<Counted>("count", { to: 1e9 }, { window: 10 });
    for (const n of upTo(3)) expect((await stream.next()).value).toEqual({ n });
    await eventually("it comes to rest", async () => {
      const { made } = t.counter;
      // Round trips enough for all that is on its way to arrive.
      for (let n = 0; n < 20; n++) await t.client.request("echo", n);
      return made === t.counter.made;
    });
    expect(t.counter.made).toBeGreaterThanOrEqual(8);
    expect(t.counter.made).toBeLessThanOrEqual(13);
  });

  it("the window in bytes counts too, with one part beyond it", async () => {
    await using t = await trio();
    const options = { windowBytes: 10_000 };
    let read = 0;
    let aheadMax = 0;
    for await (const _ of t.client.stream("count", { to: 50, size: 4_000 }, options)) {
      aheadMax = Math.max(aheadMax, t.counter.made - ++read);
    }
    expect(read).toBe(50);
    expect(aheadMax).toBeLessThanOrEqual(3);
  });

  it("a slow reader holds up no other stream and no request", async () => {
    await using t = await trio({ echo: (body: unknown) => body });
    const slow = t.client.stream<Counted>("count", { to: 1e9 });
    expect((await slow.next()).value).toEqual({ n: 0 });
    expect(await numbers(t.client, { to: 2000 })).toEqual(upTo(2000));
    expect(await t.client.request("echo", 7)).toBe(7);
    expect((await slow.next()).value).toEqual({ n: 1 });
    await slow.return();
    await eventually("both cleaned up", () => t.counter.returned === 2);
  });

  it("160 MB in 10,000 parts pass a broker that keeps none of them", async () => {
    const party = await Party.start("broker", loopback);
    const brokers = (await party.until("frontend")) as string[];
    const counter = new Counter();
    const services = { count: counter.count.bind(counter) as never };
    await using worker = await Worker.start({
      brokers: (await party.until("backend")) as string[],
      services,
    });
    await using client = await Client.connect({ brokers });
    const { memory: before } = await party.stats();
    let seen = 0;
    let mostBytes = 0;
    for await (const { n } of client.stream<Counted>("count", { to: 10_000, size: 16_384 })) {
      expect(n).toBe(seen++);
      if (seen % 1000 !== 0) continue;
      const { memory } = await party.stats();
      mostBytes = Math.max(mostBytes, memory.rss - before.rss);
    }
    expect(seen).toBe(10_000);
    expect(mostBytes).toBeLessThan(64 * 1024 * 1024);
    expect(worker.stats.parts).toBe(10_000);
  });
});

describe("ending early", () => {
  it("to leave the loop stops the handler", async () => {
    await using t = await trio();
    for await (const { n } of t.client.stream<Counted>("count", { to: 1e9 })) if (n === 5) break;
    await eventually("it cleaned up", () => t.counter.returned === 1);
    expect(t.counter.stopped).toBe(1);
    await eventually("its place is free", () => t.broker.stats.requests === 0);
    expect(t.client.stats.pending).toBe(0);
    expect(t.worker.stats.running).toBe(0);
  });

  it("an abort signal ends it as CANCELLED, whoever waits", async () => {
    await using t = await trio({ silent: waitForAbort });
    const abort = new AbortController();
    const stream = t.client.stream("silent", null, { signal: abort.signal });
    expect((await stream.next()).value).toBe("ready");
    const waiting = failureOf(stream.next());
    abort.abort();
    expect(await waiting).toMatchObject({ code: "CANCELLED" });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    await eventually("its place is free", () => t.broker.stats.requests === 0);
  });

  it("calls return of an iterator that waits for what may never come", async () => {
    const emitter = new EventEmitter();
    await using t = await trio({ events: () => on(emitter, "tick") });
    const stream = t.client.stream("events", null);
    await eventually("it listens", () => emitter.listenerCount("tick") === 1);
    emitter.emit("tick", 1);
    expect((await stream.next()).value).toEqual([1]);
    await stream.return();
    await eventually("it listens no more", () => emitter.listenerCount("tick") === 0);
    await eventually("its place is free", () => t.worker.stats.running === 0);
  });

  it("what the handler throws comes behind the parts before it", async () => {
    const failing = async function* () {
      yield 1;
      yield 2;
      throw new Error("broken");
    };
    await using t = await trio({ failing });
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const part of t.client.stream("failing", null)) seen.push(part);
    })();
    expect(await failureOf(reading)).toMatchObject({ code: "INTERNAL" });
    expect(seen).toEqual([1, 2]);
  });

  it("the deadline is for the whole of it", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 1e9 }, { timeoutMs: 300 });
    const error = await failureOf(
      (async () => {
        for await (const _ of stream);
      })(),
    );
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await eventually("it cleaned up", () => t.counter.returned === 1);
  });

  it("a part larger than the broker takes ends it, and cleans up", async () => {
    const broker = await Broker.start({ ...loopback, limits: { recordBytesMax: 4096 } });
    const counter = new Counter();
    const services = { count: counter.count.bind(counter) as never };
    const worker = await Worker.start({ brokers: broker.backend, services });
    const client = await Client.connect({ brokers: broker.frontend });
    const error = await failureOf(numbers(client, { to: 10, size: 5000 }));
    expect(error).toMatchObject({ code: "INTERNAL" });
    expect(error?.reason).toMatch("the broker takes 4096");
    await eventually("it cleaned up", () => counter.returned === 1);
    await client.close();
    await worker.drain();
    await broker.close();
  });
});

async function* waitForAbort(_: unknown, { signal }: { signal: AbortSignal }) {
  yield "ready";
  await once(signal, "abort");
}

describe("leaving", () => {
  it("a worker that drains sends its streams to their end", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 200 });
    expect((await stream.next()).value).toEqual({ n: 0 });
    const draining = t.worker.drain();
    let seen = 1;
    for await (const { n } of stream) expect(n).toBe(seen++);
    expect(seen).toBe(200);
    await draining;
  });

  it("a worker that has drained for long enough leaves, and its streams end as UNAVAILABLE", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 1e9 });
    await stream.next();
    const draining = t.worker.drain({ timeoutMs: 100 });
    const error = await failureOf(
      (async () => {
        for await (const _ of stream) await draining;
      })(),
    );
    expect(error).toMatchObject({ code: "UNAVAILABLE" });
    expect(t.counter.returned).toBe(1);
  });

  it("a broker that drains waits for streams", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 200 });
    await stream.next();
    const closing = t.broker.close();
    let seen = 1;
    for await (const { n } of stream) expect(n).toBe(seen++);
    expect(seen).toBe(200);
    expect(await closing).toBe(true);
  });

  it("a client that closes ends them as CANCELLED", async () => {
    await using t = await trio();
    const stream = t.client.stream<Counted>("count", { to: 1e9 });
    await stream.next();
    await t.client.close({ timeoutMs: 50 });
    expect(await failureOf(stream.next())).toMatchObject({ code: "CANCELLED" });
    await eventually("it cleaned up", () => t.counter.returned === 1);
  });
});
