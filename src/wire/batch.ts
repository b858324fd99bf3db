import {
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  FRAME_HEAD_BYTES,
  OWN_FRAME_BYTES_MIN,
  outgoing,
} from "../base/blocks.js";
import {
  AT_KIND,
  AT_SIZE,
  BATCH_HEADER_SIZE,
  MAGIC,
  RECORD_HEADER_SIZE,
  VERSION,
} from "./layout.js";

/** What is wrong with a message as a whole. */
export type BatchFault = "alien" | "version" | "malformed";

/** A message is read in one go: of more records, others would wait for too long. */
const RECORDS_MAX = 65_536;

export const NO_BYTES = new Uint8Array(0);
export const NO_VIEW = new DataView(NO_BYTES.buffer);

/**
 * Walks the records of one message (PROTOCOL 1). Reused from message to message:
 * `open`, then `next` until it returns false, then `fault` and `reason` say whether that was the
 * end. While it stands on a record, `at` and `size` tell where that is in `bytes`.
 */
export class BatchReader {
  bytes: Uint8Array = NO_BYTES;
  view: DataView = NO_VIEW;
  kind = 0;
  at = 0;
  size = 0;
  /** Index of the present record. */
  index = -1;
  fault: BatchFault | undefined;
  reason = "";
  #count = 0;
  #frames: readonly Uint8Array[] = [];
  #framesUsed = 0;
  #isCut = false;

  /** Starts on the message in `frames`, from the one at `first` on. */
  open(frames: readonly Uint8Array[], first: number): boolean {
    // Not a Buffer, whose copies of a part of it take twice as long.
    const { buffer, byteOffset, length } = frames[first];
    const bytes = new Uint8Array(buffer, byteOffset, length);
    this.bytes = bytes;
    this.index = -1;
    this.at = 0;
    this.size = 0;
    this.fault = undefined;
    this.#isCut = false;
    this.#frames = frames;
    this.#framesUsed = first + 1;
    if (bytes.length < BATCH_HEADER_SIZE) return this.#fail("alien", "not a batch");
    this.view = new DataView(buffer, byteOffset, length);
    if (this.view.getUint16(0, true) !== MAGIC) return this.#fail("alien", "not a batch");
    const version = bytes[2];
    if (version !== VERSION) {
      return this.#fail("version", `version ${version} is not spoken here; ${VERSION} is`);
    }
    this.#count = this.view.getUint32(4, true);
    if (this.#count === 0) return this.#fail("malformed", "a batch of no records");
    if (this.#count > RECORDS_MAX) {
      return this.#fail("malformed", `a batch of ${this.#count} records; at most ${RECORDS_MAX}`);
    }
    this.size = BATCH_HEADER_SIZE;
    return true;
  }

  /** Moves to the next record; false at the end or at a fault. */
  next(): boolean {
    if (this.fault !== undefined || this.#isCut) return false;
    const at = this.at + this.size;
    const left = this.bytes.length - at;
    if (this.index + 1 === this.#count) {
      if (left !== 0) return this.#fail("malformed", "bytes behind the last record");
      if (this.#framesUsed !== this.#frames.length) {
        return this.#fail("malformed", "frames that no record claims");
      }
      return false;
    }
    if (left < RECORD_HEADER_SIZE) return this.#fail("malformed", "fewer records than counted");
    const size = this.view.getUint32(at + AT_SIZE, true);
    if (size < RECORD_HEADER_SIZE || size > left) {
      return this.#fail("malformed", `record of ${size} bytes where ${left} are left`);
    }
    this.index++;
    this.at = at;
    this.size = size;
    this.kind = this.bytes[at + AT_KIND];
    return true;
  }

  /** The next `count` frames for the present record; undefined, and a fault, if there are fewer. */
  claimFrames(count: number): readonly Uint8Array[] | undefined {
    if (this.#framesUsed + count > this.#frames.length) {
      this.#fail("malformed", "frames claimed that are not there");
      return undefined;
    }
    const frames = this.#frames.slice(this.#framesUsed, this.#framesUsed + count);
    this.#framesUsed += count;
    return frames;
  }

  /**
   * Passes over a record that is not read. It may claim frames, nobody knows how many: while any
   * are left, what stands behind it cannot be told from its own and is not read either (3.1).
   */
  skip(): void {
    if (this.#framesUsed < this.#frames.length) this.#isCut = true;
  }

  /** Lets go of the message. */
  close(): void {
    this.bytes = NO_BYTES;
    this.view = NO_VIEW;
    this.#frames = [];
  }

  #fail(fault: BatchFault, reason: string): false {
    this.fault = fault;
    this.reason = reason;
    return false;
  }
}

/**
 * A batch of this many bytes is closed and the next begun. With 64 KiB all that is in flight moves as one or two
 * batches, and who is not at it waits: at depth 2048 a fifth fewer requests a second.
 */
const BATCH_BYTES_MAX = 32 * 1024;
/**
 * The same with the frames of large bodies: fewer messages are better then. So many go into the largest of the blocks
 * that are used again; with 64 KiB half of one was empty, and 16 KiB bodies took a third longer.
 */
const MESSAGE_BYTES_MAX = BLOCK_BYTES_MAX - 16 * 1024;
/** PROTOCOL 1: a message has at most 1024 frames, and one record may bring 255 of them. */
const FRAMES_MAX = 512;

const CAPACITY_MIN = 512;
/** More than a batch of small records comes to; a larger one says nothing about the next. */
const CAPACITY_EXPECTED_MAX = 48 * 1024;
/** What a message's frames come to before it is full, the last one all but aside. */
const SLAB_BYTES_MAX = MESSAGE_BYTES_MAX;

/**
 * Builds messages of records. Each message has memory to itself until it is sent, and its larger ones give that back
 * then (base/blocks.ts).
 */
export class BatchWriter {
  bytes: Buffer = EMPTY;
  view: DataView = new DataView(EMPTY.buffer, EMPTY.byteOffset, 0);
  /** Bytes used so far. */
  size = 0;
  count = 0;
  /** Bytes of the frames beside the batch. */
  frameBytes = 0;
  #frames: Uint8Array[] = [];
  /** Where frames are copied to, and up to where it is full. */
  #slab: Buffer = EMPTY;
  #slabSize = 0;
  /** A little more than the last batch took: the next is likely to be like it. */
  #sizeExpected = CAPACITY_MIN;
  #frameBytesExpected = 0;

  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Whether it is large enough to go, whatever else may come. */
  get isFull(): boolean {
    return (
      this.size >= BATCH_BYTES_MAX ||
      this.size + this.frameBytes >= MESSAGE_BYTES_MAX ||
      this.#frames.length >= FRAMES_MAX
    );
  }

  /** Makes room for a record and returns where it starts. The caller fills all of it. */
  reserve(size: number): number {
    if (this.size + size > this.bytes.length || this.count === 0) this.#makeRoom(size);
    const at = this.size;
    this.size += size;
    this.count++;
    return at;
  }

  /** Frames of less than OWN_FRAME_BYTES_MIN are copied; larger ones must not be changed any more. */
  addFrame(frame: Uint8Array): void {
    const { length } = frame;
    this.#frames.push(length < OWN_FRAME_BYTES_MIN ? this.#copyFrame(frame) : frame);
    this.frameBytes += length;
  }

  /** The message: the batch, then its frames. Starts the next one. */
  finish(): Uint8Array[] {
    const { view } = this;
    view.setUint16(0, MAGIC, true);
    view.setUint16(2, VERSION, true);
    view.setUint32(4, this.count, true);
    this.#sizeExpected = this.size + (this.size >> 2);
    this.#frameBytesExpected = this.frameBytes;
    const message = [this.bytes.subarray(0, this.size), ...this.#frames];
    this.bytes = EMPTY;
    this.size = 0;
    this.count = 0;
    this.frameBytes = 0;
    this.#frames = [];
    this.#slab = EMPTY;
    this.#slabSize = 0;
    return message;
  }

  #makeRoom(size: number): void {
    const old = this.bytes;
    const used = this.count === 0 ? BATCH_HEADER_SIZE : this.size;
    const least = used + size;
    const capacity = Math.max(
      least,
      this.count === 0 ? Math.min(this.#sizeExpected, CAPACITY_EXPECTED_MAX) : old.length * 2,
    );
    this.bytes = allocate(Math.max(capacity, CAPACITY_MIN));
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    if (this.count > 0) {
      this.bytes.set(old.subarray(0, this.size));
      outgoing.giveBack(old);
    }
    this.size = used;
  }

  /** Behind the one before, with room for its header between: so they go as one piece. */
  #copyFrame(frame: Uint8Array): Uint8Array {
    const { length } = frame;
    let start = this.#slabSize + FRAME_HEAD_BYTES;
    if (start + length > this.#slab.length) {
      const expected = Math.min(this.#frameBytesExpected, SLAB_BYTES_MAX);
      this.#slab = allocate(Math.max(length, expected));
      start = 0;
    }
    this.#slab.set(frame, start);
    this.#slabSize = start + length;
    return this.#slab.subarray(start, start + length);
  }
}

/** Memory with room for a frame's header in front, from `outgoing` where it is large. */
function allocate(size: number): Buffer {
  const whole = FRAME_HEAD_BYTES + size;
  if (whole < BLOCK_BYTES_MIN / 2 || whole > BLOCK_BYTES_MAX) return Buffer.allocUnsafe(size);
  return outgoing.take(whole).subarray(FRAME_HEAD_BYTES);
}

const EMPTY = Buffer.alloc(0);
