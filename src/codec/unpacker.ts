import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { errorOf } from "./status.js";
import { ExtData } from "./values.js";

// The kinds of a tape's entries: | kind u32 (low 4 bits) and size << 4 | word u32 |
// assembly/tape.ts has their meaning.
const NIL = 0;
const FALSE = 1;
const TRUE = 2;
const INT = 3;
const FLOAT = 4;
const UINT64 = 5;
const INT64 = 6;
const ASCII = 7;
const UTF8 = 8;
const BIN = 9;
const EXT = 10;
const ARRAY = 11;
const MAP = 12;
const KEY = 13;
const KEY_NEW = 14;
const DATE = 15;

/** Below this a string is made from its codes: cheaper than a call into the runtime. */
const CODES_SIZE_MAX = 12;

// Assigning to these would call a setter (__proto__) or fail where Object.prototype is frozen.
const inheritedNames = new Set(Object.getOwnPropertyNames(Object.prototype));

/** Builds values from the tape that the WASM module made of validated MessagePack. */
export class Unpacker {
  readonly #memory: LinearMemory;
  readonly #depthMax: number;
  /** The strings of the module's key slots, and whether each is an inherited name. */
  readonly #keys: string[] = [];
  readonly #inherited: boolean[] = [];
  #generation: number;
  /** Index of the next entry in 4-byte words. */
  #at = 0;

  constructor(memory: LinearMemory, depthMax: number) {
    this.#memory = memory;
    this.#depthMax = depthMax;
    this.#generation = memory.generation;
  }

  /**
   * The value of `size` bytes at `offset` in linear memory; the tape overwrites what follows them.
   *
   * @throws CodecError by the module's status
   */
  unpack(offset: number, size: number): unknown {
    const memory = this.#memory;
    if (this.#generation !== memory.generation) {
      this.#generation = memory.generation;
      this.#keys.length = 0;
      this.#inherited.length = 0;
    }
    const tape = memory.exports.parse(offset, size, this.#depthMax);
    memory.refresh();
    if (tape < 0) {
      memory.exports.forgetKeys();
      throw errorOf(tape, memory.exports.errorOffset() - offset);
    }
    this.#at = tape >> 2;
    try {
      return this.#value();
    } catch (error) {
      // Only exhaustion leads here: the heap, the stack, or a string longer than the engine has.
      memory.exports.forgetKeys();
      throw new CodecError("OUT_OF_MEMORY", `cannot build the value: ${error}`);
    }
  }

  #value(): unknown {
    const memory = this.#memory;
    const words = memory.i32;
    const at = this.#at;
    const head = words[at];
    this.#at = at + 2;
    switch (head & 15) {
      case NIL:
        return null;
      case FALSE:
        return false;
      case TRUE:
        return true;
      case INT:
        return words[at + 1];
      case FLOAT:
        this.#at = at + 4;
        return memory.f64[(at + 2) >> 1];
      case UINT64:
        this.#at = at + 4;
        return memory.u64[(at + 2) >> 1];
      case INT64:
        this.#at = at + 4;
        return memory.i64[(at + 2) >> 1];
      case ASCII:
        return this.#ascii(words[at + 1] >>> 0, head >>> 4);
      case UTF8: {
        const offset = words[at + 1] >>> 0;
        return memory.text.utf8(offset, offset + (head >>> 4));
      }
      case BIN: {
        const offset = words[at + 1] >>> 0;
        return memory.u8.slice(offset, offset + (head >>> 4));
      }
      case EXT: {
        const offset = words[at + 1] >>> 0;
        const type = (memory.u8[offset - 1] << 24) >> 24;
        return new ExtData(type, memory.u8.slice(offset, offset + (head >>> 4)));
      }
      case ARRAY:
        return this.#array(words[at + 1]);
      case MAP:
        return this.#map(words[at + 1]);
      case DATE:
        this.#at = at + 4;
        return new Date(memory.f64[(at + 2) >> 1]);
      default:
        throw new Error(`no value has the kind ${head & 15}`);
    }
  }

  #ascii(offset: number, size: number): string {
    if (size > CODES_SIZE_MAX) return this.#memory.text.ascii(offset, offset + size);
    const bytes = this.#memory.u8;
    let text = "";
    for (let index = offset; index < offset + size; index++) {
      text += String.fromCharCode(bytes[index]);
    }
    return text;
  }

  #array(count: number): unknown[] {
    // Pushed, not preset to its length: V8 then keeps the packed kinds of elements.
    const items: unknown[] = [];
    for (let index = 0; index < count; index++) items.push(this.#value());
    return items;
  }

  #map(count: number): Record<string, unknown> {
    const words = this.#memory.i32;
    const object: Record<string, unknown> = {};
    for (let index = 0; index < count; index++) {
      const at = this.#at;
      const kind = words[at] & 15;
      let key: string;
      let isInherited: boolean;
      if (kind === KEY || kind === KEY_NEW) {
        const slot = words[at + 1];
        if (kind === KEY_NEW) this.#readKey(slot, words[at + 3] >>> 0, words[at] >>> 4);
        this.#at = at + (kind === KEY_NEW ? 4 : 2);
        key = this.#keys[slot];
        isInherited = this.#inherited[slot];
      } else {
        // A number, or a string too long for the module's table.
        key = String(this.#value());
        isInherited = inheritedNames.has(key);
      }
      const value = this.#value();
      if (isInherited) {
        const own = { value, writable: true, enumerable: true, configurable: true };
        Object.defineProperty(object, key, own);
      } else {
        object[key] = value;
      }
    }
    return object;
  }

  #readKey(slot: number, offset: number, size: number): void {
    const key = this.#memory.text.utf8(offset, offset + size);
    this.#keys[slot] = key;
    this.#inherited[slot] = inheritedNames.has(key);
  }
}
