import { CodecError } from "./errors.js";
import { type TextBytes, textBytes } from "./text.js";

interface Exports {
  memory: WebAssembly.Memory;
  base(): number;
  errorOffset(): number;
  parse(offset: number, size: number, depthMax: number): number;
  forget(): void;
  packNumbers(source: number, count: number, target: number): number;
  packStrings(units: number, counts: number, count: number, target: number): number;
  wideUnits(): number;
  shapeNodes(): number;
  shapeCount(): number;
  /** In these three, `history` bytes right before the plain ones may be referred to; 0 if left out. */
  blockSize(offset: number, size: number, sizeMax: number, history?: number): number;
  compress(
    source: number,
    size: number,
    target: number,
    capacity: number,
    history?: number,
  ): number;
  decompress(
    source: number,
    size: number,
    target: number,
    targetSize: number,
    history?: number,
  ): number;
  forgetPositions(first: number): void;
  indexSize(): number;
  indexDictionary(dictionary: number, size: number, index: number): void;
  compressUsing(
    source: number,
    size: number,
    target: number,
    capacity: number,
    dictionary: number,
    dictionarySize: number,
    index: number,
  ): number;
  decompressUsing(
    source: number,
    size: number,
    target: number,
    targetSize: number,
    dictionary: number,
    dictionarySize: number,
  ): number;
}

/** What stays in front of the working area, and is put there again in each new instance. */
interface Resident {
  size: number;
  place: (offset: number) => void;
}

const PAGE_SIZE = 65_536;
/** Memory never shrinks, so an instance that grew past this is replaced once it is idle. */
const RETAINED_SIZE_MAX = 32 * 1024 * 1024;
/** Bytes behind every area that copies by 16 may reach into. */
export const SLACK_SIZE = 64;
/** Offsets are signed in the module, and in the host where they are aligned. */
const OFFSET_END = 2 ** 31;
const WORKING_SIZE_MIN = 256 * 1024;
/** So few bytes are copied faster by a loop than by a call to the runtime. */
const LOOP_SIZE_MAX = 32;

const noBytes = new Uint8Array(0);

/**
 * The WASM module's memory and its views, taken afresh whenever it grew.
 *
 * The working area is used as a stack: `top` is where the next user may begin. Packing calls
 * getters and toJSON of the caller's, and these may use the same codec.
 */
export class LinearMemory {
  exports!: Exports;
  u8!: Uint8Array;
  view!: DataView;
  i32!: Int32Array;
  f64!: Float64Array;
  u64!: BigUint64Array;
  i64!: BigInt64Array;
  text!: TextBytes;
  top = 0;
  /** Counts instances: caches that mirror the module's tables are void when it moves. */
  generation = 0;
  readonly #module: WebAssembly.Module;
  #base = 0;
  #userCount = 0;
  #isWipedInUse = false;
  readonly #residents: Resident[] = [];

  constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.#instantiate();
  }

  #instantiate(): void {
    const instance = new WebAssembly.Instance(this.#module, {});
    this.exports = instance.exports as unknown as Exports;
    this.#base = this.exports.base();
    this.top = this.#base;
    this.generation++;
    this.refresh();
    for (const resident of this.#residents) this.#settle(resident);
    this.reserve(this.top, WORKING_SIZE_MIN);
  }

  /**
   * Keeps bytes in front of the working area for good. Only before the first use.
   *
   * @param place called with where they go, now and whenever the module is instantiated anew
   */
  hold(size: number, place: (offset: number) => void): void {
    const resident = { size, place };
    this.#residents.push(resident);
    this.#settle(resident);
    this.reserve(this.top, WORKING_SIZE_MIN);
  }

  #settle({ size, place }: Resident): void {
    const offset = this.top;
    this.reserve(offset, size);
    place(offset);
    this.top = (offset + size + SLACK_SIZE + 15) & ~15;
  }

  /** Takes the views again when the memory grew. */
  refresh(): void {
    const buffer = this.exports.memory.buffer;
    if (this.u8?.buffer === buffer) return;
    this.view = new DataView(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.u64 = new BigUint64Array(buffer);
    this.i64 = new BigInt64Array(buffer);
    this.text = textBytes(buffer);
    // Last: it says that the others are done.
    this.u8 = new Uint8Array(buffer);
  }

  /**
   * Makes sure that `size` bytes from `offset` on exist, and some slack behind them.
   *
   * @throws CodecError `OUT_OF_MEMORY`
   */
  reserve(offset: number, size: number): void {
    const end = offset + size + SLACK_SIZE;
    if (end <= this.u8.length) return;
    // A parse that was cut off may have grown the memory: there may be enough.
    this.refresh();
    const missing = end - this.u8.length;
    if (missing <= 0) return;
    if (end > OFFSET_END) {
      throw new CodecError("OUT_OF_MEMORY", `${size} bytes would reach beyond 2 GiB of memory`);
    }
    try {
      // By half again, so that a value written piece by piece moves the memory few times.
      const wanted = Math.max(missing, this.u8.length >>> 1);
      this.exports.memory.grow(Math.ceil(wanted / PAGE_SIZE));
    } catch {
      throw new CodecError("OUT_OF_MEMORY", `no memory for ${size} bytes`);
    }
    this.refresh();
  }

  /** Copies bytes to the top, 8-aligned, unless they are in here, and returns their offset. */
  place(bytes: Uint8Array): number {
    if (bytes.buffer === this.u8.buffer) return bytes.byteOffset;
    return this.copy(bytes);
  }

  /** The same for bytes that are not in here. */
  copy(bytes: Uint8Array): number {
    const size = bytes.length;
    const offset = this.room(size);
    const { u8 } = this;
    if (size > LOOP_SIZE_MAX) {
      u8.set(bytes, offset);
    } else {
      for (let index = 0; index < size; index++) u8[offset + index] = bytes[index];
    }
    return offset;
  }

  /** Room for `size` bytes at the top, 8-aligned. */
  room(size: number): number {
    const offset = (this.top + 7) & ~7;
    this.reserve(offset, size);
    return offset;
  }

  /** Begins a use; uses nest, and each gives leave() the top that it found. */
  enter(): number {
    this.#userCount++;
    return this.top;
  }

  /** Ends a use; the last one gives back what an exceptionally large value took. */
  leave(top: number): void {
    this.top = top;
    this.#userCount--;
    if (this.#userCount > 0) return;
    if (this.#isWipedInUse) this.wipe();
    else if (this.u8.length > RETAINED_SIZE_MAX) this.#shrink();
  }

  /** Where there is no memory for a new instance the old one stays: what was made of it is good. */
  #shrink(): void {
    const { exports, top } = this;
    const base = this.#base;
    try {
      this.#instantiate();
    } catch {
      this.exports = exports;
      this.#base = base;
      this.top = top;
      // Whoever is next takes the views again: here that could fail once more.
      this.u8 = noBytes;
    }
  }

  /** Overwrites everything, secrets that passed through included; and again after a use under way. */
  wipe(): void {
    this.#isWipedInUse = this.#userCount > 0;
    this.refresh();
    this.u8.fill(0, this.#base);
    this.exports.forget();
    this.generation++;
  }
}
