import { OWN_FRAME_BYTES_MIN } from "../base/blocks.js";
import { keptMemory } from "../base/kept-memory.js";
import { isStatusCode, type StatusCode } from "../base/status.js";
import type { Cancel, Failure, Reply, Request } from "../core/command.js";
import { type BatchReader, type BatchWriter, NO_BYTES, NO_VIEW } from "./batch.js";
import * as at from "./layout.js";
import { Flag, Kind } from "./layout.js";
import { type NameCache, readText } from "./text.js";

/**
 * One of the records of PROTOCOL 3 as it was read: where its parts are in `bytes`. Reused from
 * record to record; it is a command of the core once its `peer` is set.
 */
export class ExchangeRecord {
  peer = 0;
  sequence = 0;
  sessionLow = 0;
  sessionHigh = 0;
  slot = 0;
  generation = 0;
  flags = 0;
  /** Whether the id and the attempt can be read, so that what else is wrong can be answered. */
  hasId = false;
  readonly held: HeldRecord = { bytes: NO_BYTES, view: NO_VIEW, at: 0, size: 0, frames: NO_FRAMES };

  /** PROTOCOL 3.1. False where the sequence is not one. */
  protected readCommon(reader: BatchReader): boolean {
    const { view } = reader;
    const start = reader.at;
    const { held } = this;
    // Once a message: a younger object in an older one is noted down each time.
    if (held.view !== view) {
      held.bytes = reader.bytes;
      held.view = view;
    }
    held.at = start;
    held.size = reader.size;
    held.frames = NO_FRAMES;
    this.flags = reader.bytes[start + at.AT_FLAGS];
    this.sessionLow = view.getUint32(start + at.AT_SESSION, true);
    this.sessionHigh = view.getUint32(start + at.AT_SESSION + 4, true);
    const high = view.getUint32(start + at.AT_SEQUENCE + 4, true);
    this.sequence = view.getUint32(start + at.AT_SEQUENCE, true) + high * 2 ** 32;
    this.slot = view.getUint32(start + at.AT_SLOT, true);
    this.generation = view.getUint32(start + at.AT_GENERATION, true);
    this.hasId = this.sequence >= 1 && high < 2 ** 21;
    return this.hasId;
  }

  /** Bytes that the record occupies, its frames included. */
  get bytes(): number {
    return bytesOf(this.held);
  }
}

const NO_FRAMES: readonly Uint8Array[] = [];

/** PROTOCOL 3.2. */
export class RequestRecord extends ExchangeRecord implements Request {
  readonly kind = "request";
  service = "";
  timeoutMs = 0;
  attempts = 0;
  priority = 0;
  serviceSize = 0;
  headersSize = 0;

  /** Whether a stream is to answer it, and whether that may begin anew. */
  get stream(): "once" | "restart" | undefined {
    if ((this.flags & Flag.STREAM) === 0) return undefined;
    return (this.flags & Flag.RESTART) === 0 ? "once" : "restart";
  }

  /** Reads the present record; returns what is wrong with it, or undefined. */
  read(reader: BatchReader, names: NameCache): string | undefined {
    this.hasId = false;
    if (reader.size < at.REQUEST_SIZE) {
      reader.skip();
      return "REQUEST too short";
    }
    this.readCommon(reader);
    const { bytes, view } = reader;
    const start = reader.at;
    this.priority = bytes[start + at.AT_A];
    this.attempts = bytes[start + at.AT_B];
    this.timeoutMs = view.getUint32(start + at.AT_TIMEOUT, true);
    this.serviceSize = bytes[start + at.AT_SERVICE_SIZE];
    this.headersSize = view.getUint16(start + at.AT_HEADERS_SIZE, true);
    const frameCount = bytes[start + at.AT_FRAME_COUNT];
    if (frameCount > 0) {
      const frames = reader.claimFrames(frameCount);
      if (frames === undefined) return reader.reason;
      this.held.frames = frames;
    }
    if (!this.hasId) return "sequence must be 1..2^53-1";
    const bodyAt = at.REQUEST_SIZE + this.serviceSize + this.headersSize;
    if (bodyAt > reader.size) return "service or headers longer than the record";
    if (frameCount > 0 && bodyAt !== reader.size) return "body both in the record and in frames";
    if (this.headersSize > at.HEADERS_BYTES_MAX) return "headers too long";
    // PROTOCOL 7.3: of a TASK it is the attempt.
    if (this.priority > at.PRIORITY_MAX && reader.kind !== Kind.TASK) {
      return "priority must be 0..7";
    }
    const service = names.read(bytes, start + at.REQUEST_SIZE, this.serviceSize);
    if (service === undefined)
      return "service must be 1..255 bytes of UTF-8, no control characters";
    this.service = service;
    return undefined;
  }

  /** Where in the record the body begins that is not in frames. */
  get bodyOffset(): number {
    return at.REQUEST_SIZE + this.serviceSize + this.headersSize;
  }

  get headers(): Uint8Array {
    const start = this.held.at + at.REQUEST_SIZE + this.serviceSize;
    return this.held.bytes.subarray(start, start + this.headersSize);
  }

  /** The body, as one or more parts. */
  get body(): readonly Uint8Array[] {
    return requestBody(this.held);
  }
}

/** A record with the layout of PROTOCOL 3.3. */
export class AnswerRecord extends ExchangeRecord {
  serviceTimeUs = 0;

  read(reader: BatchReader): string | undefined {
    this.hasId = false;
    if (reader.size < at.REPLY_SIZE) {
      reader.skip();
      return "answer too short";
    }
    this.readCommon(reader);
    const { bytes, view } = reader;
    const start = reader.at;
    this.serviceTimeUs = view.getUint32(start + at.AT_SERVICE_TIME, true);
    const frameCount = bytes[start + at.AT_FRAME_COUNT];
    if (frameCount > 0) {
      const frames = reader.claimFrames(frameCount);
      if (frames === undefined) return reader.reason;
      this.held.frames = frames;
    }
    if (!this.hasId) return "sequence must be 1..2^53-1";
    const headers = headersSize(bytes, start);
    const bodyAt = at.REPLY_SIZE + headers;
    if (bodyAt > reader.size) return "headers longer than the record";
    if (frameCount > 0 && bodyAt !== reader.size) return "body both in the record and in frames";
    if (headers > at.HEADERS_BYTES_MAX) return "headers too long";
    return undefined;
  }

  /** The body, as one or more parts. */
  get body(): readonly Uint8Array[] {
    return replyBody(this.held);
  }

  /** The body in one piece and in memory of its own. */
  copyBody(): Uint8Array {
    const { bytes, at: start, size, frames } = this.held;
    if (frames.length > 1) return Uint8Array.from(Buffer.concat(frames));
    if (frames.length === 1) return ownFrame(frames[0]);
    return copyOf(bytes, start + at.REPLY_SIZE + headersSize(bytes, start), start + size);
  }
}

/** PROTOCOL 3.3. */
export class ReplyRecord extends AnswerRecord implements Reply {
  readonly kind = "reply";
}

/** How something ended that was asked for, with the layout of FAILURE (PROTOCOL 3.4). */
export abstract class OutcomeRecord extends ExchangeRecord {
  status: StatusCode = 0;
  reason = "";
  retryAfterMs = 0;
  /** What PROTOCOL calls it. */
  protected abstract readonly name: string;

  read(reader: BatchReader): string | undefined {
    this.hasId = false;
    if (reader.size < at.FAILURE_SIZE) return `${this.name} too short`;
    if (!this.readCommon(reader)) return "sequence must be 1..2^53-1";
    const { bytes, view } = reader;
    const start = reader.at;
    const status = bytes[start + at.AT_A];
    if (!isStatusCode(status)) return `status ${status} is unknown`;
    this.status = status;
    this.retryAfterMs = view.getUint32(start + at.AT_RETRY_AFTER, true);
    const reasonSize = view.getUint16(start + at.AT_REASON_SIZE, true);
    if (at.FAILURE_SIZE + reasonSize > reader.size) return "reason longer than the record";
    const reason = readText(bytes, start + at.FAILURE_SIZE, reasonSize);
    if (reason === undefined) return "reason must be UTF-8";
    this.reason = reason;
    return undefined;
  }
}

/** PROTOCOL 3.4. */
export class FailureRecord extends OutcomeRecord implements Failure {
  readonly kind = "failure";
  protected readonly name = "FAILURE";
  untouched = false;
  /** How often the request was handed to a worker, in what the broker tells a client. */
  attempts = 0;

  override read(reader: BatchReader): string | undefined {
    const fault = super.read(reader);
    if (fault !== undefined) return fault;
    if (this.status === 0) return "status 0 is none of a failure";
    this.untouched = (this.flags & Flag.UNTOUCHED) !== 0;
    this.attempts = reader.bytes[reader.at + at.AT_B];
    return undefined;
  }
}

/** PROTOCOL 3.5. */
export class CancelRecord extends ExchangeRecord implements Cancel {
  readonly kind = "cancel";
  status = 0;

  read(reader: BatchReader): string | undefined {
    if (reader.size < at.CANCEL_SIZE) return "CANCEL too short";
    if (!this.readCommon(reader)) return "sequence must be 1..2^53-1";
    this.status = reader.bytes[reader.at + at.AT_A];
    return undefined;
  }
}

// --- writing ---

/** The id of a request and, at a worker, of the attempt (PROTOCOL 3.1). */
export interface ExchangeId {
  sessionLow: number;
  sessionHigh: number;
  sequence: number;
  slot: number;
  generation: number;
}

/** A body: in one piece, or the frames of a multipart message of a plain peer. */
export type Body = Uint8Array | readonly Uint8Array[];

/** What a client says of a request beside its body. */
export interface RequestFields {
  priority: number;
  attempts: number;
  timeoutMs: number;
  flags: number;
  /** The service's name in UTF-8. */
  service: Uint8Array;
  headers: Uint8Array;
}

export function writeRequest(
  writer: BatchWriter,
  id: ExchangeId,
  fields: RequestFields,
  body: Body,
  kind: Kind = Kind.REQUEST,
): void {
  const { service, headers } = fields;
  const inline = inlineOf(body);
  const fixed = at.REQUEST_SIZE + service.length + headers.length;
  const size = fixed + (inline === undefined ? 0 : inline.length);
  const start = writer.reserve(size);
  writeCommon(writer, start, kind, fields.flags, size, id);
  const { bytes, view } = writer;
  bytes[start + at.AT_A] = fields.priority;
  bytes[start + at.AT_B] = fields.attempts;
  view.setUint32(start + at.AT_TIMEOUT, fields.timeoutMs, true);
  bytes[start + at.AT_SERVICE_SIZE] = service.length;
  bytes[start + at.AT_FRAME_COUNT] = inline === undefined ? frameCountOf(body) : 0;
  view.setUint16(start + at.AT_HEADERS_SIZE, headers.length, true);
  const serviceAt = start + at.REQUEST_SIZE;
  for (let i = 0; i < service.length; i++) bytes[serviceAt + i] = service[i];
  if (headers.length > 0) bytes.set(headers, serviceAt + service.length);
  writeBody(writer, start + fixed, inline, body);
}

export function writeReply(
  writer: BatchWriter,
  id: ExchangeId,
  flags: number,
  serviceTimeUs: number,
  body: Body,
  kind: Kind = Kind.REPLY,
  status = 0,
): void {
  const inline = inlineOf(body);
  const size = at.REPLY_SIZE + (inline === undefined ? 0 : inline.length);
  const start = writer.reserve(size);
  writeCommon(writer, start, kind, flags, size, id);
  const { bytes, view } = writer;
  if (status !== 0) bytes[start + at.AT_A] = status;
  view.setUint32(start + at.AT_SERVICE_TIME, serviceTimeUs, true);
  view.setUint32(start + at.AT_SERVICE_SIZE, 0, true);
  bytes[start + at.AT_FRAME_COUNT] = inline === undefined ? frameCountOf(body) : 0;
  writeBody(writer, start + at.REPLY_SIZE, inline, body);
}

const REASON_BYTES_MAX = 1024;

export function writeFailure(
  writer: BatchWriter,
  id: ExchangeId,
  flags: number,
  status: number,
  reason: string,
  retryAfterMs: number,
  attempts = 0,
  kind: Kind = Kind.FAILURE,
): void {
  const reasonBytes = reasonOf(reason);
  const size = at.FAILURE_SIZE + reasonBytes.length;
  const start = writer.reserve(size);
  writeCommon(writer, start, kind, flags, size, id);
  const { bytes, view } = writer;
  bytes[start + at.AT_A] = status;
  bytes[start + at.AT_B] = Math.min(attempts, 255);
  const retryAfter = Math.min(Math.max(Math.ceil(retryAfterMs), 0), 0xffffffff);
  view.setUint32(start + at.AT_RETRY_AFTER, retryAfter, true);
  view.setUint16(start + at.AT_REASON_SIZE, reasonBytes.length, true);
  view.setUint16(start + at.AT_HEADERS_SIZE, 0, true);
  bytes.set(reasonBytes, start + at.FAILURE_SIZE);
}

export function writeCancel(
  writer: BatchWriter,
  id: ExchangeId,
  status: number,
  kind: Kind = Kind.CANCEL,
): void {
  const start = writer.reserve(at.CANCEL_SIZE);
  writeCommon(writer, start, kind, 0, at.CANCEL_SIZE, id);
  writer.bytes[start + at.AT_A] = status;
}

/** A reason as it travels: at most 1 KiB, cut between characters. */
export function reasonOf(reason: string): Uint8Array {
  const bytes = Buffer.from(reason);
  if (bytes.length <= REASON_BYTES_MAX) return bytes;
  let end = REASON_BYTES_MAX;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** The body if it stands in the record; undefined if it goes as frames. */
export function inlineOf(body: Body): Uint8Array | undefined {
  const only = body instanceof Uint8Array ? body : body.length === 1 ? body[0] : undefined;
  return only !== undefined && only.length < at.FRAME_BYTES_MIN ? only : undefined;
}

export function frameCountOf(body: Body): number {
  return body instanceof Uint8Array ? 1 : body.length;
}

export function writeBody(
  writer: BatchWriter,
  start: number,
  inline: Uint8Array | undefined,
  body: Body,
): void {
  if (inline !== undefined) writer.bytes.set(inline, start);
  else if (body instanceof Uint8Array) writer.addFrame(body);
  else for (const frame of body) writer.addFrame(frame);
}

export function writeCommon(
  writer: BatchWriter,
  start: number,
  kind: number,
  flags: number,
  size: number,
  id: ExchangeId,
): void {
  const { bytes, view } = writer;
  bytes[start] = kind;
  bytes[start + at.AT_FLAGS] = flags;
  view.setUint16(start + at.AT_A, 0, true);
  view.setUint32(start + at.AT_SIZE, size, true);
  writeId(view, start, id.sessionLow, id.sessionHigh, id.sequence);
  view.setUint32(start + at.AT_SLOT, id.slot, true);
  view.setUint32(start + at.AT_GENERATION, id.generation, true);
}

function writeId(
  view: DataView,
  start: number,
  sessionLow: number,
  sessionHigh: number,
  sequence: number,
): void {
  view.setUint32(start + at.AT_SESSION, sessionLow, true);
  view.setUint32(start + at.AT_SESSION + 4, sessionHigh, true);
  view.setUint32(start + at.AT_SEQUENCE, sequence >>> 0, true);
  view.setUint32(start + at.AT_SEQUENCE + 4, Math.floor(sequence / 2 ** 32), true);
}

/** The 16 bytes that name a request for ever, as a codec binds them. */
export function requestIdBytes(id: ExchangeId): Uint8Array {
  const bytes = new Uint8Array(16);
  setU32(bytes, 0, id.sessionLow);
  setU32(bytes, 4, id.sessionHigh);
  setU32(bytes, 8, id.sequence >>> 0);
  setU32(bytes, 12, Math.floor(id.sequence / 2 ** 32));
  return bytes;
}

/** Without a DataView, whose making costs more than the bytes do. */
function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** A record as the broker holds it: a range of some bytes, and the body's frames beside it. */
export interface HeldRecord {
  bytes: Uint8Array;
  /** Of the same `bytes`. */
  view: DataView;
  at: number;
  size: number;
  frames: readonly Uint8Array[];
}

/** What a record counts for (PROTOCOL 2.2): empty frames too take memory, though not their own. */
export function bytesOf({ size, frames }: Pick<HeldRecord, "size" | "frames">): number {
  let bytes = size;
  for (const frame of frames) bytes += frame.length;
  return frames.length > 1 ? bytes + (frames.length - 1) * at.FRAME_COST : bytes;
}

/** The body of a REQUEST, as one or more parts. */
export function requestBody({ bytes, at: start, size, frames }: HeldRecord): readonly Uint8Array[] {
  if (frames.length > 0) return frames;
  const fixed = at.REQUEST_SIZE + bytes[start + at.AT_SERVICE_SIZE] + headersSize(bytes, start);
  return [bytes.subarray(start + fixed, start + size)];
}

/** The service's name in a REQUEST, in UTF-8. */
export function requestService({ bytes, at: start }: HeldRecord): Uint8Array {
  const serviceAt = start + at.REQUEST_SIZE;
  return bytes.subarray(serviceAt, serviceAt + bytes[start + at.AT_SERVICE_SIZE]);
}

/** The body of a REPLY, as one or more parts. */
export function replyBody({ bytes, at: start, size, frames }: HeldRecord): readonly Uint8Array[] {
  if (frames.length > 0) return frames;
  return [bytes.subarray(start + at.REPLY_SIZE + headersSize(bytes, start), start + size)];
}

function headersSize(bytes: Uint8Array, start: number): number {
  return bytes[start + at.AT_HEADERS_SIZE] | (bytes[start + at.AT_HEADERS_SIZE + 1] << 8);
}

/** What a client says of a request that its worker is to know too. */
const FLAGS_FORWARDED = Flag.RAW | Flag.STREAM | Flag.RESTART;

/** Copies a REQUEST as it came, for a worker: one copy and the fields that the broker sets. */
export function forwardRequest(
  writer: BatchWriter,
  record: HeldRecord,
  slot: number,
  generation: number,
  attempt: number,
  timeoutMs: number,
): void {
  const start = copyRecord(writer, record);
  const { bytes, view } = writer;
  bytes[start + at.AT_FLAGS] =
    (bytes[start + at.AT_FLAGS] & FLAGS_FORWARDED) | (attempt > 1 ? Flag.REDELIVERED : 0);
  bytes[start + at.AT_B] = attempt;
  view.setUint32(start + at.AT_SLOT, slot, true);
  view.setUint32(start + at.AT_GENERATION, generation, true);
  view.setUint32(start + at.AT_TIMEOUT, timeoutMs, true);
}

/** Copies a REPLY as it came, for the client that asked, under the id of its request. */
export function forwardReply(
  writer: BatchWriter,
  record: HeldRecord,
  sessionLow: number,
  sessionHigh: number,
  sequence: number,
): void {
  const start = copyRecord(writer, record);
  const { bytes, view } = writer;
  bytes[start + at.AT_FLAGS] &= Flag.RAW;
  writeId(view, start, sessionLow, sessionHigh, sequence);
  view.setUint32(start + at.AT_SLOT, 0, true);
  view.setUint32(start + at.AT_GENERATION, 0, true);
}

function copyRecord(writer: BatchWriter, record: HeldRecord): number {
  const start = writer.reserve(record.size);
  copyRange(record, record.size, writer, start);
  for (const frame of record.frames) writer.addFrame(frame);
  return start;
}

/** The bytes of a frame that came in, for one caller to keep: large ones have memory of their own already. */
export function ownFrame(frame: Uint8Array): Uint8Array {
  if (isPassing(frame)) return copyOf(frame);
  return new Uint8Array(frame.buffer, frame.byteOffset, frame.length);
}

/** Whether what these bytes are read into is used again for what comes next: they are to be copied, or read at once. */
export function isPassing(bytes: Uint8Array): boolean {
  return bytes.length < OWN_FRAME_BYTES_MIN;
}

/** Of less the objects are garbage enough, and memory that is zeroed costs no more. */
const KEPT_SIZE_MIN = 4096;

/** Bytes of their own, and no Buffer, whatever the size and whatever they were. */
export function copyOf(bytes: Uint8Array, from = 0, end = bytes.length): Uint8Array {
  const isWhole = from === 0 && end === bytes.length;
  if (end - from < KEPT_SIZE_MIN) {
    return isWhole ? new Uint8Array(bytes) : Uint8Array.prototype.slice.call(bytes, from, end);
  }
  const copy = keptMemory(end - from);
  copy.set(isWhole ? bytes : bytes.subarray(from, end));
  return copy;
}

/** Up to this size words in a loop are faster than a copy of V8's, which begins with a view of the range. */
const WORDS_SIZE_MAX = 400;

interface Bytes {
  readonly bytes: Uint8Array;
  /** Of the same `bytes`. */
  readonly view: DataView;
}

/** Copies `size` bytes from where `from.at` is to `toAt`. */
export function copyRange(from: HeldRecord, size: number, to: Bytes, toAt: number): void {
  let source = from.at;
  if (size > WORDS_SIZE_MAX) {
    to.bytes.set(from.bytes.subarray(source, source + size), toAt);
    return;
  }
  const { view: fromView, bytes: fromBytes } = from;
  const { view: toView, bytes: toBytes } = to;
  const end = source + size;
  const wordsEnd = source + (size & ~3);
  let target = toAt;
  for (; source < wordsEnd; source += 4, target += 4) {
    toView.setInt32(target, fromView.getInt32(source, true), true);
  }
  for (; source < end; source++, target++) toBytes[target] = fromBytes[source];
}
