// Surveys come outside of credit: no worker is given up for them.
import { afterEach, expect, it } from "vitest";
import { Dealer } from "zeromq";
import { Outbox } from "../../build/broker/outbox.js";
import { Broker } from "../../build/index.js";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { Kind } from "../../build/wire/layout.js";
import { SurveyEndRecord, writeSurvey } from "../../build/wire/survey-record.js";
import { u64Parts } from "../wire/support.js";
import { clientHello, message, session, workerHello } from "./fake-port.js";

const opened: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close();
});

async function peer(endpoint: string, hello: ReturnType<typeof clientHello>): Promise<Dealer> {
  const dealer = new Dealer({ linger: 0, sendHighWaterMark: 1000, receiveHighWaterMark: 2 });
  opened.push(dealer);
  dealer.connect(endpoint);
  await dealer.send(message(hello));
  await dealer.receive();
  return dealer;
}

async function start() {
  const broker = await Broker.start({
    frontend: "tcp://127.0.0.1:0",
    backend: "tcp://127.0.0.1:0",
    // Peers that do not read, on a machine that may be busy: nobody is to be taken for dead.
    heartbeatTimeoutMs: 60_000,
  });
  opened.push({ close: () => broker.close({ timeoutMs: 0 }) });
  const client = await peer(broker.frontend[0], clientHello());
  return { broker, client };
}

let sequence = 0;

/** Sends so many surveys in as few messages as may be. */
async function ask(client: Dealer, count: number, bytes: number, timeoutMs: number): Promise<void> {
  const writer = new BatchWriter();
  const { low: sessionLow, high: sessionHigh } = u64Parts(session);
  const service = Buffer.from("s");
  const headers = new Uint8Array(0);
  const fields = { priority: 4, attempts: 1, timeoutMs, flags: 0, service, headers };
  for (let left = count; left > 0; left--) {
    const exchange = { sessionLow, sessionHigh, sequence: ++sequence, slot: 0, generation: 0 };
    writeSurvey(writer, exchange, fields, new Uint8Array(bytes));
    if (writer.isFull) await client.send(writer.finish());
  }
  if (!writer.isEmpty) await client.send(writer.finish());
}

/** The next so many ends of surveys. */
async function ends(client: Dealer, count: number) {
  const found: { status: number; asked: number; missing: number; retryAfterMs: number }[] = [];
  const reader = new BatchReader();
  const record = new SurveyEndRecord();
  while (found.length < count) {
    reader.open(await client.receive(), 0);
    while (reader.next()) {
      if (reader.kind !== Kind.SURVEY_END) reader.skip();
      else if (record.read(reader) === undefined) {
        const { status, asked, missing, retryAfterMs } = record;
        found.push({ status, asked, missing, retryAfterMs });
      }
    }
  }
  return found;
}

it("a worker that does not read misses surveys, and is not given up for them", async () => {
  const { broker, client } = await start();
  await peer(broker.backend[0], workerHello(["s"]));
  for (let burst = 0; burst < 3; burst++) {
    await ask(client, 60, 1_000_000, 1);
    const all = await ends(client, 60);
    expect(all.every(({ status, retryAfterMs }) => status === 0 || retryAfterMs > 0)).toBe(true);
  }
  expect(broker.stats.workers).toBe(1);
  expect(broker.stats.faults.unread).toBe(0);
  expect(broker.stats.surveys.answered).toBe(0);
});

it("a short timeout makes no more room than a long one", async () => {
  const { broker, client } = await start();
  await peer(broker.backend[0], workerHello(["s"]));
  await ask(client, 64, 10, 1);
  const all = await ends(client, 64);
  expect(all.every(({ status, missing }) => status === 0 && missing === 1)).toBe(true);
  await ask(client, 1, 10, 1);
  const [refused] = await ends(client, 1);
  expect(refused).toMatchObject({ status: 8, asked: 0 });
  expect(refused.retryAfterMs).toBeGreaterThan(0);
  expect(broker.stats.surveys).toMatchObject({ started: 64, refused: 1 });
});

it("a peer owed more than a mebibyte takes no more that nobody's credit bounds", () => {
  const outbox = new Outbox(1);
  expect(outbox.hasRoomFor(16_000_000)).toBe(true);
  outbox.push([new Uint8Array(1024 * 1024)]);
  expect([outbox.hasRoomFor(3_000_000), outbox.hasRoomFor(4_000_000)]).toEqual([true, false]);
  outbox.push([new Uint8Array(1)]);
  expect(outbox.hasRoomFor(1)).toBe(false);
});
