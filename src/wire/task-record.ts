import { isStatusCode, type StatusCode } from "../base/status.js";
import type { BatchReader, BatchWriter } from "./batch.js";
import * as at from "./layout.js";
import { Kind } from "./layout.js";
import {
  type Body,
  type ExchangeId,
  ExchangeRecord,
  OutcomeRecord,
  type RequestFields,
  reasonOf,
  writeCancel,
  writeCommon,
  writeFailure,
  writeRequest,
} from "./request-record.js";
import { type NameCache, readText } from "./text.js";

// PROTOCOL 7. PUSH and TASK have the layout of REQUEST: RequestRecord reads them; the `slot` of a
// PUSH is its delay, the `priority` of a TASK its attempt. TASK_FAILED has that of FAILURE.

/** A task as its client pushes it. `fields.timeoutMs` is how long one attempt may take. */
export function writePush(
  writer: BatchWriter,
  id: { sessionLow: number; sessionHigh: number; sequence: number },
  fields: RequestFields,
  delayMs: number,
  body: Body,
): void {
  const { sessionLow, sessionHigh, sequence } = id;
  const place = { sessionLow, sessionHigh, sequence, slot: delayMs, generation: 0 };
  writeRequest(writer, place, fields, body, Kind.PUSH);
}

/** `status` OK: the broker has the task. */
export function writePushed(
  writer: BatchWriter,
  id: ExchangeId,
  status: StatusCode,
  reason: string,
  retryAfterMs: number,
): void {
  writeFailure(writer, id, 0, status, reason, retryAfterMs, 0, Kind.PUSHED);
}

export function writeTaskDone(writer: BatchWriter, id: ExchangeId): void {
  writeCancel(writer, id, 0, Kind.TASK_DONE);
}

export function writeTaskFailed(
  writer: BatchWriter,
  id: ExchangeId,
  flags: number,
  status: StatusCode,
  reason: string,
  retryAfterMs: number,
): void {
  writeFailure(writer, id, flags, status, reason, retryAfterMs, 0, Kind.TASK_FAILED);
}

/** PROTOCOL 7.2. */
export class PushedRecord extends OutcomeRecord {
  protected readonly name = "PUSHED";
}

/** PROTOCOL 7.4. */
export class TaskDoneRecord extends ExchangeRecord {
  read(reader: BatchReader): string | undefined {
    this.hasId = false;
    if (reader.size < at.CANCEL_SIZE) return "TASK_DONE too short";
    return this.readCommon(reader) ? undefined : "sequence must be 1..2^53-1";
  }
}

/** What is asked of the dead letters of a queue. */
export const DeadAction = { LIST: 1, RETRY: 2 } as const;
export type DeadAction = (typeof DeadAction)[keyof typeof DeadAction];

/** A task that failed too often. */
export interface DeadLetterEntry {
  sessionLow: number;
  sessionHigh: number;
  sequence: number;
  attempts: number;
  status: StatusCode;
  priority: number;
  bytes: number;
  deadForMs: number;
  reason: string;
}

// PROTOCOL 7.5.
//
//   | 45 | flags | action or status u8 | 0 | size u32 | id.. | count u32 | total or skip u32 | textSize u16 | entryCount u16 | retryAfterMs u32 | text | entries |

/** Asks for `count` dead letters of a queue behind the `skip` oldest, or to try `count` of them anew. */
export function writeDeadLettersAsked(
  writer: BatchWriter,
  id: ExchangeId,
  action: DeadAction,
  count: number,
  queue: Uint8Array,
  skip = 0,
): void {
  writeDead(writer, id, action, count, skip, queue, [], 0);
}

export function writeDeadLetters(
  writer: BatchWriter,
  id: ExchangeId,
  status: StatusCode,
  answer: {
    count: number;
    total: number;
    reason: string;
    retryAfterMs: number;
    entries: readonly DeadLetterEntry[];
  },
): void {
  const { count, total, reason, retryAfterMs } = answer;
  const entries = answer.entries.map(entryBytes);
  writeDead(writer, id, status, count, total, reasonOf(reason), entries, retryAfterMs);
}

function writeDead(
  writer: BatchWriter,
  id: ExchangeId,
  a: number,
  count: number,
  total: number,
  text: Uint8Array,
  entries: readonly Uint8Array[],
  retryAfterMs: number,
): void {
  const fixed = at.DEAD_LETTERS_SIZE + text.length;
  const size = entries.reduce((sum, { length }) => sum + length, fixed);
  const start = writer.reserve(size);
  writeCommon(writer, start, Kind.DEAD_LETTERS, 0, size, { ...id, slot: count, generation: total });
  const { bytes, view } = writer;
  bytes[start + at.AT_A] = a;
  view.setUint16(start + 32, text.length, true);
  view.setUint16(start + 34, entries.length, true);
  view.setUint32(start + 36, retryAfterMs, true);
  bytes.set(text, start + at.DEAD_LETTERS_SIZE);
  let next = start + fixed;
  for (const entry of entries) {
    bytes.set(entry, next);
    next += entry.length;
  }
}

// | session u64 | sequence u64 | bytes u32 | deadForMs u32 | attempts u8 | status u8 | priority u8 | 0 | reasonSize u16 | 0 u16 | reason |
function entryBytes(entry: DeadLetterEntry): Uint8Array {
  const reason = reasonOf(entry.reason);
  const bytes = Buffer.alloc(at.DEAD_LETTER_SIZE + reason.length);
  bytes.writeUInt32LE(entry.sessionLow, 0);
  bytes.writeUInt32LE(entry.sessionHigh, 4);
  bytes.writeUInt32LE(entry.sequence >>> 0, 8);
  bytes.writeUInt32LE(Math.floor(entry.sequence / 2 ** 32), 12);
  bytes.writeUInt32LE(entry.bytes, 16);
  bytes.writeUInt32LE(Math.min(Math.max(Math.round(entry.deadForMs), 0), 0xffffffff), 20);
  bytes[24] = entry.attempts;
  bytes[25] = entry.status;
  bytes[26] = entry.priority;
  bytes.writeUInt16LE(reason.length, 28);
  bytes.set(reason, at.DEAD_LETTER_SIZE);
  return bytes;
}

/** What is asked of the dead letters of a queue. */
export class DeadLettersAskedRecord extends ExchangeRecord {
  action: DeadAction = DeadAction.LIST;
  count = 0;
  /** How many of the oldest to leave out. */
  skip = 0;
  queue = "";

  read(reader: BatchReader, names: NameCache): string | undefined {
    this.hasId = false;
    if (reader.size < at.DEAD_LETTERS_SIZE) return "DEAD_LETTERS too short";
    if (!this.readCommon(reader)) return "sequence must be 1..2^53-1";
    const start = reader.at;
    const action = reader.bytes[start + at.AT_A];
    if (action !== DeadAction.LIST && action !== DeadAction.RETRY) {
      return `action must be 1 or 2, got ${action}`;
    }
    this.action = action;
    this.count = this.slot;
    this.skip = this.generation;
    const size = reader.view.getUint16(start + 32, true);
    if (at.DEAD_LETTERS_SIZE + size > reader.size) return "queue longer than the record";
    const queue = names.read(reader.bytes, start + at.DEAD_LETTERS_SIZE, size);
    if (queue === undefined) return "queue must be 1..255 bytes of UTF-8, no control characters";
    this.queue = queue;
    return undefined;
  }
}

/** What the broker says of the dead letters of a queue. */
export class DeadLettersRecord extends ExchangeRecord {
  status: StatusCode = 0;
  reason = "";
  /** How many were retried, or are listed here. */
  count = 0;
  /** How many there are. */
  total = 0;
  retryAfterMs = 0;
  entries: DeadLetterEntry[] = [];

  read(reader: BatchReader): string | undefined {
    if (reader.size < at.DEAD_LETTERS_SIZE) return "DEAD_LETTERS too short";
    if (!this.readCommon(reader)) return "sequence must be 1..2^53-1";
    const { bytes, view } = reader;
    const start = reader.at;
    const end = start + reader.size;
    const status = bytes[start + at.AT_A];
    if (!isStatusCode(status)) return `status ${status} is unknown`;
    this.status = status;
    this.count = this.slot;
    this.total = this.generation;
    this.retryAfterMs = view.getUint32(start + 36, true);
    const textSize = view.getUint16(start + 32, true);
    let next = start + at.DEAD_LETTERS_SIZE + textSize;
    if (next > end) return "reason longer than the record";
    this.reason = readText(bytes, start + at.DEAD_LETTERS_SIZE, textSize) ?? "";
    this.entries = [];
    for (let left = view.getUint16(start + 34, true); left > 0; left--) {
      const entry = readEntry(bytes, view, next, end);
      if (entry === undefined) return "entries longer than the record";
      this.entries.push(entry);
      next += at.DEAD_LETTER_SIZE + view.getUint16(next + 28, true);
    }
    return undefined;
  }
}

function readEntry(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): DeadLetterEntry | undefined {
  if (start + at.DEAD_LETTER_SIZE > end) return undefined;
  const reasonSize = view.getUint16(start + 28, true);
  if (start + at.DEAD_LETTER_SIZE + reasonSize > end) return undefined;
  const status = bytes[start + 25];
  return {
    sessionLow: view.getUint32(start, true),
    sessionHigh: view.getUint32(start + 4, true),
    sequence: view.getUint32(start + 8, true) + view.getUint32(start + 12, true) * 2 ** 32,
    bytes: view.getUint32(start + 16, true),
    deadForMs: view.getUint32(start + 20, true),
    attempts: bytes[start + 24],
    status: isStatusCode(status) ? status : 13,
    priority: bytes[start + 26],
    reason: readText(bytes, start + at.DEAD_LETTER_SIZE, reasonSize) ?? "",
  };
}
