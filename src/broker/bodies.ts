import { NO_BYTES, NO_VIEW } from "../wire/batch.js";
import { FRAME_BYTES_MIN } from "../wire/layout.js";
import { copyRange, type HeldRecord } from "../wire/request-record.js";
import { type Cell, Cells } from "./cells.js";

const NO_FRAMES: readonly Uint8Array[] = [];

/**
 * The bytes of the requests that the broker holds, by slot, each copied into a cell of its own. The
 * batch that took a request to its worker holds the same bytes, but 64 KiB of others too: found again
 * there, 1500 slow requests of 65 B kept 78 MiB. Large bodies are frames of their own and are kept as
 * they are; small frames are copied too, since ZeroMQ cuts them out of what it read.
 */
export class Bodies {
  readonly #held: (HeldRecord | undefined)[] = [];
  readonly #cells: (Cell | undefined)[] = [];
  readonly #store = new Cells();

  /** Bytes of memory taken for requests. */
  get cellBytes(): number {
    return this.#store.bytesHeld;
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
    const frames = record.frames.length === 0 ? NO_FRAMES : ownFrames(record.frames);
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
    held.frames = NO_FRAMES;
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

/** `frames`, the small ones copied into memory of their own, all into one piece. */
export function ownFrames(frames: readonly Uint8Array[]): readonly Uint8Array[] {
  let size = 0;
  let smallCount = 0;
  for (const { length } of frames) {
    if (length >= FRAME_BYTES_MIN) continue;
    size += length;
    smallCount++;
  }
  if (smallCount === 0) return frames;
  const bytes = Buffer.allocUnsafeSlow(size);
  let at = 0;
  return frames.map((frame) => {
    if (frame.length >= FRAME_BYTES_MIN) return frame;
    bytes.set(frame, at);
    at += frame.length;
    return bytes.subarray(at - frame.length, at);
  });
}
