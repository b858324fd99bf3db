// What a client makes of the answers that a broker hands it; the broker is this file.
import { expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import type { Broker, Brokers } from "../../build/client/brokers.js";
import { Surveyor } from "../../build/client/surveyor.js";
import { WaitingLines } from "../../build/client/waiting-lines.js";
import { type Codec, createCodec, generateKey } from "../../build/codec/index.js";
import { BatchReader, BatchWriter, NO_BYTES } from "../../build/wire/batch.js";
import { requestIdBytes } from "../../build/wire/request-record.js";
import {
  surveyorBytes,
  writeSurveyEnd,
  writeSurveyFailed,
  writeSurveyReply,
} from "../../build/wire/survey-record.js";

const { OK, INTERNAL } = Status;
const SESSION = { sessionLow: 1, sessionHigh: 2 };
const SEQUENCE = 5;

function made(codec: Codec) {
  const link = { isOpen: true, recordMax: 1e6, writer: new BatchWriter(), flushSoon: () => {} };
  const broker = { link, inFlight: 0 } as unknown as Broker;
  const brokers = { pick: () => broker, release: () => {} } as unknown as Brokers;
  const surveyor = new Surveyor(
    codec,
    SESSION,
    brokers,
    new WaitingLines(brokers),
    60_000,
    () => {},
    () => SEQUENCE,
  );
  const hand = (write: (writer: BatchWriter) => void) => {
    const writer = new BatchWriter();
    write(writer);
    const reader = new BatchReader();
    reader.open(writer.finish(), 0);
    while (reader.next()) surveyor.onRecord(broker, reader);
    reader.close();
  };
  return { surveyor, hand };
}

it("counts what each worker answered once, the first, whatever is handed on again", async () => {
  const codec = await createCodec({ keys: [await generateKey()] });
  const { surveyor, hand } = made(codec);
  const asking = surveyor.survey("who", "?");
  const requestId = requestIdBytes({ ...SESSION, sequence: SEQUENCE, slot: 0, generation: 0 });
  // Small ones, and some that are opened on the codec's thread.
  const sizes = [1, 300_000];
  for (const [slot, size] of sizes.entries()) {
    const headers = surveyorBytes({ sessionLow: slot, sessionHigh: 0 });
    const context = { service: "who", direction: "reply", requestId, headers } as const;
    const sealed = codec.seal("x".repeat(size), context);
    const id = { ...SESSION, sequence: SEQUENCE, slot, generation: 0 };
    for (let i = 0; i < 2; i++) hand((writer) => writeSurveyReply(writer, id, 0, 1, sealed));
    hand((writer) => writeSurveyFailed(writer, id, 0, INTERNAL, "no"));
  }
  const failed = { ...SESSION, sequence: SEQUENCE, slot: 9, generation: 0 };
  for (let i = 0; i < 2; i++)
    hand((writer) => writeSurveyFailed(writer, failed, 0, INTERNAL, "no"));
  const end = { ...SESSION, sequence: SEQUENCE, slot: 3, generation: 0 };
  hand((writer) => writeSurveyEnd(writer, end, OK, "", 0));
  const { replies, failures, asked, missing } = await asking;
  expect(replies.map(({ value }) => String(value).length)).toEqual(sizes);
  expect(failures).toHaveLength(1);
  expect([asked, missing]).toEqual([3, 0]);
  surveyor.close();
  codec.close();
});

it("ends as CANCELLED where the client closes while a reply is being opened", async () => {
  const never = () => new Promise(() => {});
  const codec = { sealSoon: () => NO_BYTES, openSoon: never } as unknown as Codec;
  const { surveyor, hand } = made(codec);
  const asking = surveyor.survey("who", "?");
  const id = { ...SESSION, sequence: SEQUENCE, slot: 1, generation: 0 };
  hand((writer) => writeSurveyReply(writer, id, 0, 1, NO_BYTES));
  hand((writer) => writeSurveyEnd(writer, id, OK, "", 0));
  expect(surveyor.isIdle).toBe(false);
  surveyor.close();
  await expect(asking).rejects.toMatchObject({ code: "CANCELLED" });
});
