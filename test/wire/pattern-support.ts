// Records of tasks and surveys as plain values; the rest of support.ts.
import type { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { decodeHeaders, encodeHeaders } from "../../build/wire/headers.js";
import { BATCH_HEADER_SIZE, Kind } from "../../build/wire/layout.js";
import {
  type ExchangeId,
  type ExchangeRecord,
  FailureRecord,
  RequestRecord,
  writeReply,
} from "../../build/wire/request-record.js";
import {
  SurveyEndRecord,
  SurveyReplyRecord,
  writeSurvey,
  writeSurveyEnd,
} from "../../build/wire/survey-record.js";
import {
  DeadAction,
  DeadLettersAskedRecord,
  DeadLettersRecord,
  PushedRecord,
  TaskDoneRecord,
  writeDeadLetters,
  writeDeadLettersAsked,
  writePush,
  writePushed,
  writeTaskDone,
  writeTaskFailed,
} from "../../build/wire/task-record.js";
import { NameCache } from "../../build/wire/text.js";
import { hex, type Shown, u64Parts, u64Text, unhex } from "./support.js";

type Fields = Record<string, unknown>;

const idOf = (record: { sessionLow: number; sessionHigh: number; sequence: number }): Fields => ({
  session: u64Text(record.sessionLow, record.sessionHigh),
  sequence: String(record.sequence),
});
const placeOf = ({ slot, generation }: ExchangeRecord): Fields => ({ slot, generation });

/** PUSH, TASK and SURVEY: what they have of REQUEST. */
function readAsked(reader: BatchReader, show: (record: RequestRecord) => Fields): Fields | string {
  const record = new RequestRecord();
  const fault = record.read(reader, new NameCache());
  if (fault !== undefined) return fault;
  const headers = Object.entries(decodeHeaders(record.headers) ?? {});
  const body = record.body.map(hex);
  return { flags: record.flags, ...idOf(record), ...show(record), headers, body };
}

function readDeadLetters(reader: BatchReader): Fields | string {
  // Nothing tells what is asked from what is answered but who sends it: no answer has these for a status.
  const asked = new DeadLettersAskedRecord();
  const a = reader.bytes[reader.at + 2];
  if (a === DeadAction.LIST || a === DeadAction.RETRY) {
    const fault = asked.read(reader, new NameCache());
    const { flags, action, count, skip, queue } = asked;
    const shown = { flags, ...idOf(asked), action, count, skip, queue };
    return fault ?? { kind: "DEAD_LETTERS_ASKED", ...shown };
  }
  const told = new DeadLettersRecord();
  const fault = told.read(reader);
  if (fault !== undefined) return fault;
  const { flags, status, count, total, retryAfterMs, reason } = told;
  const entries = told.entries.map((entry) => {
    const { sessionLow: _, sessionHigh: __, sequence: ___, ...rest } = entry;
    return { ...idOf(entry), ...rest };
  });
  const shown = { flags, ...idOf(told), status, count, total, retryAfterMs, reason, entries };
  return { kind: "DEAD_LETTERS", ...shown };
}

/** What `reader` stands on, of tasks or surveys; a string if that is wrong. */
export function readPattern(reader: BatchReader): Fields | string {
  switch (reader.kind) {
    case Kind.PUSH:
      return readAsked(reader, ({ slot, priority, attempts, timeoutMs, service }) => {
        return { delayMs: slot, priority, attempts, attemptTimeoutMs: timeoutMs, queue: service };
      });
    case Kind.TASK:
      return readAsked(reader, (record) => {
        const { priority, timeoutMs, service } = record;
        const fields = { attempt: priority, attemptTimeoutMs: timeoutMs, queue: service };
        return { ...placeOf(record), ...fields };
      });
    case Kind.SURVEY:
      return readAsked(reader, (record) => {
        const { priority, attempts, timeoutMs, service } = record;
        return { ...placeOf(record), priority, attempts, timeoutMs, service };
      });
    case Kind.TASK_DONE: {
      const record = new TaskDoneRecord();
      const fault = record.read(reader);
      return fault ?? { flags: record.flags, ...idOf(record), ...placeOf(record) };
    }
    case Kind.PUSHED:
    case Kind.TASK_FAILED: {
      const record = reader.kind === Kind.PUSHED ? new PushedRecord() : new FailureRecord();
      const fault = record.read(reader);
      const { flags, status, retryAfterMs, reason } = record;
      const shown = { flags, ...idOf(record), ...placeOf(record), status, retryAfterMs, reason };
      return fault ?? shown;
    }
    case Kind.SURVEY_REPLY: {
      const record = new SurveyReplyRecord();
      const fault = record.read(reader);
      const { flags, status, serviceTimeUs, body } = record;
      const shown = { flags, ...idOf(record), ...placeOf(record), status, serviceTimeUs };
      return fault ?? { ...shown, headers: [], body: body.map(hex) };
    }
    case Kind.SURVEY_END: {
      const record = new SurveyEndRecord();
      const fault = record.read(reader);
      const { flags, status, asked, missing, retryAfterMs, reason } = record;
      return fault ?? { flags, ...idOf(record), status, asked, missing, retryAfterMs, reason };
    }
    default:
      return readDeadLetters(reader);
  }
}

/** Writes one with the encoders of src/wire; false where it is none of these. */
export function writePattern(writer: BatchWriter, shown: Shown, id: ExchangeId): boolean {
  // Read from JSON: the compiler cannot know more.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  const r = shown as any;
  const body = (r.body ?? []).map(unhex);
  const asked = () => ({
    ...r,
    priority: r.attempt ?? r.priority,
    attempts: r.attempts ?? 0,
    timeoutMs: r.attemptTimeoutMs ?? r.timeoutMs,
    service: Buffer.from(r.queue ?? r.service),
    headers: encodeHeaders(Object.fromEntries(r.headers)),
  });
  switch (shown.kind) {
    case "PUSH":
      writePush(writer, id, asked(), r.delayMs, body);
      return true;
    case "PUSHED":
      writePushed(writer, id, r.status, r.reason, r.retryAfterMs);
      return true;
    case "TASK": {
      // As a broker does: a PUSH of which a few bytes are others.
      const start = Math.max(writer.size, BATCH_HEADER_SIZE);
      writePush(writer, id, asked(), r.slot, body);
      writer.bytes[start] = Kind.TASK;
      writer.view.setUint32(start + 28, r.generation, true);
      return true;
    }
    case "TASK_DONE":
      writeTaskDone(writer, id);
      return true;
    case "TASK_FAILED":
      writeTaskFailed(writer, id, r.flags, r.status, r.reason, r.retryAfterMs);
      return true;
    case "DEAD_LETTERS_ASKED":
      writeDeadLettersAsked(writer, id, r.action, r.count, Buffer.from(r.queue), r.skip);
      return true;
    case "DEAD_LETTERS": {
      const entries = r.entries.map((entry: { session: string; sequence: string }) => {
        const { low: sessionLow, high: sessionHigh } = u64Parts(entry.session);
        return { ...entry, sessionLow, sessionHigh, sequence: Number(entry.sequence) };
      });
      writeDeadLetters(writer, id, r.status, { ...r, entries });
      return true;
    }
    case "SURVEY":
      writeSurvey(writer, id, asked(), body);
      return true;
    case "SURVEY_REPLY":
      writeReply(writer, id, r.flags, r.serviceTimeUs, body, Kind.SURVEY_REPLY, r.status);
      return true;
    case "SURVEY_END": {
      const end = { ...id, slot: r.asked, generation: r.missing };
      writeSurveyEnd(writer, end, r.status, r.reason, r.retryAfterMs);
      return true;
    }
    default:
      return false;
  }
}
