import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";

/** Up to here a string is written by a loop over its codes: cheaper than a call to the runtime. */
const CODES_COUNT_MAX = 24;
const UINT32_COUNT = 4_294_967_296;

/**
 * Writes MessagePack's own types (msgpack/spec.md) at the memory's top, which is the cursor, each
 * in its shortest form.
 */
export class Writer {
  readonly #memory: LinearMemory;
  readonly #sizeMax: number;
  /** Bytes that exist and may be written: up to here no check of the memory is due. */
  #limit = 0;
  /** First offset that the value may not reach. */
  #end = 0;

  constructor(memory: LinearMemory, sizeMax: number) {
    this.#memory = memory;
    this.#sizeMax = sizeMax;
  }

  /** From here on at most sizeMax bytes. */
  begin(): void {
    this.#end = this.#memory.top + this.#sizeMax;
    this.#limit = this.#memory.u8.length;
  }

  /** Scalars are checked against the limit when they need memory, and once more here. */
  finish(): void {
    if (this.#memory.top > this.#end) throw this.#tooLarge();
  }

  /** Room for `size` more bytes. */
  #room(size: number): void {
    if (this.#memory.top + size <= this.#limit) return;
    if (this.#memory.top > this.#end) throw this.#tooLarge();
    this.#memory.reserve(this.#memory.top, size);
    this.#limit = this.#memory.u8.length;
  }

  /** The same for bytes that are surely written, so that an impossible size reserves nothing. */
  #roomFor(size: number): void {
    if (this.#memory.top + size > this.#end) throw this.#tooLarge();
    this.#room(size + 8);
  }

  byte(byte: number): void {
    this.#room(1);
    this.#memory.u8[this.#memory.top++] = byte;
  }

  number(value: number): void {
    this.#room(9);
    const { u8, view, top: at } = this.#memory;
    if ((value | 0) === value && !(value === 0 && 1 / value < 0)) {
      if (value >= -32 && value < 128) {
        u8[at] = value;
        this.#memory.top = at + 1;
      } else if (value >= -128 && value < 256) {
        u8[at] = value < 0 ? 0xd0 : 0xcc;
        u8[at + 1] = value;
        this.#memory.top = at + 2;
      } else if (value >= -32_768 && value < 65_536) {
        u8[at] = value < 0 ? 0xd1 : 0xcd;
        view.setUint16(at + 1, value);
        this.#memory.top = at + 3;
      } else {
        u8[at] = value < 0 ? 0xd2 : 0xce;
        view.setUint32(at + 1, value);
        this.#memory.top = at + 5;
      }
    } else if (value > 0 && value < UINT32_COUNT && Math.floor(value) === value) {
      u8[at] = 0xce;
      view.setUint32(at + 1, value);
      this.#memory.top = at + 5;
    } else if (Number.isSafeInteger(value) && value !== 0) {
      u8[at] = value < 0 ? 0xd3 : 0xcf;
      view.setInt32(at + 1, Math.floor(value / UINT32_COUNT));
      view.setUint32(at + 5, value % UINT32_COUNT);
      this.#memory.top = at + 9;
    } else {
      u8[at] = 0xcb;
      view.setFloat64(at + 1, value);
      this.#memory.top = at + 9;
    }
  }

  /** -2^63..2^64-1 */
  bigint(value: bigint): void {
    this.#room(9);
    this.#memory.u8[this.#memory.top] = value < 0n ? 0xd3 : 0xcf;
    this.#memory.view.setBigUint64(this.#memory.top + 1, BigInt.asUintN(64, value));
    this.#memory.top += 9;
  }

  string(value: string): void {
    const count = value.length;
    if (count <= CODES_COUNT_MAX) {
      this.#room(CODES_COUNT_MAX + 2);
      const { u8 } = this.#memory;
      const at = this.#memory.top;
      let index = 0;
      for (; index < count; index++) {
        const code = value.charCodeAt(index);
        if (code > 127) break;
        u8[at + 1 + index] = code;
      }
      if (index === count) {
        u8[at] = 0xa0 | count;
        this.#memory.top = at + 1 + count;
        return;
      }
    }
    if (this.#memory.top + count > this.#end) throw this.#tooLarge();
    this.#room(count * 3 + 5);
    const { u8, text } = this.#memory;
    const at = this.#memory.top;
    // The head's width is guessed for one byte a character; a wrong guess moves the bytes once.
    const guessed = this.#stringHeadSize(count);
    const size = text.write(value, at + guessed);
    const headSize = this.#stringHeadSize(size);
    if (headSize !== guessed) {
      u8.copyWithin(at + headSize, at + guessed, at + guessed + size);
    }
    if (headSize === 1) u8[at] = 0xa0 | size;
    else this.#writeHead(0xd9, headSize, size);
    this.#memory.top = at + headSize + size;
  }

  #stringHeadSize(size: number): number {
    if (size < 32) return 1;
    if (size < 256) return 2;
    return size < 65_536 ? 3 : 5;
  }

  /** | type + 0, 1 or 2 by width | size u8, u16 or u32 |, at the cursor, which stays. */
  #writeHead(type: number, headSize: number, size: number): void {
    const { u8, view, top: at } = this.#memory;
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

  arrayHead(count: number): void {
    if (this.#memory.top + count > this.#end) throw this.#tooLarge();
    this.#room(5);
    if (count < 16) {
      this.#memory.u8[this.#memory.top++] = 0x90 | count;
    } else {
      const headSize = count < 65_536 ? 3 : 5;
      this.#writeHead(0xdb, headSize, count);
      this.#memory.top += headSize;
    }
  }

  mapHead(count: number): void {
    this.#room(5);
    if (count < 16) {
      this.#memory.u8[this.#memory.top++] = 0x80 | count;
    } else {
      const headSize = count < 65_536 ? 3 : 5;
      this.#writeHead(0xdd, headSize, count);
      this.#memory.top += headSize;
    }
  }

  /** Writes the head at an offset again for fewer entries, in the width that they need. */
  shrinkMapHead(head: number, written: number, count: number): void {
    const headSizeOf = (entries: number) => (entries < 16 ? 1 : entries < 65_536 ? 3 : 5);
    const body = head + headSizeOf(written);
    const end = this.#memory.top;
    this.#memory.top = head;
    this.mapHead(count);
    if (this.#memory.top !== body) this.#memory.u8.copyWithin(this.#memory.top, body, end);
    this.#memory.top += end - body;
  }

  bin(bytes: Uint8Array): void {
    const size = bytes.length;
    this.#roomFor(size);
    const headSize = size < 256 ? 2 : size < 65_536 ? 3 : 5;
    this.#writeHead(0xc4, headSize, size);
    this.#memory.u8.set(bytes, this.#memory.top + headSize);
    this.#memory.top += headSize + size;
  }

  ext(type: number, data: Uint8Array): void {
    const size = data.length;
    this.#roomFor(size);
    const { u8 } = this.#memory;
    // fixext 1, 2, 4, 8, 16 are 0xd4..0xd8.
    const isFixed = size === 1 || size === 2 || size === 4 || size === 8 || size === 16;
    if (isFixed) {
      u8[this.#memory.top++] = 0xd4 + Math.log2(size);
    } else {
      const headSize = size < 256 ? 2 : size < 65_536 ? 3 : 5;
      this.#writeHead(0xc7, headSize, size);
      this.#memory.top += headSize;
    }
    u8[this.#memory.top++] = type;
    u8.set(data, this.#memory.top);
    this.#memory.top += size;
  }

  /**
   * A moment in ms since 1970, an integer in a Date's range: the timestamp extension, type -1, in
   * the shortest of its three forms (drawn in assembly/tape.ts).
   */
  date(ms: number): void {
    this.#room(15);
    const { u8, view, top: at } = this.#memory;
    const seconds = Math.floor(ms / 1000);
    const nanoseconds = (ms - seconds * 1000) * 1_000_000;
    if (seconds >= 0 && seconds < UINT32_COUNT && nanoseconds === 0) {
      u8[at] = 0xd6;
      u8[at + 1] = 0xff;
      view.setUint32(at + 2, seconds);
      this.#memory.top = at + 6;
    } else if (seconds >= 0 && seconds < UINT32_COUNT * 4) {
      u8[at] = 0xd7;
      u8[at + 1] = 0xff;
      view.setUint32(at + 2, nanoseconds * 4 + Math.floor(seconds / UINT32_COUNT));
      view.setUint32(at + 6, seconds % UINT32_COUNT);
      this.#memory.top = at + 10;
    } else {
      u8[at] = 0xc7;
      u8[at + 1] = 12;
      u8[at + 2] = 0xff;
      view.setUint32(at + 3, nanoseconds);
      view.setBigInt64(at + 7, BigInt(seconds));
      this.#memory.top = at + 15;
    }
  }

  #tooLarge(): CodecError {
    return new CodecError(
      "TOO_LARGE",
      `the value packs to more than sizeMax ${this.#sizeMax} bytes`,
    );
  }
}
