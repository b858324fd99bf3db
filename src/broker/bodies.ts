import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, Blocks, OWN_FRAME_BYTES_MIN } from "../base/blocks.js";
import { NO_BYTES, NO_VIEW } from "../wire/batch.js";
import { copyRange, type HeldRecord } from "../wire/request-record.js";
import { type Cell, Cells } from "./cells.js";

const NO_FRAMES: readonly Uint8Array[] = [];

/**
 * The bytes of the requests that the broker holds, by slot, each copied into a cell of its own. The
 * batch that took a request to its worker holds the same bytes, but 64 KiB of others too: found again
 * there, 1500 slow requests of 65 B kept 78 MiB. Frames are copied too, into a block that is used again; those from
 * 64 KiB on are kept as they are.
 */
export class Bodies {
  readonly #held: (HeldRecord | undefined)[] = [];
  readonly #cells: (Cell | undefined)[] = [];
  readonly #store = new Cells();
  readonly #blocks = new Blocks();
  #blockBytes = 0;

  /** Bytes of memory taken for requests. */
  get cellBytes(): number {
    return this.#store.bytesHeld + this.#blockBytes;
  }

  /** Where the request in `slot` is; undefined while it is only in the message it came in. */
  get(slot: number): HeldRecord | undefined {
    const held = this.#held[slot];
    return held === undefined || held.size === 0 ? undefined : held;
  }

  /** Copies the request in `slot` from `record` into memory of its own, if it has none yet. */
  hold(slot: number, record: HeldRecord): void {
    if (this.#cells[slot] !== undefined) return;
    const { size } = record;
    const cell = this.#store.allocate(size);
    copyRange(record, size, cell, cell.at);
    const frames =
      record.frames.length === 0
        ? NO_FRAMES
        : ownFrames(record.frames, (bytes) => this.#allocate(bytes));
    const held = this.#held[slot];
    if (held === undefined) {
      this.#held[slot] = { bytes: cell.bytes, view: cell.view, at: cell.at, size, frames };
    } else {
      held.bytes = cell.bytes;
      held.view = cell.view;
      held.at = cell.at;
      held.size = size;
      held.frames = frames;
    }
    this.#cells[slot] = cell;
  }

  release(slot: number): void {
    const cell = this.#cells[slot];
    if (cell !== undefined) {
      this.#store.free(cell);
      this.#cells[slot] = undefined;
    }
    // The object stays for the slot's next request; what it refers to must not.
    const held = this.#held[slot] as HeldRecord;
    held.bytes = NO_BYTES;
    held.view = NO_VIEW;
    held.size = 0;
    if (held.frames.length > 0) this.#freeFrames(held.frames);
    held.frames = NO_FRAMES;
  }

  #allocate(size: number): Buffer {
    if (size < BLOCK_BYTES_MIN / 2 || size > BLOCK_BYTES_MAX) return Buffer.allocUnsafeSlow(size);
    const block = this.#blocks.take(size);
    this.#blockBytes += block.length;
    return block;
  }

  #freeFrames(frames: readonly Uint8Array[]): void {
    for (const frame of frames) {
      if (!this.#blocks.has(frame)) continue;
      this.#blockBytes -= frame.buffer.byteLength;
      this.#blocks.giveBack(frame);
    }
  }
}

/** A record in memory of its own, large frames as they are: for few, or for long. */
export function ownRecord(record: HeldRecord): HeldRecord {
  const { size } = record;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  copyRange(record, size, { bytes, view }, 0);
  const frames = record.frames.length === 0 ? NO_FRAMES : ownFrames(record.frames);
  return { bytes, view, at: 0, size, frames };
}

/** `frames`, those that are not kept as they are copied into one piece of memory. */
export function ownFrames(
  frames: readonly Uint8Array[],
  allocate: (size: number) => Buffer = Buffer.allocUnsafeSlow,
): readonly Uint8Array[] {
  let size = 0;
  for (const { length } of frames) if (length < OWN_FRAME_BYTES_MIN) size += length;
  if (size === 0) return frames;
  const bytes = allocate(size);
  let at = 0;
  return frames.map((frame) => {
    if (frame.length >= OWN_FRAME_BYTES_MIN) return frame;
    bytes.set(frame, at);
    at += frame.length;
    return bytes.subarray(at - frame.length, at);
  });
}
