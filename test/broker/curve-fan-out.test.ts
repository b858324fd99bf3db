// Under CURVE: one large event for many who do not read. What is sealed for one is of no use to another.
import { Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { writeSubscribe } from "../../build/wire/event-record.js";
import { Role } from "../../build/wire/layout.js";
import { writeHello } from "../../build/wire/session-record.js";
import { CurveBox } from "../../build/zmtp/curve-box.js";
import { CurveReader } from "../../build/zmtp/curve-reader.js";
import type { CurveSession } from "../../build/zmtp/curve-session.js";
import { FrameReader } from "../../build/zmtp/frames.js";
import { sealRoom } from "../../build/zmtp/seal-room.js";
import { eventually } from "../system/processes.js";
import { accessOf, curveOf } from "./curve-keys.js";
import { PlainStage, plainCounts } from "./plain-stage.js";

const MiB = 1024 * 1024;
const COUNT = 20;
const BODY_BYTES = 4 * MiB;
/** Of each peer, what the system has not taken and is sealed. */
const AHEAD_BYTES_MAX = 256 * 1024;
const SEALED_BYTES_MAX = 32 * MiB;

let stage: PlainStage;

beforeEach(() => {
  stage = new PlainStage();
});

afterEach(async () => {
  vi.restoreAllMocks();
  await stage.end();
});

const grants = {
  client: { publish: [">"], call: ["*"] },
  worker: { subscribe: [">"] },
};
const patient = { heartbeatIntervalMs: 60_000, heartbeatTimeoutMs: 240_000 };

/** One that reads nothing until it is told to. */
class Sleeper {
  readonly messages: Buffer[][] = [];
  readonly faults: string[] = [];

  constructor(
    readonly socket: Socket,
    readonly session: CurveSession,
  ) {
    socket.removeAllListeners("data");
    socket.pause();
  }

  say(...parts: Uint8Array[]): void {
    this.socket.write(this.session.sealMessage(parts));
  }

  wake(): void {
    const sink = {
      onMessage: (parts: Buffer[]) => void this.messages.push(parts.map((one) => Buffer.from(one))),
      onCommand: () => {},
      onFault: (fault: string) => void this.faults.push(fault),
    };
    const reader = new FrameReader(-1, new CurveReader(this.session, -1, sink));
    this.socket.on("data", (bytes) => void reader.read(bytes));
    this.socket.resume();
  }
}

/** What is written to each socket of this process and not taken by the system, and what goes on in its turns. */
class Watch {
  unsentMax = 0;
  sealedMax = 0;
  /** Large parts that were sealed, all and in one turn of the event loop. */
  sealedCount = 0;
  inTurnMax = 0;
  #inTurn = 0;
  #isOver = false;

  constructor() {
    const watch = this;
    const { seal } = CurveBox.prototype;
    vi.spyOn(CurveBox.prototype, "seal").mockImplementation(function (this: CurveBox, ...args) {
      if (args[3].length >= BODY_BYTES) {
        watch.sealedCount++;
        watch.#inTurn++;
      }
      return seal.apply(this, args);
    });
    const { write } = Socket.prototype;
    vi.spyOn(Socket.prototype, "write").mockImplementation(function (this: Socket, ...args) {
      const isMore = write.apply(this, args as never);
      watch.unsentMax = Math.max(watch.unsentMax, this.writableLength);
      return isMore;
    });
    void this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      this.inTurnMax = Math.max(this.inTurnMax, this.#inTurn);
      this.#inTurn = 0;
      this.sealedMax = Math.max(this.sealedMax, sealRoom.bytes);
      await nextTurn();
    }
  }

  end(): void {
    this.#isOver = true;
  }
}

function startWatch(): Watch {
  const watch = new Watch();
  stage.onEnd(() => watch.end());
  return watch;
}

async function connectPublisher(): Promise<Client> {
  const { frontend } = stage.broker;
  const curve = curveOf("client");
  const client = await Client.connect({ brokers: frontend, curve, ...patient });
  stage.onEnd(() => client.close({ timeoutMs: 0 }));
  return client;
}

/** Is let in, with a key that may hear everything. */
async function connectSleeper(endpoint: string, socketType: string): Promise<Sleeper> {
  const { peer, session } = await stage.curveTalker(endpoint, socketType, "worker");
  return new Sleeper(peer.socket, session);
}

const body = Buffer.alloc(BODY_BYTES);
for (let i = 0; i < BODY_BYTES; i += 1021) body[i] = i % 251;

async function expectAll(sleepers: Sleeper[], watch: Watch): Promise<void> {
  // All have had their turn who could: what is sealed for those that sleep gave room to the others.
  await eventually("a part is sealed for each", () => watch.sealedCount >= COUNT + 1);
  expect(watch.sealedMax).toBeLessThanOrEqual(SEALED_BYTES_MAX);
  // The broker's own, and one of the client in the same process.
  expect(watch.inTurnMax).toBeLessThanOrEqual(2);
  expect(watch.unsentMax).toBeLessThanOrEqual(AHEAD_BYTES_MAX);
  for (const sleeper of sleepers) sleeper.wake();
  const isWhole = ({ messages }: Sleeper) =>
    messages.some((parts) => parts.some((part) => part.length >= BODY_BYTES));
  await eventually("all have heard it", () => sleepers.every(isWhole));
  for (const { messages, faults } of sleepers) {
    expect(faults).toEqual([]);
    const large = messages.flat().filter((part) => part.length >= BODY_BYTES);
    expect(large).toHaveLength(1);
    expect(large[0].subarray(-BODY_BYTES).equals(body)).toBe(true);
  }
  expect(watch.unsentMax).toBeLessThanOrEqual(AHEAD_BYTES_MAX);
  expect(watch.sealedMax).toBeLessThanOrEqual(SEALED_BYTES_MAX);
  await eventually("all is taken", () => sealRoom.bytes === 0);
}

it("seals it for plain SUBs as they read, a few each turn, in bounded memory", async () => {
  const { broker } = await stage.startSecure(accessOf(grants), patient);
  const sleepers: Sleeper[] = [];
  for (let i = 0; i < COUNT; i++) {
    const sleeper = await connectSleeper(broker.xpub[0], "SUB");
    sleeper.say(Buffer.from("\x01a."));
    sleepers.push(sleeper);
  }
  await eventually("it is asked for", () => plainCounts(broker).prefixes === 1);
  const publisher = await connectPublisher();
  const watch = startWatch();
  await publisher.publish("a.b", body, { raw: true, confirm: true });
  await expectAll(sleepers, watch);
  expect(plainCounts(broker)).toMatchObject({ told: 1, dropped: 0 });
}, 120_000);

it("seals it for native subscribers as they read, a few each turn, in bounded memory", async () => {
  const { broker } = await stage.startSecure(accessOf(grants), patient);
  const sleepers: Sleeper[] = [];
  for (let i = 1; i <= COUNT; i++) {
    const sleeper = await connectSleeper(broker.frontend[0], "DEALER");
    const writer = new BatchWriter();
    const none = { concurrency: 0, services: [], queues: [], isOneThread: true };
    writeHello(writer, { role: Role.CLIENT, sessionLow: i, sessionHigh: 7, ...none });
    const subscription = { subscription: 1, pattern: "a.>", whenFull: 0, queueMax: 10 };
    writeSubscribe(writer, { ...subscription, wantsRetained: false });
    sleeper.say(...writer.finish());
    sleepers.push(sleeper);
  }
  await eventually("all subscribe", () => broker.stats.topics.subscriptions === COUNT);
  const publisher = await connectPublisher();
  const watch = startWatch();
  expect(await publisher.publish("a.b", body, { raw: true, confirm: true })).toBe(COUNT);
  await expectAll(sleepers, watch);
  expect(broker.stats.topics).toMatchObject({ delivered: COUNT, subscribers: COUNT });
  // What they were told stands in batches as ever.
  const reader = new BatchReader();
  for (const { messages } of sleepers) for (const parts of messages) reader.open(parts, 0);
}, 120_000);
