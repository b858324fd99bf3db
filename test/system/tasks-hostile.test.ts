// What one client or worker says of tasks, and what it costs the others.
import { afterEach, expect, test } from "vitest";
import { Dealer, Pull, Push } from "zeromq";
import { Status } from "../../build/base/status.js";
import { Broker, type BrokerOptions, Client, Worker } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { Flag, Kind, Role } from "../../build/wire/layout.js";
import { RequestRecord } from "../../build/wire/request-record.js";
import { readWelcome, writeHello } from "../../build/wire/session-record.js";
import {
  DeadAction,
  DeadLettersRecord,
  PushedRecord,
  writeDeadLettersAsked,
  writePush,
  writeTaskFailed,
} from "../../build/wire/task-record.js";
import { NameCache } from "../../build/wire/text.js";
import { eventually } from "./processes.js";

const any = "tcp://127.0.0.1:0";
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function start(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const broker = await Broker.start({ frontend: any, backend: any, ...options });
  closers.push(() => broker.close({ timeoutMs: 0 }));
  return broker;
}

async function connect(broker: Broker): Promise<Client> {
  const client = await Client.connect({ brokers: broker.frontend });
  closers.push(() => client.close({ timeoutMs: 0 }));
  return client;
}

/** A peer that says what it likes. */
class Hand {
  readonly socket = new Dealer({ linger: 0 });
  readonly writer = new BatchWriter();
  #reading: Promise<unknown> | undefined;

  static async greet(endpoint: string, role: Role, session: [number, number], queues: string[]) {
    const hand = new Hand();
    closers.push(async () => {
      hand.socket.close();
      await hand.#reading;
    });
    hand.socket.connect(endpoint);
    const [sessionLow, sessionHigh] = session;
    const rest = { concurrency: role === Role.WORKER ? 1 : 0, services: [], isOneThread: false };
    writeHello(hand.writer, { role, sessionLow, sessionHigh, queues, ...rest });
    await hand.send();
    return hand;
  }

  async send(): Promise<void> {
    await this.socket.send(this.writer.finish());
  }

  /** Calls `onRecord` for each record until the end. */
  read(onRecord: (reader: BatchReader) => unknown): void {
    const run = async () => {
      const reader = new BatchReader();
      for await (const frames of this.socket) {
        reader.open(frames, 0);
        while (reader.next()) onRecord(reader);
      }
    };
    this.#reading = run().catch(() => {});
  }
}

test("a worker that gives every task back holds up none for the others", async () => {
  const broker = await start();
  const liar = await Hand.greet(broker.backend[0], Role.WORKER, [3, 4], ["q"]);
  let refusals = 0;
  const task = new RequestRecord();
  const names = new NameCache();
  liar.read((reader) => {
    if (reader.kind !== Kind.TASK) return reader.skip();
    task.read(reader, names);
    refusals++;
    const status = Status.RESOURCE_EXHAUSTED;
    writeTaskFailed(liar.writer, task, Flag.UNTOUCHED, status, "no", 0xffffffff);
    void liar.send().catch(() => {});
  });
  const client = await connect(broker);
  await client.push("q", 0);
  await eventually("it was given back twice", () => refusals >= 2);
  const done: unknown[] = [];
  const worker = await Worker.start({
    brokers: broker.backend,
    queues: { q: (body) => void done.push(body) },
  });
  closers.push(() => worker.close());
  for (let i = 1; i <= 5; i++) await client.push("q", i);
  await eventually("all are done", () => done.length === 6);
  expect(new Set(done)).toEqual(new Set([0, 1, 2, 3, 4, 5]));
});

async function withDead(broker: Broker, count: number): Promise<Client> {
  const worker = await Worker.start({
    brokers: broker.backend,
    queues: {
      q: () => {
        throw new Error("x".repeat(900));
      },
    },
  });
  closers.push(() => worker.close());
  const client = await connect(broker);
  for (let i = 0; i < count; i++) await client.push("q", i, { attempts: 1 });
  await eventually("all are dead", () => broker.stats.tasks.queues[0]?.dead === count);
  return client;
}

test("lists of dead letters: one for each turn and peer, whatever is asked, and no large one", async () => {
  const broker = await start();
  await withDead(broker, 100);
  const hand = await Hand.greet(broker.frontend[0], Role.CLIENT, [7, 9], []);
  const count = 500;
  const answers: { status: number; entries: number; total: number; size: number }[] = [];
  let retryAfterMs = 0;
  const answer = new DeadLettersRecord();
  hand.read((reader) => {
    if (reader.kind !== Kind.DEAD_LETTERS) return reader.skip();
    expect(answer.read(reader)).toBe(undefined);
    const { status, entries, total } = answer;
    answers.push({ status, entries: entries.length, total, size: reader.size });
    if (status !== Status.OK) retryAfterMs = answer.retryAfterMs;
  });
  for (let sequence = 1; sequence <= count; sequence++) {
    const id = { sessionLow: 7, sessionHigh: 9, sequence, slot: 0, generation: 0 };
    writeDeadLettersAsked(hand.writer, id, DeadAction.LIST, 256, Buffer.from("q"));
  }
  await hand.send();
  await eventually("each is answered", () => answers.length === count);
  const [list, ...others] = answers;
  expect(list).toMatchObject({ status: Status.OK, total: 100 });
  expect(list.entries).toBeGreaterThan(20);
  expect(list.size).toBeLessThanOrEqual(32 * 1024);
  expect(others.every(({ size }) => size < 100)).toBe(true);
  expect(others.filter(({ status }) => status === Status.OK)).toEqual([]);
  expect(retryAfterMs).toBeGreaterThan(0);
});

test("a client that asks for more than one list holds gets them all, also several at once", async () => {
  const broker = await start();
  const client = await withDead(broker, 100);
  const lists = await Promise.all([client.deadLetters("q"), client.deadLetters("q")]);
  for (const list of lists) {
    expect(list).toHaveLength(100);
    expect(new Set(list.map(({ taskId }) => taskId)).size).toBe(100);
  }
});

test("no client takes a PUSH socket's task for one of its own", async () => {
  const broker = await start({ push: any, pull: any });
  const hand = await Hand.greet(broker.frontend[0], Role.CLIENT, [7, 9], []);
  const [welcome] = (await hand.socket.receive()) as Buffer[];
  const reader = new BatchReader();
  reader.open([welcome], 0);
  reader.next();
  const said = readWelcome(reader);
  if (typeof said === "string") throw new Error(said);
  const own: [number, number] = [said.brokerLow, said.brokerHigh];
  const thief = await Hand.greet(broker.frontend[0], Role.CLIENT, own, []);
  await thief.socket.receive();
  const fields = { priority: 4, attempts: 1, timeoutMs: 0, flags: Flag.RAW };
  const rest = { service: Buffer.from("default"), headers: new Uint8Array(0) };
  const id = { sessionLow: own[0], sessionHigh: own[1], sequence: 1 };
  writePush(thief.writer, id, { ...fields, ...rest }, 0, Buffer.from("thief"));
  await thief.send();
  const [answer] = (await thief.socket.receive()) as Buffer[];
  reader.open([answer], 0);
  reader.next();
  const pushed = new PushedRecord();
  expect(pushed.read(reader)).toBe(undefined);
  expect(pushed.status).toBe(Status.OK);
  const push = new Push({ linger: 0 });
  closers.push(() => push.close());
  push.connect(broker.push ?? "");
  await push.send("plain");
  const pull = new Pull({ linger: 0 });
  closers.push(() => pull.close());
  pull.connect(broker.pull ?? "");
  const got = [String(await pull.receive()), String(await pull.receive())];
  expect(got).toEqual(["thief", "plain"]);
  expect(broker.stats.tasks.counts).toMatchObject({ pushed: 2, repeated: 0 });
});
