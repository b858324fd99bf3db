import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";

/** Up to here a string is written by a loop over its codes: cheaper than a call to the runtime. */
const CODES_COUNT_MAX = 24;
const UINT32_COUNT = 4_294_967_296;
/** Of an array of numbers, or of strings, so many are handed to the module at once. */
const BLOCK_COUNT = 4096;
const BLOCK_UNITS = 16_384;
/** What an item may write without asking: a key of a shape and its head, a short string, a head. */
const ITEM_SIZE_MAX = 128;

/**
 * Writes MessagePack's own types (msgpack/spec.md), each in its shortest form. Every method takes
 * the offset to write at and returns the one behind what it wrote. Whoever begins an item asks
 * `at > limit` first, and then room(); nothing short needs to ask again.
 */
export class Writer {
  readonly #memory: LinearMemory;
  readonly #sizeMax: number;
  /** Items that the last numbers() or strings() wrote. */
  taken = 0;
  isFull = false;
  /** Up to here ITEM_SIZE_MAX bytes exist and may be written. */
  limit = 0;
  /** First offset that the value may not reach. */
  #end = 0;

  constructor(memory: LinearMemory, sizeMax: number) {
    this.#memory = memory;
    this.#sizeMax = sizeMax;
  }

  /** From `at` on at most sizeMax bytes. */
  begin(at: number): void {
    this.#end = at + this.#sizeMax;
    this.limit = this.#memory.u8.length - ITEM_SIZE_MAX;
  }

  /** Scalars are checked against the end when they need memory, and once more here. */
  finish(at: number): void {
    if (at > this.#end) throw this.#tooLarge();
  }

  /** Room for `size` more bytes, and an item behind them. */
  room(at: number, size = 0): void {
    if (at + size <= this.limit) return;
    if (at > this.#end) throw this.#tooLarge();
    this.#memory.reserve(at, size + ITEM_SIZE_MAX);
    this.limit = this.#memory.u8.length - ITEM_SIZE_MAX;
  }

  /** The same for bytes that are surely written, so that an impossible size reserves nothing. */
  #roomFor(at: number, size: number): void {
    if (at + size > this.#end) throw this.#tooLarge();
    this.room(at, size);
  }

  number(value: number, at: number): number {
    if ((value | 0) !== value || (value === 0 && 1 / value < 0)) return this.#wide(value, at);
    const { u8, view } = this.#memory;
    if (value >= -32 && value < 128) {
      u8[at] = value;
      return at + 1;
    }
    if (value >= -128 && value < 256) {
      u8[at] = value < 0 ? 0xd0 : 0xcc;
      u8[at + 1] = value;
      return at + 2;
    }
    if (value >= -32_768 && value < 65_536) {
      u8[at] = value < 0 ? 0xd1 : 0xcd;
      view.setUint16(at + 1, value);
      return at + 3;
    }
    u8[at] = value < 0 ? 0xd2 : 0xce;
    view.setUint32(at + 1, value);
    return at + 5;
  }

  /** A number that is no int 32, or -0. */
  #wide(value: number, at: number): number {
    const { u8, view } = this.#memory;
    // -0 and all beyond 2^53 have no int of their own. (Of NaN every comparison is false.)
    if (Math.floor(value) === value && Number.isSafeInteger(value) && value !== 0) {
      if (value > 0 && value < UINT32_COUNT) {
        u8[at] = 0xce;
        view.setUint32(at + 1, value);
        return at + 5;
      }
      u8[at] = value < 0 ? 0xd3 : 0xcf;
      view.setInt32(at + 1, Math.floor(value / UINT32_COUNT));
      view.setUint32(at + 5, value % UINT32_COUNT);
      return at + 9;
    }
    u8[at] = 0xcb;
    view.setFloat64(at + 1, value);
    return at + 9;
  }

  /** -2^63..2^64-1 */
  bigint(value: bigint, at: number): number {
    this.#memory.u8[at] = value < 0n ? 0xd3 : 0xcf;
    this.#memory.view.setBigUint64(at + 1, BigInt.asUintN(64, value));
    return at + 9;
  }

  string(value: string, at: number): number {
    const count = value.length;
    if (count > CODES_COUNT_MAX) return this.#longString(value, at);
    const { u8, view } = this.#memory;
    let index = 0;
    let bits = 0;
    const body = count < 32 ? at + 1 : at + 2;
    // Four codes a step, each of which must be below 0x80.
    for (; index + 4 <= count; index += 4) {
      const a = value.charCodeAt(index);
      const b = value.charCodeAt(index + 1);
      const c = value.charCodeAt(index + 2);
      const d = value.charCodeAt(index + 3);
      bits |= a | b | c | d;
      view.setUint32(body + index, (a << 24) | (b << 16) | (c << 8) | d);
    }
    for (; index < count; index++) {
      const code = value.charCodeAt(index);
      bits |= code;
      u8[body + index] = code;
    }
    if (bits > 127) return this.#longString(value, at);
    if (count < 32) {
      u8[at] = 0xa0 | count;
      return at + 1 + count;
    }
    u8[at] = 0xd9;
    u8[at + 1] = count;
    return at + 2 + count;
  }

  #longString(value: string, at: number): number {
    const count = value.length;
    if (at + count > this.#end) throw this.#tooLarge();
    this.room(at, count * 3 + 5);
    const { u8, text } = this.#memory;
    // The head's width is guessed for one byte a character; a wrong guess moves the bytes once.
    const guessed = this.#stringHeadSize(count);
    const size = text.write(value, at + guessed);
    const headSize = this.#stringHeadSize(size);
    if (headSize !== guessed) {
      u8.copyWithin(at + headSize, at + guessed, at + guessed + size);
    }
    if (headSize === 1) u8[at] = 0xa0 | size;
    else this.#head(0xd9, headSize, size, at);
    return at + headSize + size;
  }

  /**
   * Numbers from an array, a block at most, through the module, up to the first item that is none:
   * `taken` is their count, and `isFull` whether the block was full.
   *
   * The items may have getters that use the codec: what is gathered lies below the memory's top.
   */
  numbers(items: ArrayLike<unknown>, from: number, at: number): number {
    const memory = this.#memory;
    const countMax = Math.min(items.length - from, BLOCK_COUNT);
    const source = (at + countMax * 9 + 23) & ~7;
    memory.top = source + countMax * 8;
    this.room(at, memory.top - at);
    const first = source >> 3;
    let count = 0;
    for (; count < countMax; count++) {
      const item = items[from + count];
      if (typeof item !== "number") break;
      memory.f64[first + count] = item;
    }
    this.taken = count;
    this.isFull = count === BLOCK_COUNT;
    return memory.exports.packNumbers(source, count, at);
  }

  /** The same for strings. */
  strings(items: ArrayLike<unknown>, from: number, at: number): number {
    const memory = this.#memory;
    const countMax = Math.min(items.length - from, BLOCK_COUNT);
    // | MessagePack, 3 bytes a unit and 5 for a head at most | counts u32 | units u16 |
    const counts = (at + BLOCK_UNITS * 6 + countMax * 5 + 23) & ~7;
    const units = counts + countMax * 4;
    memory.top = units;
    this.room(at, units + BLOCK_UNITS * 4 - at);
    const first = counts >> 2;
    let text = "";
    let count = 0;
    for (; count < countMax && text.length < BLOCK_UNITS; count++) {
      const item = items[from + count];
      if (typeof item !== "string" || item.length > BLOCK_UNITS) break;
      memory.i32[first + count] = item.length;
      text += item;
    }
    this.taken = count;
    this.isFull = count === BLOCK_COUNT || text.length >= BLOCK_UNITS;
    if (at + text.length + count > this.#end) throw this.#tooLarge();
    memory.text.writeWide(text, units);
    return memory.exports.packStrings(units, counts, count, at);
  }

  #stringHeadSize(size: number): number {
    if (size < 32) return 1;
    if (size < 256) return 2;
    return size < 65_536 ? 3 : 5;
  }

  /** | type + 0, 1 or 2 by width | size u8, u16 or u32 | */
  #head(type: number, headSize: number, size: number, at: number): void {
    const { u8, view } = this.#memory;
    if (headSize === 2) {
      u8[at] = type;
      u8[at + 1] = size;
    } else if (headSize === 3) {
      u8[at] = type + 1;
      view.setUint16(at + 1, size);
    } else {
      u8[at] = type + 2;
      view.setUint32(at + 1, size);
    }
  }

  arrayHead(count: number, at: number): number {
    if (at + count > this.#end) throw this.#tooLarge();
    return this.#itemsHead(0x90, 0xdb, count, at);
  }

  mapHead(count: number, at: number): number {
    return this.#itemsHead(0x80, 0xdd, count, at);
  }

  #itemsHead(short: number, type: number, count: number, at: number): number {
    if (count < 16) {
      this.#memory.u8[at] = short | count;
      return at + 1;
    }
    const headSize = count < 65_536 ? 3 : 5;
    this.#head(type, headSize, count, at);
    return at + headSize;
  }

  /** Writes the head of a map that ends at `end` again for fewer entries; returns its new end. */
  shrinkMapHead(head: number, written: number, count: number, end: number): number {
    const body = head + (written < 16 ? 1 : written < 65_536 ? 3 : 5);
    const at = this.mapHead(count, head);
    if (at !== body) this.#memory.u8.copyWithin(at, body, end);
    return end - body + at;
  }

  bin(bytes: Uint8Array, at: number): number {
    const size = bytes.length;
    this.#roomFor(at, size);
    const headSize = size < 256 ? 2 : size < 65_536 ? 3 : 5;
    this.#head(0xc4, headSize, size, at);
    this.#memory.u8.set(bytes, at + headSize);
    return at + headSize + size;
  }

  ext(type: number, data: Uint8Array, from: number): number {
    const size = data.length;
    this.#roomFor(from, size);
    let at = from;
    const { u8 } = this.#memory;
    // fixext 1, 2, 4, 8, 16 are 0xd4..0xd8.
    const isFixed = size === 1 || size === 2 || size === 4 || size === 8 || size === 16;
    if (isFixed) {
      u8[at++] = 0xd4 + Math.log2(size);
    } else {
      const headSize = size < 256 ? 2 : size < 65_536 ? 3 : 5;
      this.#head(0xc7, headSize, size, at);
      at += headSize;
    }
    u8[at++] = type;
    u8.set(data, at);
    return at + size;
  }

  /**
   * A moment in ms since 1970, an integer in a Date's range: the timestamp extension, type -1, in
   * the shortest of its three forms (drawn in assembly/tape.ts).
   */
  date(ms: number, at: number): number {
    const { u8, view } = this.#memory;
    const seconds = Math.floor(ms / 1000);
    const nanoseconds = (ms - seconds * 1000) * 1_000_000;
    if (seconds >= 0 && seconds < UINT32_COUNT && nanoseconds === 0) {
      u8[at] = 0xd6;
      u8[at + 1] = 0xff;
      view.setUint32(at + 2, seconds);
      return at + 6;
    }
    if (seconds >= 0 && seconds < UINT32_COUNT * 4) {
      u8[at] = 0xd7;
      u8[at + 1] = 0xff;
      view.setUint32(at + 2, nanoseconds * 4 + Math.floor(seconds / UINT32_COUNT));
      view.setUint32(at + 6, seconds % UINT32_COUNT);
      return at + 10;
    }
    u8[at] = 0xc7;
    u8[at + 1] = 12;
    u8[at + 2] = 0xff;
    view.setUint32(at + 3, nanoseconds);
    view.setBigInt64(at + 7, BigInt(seconds));
    return at + 15;
  }

  #tooLarge(): CodecError {
    return new CodecError(
      "TOO_LARGE",
      `the value packs to more than sizeMax ${this.#sizeMax} bytes`,
    );
  }
}
