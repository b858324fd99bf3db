// Code of the caller's that runs within a call of ours: getters of a body that is packed, the function that
// hears of a stream's second run. Whatever it does, each request has its one end, and no other's.
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Broker as ClientBroker, Brokers } from "../../build/client/brokers.js";
import { ReplyStream } from "../../build/client/reply-stream.js";
import { Requests } from "../../build/client/requests.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import { type Codec, generateKey } from "../../build/codec/index.js";
import { Broker, Client, type RequestError, Worker } from "../../build/index.js";
import { BatchWriter } from "../../build/wire/batch.js";

const loopback = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };
let broker: Broker;
let client: Client;
let runs: unknown[];
let workers: Worker[];

const startWorker = async (count: () => AsyncGenerator) => {
  const echo = (body: unknown) => {
    runs.push(body);
    return body;
  };
  const worker = await Worker.start({ brokers: broker.backend, services: { echo, count } });
  workers.push(worker);
  return worker;
};

beforeEach(async () => {
  runs = [];
  workers = [];
  broker = await Broker.start(loopback);
  client = await Client.connect({ brokers: broker.frontend });
});

afterEach(async () => {
  await client.close({ timeoutMs: 0 });
  for (const worker of workers) await worker.close();
  await broker.close({ timeoutMs: 0 });
});

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    (value) => value,
    ({ code }: RequestError) => code,
  );
async function* nothing(): AsyncGenerator {}
/** A body that does something while it is packed. */
const doing = (what: () => unknown) => ({
  get part() {
    what();
    return 1;
  },
});

test("a stream that its restart callback gives up at its end ends once", async () => {
  const first = await startWorker(async function* () {
    yield 1;
    await new Promise(() => {});
  });
  const abortion = new AbortController();
  const restart = () => abortion.abort();
  const stream = client.stream("count", 0, { restart, signal: abortion.signal });
  expect(await stream.next()).toEqual({ done: false, value: 1 });
  const next = codeOf(stream.next());
  await startWorker(nothing);
  await first.close();
  await next;
  expect(client.stats.pending).toBe(0);
  // Ended twice, it gave its place to two of them, and one never heard of its reply.
  const bodies = [1, 2, 3];
  expect(await Promise.all(bodies.map((body) => client.request("echo", body)))).toEqual(bodies);
  expect(client.stats.pending).toBe(0);
});

test.each(["request", "push", "survey"] as const)(
  "a %s whose body closes the client is CANCELLED, and nothing is kept",
  async (call) => {
    await startWorker(nothing);
    let closing: Promise<void> | undefined;
    const body = doing(() => {
      closing = client.close({ timeoutMs: 0 });
    });
    expect(await codeOf(client[call]("echo", body))).toBe("CANCELLED");
    await closing;
    expect(client.stats.pending).toBe(0);
    expect(runs).toEqual([]);
  },
);

test.each(["request", "push", "survey"] as const)(
  "a %s whose body aborts its signal is CANCELLED, and not sent",
  async (call) => {
    await startWorker(nothing);
    const abortion = new AbortController();
    const body = doing(() => abortion.abort());
    const asking = client[call]("echo", body, { signal: abortion.signal });
    expect(await codeOf(asking)).toBe("CANCELLED");
    expect(await client.request("echo", "behind it")).toBe("behind it");
    expect(runs).toEqual(["behind it"]);
    expect(client.stats.pending).toBe(0);
  },
);

test("a large body that closes the client is CANCELLED, and its sealing fails unheard", async () => {
  const keys = [await generateKey()];
  const sealed = await Client.connect({ brokers: broker.frontend, keys });
  let closing: Promise<void> | undefined;
  const doClose = doing(() => {
    closing = sealed.close({ timeoutMs: 0 });
  });
  const asking = sealed.request("echo", [new Uint8Array(2 * 1024 * 1024), doClose]);
  expect(await codeOf(asking)).toBe("CANCELLED");
  // The runner takes a rejection that nobody handles for a failure.
  await closing;
});

test("a body that closes the client and is none is waited for by nobody", async () => {
  let closing: Promise<void> | undefined;
  const body = doing(() => {
    closing = client.close({ timeoutMs: Infinity });
    throw new Error("no body");
  });
  expect(await codeOf(client.request("echo", body))).toBe("INVALID_ARGUMENT");
  await closing;
});

test("a body that is read again for a lost broker may end others of that broker's", () => {
  const link = { isOpen: true, recordMax: 1e6, writer: new BatchWriter(), flushSoon: () => {} };
  const lost = { link, inFlight: 0 };
  const brokers = {
    pick: () => lost,
    release: (of: typeof lost) => of.inFlight--,
  } as unknown as Brokers;
  const bytes = ({ part }: { part: number }) => Buffer.from([part]);
  const codec = { dictionaryDigests: [], seal: bytes, sealSoon: bytes } as unknown as Codec;
  const session = { sessionLow: 1, sessionHigh: 2 };
  const lines = new WaitingLines(brokers);
  const requests = new Requests({ brokers: [] }, codec, session, brokers, lines, () => {});
  const abortion = new AbortController();
  let reads = 0;
  const body = doing(() => void (reads++ > 0 && abortion.abort()));
  const codes: string[] = [];
  const reject = (error: Error) => void codes.push((error as RequestError).code);
  const ask = (stream?: ReplyStream) => {
    const options = stream === undefined ? { signal: abortion.signal } : {};
    requests.start("a", stream ? body : { part: 1 }, options, () => {}, reject, stream);
  };
  ask();
  ask(new ReplyStream({ restart: true }));
  ask();
  expect(lost.inFlight).toBe(3);
  lost.inFlight = 0;
  requests.onDown(lost as unknown as ClientBroker, "gone");
  expect(codes).toEqual(["CANCELLED", "CANCELLED"]);
  expect(lost.inFlight).toBe(0);
  requests.close();
});

test("a body that publishes to the topic that it is published to is refused, and no event is lost", async () => {
  const heard: unknown[] = [];
  const subscription = client.subscribe("a.b");
  await subscription.ready();
  await client.publish("a.b", "first");
  const nested: Promise<void>[] = [];
  const body = doing(() => nested.push(client.publish("a.b", "within")));
  await expect(client.publish("a.b", body)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await Promise.all(nested);
  await client.publish("a.b", "last");
  for await (const event of subscription) {
    heard.push(event.body);
    if (event.body === "last") break;
  }
  expect(heard).toEqual(["first", "within", "last"]);
  expect(subscription.stats.missed).toBe(0);
});

test("a publication whose body closes the client ends as the client's others do", async () => {
  const other = await Client.connect({ brokers: broker.frontend });
  const publishing = codeOf(
    other.publish(
      "a.b",
      doing(() => void other.close({ timeoutMs: 0 })),
    ),
  );
  expect(await publishing).toBe("CANCELLED");
  expect(other.stats.publishWaiting).toBe(0);
});
