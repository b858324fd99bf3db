// Bodies that handlers and callers were given are theirs, and stay what they are: what they were read into is
// used again for what comes next, and written over meanwhile (test/poison.ts).
import { Worker as Thread } from "node:worker_threads";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createCodec, generateKey } from "../../build/codec/index.js";
import {
  Broker,
  Client,
  type Subscription,
  Worker,
  type WorkerOptions,
} from "../../build/index.js";
import { clientHello, workerHello } from "../broker/fake-port.js";
import { RawPeer } from "../broker/processes.js";
import { bodyOf, Given, sizeOf, sizes } from "./patterned.js";
import { eventually } from "./processes.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
const COUNT = 8 * sizes.length;

let broker: Broker;
let client: Client;
let closers: (() => unknown)[];

beforeEach(async () => {
  broker = await Broker.start({ ...loopback, tasks: { backoffMsMin: 1, backoffMsMax: 5 } });
  client = await Client.connect({ brokers: broker.frontend });
  closers = [];
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  for (const close of closers.reverse()) await close();
  await broker.close({ timeoutMs: 0 });
});

async function work(options: Partial<WorkerOptions>): Promise<Worker> {
  const worker = await Worker.start({ brokers: broker.backend, ...options });
  closers.push(() => worker.close());
  return worker;
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A raw handler that keeps what it is given, and answers with the body of another number. */
function echo(given: Given) {
  return {
    raw: true,
    handler: async (body: Uint8Array, { headers }: { headers: Record<string, string> }) => {
      const number = Number(headers.number);
      given.add("request", number, body);
      await nextTurn();
      return bodyOf(number + 1);
    },
  };
}

/** Asks for all numbers at once, and keeps the replies. */
async function askAll(given: Given, count = COUNT, asker = client): Promise<void> {
  await Promise.all(
    Array.from({ length: count }, async (_, number) => {
      const headers = { number: String(number) };
      const options = { raw: true, headers, attempts: 5 };
      const reply = await asker.request<Uint8Array>("echo", bodyOf(number), options);
      given.add("reply", number + 1, reply);
    }),
  );
}

test.each([1, 3, 64])(
  "of requests and replies, at a worker of concurrency %i",
  async (concurrency) => {
    const given = new Given();
    await work({ services: { echo: echo(given) as never }, concurrency });
    await askAll(given);
    given.check(2 * COUNT);
  },
);

test("of requests that wait at the broker for their first worker, with other traffic meanwhile", async () => {
  const given = new Given();
  const other = new Given();
  const asking = askAll(given);
  const nobody = { raw: true, handler: () => new Uint8Array(0) };
  await work({ services: { nobody } });
  await eventually("they wait", () => broker.stats.queued === COUNT);
  for (let i = 0; i < 50; i++) await client.request("nobody", bodyOf(i), { raw: true });
  await work({ services: { echo: echo(given) as never }, concurrency: 4 });
  await asking;
  given.check(2 * COUNT);
  expect(other.count).toBe(0);
});

test("of requests whose worker was lost with them, and goes again", async () => {
  const given = new Given();
  const lost = new RawPeer(broker.backend[0]);
  await lost.say(workerHello(["echo"], 1000));
  await lost.receive(({ kind }) => kind === "WELCOME");
  const asking = askAll(given);
  for (let i = 0; i < COUNT; i++) await lost.receive(({ kind }) => kind === "REQUEST");
  lost.close();
  await work({ services: { echo: echo(given) as never }, concurrency: 4 });
  await asking;
  expect(broker.stats.counts.redelivered).toBe(COUNT);
  given.check(2 * COUNT);
});

test("of requests that go to another broker, or come to nothing, with others in their place", async () => {
  const given = new Given();
  const other = await Broker.start(loopback);
  closers.push(() => other.close({ timeoutMs: 0 }));
  const brokers = [...broker.frontend, ...other.frontend];
  let upCount = 0;
  const onConnection = ({ state }: { state: string }) => {
    if (state === "up") upCount++;
  };
  const asker = await Client.connect({ brokers, onConnection });
  closers.push(() => asker.close({ timeoutMs: 0 }));
  await eventually("it is at both", () => upCount === 2);
  const asking = askAll(given, COUNT, asker);
  const ending = Array.from({ length: COUNT }, (_, number) => {
    const abortion = new AbortController();
    const options = { raw: true, signal: abortion.signal, headers: { number: "0" } };
    const request = asker.request("echo", bodyOf(number + 7), options).catch(({ code }) => code);
    return { abortion, request };
  });
  const held = () => broker.stats.queued + other.stats.queued;
  await eventually("they wait", () => held() === 2 * COUNT);
  for (const { abortion } of ending) abortion.abort();
  expect(new Set(await Promise.all(ending.map(({ request }) => request)))).toEqual(
    new Set(["CANCELLED"]),
  );
  // What takes their memory.
  const more = askAll(given, COUNT, asker);
  expect(other.stats.queued).toBeGreaterThan(0);
  void other.close({ timeoutMs: 0 });
  await work({ services: { echo: echo(given) as never }, concurrency: 4 });
  await Promise.all([asking, more]);
  given.check(4 * COUNT);
});

test("of requests of many clients at many workers", async () => {
  const given = new Given();
  for (let i = 0; i < 3; i++)
    await work({ services: { echo: echo(given) as never }, concurrency: 2 });
  const clients = await Promise.all(
    [1, 2, 3, 4].map(() => Client.connect({ brokers: broker.frontend })),
  );
  closers.push(() => Promise.all(clients.map((each) => each.close({ timeoutMs: 0 }))));
  for (let round = 0; round < 3; round++) {
    await Promise.all(clients.map((each) => askAll(given, sizes.length, each)));
  }
  given.check(2 * 3 * 4 * sizes.length);
});

test("of requests that come again, and replies that are remembered", async () => {
  const given = new Given();
  const ask = async (peer: RawPeer, body: string) => {
    const request = { kind: "REQUEST", slot: 0, generation: 0, flags: 1, session, priority: 4 };
    const rest = { attempts: 0, timeoutMs: 60_000, service: "echo", headers: [["number", "0"]] };
    await peer.say({ ...request, ...rest, sequence: "7", body: [body] } as never);
    return (await peer.receive(({ kind }) => kind === "REPLY")) as unknown as { body: string[] };
  };
  await work({ services: { echo: echo(given) as never } });
  const { session } = clientHello() as unknown as { session: string };
  const replies: string[] = [];
  for (let i = 0; i < 3; i++) {
    const peer = new RawPeer(broker.frontend[0]);
    closers.push(() => peer.close());
    await peer.say(clientHello());
    await peer.receive(({ kind }) => kind === "WELCOME");
    replies.push((await ask(peer, bodyOf(0).toString("hex"))).body[0]);
    await client.request("echo", bodyOf(3), { raw: true, headers: { number: "3" } });
    peer.close();
    await eventually("it is gone", () => broker.stats.clients === 1);
  }
  expect(replies).toEqual(Array(3).fill(bodyOf(1).toString("hex")));
  // Of those that came again none was run again.
  given.check(4);
});

test("of parts of streams", async () => {
  const given = new Given();
  const handler = async function* (
    body: Uint8Array,
    { headers }: { headers: Record<string, string> },
  ) {
    const first = Number(headers.number);
    given.add("request", first, body);
    for (let i = 0; i < sizes.length; i++) yield bodyOf(first + i);
  };
  await work({ services: { count: { raw: true, handler } as never } });
  const read = async (first: number) => {
    const headers = { number: String(first) };
    const stream = client.stream<Uint8Array>("count", bodyOf(first), { raw: true, headers });
    let number = first;
    for await (const part of stream) {
      given.add("part", number++, part);
      // Others wait here, and at the worker.
      if (number % 7 === 0) await nextTurn();
    }
  };
  await Promise.all([0, 100, 200, 300].map(read));
  given.check(4 * (1 + sizes.length));
});

/** The next `count` events, numbered by their topics. */
async function listen(given: Given, heard: Subscription<Uint8Array>, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const { value } = await heard.next();
    if (value === undefined) throw new Error("over");
    given.add("event", Number(value.topic.split(".")[1]), value.body);
  }
}

test("of events, those that waited for a slow reader and last values too", async () => {
  const given = new Given();
  const reader = await Client.connect({ brokers: broker.frontend });
  closers.push(() => reader.close({ timeoutMs: 0 }));
  const options = { raw: true, queueMax: 4096 };
  const live = client.subscribe<Uint8Array>("live.>", options);
  const other = reader.subscribe<Uint8Array>("live.*", options);
  await Promise.all([live.ready(), other.ready()]);
  // One that says what it has read late: its events wait at the broker.
  const slow = new RawPeer(broker.frontend[0]);
  closers.push(() => slow.close());
  await slow.say(clientHello("00000000000000aa"));
  await slow.receive(({ kind }) => kind === "WELCOME");
  const subscribe = { kind: "SUBSCRIBE", subscription: 1, pattern: "live.>", whenFull: 0 };
  await slow.say({ ...subscribe, queueMax: 4096, wantsRetained: true } as never);
  await eventually("all listen", () => broker.stats.topics.subscriptions === 3);

  for (let number = 0; number < COUNT; number++) {
    const publishing = client.publish(`live.${number}`, bodyOf(number), {
      raw: true,
      // Without a body it would take the last value away, and nobody be told.
      retain: number < sizes.length && sizeOf(number) > 0,
    });
    if (number % 10 === 9) await publishing;
  }
  await Promise.all([listen(given, live, COUNT), listen(given, other, COUNT)]);
  await eventually("some wait", () => broker.stats.topics.queued > 0);

  const late = reader.subscribe<Uint8Array>("live.>", options);
  const kept = sizes.filter((size) => size > 0).length;
  await listen(given, late, kept);
  given.check(2 * COUNT + kept);

  // What waited for the slow one comes as it says what it has read.
  const seen = new Map<number, string>();
  while (seen.size < COUNT) {
    const event = (await slow.receive()) as unknown as {
      kind: string;
      topic: string;
      body: string[];
    };
    if (event.kind !== "EVENT") continue;
    seen.set(Number(event.topic.split(".")[1]), event.body.join(""));
    await slow.say({ kind: "TAKEN", taken: 300_000 } as never);
  }
  for (const [number, body] of seen)
    expect(body === bodyOf(number).toString("hex"), `${number}`).toBe(true);
});

test("of tasks, those tried again and dead letters too", async () => {
  const given = new Given();
  let isFailing = true;
  const handler = async (body: Uint8Array, { headers, attempt }: never) => {
    const number = Number((headers as { number: string }).number);
    given.add(`attempt ${attempt}`, number, body);
    await nextTurn();
    if (isFailing) throw new Error("not yet");
  };
  const push = (number: number) =>
    client.push("jobs", bodyOf(number), {
      raw: true,
      attempts: 2,
      headers: { number: String(number) },
    });
  await Promise.all(Array.from({ length: COUNT }, (_, number) => push(number)));
  await work({ queues: { jobs: { raw: true, handler: handler as never } }, concurrency: 3 });
  const dead = () => broker.stats.tasks.queues.find(({ name }) => name === "jobs")?.dead;
  await eventually("all have failed", () => dead() === COUNT);
  isFailing = false;
  expect(await client.retryDeadLetters("jobs")).toBe(COUNT);
  await eventually("all are done", () => broker.stats.tasks.counts.done === COUNT);
  given.check(3 * COUNT);
});

test("of surveys and their answers", async () => {
  const given = new Given();
  for (let i = 0; i < 3; i++)
    await work({ services: { echo: echo(given) as never }, concurrency: 1 });
  await Promise.all(
    sizes.map(async (_, number) => {
      const options = { raw: true, headers: { number: String(number) }, timeoutMs: 30_000 };
      const { replies } = await client.survey<Uint8Array>("echo", bodyOf(number), options);
      for (const { value } of replies) given.add("answer", number + 1, value);
    }),
  );
  given.check(2 * 3 * sizes.length);
});

test.each([
  ["in clear", false],
  ["sealed", true],
])("that values hold, %s", async (_, isSealed) => {
  const given = new Given();
  const keys = isSealed ? { keys: [await generateKey()] } : {};
  const codecs = await Promise.all(
    [1, 2].map(() => createCodec({ ...keys, isCompressing: false })),
  );
  closers.push(() => codecs.map((codec) => codec.close()));
  const asker = await Client.connect({ brokers: broker.frontend, codec: codecs[0] });
  closers.push(() => asker.close({ timeoutMs: 0 }));
  const handler = async ({ number, bytes }: { number: number; bytes: Uint8Array }) => {
    given.add("value", number, bytes);
    await nextTurn();
    return { bytes: bodyOf(number + 1) };
  };
  await work({ services: { echo: handler as never }, codec: codecs[1], concurrency: 2 });
  const replies = await Promise.all(
    Array.from({ length: COUNT }, (_, number) =>
      asker.request<{ bytes: Uint8Array }>("echo", { number, bytes: bodyOf(number) }),
    ),
  );
  for (const [number, { bytes }] of replies.entries()) given.add("reply", number + 1, bytes);
  given.check(2 * COUNT);
});

test("of values that are opened in a thread, where that is lost with them", async () => {
  // Some KiB on the wire, many more when opened: these go to a thread, from where they were read.
  const texts = Array.from({ length: 12 }, (_, number) => `${number} `.repeat(60_000));
  const post = Thread.prototype.postMessage;
  const spy = vi.spyOn(Thread.prototype, "postMessage").mockImplementation(function (
    this: Thread,
    ...args: unknown[]
  ) {
    if ((args[0] as { what?: string }).what === "open") void this.terminate();
    post.apply(this, args as never);
  });
  try {
    const handler = (text: string) => text;
    const asked = texts.map((text) => client.request<string>("same", text));
    // What is being sealed in a thread that is lost is lost for good: not while any is.
    await eventually("all are sealed", () => broker.stats.queued === texts.length);
    await work({ services: { same: handler as never }, concurrency: 4 });
    for (const [index, reply] of (await Promise.all(asked)).entries()) {
      expect(reply === texts[index], `${index}`).toBe(true);
    }
    for (const text of texts) {
      const { replies } = await client.survey<string>("same", text);
      expect(replies.map(({ value }) => value === text)).toEqual([true]);
    }
    const opened = spy.mock.calls.filter(([message]) => message.what === "open");
    expect(opened.length).toBeGreaterThan(0);
  } finally {
    spy.mockRestore();
  }
});

test("numbers and sizes are all there", () => {
  expect(new Set(Array.from({ length: COUNT }, (_, number) => sizeOf(number))).size) //
    .toBe(new Set(sizes).size);
});
