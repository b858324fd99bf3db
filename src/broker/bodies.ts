import { FRAME_BYTES_MIN } from "../wire/layout.js";
import type { HeldRecord } from "../wire/request-record.js";
import { type Cell, Cells } from "./cells.js";

const NO_BYTES = Buffer.alloc(0);
const NO_FRAMES: readonly Uint8Array[] = [];

/**
 * The bytes of the requests that the broker holds, by slot. A request in flight is found in the batch that
 * took it to its worker; one that waits is copied into a cell of its own, so that it does not pin the
 * frame it came in. Large bodies are frames of their own and are kept as they are; small frames are
 * copied too, since ZeroMQ cuts them out of what it read.
 */
export class Bodies {
  readonly #held: (HeldRecord | undefined)[] = [];
  readonly #cells: (Cell | undefined)[] = [];
  readonly #store = new Cells();

  /** Bytes of memory taken for what waits. */
  get cellBytes(): number {
    return this.#store.bytesHeld;
  }

  /** Where the request in `slot` is; undefined while it is only in the message it came in. */
  get(slot: number): HeldRecord | undefined {
    const held = this.#held[slot];
    return held === undefined || held.size === 0 ? undefined : held;
  }

  /** Notes where the request in `slot` is now. One with a cell stays there. */
  set(
    slot: number,
    bytes: Uint8Array,
    at: number,
    size: number,
    frames: readonly Uint8Array[],
  ): void {
    if (this.#cells[slot] !== undefined) return;
    const held = this.#held[slot];
    if (held === undefined) {
      this.#held[slot] = { bytes, at, size, frames };
      return;
    }
    held.bytes = bytes;
    held.at = at;
    held.size = size;
    held.frames = frames;
  }

  /** Copies the request in `slot` from `record` into memory of its own. */
  hold(slot: number, record: HeldRecord): void {
    if (this.#cells[slot] !== undefined) return;
    const cell = this.#store.allocate(record.size);
    cell.bytes.set(record.bytes.subarray(record.at, record.at + record.size), cell.at);
    this.set(slot, cell.bytes, cell.at, record.size, ownFrames(record.frames));
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
    held.size = 0;
    held.frames = NO_FRAMES;
  }
}

/** `frames`, the small ones copied into memory of their own, all into one piece. */
function ownFrames(frames: readonly Uint8Array[]): readonly Uint8Array[] {
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
