import {
  COPIED_SIZE_MAX,
  copyRemaining,
  findLargeBins,
  type LargeBin,
  remainingSize,
  SOUGHT_SIZE_MIN,
} from "./bins.js";
import { CodecError } from "./errors.js";
import {
  ARRAY,
  ASCII,
  BIN,
  DATE,
  EXT,
  FLOAT,
  FLOATS,
  INT,
  INT64,
  INTS,
  KIND_MASK,
  KNOWN,
  MAP,
  NEW,
  SIZE_SHIFT,
  UINT64,
  UTF8,
  WIDE,
} from "./kinds.js";
import type { LinearMemory } from "./linear-memory.js";
import { ShapeTable, setOwn } from "./shapes.js";
import { errorOf } from "./status.js";
import { CODES_SIZE_MAX, textOfCodes } from "./text.js";
import { ExtData } from "./values.js";

/**
 * Strings are sliced out of a larger one, made of a region of the bytes at once. A slice that is
 * kept keeps its region, which is why regions are small and long strings stand alone.
 */
const REGION_SIZE = 4096;
const SLICE_SIZE_MAX = 512;
/** With fewer strings than this in a message a region does not pay. */
const SLICE_COUNT_MIN = 3;

/** What stands before a tape's first entry (assembly/tape.ts), in words. */
const TAPE_HEAD_WORDS = 4;
/** Larger arrays grow: an engine may give one of a larger size slow elements from the start. */
const PRESET_COUNT_MAX = 1 << 20;

/** Builds values from the tape that the WASM module made of validated MessagePack. */
export class Unpacker {
  readonly #memory: LinearMemory;
  readonly #depthMax: number;
  readonly #shapes: ShapeTable;
  #generation: number;
  /** Whether the module may have admitted strings and shapes that are not known here. */
  #isOutOfStep = false;
  /** @internal What comes by its index: null, false, true, the strings of the module's slots. */
  constants: unknown[] = [null, false, true];
  /** @internal Index of the next entry in 4-byte words. */
  at = 0;
  /** @internal The tape, as words and as numbers. */
  words: Int32Array;
  /** @internal */
  floats: Float64Array;
  /** The caller's bytes, and where they were copied to; or which of them were not. */
  #lent: Uint8Array | undefined = undefined;
  #lentAt = 0;
  #bins: LargeBin[] | undefined = undefined;
  /** First byte behind the message. */
  #end = 0;
  #plainCount = 0;
  /** A region of the bytes, or of the units beyond ASCII, as a string, and where it begins. */
  /** @internal */
  plain = "";
  /** @internal */
  plainAt = 0;
  /** @internal */
  plainSize = 0;
  #wide = "";
  #wideAt = 0;
  #wideCount = 0;

  constructor(memory: LinearMemory, depthMax: number) {
    this.#memory = memory;
    this.#depthMax = depthMax;
    this.#generation = memory.generation;
    this.#shapes = new ShapeTable(memory);
    this.words = memory.i32;
    this.floats = memory.f64;
  }

  /** What is kept of the shapes met; for tests. */
  get cacheCounts(): { nodes: number; builders: number } {
    const nodes = this.#memory.exports.shapeCount();
    return { nodes, builders: this.#shapes.builderCount };
  }

  /**
   * The value of bytes of the caller's, which stand outside of linear memory. Bins of more than
   * COPIED_SIZE_MAX bytes share memory with them.
   *
   * @throws CodecError as unpack() does
   */
  unpackLent(bytes: Uint8Array): unknown {
    const size = bytes.length;
    // Shared memory could change while it is read, so nothing of it is lent.
    if (size <= COPIED_SIZE_MAX || !(bytes.buffer instanceof ArrayBuffer)) {
      return this.unpack(this.#memory.copy(bytes), size);
    }
    if (size >= SOUGHT_SIZE_MIN) {
      const bins = findLargeBins(bytes);
      if (bins !== undefined) return this.#unpackAround(bytes, bins);
    }
    return this.unpack(this.#memory.copy(bytes), size, bytes);
  }

  #unpackAround(bytes: Uint8Array, bins: LargeBin[]): unknown {
    const memory = this.#memory;
    const size = remainingSize(bytes, bins);
    const offset = memory.room(size);
    copyRemaining(bytes, bins, memory.u8, offset);
    try {
      return this.unpack(offset, size, bytes, bins);
    } catch (error) {
      if (!(error instanceof CodecError) || error.code === "OUT_OF_MEMORY") throw error;
    }
    // Once more, for the offset that the error names.
    return this.unpack(memory.copy(bytes), bytes.length);
  }

  /**
   * The value of `size` bytes at `offset` in linear memory; the tape overwrites what follows them.
   *
   * @param lent the caller's bytes that they are a copy of, to lend of
   * @param bins what of these was not copied
   * @throws CodecError by the module's status
   */
  unpack(offset: number, size: number, lent?: Uint8Array, bins?: LargeBin[]): unknown {
    const memory = this.#memory;
    const { exports } = memory;
    if (this.#isOutOfStep || this.#generation !== memory.generation) this.#beginAnew();
    // Until the value stands: the stack may end at any call from here on, in the module too.
    this.#isOutOfStep = true;
    const tape = exports.parse(offset, size, this.#depthMax);
    // Memory that grew has left its old views empty.
    if (memory.u8.length === 0) memory.refresh();
    if (tape < 0) {
      // The module took back what it had admitted.
      this.#isOutOfStep = false;
      throw errorOf(tape, exports.errorOffset() - offset);
    }
    const words = memory.i32;
    const at = tape >> 2;
    this.#plainCount = words[at];
    this.#wideCount = words[at + 1];
    this.#shapes.follow(words[at + 2]);
    this.#end = offset + size;
    this.words = words;
    this.floats = memory.f64;
    this.at = at + TAPE_HEAD_WORDS;
    // Always set, and never left from the message before, which may have been another's.
    this.#lent = lent;
    this.#lentAt = offset;
    this.#bins = bins;
    try {
      const value = this.value();
      this.#isOutOfStep = false;
      return value;
    } catch (error) {
      // Only exhaustion leads here: the heap, the stack, or a string longer than the engine has.
      throw new CodecError("OUT_OF_MEMORY", `cannot build the value: ${error}`);
    } finally {
      this.#lent = undefined;
      this.#bins = undefined;
      this.plain = "";
      this.plainSize = 0;
      this.#wide = "";
    }
  }

  /** Forgets all that is remembered from message to message, on both sides. */
  #beginAnew(): void {
    const memory = this.#memory;
    memory.refresh();
    memory.exports.forget();
    this.constants = [null, false, true];
    this.#shapes.follow(-1);
    // Last: where this is cut off too, the next message begins with it again.
    this.#generation = memory.generation;
    this.#isOutOfStep = false;
  }

  /** @internal The next value of the tape. */
  value(): unknown {
    const words = this.words;
    const at = this.at;
    const head = words[at];
    this.at = at + 2;
    switch (head & KIND_MASK) {
      case INT:
        return words[at + 1];
      case FLOAT:
        this.at = at + 4;
        return this.floats[(at + 2) >> 1];
      case KNOWN:
        return this.constants[words[at + 1]];
      case NEW:
        this.at = at + 4;
        return this.#admit(words[at + 1], words[at + 3] >>> 0, head >>> SIZE_SHIFT);
      case ASCII:
        return this.ascii(words[at + 1], head >>> SIZE_SHIFT);
      case WIDE:
        return this.#widened(words[at + 1], head >>> SIZE_SHIFT);
      case MAP:
        return this.#map(head >>> SIZE_SHIFT, words[at + 1]);
      case ARRAY:
        return this.#array(words[at + 1]);
      case INTS:
        return this.#ints(words[at + 1]);
      case FLOATS:
        return this.#numbers(words[at + 1]);
      default:
        return this.#rare(head, at);
    }
  }

  #rare(head: number, at: number): unknown {
    const memory = this.#memory;
    const offset = this.words[at + 1] >>> 0;
    const end = offset + (head >>> SIZE_SHIFT);
    switch (head & KIND_MASK) {
      case UINT64:
        this.at = at + 4;
        return memory.u64[(at + 2) >> 1];
      case INT64:
        this.at = at + 4;
        return memory.i64[(at + 2) >> 1];
      case UTF8:
        return memory.text.utf8(offset, end);
      case BIN:
        return this.#bytes(offset, end);
      case EXT:
        return this.#ext(offset, end);
      case DATE:
        this.at = at + 4;
        return new Date(this.floats[(at + 2) >> 1]);
      default:
        throw new Error(`no value has the kind ${head & KIND_MASK}`);
    }
  }

  #bytes(offset: number, end: number): Uint8Array {
    const lent = this.#lent;
    const size = end - offset;
    if (lent === undefined || size <= COPIED_SIZE_MAX || this.#bins !== undefined) {
      return this.#memory.u8.slice(offset, end);
    }
    return new Uint8Array(lent.buffer, lent.byteOffset + offset - this.#lentAt, size);
  }

  #ext(offset: number, end: number): unknown {
    const { u8 } = this.#memory;
    if (this.#bins !== undefined && this.#lent !== undefined) {
      // The only exts are stand-ins: | index u32 |
      const { from, end: last } = this.#bins[u8[offset + 3]];
      return new Uint8Array(this.#lent.buffer, this.#lent.byteOffset + from, last - from);
    }
    return new ExtData((u8[offset - 1] << 24) >> 24, this.#bytes(offset, end));
  }

  /** A string that the module admitted to a slot. */
  #admit(slot: number, offset: number, size: number): string {
    const text = this.#memory.text.utf8(offset, offset + size);
    // In order, for an array with holes would be slower.
    while (this.constants.length < slot) this.constants.push("");
    this.constants[slot] = text;
    return text;
  }

  /** @internal A string of ASCII. */
  ascii(offset: number, size: number): string {
    const from = offset - this.plainAt;
    if (from >= 0 && from + size <= this.plainSize) return this.plain.slice(from, from + size);
    if (this.#plainCount < SLICE_COUNT_MIN || size > SLICE_SIZE_MAX) {
      return this.#alone(offset, size);
    }
    this.plainAt = offset;
    this.plain = this.#memory.text.latin1(offset, Math.min(offset + REGION_SIZE, this.#end));
    this.plainSize = this.plain.length;
    return this.plain.slice(0, size);
  }

  #alone(offset: number, size: number): string {
    if (size > CODES_SIZE_MAX) return this.#memory.text.latin1(offset, offset + size);
    return textOfCodes(this.#memory.u8, offset, size);
  }

  #widened(first: number, count: number): string {
    let from = first - this.#wideAt;
    if (from < 0 || from + count > this.#wide.length) {
      const { text, exports } = this.#memory;
      const units = exports.wideUnits();
      const last = Math.min(first + Math.max(REGION_SIZE >> 1, count), this.#wideCount);
      this.#wide = text.wide(units + first * 2, units + last * 2);
      this.#wideAt = first;
      from = 0;
    }
    return this.#wide.slice(from, from + count);
  }

  #array(count: number): unknown[] {
    switch (count) {
      case 0:
        return [];
      case 1:
        return [this.value()];
      case 2:
        return [this.value(), this.value()];
      case 3:
        return [this.value(), this.value(), this.value()];
    }
    const items = count > PRESET_COUNT_MAX ? [] : new Array<unknown>(count);
    const words = this.words;
    for (let index = 0; index < count; index++) {
      const head = words[this.at];
      // Strings in a row are the one kind that a call each makes slower by half.
      if ((head & KIND_MASK) === ASCII) {
        const from = words[this.at + 1] - this.plainAt;
        const end = from + (head >>> SIZE_SHIFT);
        if (from >= 0 && end <= this.plainSize) {
          items[index] = this.plain.slice(from, end);
          this.at += 2;
          continue;
        }
      }
      items[index] = this.value();
    }
    return items;
  }

  #ints(count: number): number[] {
    const words = this.words;
    const first = this.at;
    const items = count > PRESET_COUNT_MAX ? [] : new Array<number>(count);
    for (let index = 0; index < count; index++) items[index] = words[first + index];
    this.at = first + ((count + 1) & ~1);
    return items;
  }

  #numbers(count: number): number[] {
    const floats = this.floats;
    const first = this.at >> 1;
    const items = count > PRESET_COUNT_MAX ? [] : new Array<number>(count);
    for (let index = 0; index < count; index++) items[index] = floats[first + index];
    this.at += count * 2;
    return items;
  }

  #map(count: number, node: number): Record<string, unknown> {
    const shape = this.#shapes.of(node);
    const { keys } = shape;
    if (keys.length === count) {
      if (shape.build !== undefined) return shape.build(this);
      this.#shapes.sighted(shape);
    }
    const object: Record<string, unknown> = {};
    for (const key of keys) setOwn(object, key, this.value());
    for (let index = keys.length; index < count; index++) {
      // A number is a property's name like any other.
      const key = String(this.value());
      setOwn(object, key, this.value());
    }
    return object;
  }
}
