// Bodies of peers that know no records, as the records that the rest of the broker works with.
import { outgoing } from "../base/blocks.js";
import type { Limits } from "../core/limits.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { BatchWriter } from "../wire/batch.js";
import { writePublish } from "../wire/event-record.js";
import { BATCH_HEADER_SIZE, EventFlag, Flag } from "../wire/layout.js";
import {
  type ExchangeId,
  type HeldRecord,
  writeReply,
  writeRequest,
} from "../wire/request-record.js";
import { writePart } from "../wire/stream-record.js";
import type { Peer } from "./peers.js";

/** A record counts its frames in a byte. */
const FRAMES_MAX = 255;
const NO_BYTES = new Uint8Array(0);
const NO_ID: ExchangeId = { sessionLow: 0, sessionHigh: 0, sequence: 1, slot: 0, generation: 0 };

/** Why a body cannot be taken, or undefined. */
export function bodyFault(body: readonly Uint8Array[], limits: Limits): string | undefined {
  if (body.length > FRAMES_MAX) return "too many frames";
  let size = 0;
  for (const part of body) size += part.length;
  return size > limits.recordBytesMax ? "larger than the broker takes" : undefined;
}

/** The request that `peer` makes of a service, with the broker's default deadline and attempts; `flags` beside RAW. */
export function rawRequest(
  { sessionLow, sessionHigh }: Peer,
  sequence: number,
  service: Uint8Array,
  body: readonly Uint8Array[],
  flags = 0,
): HeldRecord {
  const writer = new BatchWriter();
  const id: ExchangeId = { sessionLow, sessionHigh, sequence, slot: 0, generation: 0 };
  const fields = { priority: PRIORITY_DEFAULT, attempts: 0, timeoutMs: 0, flags: Flag.RAW | flags };
  writeRequest(writer, id, { ...fields, service, headers: NO_BYTES }, body);
  return heldIn(writer, body);
}

/** A reply; the broker writes into it whose it is. */
export function rawReply(body: readonly Uint8Array[]): HeldRecord {
  const writer = new BatchWriter();
  writeReply(writer, NO_ID, Flag.RAW, 0, body);
  return heldIn(writer, body);
}

/** A part of a stream in its place, or the end; the broker writes into it whose it is. */
export function rawPart(body: readonly Uint8Array[], place: Uint8Array): HeldRecord {
  const writer = new BatchWriter();
  writePart(writer, NO_ID, Flag.RAW, place, body);
  return heldIn(writer, body);
}

/** What a PUB says, as an event that nobody counted; its bytes lie in `outgoing`. */
export function rawEvent(topic: Uint8Array, body: readonly Uint8Array[]): HeldRecord {
  const writer = new BatchWriter();
  const nobody = { publisherLow: 0, publisherHigh: 0, sequence: 0, confirm: 0 };
  const fields = { flags: EventFlag.RAW, ...nobody, topic };
  writePublish(writer, fields, body.length === 0 ? NO_BYTES : body);
  return heldIn(writer, body);
}

/** The one record that `writer` holds. */
export function heldIn(writer: BatchWriter, body: readonly Uint8Array[]): HeldRecord {
  const frames = writer.frameBytes > 0 || body.length > 1 ? body : [];
  const { bytes, view, size } = writer;
  // The frames are those of `body`; what the writer copied of them is for nobody.
  const [, ...copies] = writer.finish();
  for (const copy of copies) outgoing.giveBack(copy);
  return { bytes, view, at: BATCH_HEADER_SIZE, size: size - BATCH_HEADER_SIZE, frames };
}
