// The test vectors (test/vectors/wire.json), and records as plain values.
import { readFileSync } from "node:fs";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import {
  EventRecord,
  eventBody,
  forwardEvent,
  readPublishAsk,
  readPublished,
  readSubscribe,
  readSubscribed,
  readTaken,
  readUnsubscribe,
  writePublish,
  writePublishAsk,
  writePublished,
  writeSubscribe,
  writeSubscribed,
  writeTaken,
  writeUnsubscribe,
} from "../../build/wire/event-record.js";
import { decodeHeaders, encodeHeaders } from "../../build/wire/headers.js";
import { EventFlag, Kind } from "../../build/wire/layout.js";
import {
  CancelRecord,
  FailureRecord,
  ReplyRecord,
  RequestRecord,
  writeCancel,
  writeFailure,
  writeReply,
  writeRequest,
} from "../../build/wire/request-record.js";
import {
  readCredit,
  readError,
  readHello,
  readWelcome,
  writeBye,
  writeCredit,
  writeDrain,
  writeError,
  writeHello,
  writePing,
  writeWelcome,
} from "../../build/wire/session-record.js";
import {
  PartRecord,
  placeBytes,
  StreamCreditRecord,
  writePart,
  writeStreamCredit,
} from "../../build/wire/stream-record.js";
import { NameCache } from "../../build/wire/text.js";
import { readPattern, writePattern } from "./pattern-support.js";

/** A record as the vectors show it. */
export type Shown = { kind: string } & Record<string, unknown>;

export interface ValidVector {
  name: string;
  direction: string;
  canonical: boolean;
  frames: string[];
  records: Shown[];
}

export interface ForwardVector {
  name: string;
  to: Record<string, never>;
  from: string[];
  sent: string[];
}

export interface MalformedVector {
  name: string;
  as: "stranger" | "client" | "worker" | "stranger worker";
  frames: string[];
  answer: Shown[];
  counted: Record<string, number>;
}

export interface PlainVector {
  name: string;
  sends: string[];
  isTaken: boolean;
  body?: string[];
  status?: string;
  counted?: Record<string, number>;
}

export const vectors = JSON.parse(
  readFileSync(new URL("../vectors/wire.json", import.meta.url), "utf8"),
) as {
  session: string;
  records: ValidVector[];
  forwards: ForwardVector[];
  malformed: MalformedVector[];
  plain: PlainVector[];
};

/** The bytes of `61626a` or `a5*8192`. */
export function unhex(text: string): Buffer {
  const [byte, count] = text.split("*");
  return count === undefined
    ? Buffer.from(byte, "hex")
    : Buffer.alloc(Number(count), Number.parseInt(byte, 16));
}

export function hex(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString("hex");
  if (bytes.length < 64 || !bytes.every((byte) => byte === bytes[0])) return text;
  return `${text.slice(0, 2)}*${bytes.length}`;
}

export function u64Text(low: number, high: number): string {
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

export function u64Parts(text: string): { low: number; high: number } {
  return {
    high: Number.parseInt(text.slice(0, 8), 16),
    low: Number.parseInt(text.slice(8), 16),
  };
}

/** Kinds that go the other way have names of their own here. */
const answerNames = new Map<number, string>([
  [Kind.PUBLISH, "PUBLISHED"],
  [Kind.SUBSCRIBE, "SUBSCRIBED"],
  [Kind.UNSUBSCRIBE, "UNSUBSCRIBED"],
  [Kind.EVENT, "TAKEN"],
]);

function readTopical(reader: BatchReader, name: string): Shown | string {
  const isAnswer = (reader.bytes[reader.at + 1] & EventFlag.ANSWER) !== 0;
  const kind = isAnswer ? (answerNames.get(reader.kind) as string) : name;
  switch (kind) {
    case "PUBLISHED": {
      if (reader.size === 16) return { kind: "ASK", confirm: readPublishAsk(reader) };
      const published = readPublished(reader);
      return typeof published === "string" ? published : { kind, ...published };
    }
    case "SUBSCRIBED":
    case "UNSUBSCRIBED": {
      const subscribed = readSubscribed(reader);
      return typeof subscribed === "string" ? subscribed : { kind, ...subscribed };
    }
    case "TAKEN": {
      const taken = readTaken(reader);
      return typeof taken === "string" ? taken : { kind, taken };
    }
    case "SUBSCRIBE": {
      const subscribe = readSubscribe(reader);
      return typeof subscribe === "string" ? subscribe : { kind, ...subscribe };
    }
    case "UNSUBSCRIBE": {
      const subscription = readUnsubscribe(reader);
      return typeof subscription === "string" ? subscription : { kind, subscription };
    }
    default: {
      const record = new EventRecord();
      const fault = record.read(reader, new NameCache());
      if (fault !== undefined) return fault;
      const { flags, topic, number, dropped, sequence, publisherLow, publisherHigh } = record;
      const publisher = u64Text(publisherLow, publisherHigh);
      const body = hexAll(eventBody(record.held));
      return { kind, flags, publisher, sequence: String(sequence), number, dropped, topic, body };
    }
  }
}

const kindNames = new Map<number, string>(Object.entries(Kind).map(([name, n]) => [n, name]));

type Exchanged =
  | RequestRecord
  | ReplyRecord
  | FailureRecord
  | CancelRecord
  | PartRecord
  | StreamCreditRecord;

function shownCommon(record: Exchanged): Record<string, unknown> {
  return {
    slot: record.slot,
    generation: record.generation,
    flags: record.flags,
    session: u64Text(record.sessionLow, record.sessionHigh),
    sequence: String(record.sequence),
  };
}

const hexAll = (body: readonly Uint8Array[]) => body.map(hex);

/** What `reader` stands on, or a string: what is wrong with it. */
export function readRecord(reader: BatchReader): Shown | string {
  const kind = kindNames.get(reader.kind) ?? String(reader.kind);
  const [a, b] = [reader.bytes[reader.at + 2], reader.bytes[reader.at + 3]];
  switch (reader.kind) {
    case Kind.HELLO: {
      const hello = readHello(reader);
      if (typeof hello === "string") return hello;
      const { role, sessionLow, sessionHigh, concurrency, services, queues, isOneThread } = hello;
      const session = u64Text(sessionLow, sessionHigh);
      const rest = queues.length === 0 ? { isOneThread } : { queues, isOneThread };
      return { kind, role, version: b, session, concurrency, services, ...rest };
    }
    case Kind.WELCOME: {
      const welcome = readWelcome(reader);
      if (typeof welcome === "string") return welcome;
      const { brokerLow, brokerHigh, ...rest } = welcome;
      return { kind, version: a, broker: u64Text(brokerLow, brokerHigh), ...rest };
    }
    case Kind.ERROR: {
      const error = readError(reader);
      return typeof error === "string" ? error : { kind, ...error };
    }
    case Kind.CREDIT: {
      const credit = readCredit(reader);
      return typeof credit === "string" ? credit : { kind, credit };
    }
    case Kind.REQUEST: {
      const record = new RequestRecord();
      const fault = record.read(reader, new NameCache());
      if (fault !== undefined) return fault;
      const { priority, attempts, timeoutMs, service, body } = record;
      const headers = Object.entries(decodeHeaders(record.headers) ?? {});
      const common = shownCommon(record);
      return {
        kind,
        ...common,
        priority,
        attempts,
        timeoutMs,
        service,
        headers,
        body: hexAll(body),
      };
    }
    case Kind.REPLY: {
      const record = new ReplyRecord();
      const fault = record.read(reader);
      if (fault !== undefined) return fault;
      const { serviceTimeUs, body } = record;
      const headersSize = reader.view.getUint16(reader.at + 38, true);
      const bytes = reader.bytes.subarray(reader.at + 40, reader.at + 40 + headersSize);
      const headers = Object.entries(decodeHeaders(bytes) ?? {});
      return { kind, ...shownCommon(record), serviceTimeUs, headers, body: hexAll(body) };
    }
    case Kind.FAILURE: {
      const record = new FailureRecord();
      const fault = record.read(reader);
      if (fault !== undefined) return fault;
      const { status, attempts, retryAfterMs, reason } = record;
      return { kind, ...shownCommon(record), status, attempts, retryAfterMs, reason };
    }
    case Kind.CANCEL: {
      const record = new CancelRecord();
      const fault = record.read(reader);
      return fault ?? { kind, ...shownCommon(record), status: record.status };
    }
    case Kind.STREAM_PART:
    case Kind.STREAM_END: {
      const record = new PartRecord();
      const fault = record.read(reader);
      if (fault !== undefined) return fault;
      const { isLast, index, runLow, runHigh, body } = record;
      const run = u64Text(runLow, runHigh);
      return {
        kind,
        ...shownCommon(record),
        isLast,
        index: String(index),
        run,
        body: hexAll(body),
      };
    }
    case Kind.STREAM_CREDIT: {
      const record = new StreamCreditRecord();
      const fault = record.read(reader);
      if (fault !== undefined) return fault;
      const [partsMax, bytesMax] = [String(record.partsMax), String(record.bytesMax)];
      return { kind, ...shownCommon(record), partsMax, bytesMax };
    }
    case Kind.PUBLISH:
    case Kind.SUBSCRIBE:
    case Kind.UNSUBSCRIBE:
    case Kind.EVENT:
      return readTopical(reader, kind);
    case Kind.PUSH:
    case Kind.PUSHED:
    case Kind.TASK:
    case Kind.TASK_DONE:
    case Kind.TASK_FAILED:
    case Kind.DEAD_LETTERS:
    case Kind.SURVEY:
    case Kind.SURVEY_REPLY:
    case Kind.SURVEY_END: {
      const shown = readPattern(reader);
      return typeof shown === "string" ? shown : { kind, ...shown };
    }
    default:
      return { kind };
  }
}

/** The records of a message, up to its end or its first fault. */
export function readMessage(
  frames: readonly Uint8Array[],
  first = 0,
): { records: (Shown | string)[]; fault: string | undefined } {
  const reader = new BatchReader();
  reader.open(frames, first);
  const records: (Shown | string)[] = [];
  while (reader.next()) records.push(readRecord(reader));
  return { records, fault: reader.fault };
}

/** Writes a record as the vectors show it, with the encoder of src/wire. */
export function writeRecord(writer: BatchWriter, shown: Shown): void {
  // Read from JSON: the compiler cannot know more.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  const r = shown as any;
  const session = r.session === undefined ? { low: 0, high: 0 } : u64Parts(r.session);
  const id = {
    sessionLow: session.low,
    sessionHigh: session.high,
    sequence: Number(r.sequence),
    slot: r.slot,
    generation: r.generation,
  };
  const body = (r.body ?? []).map(unhex);
  switch (shown.kind) {
    case "HELLO":
      return writeHello(writer, { ...r, sessionLow: session.low, sessionHigh: session.high });
    case "WELCOME": {
      const { low, high } = u64Parts(r.broker);
      return writeWelcome(writer, { ...r, brokerLow: low, brokerHigh: high });
    }
    case "ERROR":
      return writeError(writer, r);
    case "CREDIT":
      return writeCredit(writer, r.credit);
    case "DRAIN":
      return writeDrain(writer);
    case "BYE":
      return writeBye(writer);
    case "PING":
      return writePing(writer);
    case "REQUEST": {
      const headers = encodeHeaders(Object.fromEntries(r.headers));
      return writeRequest(writer, id, { ...r, service: Buffer.from(r.service), headers }, body);
    }
    case "REPLY":
      return writeReply(writer, id, r.flags, r.serviceTimeUs, body);
    case "FAILURE":
      return writeFailure(writer, id, r.flags, r.status, r.reason, r.retryAfterMs, r.attempts);
    case "CANCEL":
      return writeCancel(writer, id, r.status);
    case "STREAM_PART":
    case "STREAM_END": {
      const run = Buffer.from(r.run, "hex").reverse();
      const place = placeBytes(Number(r.index), r.isLast, run);
      return writePart(writer, id, r.flags, place, body);
    }
    case "STREAM_CREDIT":
      return writeStreamCredit(writer, id, Number(r.partsMax), Number(r.bytesMax));
    case "PUBLISH": {
      const { low: publisherLow, high: publisherHigh } = u64Parts(r.publisher);
      const sequence = Number(r.sequence);
      const fields = { ...r, publisherLow, publisherHigh, sequence, confirm: r.number };
      return writePublish(writer, { ...fields, topic: Buffer.from(r.topic) }, body);
    }
    case "EVENT": {
      // As a broker does, from the PUBLISH that it came as.
      const from = new BatchWriter();
      writeRecord(from, { ...shown, kind: "PUBLISH" });
      const reader = new BatchReader();
      reader.open(from.finish(), 0);
      reader.next();
      const record = new EventRecord();
      record.read(reader, new NameCache());
      return forwardEvent(writer, record.held, r.number, (r.flags & 2) !== 0, r.dropped);
    }
    case "ASK":
      return writePublishAsk(writer, r.confirm);
    case "PUBLISHED":
      return writePublished(writer, r);
    case "SUBSCRIBE":
      return writeSubscribe(writer, r);
    case "SUBSCRIBED":
      return writeSubscribed(writer, Kind.SUBSCRIBE, r);
    case "UNSUBSCRIBED":
      return writeSubscribed(writer, Kind.UNSUBSCRIBE, r);
    case "UNSUBSCRIBE":
      return writeUnsubscribe(writer, r.subscription);
    case "TAKEN":
      return writeTaken(writer, r.taken);
    default:
      if (!writePattern(writer, shown, id)) throw new Error(`no writer for ${shown.kind}`);
  }
}
