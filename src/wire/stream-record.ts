import type { StreamCredit, StreamPart } from "../core/command.js";
import type { BatchReader, BatchWriter } from "./batch.js";
import * as at from "./layout.js";
import { Flag, Kind } from "./layout.js";
import {
  AnswerRecord,
  type Body,
  type ExchangeId,
  ExchangeRecord,
  frameCountOf,
  inlineOf,
  writeBody,
  writeCommon,
} from "./request-record.js";

// PROTOCOL 3.6: where a part stands in its stream. It is the headers of its record, which the codec binds;
// no headers of 3.2 begin with 0.
//
//   | 0 u8 | isLast u8 | 0 u16 | 0 u32 | index u64 | run u64 |

const AT_IS_LAST = 1;
const AT_INDEX = 8;
const AT_RUN = 16;

/** A number that no other run of a request has, but by chance: 8 random bytes. */
export type Run = Uint8Array;

/** The place of a part in bytes of their own. */
export function placeBytes(index: number, isLast: boolean, run: Run): Uint8Array {
  const place = new Uint8Array(at.PLACE_SIZE);
  place[AT_IS_LAST] = isLast ? 1 : 0;
  const view = new DataView(place.buffer);
  view.setUint32(AT_INDEX, index >>> 0, true);
  view.setUint32(AT_INDEX + 4, Math.floor(index / 2 ** 32), true);
  place.set(run, AT_RUN);
  return place;
}

/** PROTOCOL 3.6: STREAM_PART and STREAM_END, which are laid out as REPLY is. */
export class PartRecord extends AnswerRecord implements StreamPart {
  readonly kind = "stream-part";
  index = 0;
  isLast = false;
  runLow = 0;
  runHigh = 0;
  fault: string | undefined = undefined;

  override read(reader: BatchReader): string | undefined {
    this.isLast = reader.kind === Kind.STREAM_END;
    const fault = super.read(reader);
    if (fault !== undefined) return fault;
    const { bytes, view } = reader;
    const start = reader.at;
    const placeAt = start + at.REPLY_SIZE;
    const size = view.getUint16(start + at.AT_HEADERS_SIZE, true);
    if (size !== at.PLACE_SIZE || view.getUint16(placeAt + 2, true) !== 0) return "no place";
    if (bytes[placeAt] !== 0 || bytes[placeAt + AT_IS_LAST] !== (this.isLast ? 1 : 0)) {
      return "a place of another kind";
    }
    const high = view.getUint32(placeAt + AT_INDEX + 4, true);
    if (high >= 2 ** 21) return "index must be 0..2^53-1";
    this.index = view.getUint32(placeAt + AT_INDEX, true) + high * 2 ** 32;
    this.runLow = view.getUint32(placeAt + AT_RUN, true);
    this.runHigh = view.getUint32(placeAt + AT_RUN + 4, true);
    return undefined;
  }

  get isRaw(): boolean {
    return (this.flags & Flag.RAW) !== 0;
  }

  /** The place, in bytes of their own. */
  copyPlace(): Uint8Array {
    const { bytes, at: start } = this.held;
    const placeAt = start + at.REPLY_SIZE;
    return Uint8Array.prototype.slice.call(bytes, placeAt, placeAt + at.PLACE_SIZE);
  }
}

/** PROTOCOL 3.7. */
export class StreamCreditRecord extends ExchangeRecord implements StreamCredit {
  readonly kind = "stream-credit";
  partsMax = 0;
  bytesMax = 0;

  read(reader: BatchReader): string | undefined {
    this.hasId = false;
    if (reader.size < at.STREAM_CREDIT_SIZE) return "STREAM_CREDIT too short";
    if (!this.readCommon(reader)) return "sequence must be 1..2^53-1";
    const { view } = reader;
    const start = reader.at + at.ID_END;
    const partsHigh = view.getUint32(start + 4, true);
    const bytesHigh = view.getUint32(start + 12, true);
    if (partsHigh >= 2 ** 21 || bytesHigh >= 2 ** 21) return "a grant must be 0..2^53-1";
    this.partsMax = view.getUint32(start, true) + partsHigh * 2 ** 32;
    this.bytesMax = view.getUint32(start + 8, true) + bytesHigh * 2 ** 32;
    return undefined;
  }
}

/** What a part of a body of so many bytes, in one piece, counts for. */
export function partBytes(bodySize: number): number {
  return at.REPLY_SIZE + at.PLACE_SIZE + bodySize;
}

/** Writes STREAM_PART, or STREAM_END where `place` says that it is the last. */
export function writePart(
  writer: BatchWriter,
  id: ExchangeId,
  flags: number,
  place: Uint8Array,
  body: Body,
): void {
  const inline = inlineOf(body);
  const fixed = at.REPLY_SIZE + at.PLACE_SIZE;
  const size = fixed + (inline === undefined ? 0 : inline.length);
  const start = writer.reserve(size);
  const kind = place[AT_IS_LAST] === 1 ? Kind.STREAM_END : Kind.STREAM_PART;
  writeCommon(writer, start, kind, flags, size, id);
  const { bytes, view } = writer;
  view.setUint32(start + at.AT_SERVICE_TIME, 0, true);
  bytes[start + at.AT_SERVICE_SIZE] = 0;
  bytes[start + at.AT_FRAME_COUNT] = inline === undefined ? frameCountOf(body) : 0;
  view.setUint16(start + at.AT_HEADERS_SIZE, at.PLACE_SIZE, true);
  bytes.set(place, start + at.REPLY_SIZE);
  writeBody(writer, start + fixed, inline, body);
}

/** Grants `partsMax` parts and `bytesMax` bytes, both counted from the stream's beginning. */
export function writeStreamCredit(
  writer: BatchWriter,
  id: ExchangeId,
  partsMax: number,
  bytesMax: number,
): void {
  const start = writer.reserve(at.STREAM_CREDIT_SIZE);
  writeCommon(writer, start, Kind.STREAM_CREDIT, 0, at.STREAM_CREDIT_SIZE, id);
  const { view } = writer;
  view.setUint32(start + at.ID_END, partsMax >>> 0, true);
  view.setUint32(start + at.ID_END + 4, Math.floor(partsMax / 2 ** 32), true);
  view.setUint32(start + at.ID_END + 8, bytesMax >>> 0, true);
  view.setUint32(start + at.ID_END + 12, Math.floor(bytesMax / 2 ** 32), true);
}
