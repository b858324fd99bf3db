// What a caller is told when a deadline passes: whether it may have been done, or never left the client.
import { expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import type { Broker, Brokers } from "../../build/client/brokers.js";
import { Pushes } from "../../build/client/pushes.js";
import { Requests } from "../../build/client/requests.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import type { Codec } from "../../build/codec/index.js";
import { BatchReader, BatchWriter, NO_BYTES } from "../../build/wire/batch.js";
import { Flag } from "../../build/wire/layout.js";
import { RequestRecord, writeFailure, writeReply } from "../../build/wire/request-record.js";
import { NameCache } from "../../build/wire/text.js";

const SESSION = { sessionLow: 1, sessionHigh: 2 };
const TIMEOUT_MS = 50;
const NEVER = "deadline passed before it could be sent";
const PERHAPS = "deadline passed before it could be sent again; it may have ";

function made() {
  const link = { isOpen: true, recordMax: 1e6, writer: new BatchWriter(), flushSoon: () => {} };
  const broker = { link, inFlight: 0, isHoldingBack: false } as unknown as Broker;
  const there = { isThere: true };
  const brokers = {
    pick: () => (there.isThere ? broker : undefined),
    release: () => {},
  } as unknown as Brokers;
  const opening = () => new Promise(() => {});
  const sealSoon = () => NO_BYTES;
  const codec = { dictionaryDigests: [], sealSoon, openSoon: opening } as unknown as Codec;
  const lines = new WaitingLines(brokers);
  const idle = () => {};
  const retry = { backoffMsMin: 1, backoffMsMax: 1 };
  const requests = new Requests({ brokers: [], retry }, codec, SESSION, brokers, lines, idle);
  let sequence = 2 ** 52;
  const pushes = new Pushes(codec, SESSION, brokers, lines, TIMEOUT_MS, idle, () => ++sequence);
  const request = () =>
    new Promise<string>((resolve, reject) => {
      const onError = ({ message }: Error) => resolve(message);
      requests.start("a", 1, { timeoutMs: TIMEOUT_MS }, reject, onError, undefined);
    });
  const push = () => pushes.push("q", 1).catch(({ message }: Error) => message);
  const lose = () => {
    there.isThere = false;
    requests.onDown(broker, "gone");
    pushes.onDown(broker, "gone");
  };
  const answer = (write: (writer: BatchWriter, id: RequestRecord) => void) => {
    const asked = new RequestRecord();
    const reader = new BatchReader();
    reader.open(link.writer.finish(), 0);
    reader.next();
    expect(asked.read(reader, new NameCache())).toBeUndefined();
    const writer = new BatchWriter();
    write(writer, asked);
    there.isThere = false;
    reader.open(writer.finish(), 0);
    reader.next();
    requests.onRecord(broker, reader);
  };
  return { there, request, push, lose, answer };
}

it("says of what no broker had that it was never sent", async () => {
  const { there, request, push } = made();
  there.isThere = false;
  expect(await Promise.all([request(), push()])).toEqual([
    `DEADLINE_EXCEEDED: ${NEVER}`,
    `DEADLINE_EXCEEDED: ${NEVER}`,
  ]);
});

it("says of what a lost broker had that it may have been done", async () => {
  const { request, push, lose } = made();
  const asking = [request(), push()];
  lose();
  expect(await Promise.all(asking)).toEqual([
    `DEADLINE_EXCEEDED: ${PERHAPS}run`,
    `DEADLINE_EXCEEDED: ${PERHAPS}been taken`,
  ]);
});

it("says nothing of the kind of what was refused untouched", async () => {
  const { request, answer } = made();
  const asking = request();
  answer((writer, id) => {
    writeFailure(writer, id, Flag.UNTOUCHED, Status.UNAVAILABLE, "no", 0);
  });
  expect(await asking).toBe(`DEADLINE_EXCEEDED: ${NEVER}`);
});

it("says of what is answered that it was", async () => {
  const { request, answer } = made();
  const asking = request();
  answer((writer, id) => writeReply(writer, id, 0, 1, NO_BYTES));
  expect(await asking).toBe("DEADLINE_EXCEEDED: deadline passed while its reply was being opened");
});
