import { bytesOf, isOpaque, kindOf, numbersOf } from "./classify.js";
import { CodecError } from "./errors.js";
import { isPrototypeEnumerable, KeyTrie } from "./key-trie.js";
import type { LinearMemory } from "./linear-memory.js";
import { ExtData } from "./values.js";
import { Writer } from "./writer.js";

/** Of fewer numbers or strings arrays are written item by item: the module gains nothing. */
const ROW_COUNT_MIN = 8;

/**
 * Writes values as MessagePack straight into linear memory. The cursor is handed from method to
 * method, and laid down as the memory's top before code of the value's (getters, proxies, toJSON)
 * can run, so that this code may use the codec: it begins behind it.
 */
export class Packer {
  readonly #memory: LinearMemory;
  readonly #depthMax: number;
  readonly #sizeMax: number;
  readonly #writer: Writer;
  readonly #trie: KeyTrie;
  #isBusy = false;
  /** For the rare case that something enumerable was put on Object.prototype. */
  #isForInOwn = true;
  /** @internal Levels that are open. */
  depth = 0;
  /** Per level: the container, and the key of the item being written; for errors only. */
  readonly #levels: unknown[] = [];
  /** @internal */
  readonly keys: unknown[] = [];

  constructor(memory: LinearMemory, depthMax: number, sizeMax: number) {
    this.#memory = memory;
    this.#writer = new Writer(memory, sizeMax);
    this.#trie = new KeyTrie(memory, this.#writer, this);
    this.#depthMax = depthMax;
    this.#sizeMax = sizeMax;
  }

  /** What is kept of the shapes met; for tests. */
  get cacheCounts(): { nodes: number; writers: number } {
    return this.#trie.counts;
  }

  /**
   * Packs a value at the memory's top and returns its size; the bytes stand at `memory.top` until
   * its next use.
   *
   * @throws CodecError `UNENCODABLE`, `CYCLIC`, `INT_RANGE`, `TOO_DEEP`, `TOO_LARGE`; and whatever
   *   a getter or a toJSON of the value throws
   */
  pack(value: unknown): number {
    const memory = this.#memory;
    // A getter or a toJSON may pack another value with the same codec, behind this one's bytes.
    if (this.#isBusy) return new Packer(memory, this.#depthMax, this.#sizeMax).pack(value);
    const start = memory.top;
    // All inside, for the stack may end at any call.
    try {
      this.#isBusy = true;
      this.#isForInOwn = !isPrototypeEnumerable();
      this.#writer.begin(start);
      this.depth = 0;
      const end = this.#value(value, start);
      this.#writer.finish(end);
      return end - start;
    } catch (error) {
      this.#levels.length = 0;
      this.keys.length = 0;
      throw error;
    } finally {
      memory.top = start;
      this.#isBusy = false;
    }
  }

  #value(value: unknown, at: number): number {
    const writer = this.#writer;
    if (at > writer.limit) writer.room(at);
    if (typeof value === "string") return writer.string(value, at);
    if (typeof value === "number") return writer.number(value, at);
    if (value === null || value === undefined) return this.#byte(0xc0, at);
    if (typeof value === "boolean") return this.#byte(value ? 0xc3 : 0xc2, at);
    return this.other(value, at);
  }

  #byte(byte: number, at: number): number {
    this.#memory.u8[at] = byte;
    return at + 1;
  }

  /** @internal What is neither a string, a number, a boolean, null nor undefined. */
  other(value: unknown, at: number): number {
    if (typeof value === "object") return this.#object(value as object, at);
    if (typeof value === "bigint") return this.#bigint(value, at);
    throw this.#error("UNENCODABLE", `a ${typeof value} cannot be packed`);
  }

  #object(value: object, at: number): number {
    this.#memory.top = at;
    if (Array.isArray(value)) return this.#array(value, at);
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) return this.#plain(value, at);
    return this.#instance(value, at);
  }

  #plain(object: object, at: number): number {
    const write = this.#isForInOwn ? this.#trie.writerOf(object) : undefined;
    if (write === undefined) return this.#properties(object, at);
    this.#open(object);
    const end = write(object, at);
    this.#close();
    return end;
  }

  /** An object of some class: one of the language's, or of the caller's own. */
  #instance(value: object, at: number): number {
    const bytes = bytesOf(value);
    if (bytes !== undefined) return this.#writer.bin(bytes, at);
    const numbers = numbersOf(value);
    if (numbers !== undefined) return this.#array(numbers, at);
    if (value instanceof Date) return this.#date(value, at);
    if (value instanceof Map) return this.#map(value, at);
    if (value instanceof ExtData) return this.#writer.ext(value.type, value.data, at);
    if (isOpaque(value)) throw this.#error("UNENCODABLE", `no packing of ${kindOf(value)}`);
    return this.#own(value, at);
  }

  #own(value: object, at: number): number {
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON !== "function") return this.#properties(value, at);
    this.#open(value);
    this.keys[this.depth - 1] = "toJSON()";
    const end = this.#value(toJSON.call(value, ""), at);
    this.#close();
    return end;
  }

  #open(container: object): void {
    if (this.depth >= this.#depthMax) {
      if (this.#levels.includes(container)) {
        throw this.#error("CYCLIC", "the object contains itself");
      }
      throw this.#error("TOO_DEEP", `nested deeper than depthMax ${this.#depthMax}`);
    }
    this.#levels[this.depth] = container;
    this.depth++;
  }

  #close(): void {
    this.depth--;
    this.#levels[this.depth] = undefined;
  }

  #array(items: ArrayLike<unknown>, from: number): number {
    const memory = this.#memory;
    const writer = this.#writer;
    const count = items.length;
    this.#open(items);
    let at = writer.arrayHead(count, from);
    // Before the first item is read: that may be code of the value's.
    memory.top = at;
    const level = this.depth - 1;
    let index = 0;
    const kind = count >= ROW_COUNT_MIN ? typeof items[0] : "";
    if (kind === "number") {
      do {
        at = writer.numbers(items, index, at);
        index += writer.taken;
      } while (writer.isFull);
    } else if (kind === "string") {
      do {
        at = writer.strings(items, index, at);
        index += writer.taken;
      } while (writer.isFull);
    }
    for (; index < count; index++) {
      memory.top = at;
      const item = items[index];
      if (at > writer.limit) writer.room(at);
      if (typeof item === "string") {
        at = writer.string(item, at);
      } else if (typeof item === "number") {
        at = writer.number(item, at);
      } else {
        this.keys[level] = index;
        at = this.#value(item, at);
      }
    }
    this.#close();
    return at;
  }

  #properties(object: object, from: number): number {
    const record = object as Record<string, unknown>;
    const names = Object.keys(object);
    this.#open(object);
    const writer = this.#writer;
    let at = writer.mapHead(names.length, from);
    const level = this.depth - 1;
    let skipped = 0;
    for (const name of names) {
      this.#memory.top = at;
      const value = record[name];
      if (value === undefined) {
        skipped++;
        continue;
      }
      if (at > writer.limit) writer.room(at);
      at = writer.string(name, at);
      this.keys[level] = name;
      at = this.#value(value, at);
    }
    this.#close();
    if (skipped === 0) return at;
    return writer.shrinkMapHead(from, names.length, names.length - skipped, at);
  }

  #bigint(value: bigint, at: number): number {
    if (value < -0x8000000000000000n || value > 0xffffffffffffffffn) {
      throw this.#error("INT_RANGE", `a BigInt must be -2^63..2^64-1, got ${value}`);
    }
    return this.#writer.bigint(value, at);
  }

  #date(date: Date, at: number): number {
    const ms = Date.prototype.getTime.call(date);
    if (Number.isNaN(ms)) throw this.#error("UNENCODABLE", "an invalid Date cannot be packed");
    return this.#writer.date(ms, at);
  }

  #map(map: Map<unknown, unknown>, from: number): number {
    // A snapshot: the values' own code may change the map, and the count is already written.
    const entries = [...map];
    this.#open(map);
    let at = this.#writer.mapHead(entries.length, from);
    const level = this.depth - 1;
    for (const [key, value] of entries) {
      this.keys[level] = key;
      const type = typeof key;
      if (type !== "string" && type !== "number" && type !== "bigint") {
        throw this.#error("UNENCODABLE", `a Map's key must be a string or a number, got ${type}`);
      }
      at = this.#value(key, at);
      at = this.#value(value, at);
    }
    // Of the caller's values nothing is kept; names of properties are left for the next.
    this.keys[level] = undefined;
    this.#close();
    return at;
  }

  #error(code: "UNENCODABLE" | "CYCLIC" | "INT_RANGE" | "TOO_DEEP", reason: string) {
    let path = "$";
    for (const key of this.keys.slice(0, this.depth)) {
      if (typeof key === "number") path += `[${key}]`;
      else path += `.${String(key).slice(0, 40)}`;
      if (path.length > 200) break;
    }
    return new CodecError(code, `${reason} (at ${path})`);
  }
}
