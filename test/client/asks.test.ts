import { randomBytes } from "node:crypto";
import { describe, expect, it, test, vi } from "vitest";
import { type Ask, Asks } from "../../build/client/asks.js";
import type { Brokers } from "../../build/client/brokers.js";
import { Pushes } from "../../build/client/pushes.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import { type Codec, generateKey } from "../../build/codec/index.js";
import { Broker, Client, type RequestError, Worker } from "../../build/index.js";

const NO_BYTES = new Uint8Array(0);
const DAY_MS = 86_400_000;
const nowhere = { pick: () => undefined, release: () => {} } as unknown as Brokers;

let sequence = 0;
let idleCount = 0;

function made(brokers = nowhere) {
  idleCount = 0;
  const asks = new Asks(
    brokers,
    new WaitingLines(brokers),
    () => void idleCount++,
    () => ++sequence,
  );
  const errors: RequestError[] = [];
  const ask = (more: Partial<Ask> = {}): Ask => ({
    sequence: asks.nextSequence(),
    headBytes: 1,
    write: () => {
      throw new Error("nowhere to write to");
    },
    reject: (error) => void errors.push(error as RequestError),
    deadlineMs: performance.now() + DAY_MS,
    isResent: true,
    doubt: "; who knows",
    ...more,
  });
  return { asks, ask, errors, codes: () => errors.map(({ code }) => code) };
}

test("what begins after the close ends at once as CANCELLED", () => {
  const { asks, ask, codes } = made();
  asks.start(ask(), NO_BYTES);
  asks.close();
  asks.start(ask(), NO_BYTES);
  asks.start(ask(), Promise.resolve(NO_BYTES));
  expect(codes()).toEqual(["CANCELLED", "CANCELLED", "CANCELLED"]);
  expect(asks.count).toBe(0);
});

test("one that is aborted gives its room to the next before any tick", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const broker = { inFlight: 0, link: { recordMax: 1e6, flushSoon: () => {} } };
  const brokers = {
    pick: () => (broker.inFlight === 0 ? broker : undefined),
    release: () => broker.inFlight--,
  } as unknown as Brokers;
  const { asks, ask } = made(brokers);
  const written: number[] = [];
  const abort = new AbortController();
  const asked = (index: number) => ask({ write: () => written.push(index), signal: abort.signal });
  asks.start(asked(0), NO_BYTES);
  asks.start(asked(1), NO_BYTES);
  asks.start(ask({ write: () => written.push(2) }), NO_BYTES);
  abort.abort();
  expect(written).toEqual([0]);
  await new Promise((resolve) => setImmediate(resolve));
  expect(written).toEqual([0, 2]);
  asks.close();
  vi.useRealTimers();
});

describe("while its body is being sealed, an ask", () => {
  const never = () => new Promise<Uint8Array>(() => {});

  it("is one of those held, and ends with the close, its signal or its deadline, surely not taken", async () => {
    const { asks, ask, errors, codes } = made();
    const abort = new AbortController();
    asks.start(ask({ signal: abort.signal }), never());
    expect(asks.count).toBe(1);
    abort.abort("no more");
    await new Promise<void>((resolve) => {
      const reject = (error: Error) => {
        errors.push(error as RequestError);
        resolve();
      };
      asks.start(ask({ reject, deadlineMs: performance.now() + 1 }), never());
    });
    expect(idleCount).toBe(2);
    asks.start(ask(), never());
    asks.close();
    expect(codes()).toEqual(["CANCELLED", "DEADLINE_EXCEEDED", "CANCELLED"]);
    expect(errors.map(({ reason }) => reason)).toEqual([
      "no more",
      "deadline passed before it could be sent",
      "client closed",
    ]);
    expect(asks.count).toBe(0);
  });

  it("that is over by then is not sent, and one that is not goes in line", async () => {
    const { asks, ask, codes } = made();
    const abort = new AbortController();
    const sealing = Promise.resolve(NO_BYTES);
    asks.start(ask({ signal: abort.signal }), sealing);
    asks.start(ask(), sealing);
    abort.abort();
    await sealing;
    await undefined;
    expect(asks.count).toBe(1);
    asks.close();
    expect(codes()).toEqual(["CANCELLED", "CANCELLED"]);
  });

  it("fails with what its sealing did", async () => {
    const { asks, ask, codes } = made();
    asks.start(ask(), Promise.reject(new Error("the thread is lost")));
    await undefined;
    await undefined;
    expect(codes()).toEqual(["UNAVAILABLE"]);
    expect(asks.count).toBe(0);
  });

  it("takes one of the 65,536 places", async () => {
    const codec = { sealSoon: never } as unknown as Codec;
    const session = { sessionLow: 1, sessionHigh: 1 };
    const next = () => ++sequence;
    const lines = new WaitingLines(nowhere);
    const pushes = new Pushes(codec, session, nowhere, lines, DAY_MS, () => {}, next);
    const ends: Promise<unknown>[] = [];
    for (let i = 0; i < 65_536; i++) ends.push(pushes.push("q", i));
    expect(pushes.isIdle).toBe(false);
    await expect(pushes.push("q", 0)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    pushes.close();
    const settled = await Promise.allSettled(ends);
    expect(settled.every(({ status }) => status === "rejected")).toBe(true);
    expect(pushes.isIdle).toBe(true);
  });
});

test("a client that closes waits for what it pushes and asks, its large bodies not sealed yet", async () => {
  const keys = [await generateKey()];
  const any = "tcp://127.0.0.1:*";
  await using broker = await Broker.start({ frontend: any, backend: any });
  await using _ = await Worker.start({ brokers: broker.backend, keys, services: { size } });
  const bytes = randomBytes(2 * 1024 * 1024);
  for (const ask of [
    (client: Client) => client.push("queue", { bytes }),
    (client: Client) => client.survey("size", { bytes }),
  ]) {
    const client = await Client.connect({ brokers: broker.frontend, keys });
    const asked = ask(client);
    asked.catch(() => {});
    await client.close();
    expect(await asked).toBeTruthy();
  }
  expect(broker.stats.tasks.counts.pushed).toBe(1);
  expect(broker.stats.surveys).toMatchObject({ started: 1, answered: 1 });
});

test("and for the large replies of a survey to be opened", async () => {
  const keys = [await generateKey()];
  const any = "tcp://127.0.0.1:*";
  await using broker = await Broker.start({ frontend: any, backend: any });
  const rows = Array.from({ length: 100_000 }, (_, i) => `row ${i}`);
  const services = { rows: () => rows };
  await using _ = await Worker.start({ brokers: broker.backend, keys, services });
  const client = await Client.connect({ brokers: broker.frontend, keys });
  const asking = client.survey("rows", 0);
  asking.catch(() => {});
  await client.close();
  const { replies, failures } = await asking;
  expect(failures).toEqual([]);
  expect(replies.map(({ value }) => (value as string[]).length)).toEqual([rows.length]);
});

test("and for lists of dead letters and retries, of which each asks several times", async () => {
  const any = "tcp://127.0.0.1:*";
  await using one = await Broker.start({ frontend: any, backend: any });
  await using other = await Broker.start({ frontend: any, backend: any });
  const brokers = [...one.frontend, ...other.frontend];
  for (const ask of [
    (client: Client) => [client.deadLetters("a"), client.deadLetters("b")],
    (client: Client) => [client.retryDeadLetters("a")],
  ]) {
    const client = await Client.connect({ brokers });
    const asking = Promise.allSettled<unknown>(ask(client));
    await client.close();
    for (const { status } of await asking) expect(status).toBe("fulfilled");
  }
  const client = await Client.connect({ brokers });
  const asking = [client.deadLetters("a"), client.deadLetters("b")];
  const all = Promise.allSettled(asking);
  await client.close({ timeoutMs: 0 });
  const cancelled = { status: "rejected", reason: { code: "CANCELLED" } };
  expect(await all).toMatchObject([cancelled, cancelled]);
});

function size({ bytes }: { bytes: Uint8Array }): number {
  return bytes.length;
}
