// Native streams at Majordomo workers, and native generators for Majordomo clients, over sockets.
import { afterEach, expect, it } from "vitest";
import { Dealer } from "zeromq";
import {
  Broker,
  Client,
  type ReplyStream,
  type RequestError,
  type StreamOptions,
  Worker,
} from "../../build/index.js";
import { endAll, eventually, Party } from "./processes.js";

let closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.reverse()) await close();
  closers = [];
  await endAll();
});

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

function dealer(endpoint: string, options: object = {}): Dealer {
  const socket = new Dealer({ linger: 0, receiveTimeout: 20_000, ...options });
  socket.connect(endpoint);
  closers.push(() => socket.close());
  return socket;
}

/** Connects, and does not end with the test where it did before. */
async function connect(brokers: readonly string[]): Promise<Client> {
  const client = await Client.connect({ brokers });
  closers.push(() => client.close({ timeoutMs: 0 }));
  return client;
}

/** A worker of 0.2, in a process of its own. */
async function worker(backend: readonly string[], name: string, options: object): Promise<Party> {
  const where = { endpoint: backend[0], service: "echo", version: 2, delimiter: false };
  return Party.start("majordomo-worker", { name, ...where, ...options });
}

const workers = (broker: Broker, count: number) =>
  eventually(`${count} workers are there`, () => broker.stats.workers === count);

/** A worker of 0.2 in this process, that is told what to say. */
class MajordomoWorker {
  readonly #socket: Dealer;
  address: Uint8Array = Buffer.alloc(0);

  constructor(backend: readonly string[], service: string) {
    this.#socket = dealer(backend[0]);
    void this.#send(1, service);
  }

  #send(command: number, ...rest: (string | Uint8Array)[]): Promise<void> {
    return this.#socket.send(["MDPW02", Buffer.of(command), ...rest]);
  }

  /** Resolves with the body of its next request. */
  async next(): Promise<string> {
    for (;;) {
      const [, command, address, , body] = await this.#socket.receive();
      if (command[0] !== 2) continue;
      this.address = address;
      return body.toString();
    }
  }

  partial(body: string | Uint8Array): Promise<void> {
    return this.#send(3, this.address, "", body);
  }

  final(body: string | Uint8Array): Promise<void> {
    return this.#send(4, this.address, "", body);
  }
}

const ask = (client: Client, service: string, options: StreamOptions = {}) =>
  client.stream<Uint8Array>(service, "x", { raw: true, ...options });

/** The parts until the end, as text. */
async function textsOf(stream: ReplyStream<Uint8Array>): Promise<string[]> {
  const seen: string[] = [];
  for await (const part of stream) seen.push(Buffer.from(part).toString());
  return seen;
}

/** Its next part, as text. */
async function nextOf(stream: ReplyStream<Uint8Array>): Promise<string> {
  const { value } = await stream.next();
  return Buffer.from(value as Uint8Array).toString();
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: RequestError) => error,
  );

it("parts of a MDP/0.2 worker arrive in order, FINAL as the last", async () => {
  await using broker = await Broker.start(loopback);
  await worker(broker.backend, "a", { parts: 200 });
  await workers(broker, 1);
  const client = await connect(broker.frontend);
  for (const window of [1, 7, 32, 1000]) {
    const seen = await textsOf(ask(client, "echo", { window }));
    expect(seen).toEqual([...upTo(200).map((n) => `part ${n}`), "a x"]);
  }
  expect(client.stats).toMatchObject({ failures: 0, late: 0, parts: 4 * 201 });
  // Asked for one reply, it is one.
  const whole = await client.request<Uint8Array>("echo", "x", { raw: true });
  expect(Buffer.from(whole).toString()).toMatch(/^part 0.*part 199a x$/);
  expect(broker.stats).toMatchObject({ requests: 0, counts: { stale: 0 } });
});

it("a slow reader is sent its window, and its worker is free as soon as it has done", async () => {
  await using broker = await Broker.start(loopback);
  const mdp = new MajordomoWorker(broker.backend, "echo");
  await workers(broker, 1);
  const client = await connect(broker.frontend);
  const slow = ask(client, "echo", { window: 8 });
  await mdp.next();
  for (const n of upTo(2000)) await mdp.partial(String(n));
  await mdp.final("");
  const other = client.request<Uint8Array>("echo", "y", { raw: true });
  // That it is handed this says that the broker has read all before.
  expect(await mdp.next()).toBe("y");
  expect(broker.stats.counts.parts).toBe(8);
  await mdp.final("z");
  expect(Buffer.from(await other).toString()).toBe("z");
  expect(await textsOf(slow)).toEqual(upTo(2000).map(String));
  expect(broker.stats).toMatchObject({ requests: 0, counts: { parts: 2000, stale: 0 } });
});

it("SIGKILL of the worker in mid-stream: UNAVAILABLE behind what came", async () => {
  await using broker = await Broker.start(loopback);
  const dying = await worker(broker.backend, "a", { parts: 5, hold: true });
  await workers(broker, 1);
  const client = await connect(broker.frontend);
  const stream = ask(client, "echo");
  for (const n of upTo(5)) expect(await nextOf(stream)).toBe(`part ${n}`);
  await dying.until("holding");
  await worker(broker.backend, "other", { parts: 1 });
  await workers(broker, 2);
  await dying.kill();
  const error = await failureOf(stream.next());
  expect(error).toMatchObject({ code: "UNAVAILABLE" });
  expect(error?.reason).toMatch("mid-stream");
  expect(broker.stats.counts.redelivered).toBe(0);
  expect(await textsOf(ask(client, "echo"))).toEqual(["part 0", "other x"]);
});

it("a reader that leaves: what its worker still says goes nowhere, and after FINAL it takes the next", async () => {
  await using broker = await Broker.start(loopback);
  const mdp = new MajordomoWorker(broker.backend, "echo");
  await workers(broker, 1);
  const client = await connect(broker.frontend);
  const left = ask(client, "echo");
  await mdp.next();
  await mdp.partial("one");
  for await (const part of left) {
    expect(Buffer.from(part).toString()).toBe("one");
    break;
  }
  await eventually("it is cancelled", () => broker.stats.counts.cancelled === 1);
  const again = textsOf(ask(client, "echo"));
  await eventually("the next waits", () => broker.stats.queued === 1);
  for (const n of upTo(100)) await mdp.partial(`late ${n}`);
  await mdp.final("late");
  await mdp.next();
  await mdp.partial("two");
  await mdp.final("three");
  expect(await again).toEqual(["two", "three"]);
  expect(broker.stats.counts).toMatchObject({ parts: 3, stale: 0 });
  expect(client.stats.late).toBe(0);
});

it("200 MB that a reader does not read: RESOURCE_EXHAUSTED, in bounded memory, and others go on", async () => {
  const MB = 1024 * 1024;
  const limits = { recordBytesMax: MB, queueBytesMax: 16 * MB, requestBytesMax: 16 * MB };
  const party = await Party.start("broker", { ...loopback, limits });
  const backend = (await party.until("backend")) as string[];
  const flooding = new MajordomoWorker(backend, "flood");
  const steady = new MajordomoWorker(backend, "steady");
  await eventually("both are there", async () => (await party.stats()).stats.workers === 2);
  const client = await connect((await party.until("frontend")) as string[]);
  const unread = ask(client, "flood", { window: 4 });
  const read = ask(client, "steady", { window: 1 });
  await Promise.all([flooding.next(), steady.next()]);
  await steady.partial("first");
  expect(await nextOf(read)).toBe("first");
  const { memory: before } = await party.stats();
  const part = Buffer.alloc(100_000, "x");
  let mostBytes = 0;
  for (const n of upTo(2000)) {
    await flooding.partial(part);
    if (n % 100 !== 0) continue;
    // Beside the flood.
    await steady.partial(String(n));
    expect(await nextOf(read)).toBe(String(n));
    const { memory } = await party.stats();
    mostBytes = Math.max(mostBytes, memory.rss - before.rss);
  }
  const parts: number[] = [];
  const error = await failureOf(
    (async () => {
      for await (const { length } of unread) parts.push(length);
    })(),
  );
  expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  expect(parts).toEqual(Array(4).fill(100_000));
  expect(mostBytes).toBeLessThan(80 * MB);
  // It is of use again.
  const again = textsOf(ask(client, "flood"));
  await flooding.final("");
  await flooding.next();
  await flooding.partial("one");
  await flooding.final("");
  expect(await again).toEqual(["one"]);
  await steady.final("");
  expect(await textsOf(read)).toEqual([]);
  const { stats } = await party.stats();
  expect(stats).toMatchObject({ requests: 0, counts: { failures: 1, stale: 0 } });
});

/** A native worker of generators in raw bytes, and how far it came. */
async function generator(broker: Broker) {
  const told = { made: 0, returned: 0, stopped: 0 };
  const count = async function* (body: Uint8Array, { signal }: { signal: AbortSignal }) {
    signal.addEventListener("abort", () => told.stopped++);
    const [to, size] = Buffer.from(body).toString().split(" ").map(Number);
    try {
      for (let n = 0; n < to; n++) {
        told.made++;
        yield `${n} ${"x".repeat(size)}`;
      }
      return size > 0 ? "all" : undefined;
    } finally {
      told.returned++;
    }
  };
  const services = { count: { handler: count as never, raw: true } };
  const native = await Worker.start({ brokers: broker.backend, services });
  closers.push(() => native.drain({ timeoutMs: 0 }));
  return told;
}

const REQUEST = Buffer.of(1);

it("a MDP/0.2 client gets each part of a generator as PARTIAL, and FINAL at its end", async () => {
  await using broker = await Broker.start(loopback);
  await generator(broker);
  const socket = dealer(broker.frontend[0]);
  for (const [body, last] of [
    ["1000 0", ""],
    ["1000 100", "all"],
    ["0 0", ""],
  ]) {
    const [to, size] = body.split(" ").map(Number);
    await socket.send(["MDPC02", REQUEST, "count", body]);
    for (const n of upTo(to)) {
      const said = (await socket.receive()).map(String);
      expect(said).toEqual(["MDPC02", "\x02", "count", `${n} ${"x".repeat(size)}`]);
    }
    expect((await socket.receive()).map(String)).toEqual(["MDPC02", "\x03", "count", last]);
  }
  expect(broker.stats).toMatchObject({ requests: 0, unanswered: 0, counts: { parts: 2000 } });
});

it("a MDP/0.2 client that does not read stops the handler, and it goes on when it does", async () => {
  // One that takes nothing for longer is given up, see below.
  await using broker = await Broker.start({ ...loopback, heartbeatTimeoutMs: 60_000 });
  const told = await generator(broker);
  // Little room of its own; what the system has is bounded too.
  const options = { receiveHighWaterMark: 4, receiveBufferSize: 64 * 1024 };
  const socket = dealer(broker.frontend[0], options);
  const other = dealer(broker.frontend[0]);
  await socket.send(["MDPC02", REQUEST, "count", "1000000 16384"]);
  const turn = async () => {
    await other.send(["MDPC02", REQUEST, "count", "1 0"]);
    expect((await other.receive())[1]).toEqual(Buffer.of(2));
    expect((await other.receive())[1]).toEqual(Buffer.of(3));
  };
  let turns = 0;
  await eventually("it comes to rest", async () => {
    const { made } = told;
    // Nobody else is held up. A hundred of these: the grants that wait are looked at each few ms.
    for (let n = 0; n < 100; n++) await turn();
    turns += 100;
    return told.made - made === 100;
  });
  const rested = told.made - turns;
  expect(rested).toBeLessThan(1000);
  expect(broker.stats.faults.unread).toBe(0);
  for (const n of upTo(2000)) {
    const [, command, , body] = await socket.receive();
    expect(command).toEqual(Buffer.of(2));
    expect(body.toString("latin1", 0, 8)).toBe(`${n} xxxxxxxx`.slice(0, 8));
  }
  expect(told.made - turns).toBeGreaterThan(rested);
  socket.close();
  await eventually("its handler is stopped", () => told.stopped === 1);
  await eventually("it cleaned up", () => told.returned === turns + 1);
  await eventually("nothing is left", () => broker.stats.requests === 0);
});

it("a MDP/0.2 client that takes nothing for too long is given up, and the handler stopped", async () => {
  const times = { heartbeatIntervalMs: 100, heartbeatTimeoutMs: 300 };
  await using broker = await Broker.start({ ...loopback, ...times });
  const told = await generator(broker);
  const options = { receiveHighWaterMark: 4, receiveBufferSize: 64 * 1024 };
  const socket = dealer(broker.frontend[0], options);
  await socket.send(["MDPC02", REQUEST, "count", "1000000 16384"]);
  await eventually("its handler is stopped", () => told.stopped === 1);
  await eventually("nothing is left", () => broker.stats.requests === 0);
  expect(broker.stats.counts.cancelled).toBe(1);
});

it("a MDP/0.1 client of a generator is not answered, as before", async () => {
  await using broker = await Broker.start(loopback);
  const told = await generator(broker);
  const socket = dealer(broker.frontend[0]);
  await socket.send(["", "MDPC01", "count", "3 0"]);
  await eventually("it is refused", () => broker.stats.unanswered === 1);
  expect(told.made).toBe(0);
});
