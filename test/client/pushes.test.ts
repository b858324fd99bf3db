// A push that a broker does not take, and says when to ask again.
import { expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import type { Broker, Brokers } from "../../build/client/brokers.js";
import { Pushes } from "../../build/client/pushes.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import type { Codec } from "../../build/codec/index.js";
import { BatchReader, BatchWriter, NO_BYTES } from "../../build/wire/batch.js";
import { writePushed } from "../../build/wire/task-record.js";
import { eventually } from "../system/processes.js";

const { OK, UNAVAILABLE } = Status;
const SESSION = { sessionLow: 1, sessionHigh: 2 };
const SEQUENCE = 5;

function made(timeoutMs: number) {
  const writer = new BatchWriter();
  const link = { isOpen: true, recordMax: 1e6, writer, flushSoon: () => {} };
  const broker = { link, inFlight: 0, isDraining: false };
  const brokers = {
    pick: () => broker,
    release: (of: typeof broker) => of.inFlight--,
  } as unknown as Brokers;
  const codec = { sealSoon: () => NO_BYTES } as unknown as Codec;
  const lines = new WaitingLines(brokers);
  const sequence = () => SEQUENCE;
  const pushes = new Pushes(codec, SESSION, brokers, lines, timeoutMs, () => {}, sequence);
  const answer = (status: typeof OK | typeof UNAVAILABLE, retryAfterMs: number) => {
    const said = new BatchWriter();
    const id = { ...SESSION, sequence: SEQUENCE, slot: 0, generation: 0 };
    writePushed(said, id, status, "no", retryAfterMs);
    const reader = new BatchReader();
    reader.open(said.finish(), 0);
    while (reader.next()) pushes.onRecord(broker as unknown as Broker, reader);
    lines.sendWaiting();
  };
  return { broker, writer, pushes, answer };
}

it("is not pushed again before that", async () => {
  const { broker, writer, pushes, answer } = made(50);
  const pushing = pushes.push("q", 1);
  answer(UNAVAILABLE, 60_000);
  await expect(pushing).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  expect(writer.count).toBe(1);
  expect(broker.inFlight).toBe(0);
});

it.each([0, 1])("is pushed again after %i ms, but not at once", async (retryAfterMs) => {
  const { writer, pushes, answer } = made(60_000);
  const pushing = pushes.push("q", 1);
  answer(UNAVAILABLE, retryAfterMs);
  expect(writer.count).toBe(1);
  await eventually("it is pushed again", () => writer.count === 2);
  answer(OK, 0);
  expect(await pushing).toMatch(/^[0-9a-f]+$/);
});

it("goes elsewhere at once from a broker that drains", () => {
  const { broker, writer, pushes, answer } = made(60_000);
  pushes.push("q", 1).catch(() => {});
  broker.isDraining = true;
  answer(UNAVAILABLE, 60_000);
  expect(writer.count).toBe(2);
  pushes.close();
});
