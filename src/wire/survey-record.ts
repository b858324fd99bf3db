import { isStatusCode, type StatusCode } from "../base/status.js";
import type { BatchReader, BatchWriter } from "./batch.js";
import * as at from "./layout.js";
import { Kind } from "./layout.js";
import {
  type Body,
  type ExchangeId,
  forwardReply,
  type HeldRecord,
  OutcomeRecord,
  ReplyRecord,
  type RequestFields,
  reasonOf,
  writeFailure,
  writeReply,
  writeRequest,
} from "./request-record.js";
import { readText } from "./text.js";

// PROTOCOL 8. SURVEY has the layout of REQUEST, SURVEY_REPLY that of REPLY with a status, SURVEY_END that of
// FAILURE; towards the client a reply's `slot` and `generation` are its worker's session, and an end's how
// many were asked and how many are missing.

export function writeSurvey(
  writer: BatchWriter,
  id: ExchangeId,
  fields: RequestFields,
  body: Body,
): void {
  writeRequest(writer, id, fields, body, Kind.SURVEY);
}

export function writeSurveyReply(
  writer: BatchWriter,
  id: ExchangeId,
  flags: number,
  serviceTimeUs: number,
  body: Body,
): void {
  writeReply(writer, id, flags, serviceTimeUs, body, Kind.SURVEY_REPLY);
}

/** In place of a reply: why there is none. */
export function writeSurveyFailed(
  writer: BatchWriter,
  id: ExchangeId,
  _flags: number,
  status: StatusCode,
  reason: string,
): void {
  writeReply(writer, id, 0, 0, reasonOf(reason), Kind.SURVEY_REPLY, status);
}

/** Copies a reply as it came, for the client that asked, with the session of its worker. */
export function forwardSurveyReply(
  writer: BatchWriter,
  record: HeldRecord,
  client: { sessionLow: number; sessionHigh: number },
  sequence: number,
  worker: { sessionLow: number; sessionHigh: number },
): void {
  forwardReply(writer, record, client.sessionLow, client.sessionHigh, sequence);
  const start = writer.size - record.size;
  writer.view.setUint32(start + at.AT_SLOT, worker.sessionLow, true);
  writer.view.setUint32(start + at.AT_GENERATION, worker.sessionHigh, true);
}

/** What a codec binds a worker's answer by, in the place of headers: its session, 8 bytes. */
export function surveyorBytes({
  sessionLow,
  sessionHigh,
}: {
  sessionLow: number;
  sessionHigh: number;
}): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(sessionLow, 0);
  bytes.writeUInt32LE(sessionHigh, 4);
  return bytes;
}

export function writeSurveyEnd(
  writer: BatchWriter,
  id: ExchangeId,
  status: StatusCode,
  reason: string,
  retryAfterMs: number,
): void {
  writeFailure(writer, id, 0, status, reason, retryAfterMs, 0, Kind.SURVEY_END);
}

/** PROTOCOL 8.2. */
export class SurveyReplyRecord extends ReplyRecord {
  /** Whose words are the body, if it is not OK. */
  status: StatusCode = 0;

  override read(reader: BatchReader): string | undefined {
    const fault = super.read(reader);
    if (fault !== undefined) return fault;
    const status = reader.bytes[reader.at + at.AT_A];
    if (!isStatusCode(status)) return `status ${status} is unknown`;
    this.status = status;
    return undefined;
  }

  /** The body as the words that it is where there is no reply. */
  get reason(): string {
    const [first] = this.body;
    return readText(first, 0, Math.min(first.length, 1024)) ?? "";
  }
}

/** PROTOCOL 8.3. */
export class SurveyEndRecord extends OutcomeRecord {
  protected readonly name = "SURVEY_END";

  get asked(): number {
    return this.slot;
  }

  get missing(): number {
    return this.generation;
  }
}
