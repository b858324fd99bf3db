import { isStatusCode, type StatusCode } from "../base/status.js";
import { type BatchReader, type BatchWriter, NO_BYTES, NO_VIEW } from "./batch.js";
import * as at from "./layout.js";
import { EventFlag, Kind } from "./layout.js";
import {
  type Body,
  bytesOf,
  copyOf,
  copyRange,
  type HeldRecord,
  reasonOf,
} from "./request-record.js";
import { type NameCache, readText } from "./text.js";

const NO_FRAMES: readonly Uint8Array[] = [];

/**
 * A PUBLISH or an EVENT (PROTOCOL 6.1), which differ in their flags and two numbers alone: where its
 * parts are in the bytes of its message. Reused from record to record.
 */
export class EventRecord {
  topic = "";
  publisherLow = 0;
  publisherHigh = 0;
  /** 0 where nobody counted. */
  sequence = 0;
  flags = 0;
  /** Of a PUBLISH, the number to confirm it by; of an EVENT, the subscription. */
  number = 0;
  /** Of an EVENT. */
  dropped = 0;
  readonly held: HeldRecord = { bytes: NO_BYTES, view: NO_VIEW, at: 0, size: 0, frames: NO_FRAMES };

  /** Reads the present record; returns what is wrong with it, or undefined. */
  read(reader: BatchReader, names: NameCache): string | undefined {
    this.number = 0;
    if (reader.size < at.EVENT_SIZE) {
      reader.skip();
      return "PUBLISH or EVENT too short";
    }
    const { bytes, view, at: start, size } = reader;
    const { held } = this;
    held.bytes = bytes;
    held.view = view;
    held.at = start;
    held.size = size;
    held.frames = NO_FRAMES;
    this.flags = bytes[start + at.AT_FLAGS];
    this.publisherLow = view.getUint32(start + at.AT_PUBLISHER, true);
    this.publisherHigh = view.getUint32(start + at.AT_PUBLISHER + 4, true);
    const high = view.getUint32(start + at.AT_SEQUENCE + 4, true);
    this.sequence = view.getUint32(start + at.AT_SEQUENCE, true) + high * 2 ** 32;
    this.number = view.getUint32(start + at.AT_SUBSCRIPTION, true);
    this.dropped = view.getUint32(start + at.AT_DROPPED, true);
    const topicSize = bytes[start + at.AT_A];
    const frameCount = bytes[start + at.AT_B];
    if (frameCount > 0) {
      const frames = reader.claimFrames(frameCount);
      if (frames === undefined) return reader.reason;
      held.frames = frames;
    }
    if (high >= 2 ** 21) return "sequence must be 0..2^53-1";
    const bodyAt = at.EVENT_SIZE + topicSize;
    if (bodyAt > size) return "topic longer than the record";
    if (frameCount > 0 && bodyAt !== size) return "body both in the record and in frames";
    const topic = names.read(bytes, start + at.EVENT_SIZE, topicSize);
    if (topic === undefined) return "topic must be 1..255 bytes of UTF-8, no control characters";
    this.topic = topic;
    return undefined;
  }

  get isRaw(): boolean {
    return (this.flags & EventFlag.RAW) !== 0;
  }

  /** What it counts for, its frames included. */
  get bytes(): number {
    return bytesOf(this.held);
  }

  /** The body in one piece and in memory of its own. */
  copyBody(): Uint8Array {
    const { bytes, at: start, size, frames } = this.held;
    if (frames.length > 1) return Uint8Array.from(Buffer.concat(frames));
    if (frames.length === 1) return copyOf(frames[0]);
    return copyOf(bytes, start + at.EVENT_SIZE + bytes[start + at.AT_A], start + size);
  }
}

/** The body of a PUBLISH or EVENT, as one or more parts. */
export function eventBody({ bytes, at: start, size, frames }: HeldRecord): readonly Uint8Array[] {
  if (frames.length > 0) return frames;
  return [bytes.subarray(start + at.EVENT_SIZE + bytes[start + at.AT_A], start + size)];
}

/** Whether a PUBLISH has nothing to say. */
export function isBodyEmpty({ bytes, at: start, size, frames }: HeldRecord): boolean {
  if (frames.length > 0) return frames.every(({ length }) => length === 0);
  return size === at.EVENT_SIZE + bytes[start + at.AT_A];
}

/** What a publication says beside its body. */
export interface PublishFields {
  flags: number;
  publisherLow: number;
  publisherHigh: number;
  sequence: number;
  confirm: number;
  /** In UTF-8. */
  topic: Uint8Array;
}

export function writePublish(writer: BatchWriter, fields: PublishFields, body: Body): void {
  const { topic, publisherLow, publisherHigh, sequence } = fields;
  const only = body instanceof Uint8Array ? body : body.length === 1 ? body[0] : undefined;
  const inline = only !== undefined && only.length < at.FRAME_BYTES_MIN ? only : undefined;
  const fixed = at.EVENT_SIZE + topic.length;
  const size = fixed + (inline?.length ?? 0);
  const start = writer.reserve(size);
  const { bytes, view } = writer;
  bytes[start] = Kind.PUBLISH;
  bytes[start + at.AT_FLAGS] = fields.flags;
  bytes[start + at.AT_A] = topic.length;
  view.setUint32(start + at.AT_SIZE, size, true);
  view.setUint32(start + at.AT_PUBLISHER, publisherLow, true);
  view.setUint32(start + at.AT_PUBLISHER + 4, publisherHigh, true);
  view.setUint32(start + at.AT_SEQUENCE, sequence >>> 0, true);
  view.setUint32(start + at.AT_SEQUENCE + 4, Math.floor(sequence / 2 ** 32), true);
  view.setUint32(start + at.AT_CONFIRM, fields.confirm, true);
  view.setUint32(start + at.AT_DROPPED, 0, true);
  for (let i = 0; i < topic.length; i++) bytes[start + at.EVENT_SIZE + i] = topic[i];
  if (inline !== undefined) {
    bytes[start + at.AT_B] = 0;
    bytes.set(inline, start + fixed);
  } else if (body instanceof Uint8Array) {
    bytes[start + at.AT_B] = 1;
    writer.addFrame(body);
  } else {
    bytes[start + at.AT_B] = body.length;
    for (const frame of body) writer.addFrame(frame);
  }
}

/** Copies a PUBLISH as it came, or as it was kept, as an EVENT for one subscription. */
export function forwardEvent(
  writer: BatchWriter,
  record: HeldRecord,
  subscription: number,
  isRetained: boolean,
  dropped: number,
): void {
  const start = writer.reserve(record.size);
  copyRange(record, record.size, writer, start);
  for (const frame of record.frames) writer.addFrame(frame);
  const { bytes, view } = writer;
  bytes[start] = Kind.EVENT;
  bytes[start + at.AT_FLAGS] =
    (bytes[start + at.AT_FLAGS] & EventFlag.RAW) | (isRetained ? EventFlag.RETAINED : 0);
  view.setUint32(start + at.AT_SUBSCRIPTION, subscription, true);
  view.setUint32(start + at.AT_DROPPED, Math.min(dropped, 0xffffffff), true);
}

/** The 16 bytes that a codec binds an event to (PROTOCOL 6.5): its publisher and its sequence. */
export function eventIdBytes(low: number, high: number, sequence: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const words = [low, high, sequence >>> 0, Math.floor(sequence / 2 ** 32)];
  for (let i = 0; i < 16; i++) bytes[i] = words[i >> 2] >>> ((i & 3) * 8);
  return bytes;
}

// --- what a broker says of publications, PROTOCOL 6.2 ---

export interface Published {
  status: StatusCode;
  /** Bytes of publications taken since the last such record. */
  taken: number;
  /** The publication that it is about; 0 for none. */
  confirm: number;
  heard: number;
  reason: string;
}

export function writePublished(writer: BatchWriter, published: Published): void {
  const reason = reasonOf(published.reason);
  const size = at.PUBLISHED_SIZE + reason.length;
  const start = begin(writer, Kind.PUBLISH, EventFlag.ANSWER, size, published.status, 0);
  const { bytes, view } = writer;
  view.setUint32(start + 8, published.taken, true);
  view.setUint32(start + 12, published.confirm, true);
  view.setUint32(start + 16, published.heard, true);
  view.setUint16(start + 20, reason.length, true);
  view.setUint16(start + 22, 0, true);
  bytes.set(reason, start + at.PUBLISHED_SIZE);
}

export function readPublished(reader: BatchReader): Published | string {
  if (reader.size < at.PUBLISHED_SIZE) return "PUBLISH too short";
  const { view, at: start } = reader;
  const status = reader.bytes[start + at.AT_A];
  if (!isStatusCode(status)) return `status ${status} is unknown`;
  const reason = reasonAt(reader, start + 20, at.PUBLISHED_SIZE);
  if (reason === undefined) return "reason must be UTF-8 and within the record";
  return {
    status,
    taken: view.getUint32(start + 8, true),
    confirm: view.getUint32(start + 12, true),
    heard: view.getUint32(start + 16, true),
    reason,
  };
}

// --- subscriptions, PROTOCOL 6.3 ---

export interface SubscribeFields {
  subscription: number;
  pattern: string;
  /** 0 drop-oldest, 1 drop-newest, 2 disconnect. */
  whenFull: number;
  /** Events that may wait for it. */
  queueMax: number;
  wantsRetained: boolean;
}

export function writeSubscribe(writer: BatchWriter, fields: SubscribeFields): void {
  const pattern = Buffer.from(fields.pattern);
  const size = at.SUBSCRIBE_SIZE + pattern.length;
  const flags = fields.wantsRetained ? 0 : EventFlag.NO_RETAINED;
  const start = begin(writer, Kind.SUBSCRIBE, flags, size, fields.whenFull, pattern.length);
  const { bytes, view } = writer;
  view.setUint32(start + 8, fields.subscription, true);
  view.setUint32(start + 12, fields.queueMax, true);
  bytes.set(pattern, start + at.SUBSCRIBE_SIZE);
}

export function readSubscribe(reader: BatchReader): SubscribeFields | string {
  if (reader.size < at.SUBSCRIBE_SIZE) return "SUBSCRIBE too short";
  const { bytes, view, at: start } = reader;
  const patternSize = bytes[start + at.AT_B];
  const subscription = view.getUint32(start + 8, true);
  if (at.SUBSCRIBE_SIZE + patternSize > reader.size) return "pattern longer than the record";
  if (subscription === 0) return "subscription must be 1..2^32-1";
  const whenFull = bytes[start + at.AT_A];
  if (whenFull > 2) return `policy must be 0..2, got ${whenFull}`;
  const pattern = readText(bytes, start + at.SUBSCRIBE_SIZE, patternSize);
  if (pattern === undefined) return "pattern must be UTF-8";
  return {
    subscription,
    pattern,
    whenFull,
    queueMax: view.getUint32(start + 12, true),
    wantsRetained: (bytes[start + at.AT_FLAGS] & EventFlag.NO_RETAINED) === 0,
  };
}

/** Publishes nothing, and is answered: all before it was read. */
export function writePublishAsk(writer: BatchWriter, confirm: number): void {
  const start = begin(writer, Kind.PUBLISH, EventFlag.ANSWER, at.PUBLISH_ASK_SIZE, 0, 0);
  writer.view.setUint32(start + 8, confirm, true);
  writer.view.setUint32(start + 12, 0, true);
}

/** The number by which to answer; undefined where the PUBLISH publishes. */
export function readPublishAsk(reader: BatchReader): number | undefined {
  const isAsk = (reader.bytes[reader.at + at.AT_FLAGS] & EventFlag.ANSWER) !== 0;
  if (!isAsk || reader.size < at.PUBLISH_ASK_SIZE) return undefined;
  return reader.view.getUint32(reader.at + 8, true);
}

/** What a broker says of a subscription: as SUBSCRIBE that it is in place or refused, as UNSUBSCRIBE that it is over. */
export interface Subscribed {
  subscription: number;
  status: StatusCode;
  reason: string;
}

export function writeSubscribed(
  writer: BatchWriter,
  kind: typeof Kind.SUBSCRIBE | typeof Kind.UNSUBSCRIBE,
  { subscription, status, reason }: Subscribed,
): void {
  const reasonBytes = reasonOf(reason);
  const size = at.SUBSCRIBED_SIZE + reasonBytes.length;
  const start = begin(writer, kind, EventFlag.ANSWER, size, status, 0);
  const { bytes, view } = writer;
  view.setUint32(start + 8, subscription, true);
  view.setUint16(start + 12, reasonBytes.length, true);
  view.setUint16(start + 14, 0, true);
  bytes.set(reasonBytes, start + at.SUBSCRIBED_SIZE);
}

export function readSubscribed(reader: BatchReader): Subscribed | string {
  if (reader.size < at.SUBSCRIBED_SIZE) return "SUBSCRIBE or UNSUBSCRIBE too short";
  const { view, at: start } = reader;
  const status = reader.bytes[start + at.AT_A];
  if (!isStatusCode(status)) return `status ${status} is unknown`;
  const reason = reasonAt(reader, start + 12, at.SUBSCRIBED_SIZE);
  if (reason === undefined) return "reason must be UTF-8 and within the record";
  return { subscription: view.getUint32(start + 8, true), status, reason };
}

export function writeUnsubscribe(writer: BatchWriter, subscription: number): void {
  const start = begin(writer, Kind.UNSUBSCRIBE, 0, at.UNSUBSCRIBE_SIZE, 0, 0);
  writer.view.setUint32(start + 8, subscription, true);
  writer.view.setUint32(start + 12, 0, true);
}

/** The subscription that the client's UNSUBSCRIBE ends, or what is wrong with it. */
export function readUnsubscribe(reader: BatchReader): number | string {
  if (reader.size < at.UNSUBSCRIBE_SIZE) return "UNSUBSCRIBE too short";
  return reader.view.getUint32(reader.at + 8, true);
}

/** A client's EVENT: so many bytes of events are read since it last said so. */
export function writeTaken(writer: BatchWriter, bytes: number): void {
  const start = begin(writer, Kind.EVENT, EventFlag.ANSWER, at.TAKEN_SIZE, 0, 0);
  writer.view.setUint32(start + 8, bytes, true);
  writer.view.setUint32(start + 12, 0, true);
}

export function readTaken(reader: BatchReader): number | string {
  if (reader.size < at.TAKEN_SIZE) return "EVENT too short";
  return reader.view.getUint32(reader.at + 8, true);
}

function reasonAt(reader: BatchReader, sizeAt: number, fixed: number): string | undefined {
  const size = reader.view.getUint16(sizeAt, true);
  if (fixed + size > reader.size) return undefined;
  return readText(reader.bytes, reader.at + fixed, size);
}

function begin(
  writer: BatchWriter,
  kind: Kind,
  flags: number,
  size: number,
  a: number,
  b: number,
): number {
  const start = writer.reserve(size);
  const { bytes, view } = writer;
  bytes[start] = kind;
  bytes[start + at.AT_FLAGS] = flags;
  bytes[start + at.AT_A] = a;
  bytes[start + at.AT_B] = b;
  view.setUint32(start + at.AT_SIZE, size, true);
  return start;
}
