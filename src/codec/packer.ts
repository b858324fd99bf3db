import { bytesOf, isOpaque, kindOf, numbersOf } from "./classify.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { ExtData } from "./values.js";
import { Writer } from "./writer.js";

/**
 * Writes values as MessagePack straight into linear memory. The cursor is the memory's own top, so
 * that code of the value's (getters, proxies, toJSON) that uses the codec begins behind it.
 */
export class Packer {
  readonly #memory: LinearMemory;
  readonly #depthMax: number;
  readonly #sizeMax: number;
  readonly #writer: Writer;
  #isBusy = false;
  #depth = 0;
  /** Per level: the container, and the key of the item being written; for errors only. */
  readonly #levels: unknown[] = [];
  readonly #keys: unknown[] = [];

  constructor(memory: LinearMemory, depthMax: number, sizeMax: number) {
    this.#memory = memory;
    this.#writer = new Writer(memory, sizeMax);
    this.#depthMax = depthMax;
    this.#sizeMax = sizeMax;
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
    this.#isBusy = true;
    this.#writer.begin();
    this.#depth = 0;
    try {
      this.#value(value);
      this.#writer.finish();
      return memory.top - start;
    } finally {
      memory.top = start;
      this.#isBusy = false;
      this.#levels.length = 0;
      this.#keys.length = 0;
    }
  }

  #value(value: unknown): void {
    const type = typeof value;
    if (type === "string") this.#writer.string(value as string);
    else if (type === "number") this.#writer.number(value as number);
    else if (type === "boolean") this.#writer.byte(value ? 0xc3 : 0xc2);
    else if (value === null || value === undefined) this.#writer.byte(0xc0);
    else if (type === "object") this.#object(value);
    else if (type === "bigint") this.#bigint(value as bigint);
    else throw this.#error("UNENCODABLE", `a ${type} cannot be packed`);
  }

  #object(value: object): void {
    if (Array.isArray(value)) {
      this.#array(value);
    } else {
      const prototype = Object.getPrototypeOf(value);
      if (prototype === Object.prototype || prototype === null) this.#properties(value);
      else this.#instance(value);
    }
  }

  /** An object of some class: one of the language's, or of the caller's own. */
  #instance(value: object): void {
    const bytes = bytesOf(value);
    const numbers = numbersOf(value);
    if (bytes !== undefined) this.#writer.bin(bytes);
    else if (numbers !== undefined) this.#array(numbers);
    else if (value instanceof Date) this.#date(value);
    else if (value instanceof Map) this.#map(value);
    else if (value instanceof ExtData) this.#writer.ext(value.type, value.data);
    else if (isOpaque(value)) throw this.#error("UNENCODABLE", `no packing of ${kindOf(value)}`);
    else this.#own(value);
  }

  #own(value: object): void {
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === "function") {
      this.#open(value);
      this.#keys[this.#depth - 1] = "toJSON()";
      this.#value(toJSON.call(value, ""));
      this.#close();
    } else {
      this.#properties(value);
    }
  }

  #open(container: object): void {
    if (this.#depth >= this.#depthMax) {
      if (this.#levels.includes(container)) {
        throw this.#error("CYCLIC", "the object contains itself");
      }
      throw this.#error("TOO_DEEP", `nested deeper than depthMax ${this.#depthMax}`);
    }
    this.#levels[this.#depth] = container;
    this.#depth++;
  }

  #close(): void {
    this.#depth--;
    this.#levels[this.#depth] = undefined;
  }

  #array(items: ArrayLike<unknown>): void {
    const count = items.length;
    this.#open(items);
    this.#writer.arrayHead(count);
    const level = this.#depth - 1;
    for (let index = 0; index < count; index++) {
      this.#keys[level] = index;
      this.#value(items[index]);
    }
    this.#close();
  }

  #properties(object: object): void {
    const record = object as Record<string, unknown>;
    const names = Object.keys(object);
    this.#open(object);
    const head = this.#memory.top;
    this.#writer.mapHead(names.length);
    const level = this.#depth - 1;
    let skipped = 0;
    for (const name of names) {
      this.#keys[level] = name;
      const value = record[name];
      if (value === undefined) {
        skipped++;
        continue;
      }
      this.#writer.string(name);
      this.#value(value);
    }
    if (skipped > 0) this.#writer.shrinkMapHead(head, names.length, names.length - skipped);
    this.#close();
  }

  #bigint(value: bigint): void {
    if (value < -0x8000000000000000n || value > 0xffffffffffffffffn) {
      throw this.#error("INT_RANGE", `a BigInt must be -2^63..2^64-1, got ${value}`);
    }
    this.#writer.bigint(value);
  }

  #date(date: Date): void {
    const ms = Date.prototype.getTime.call(date);
    if (Number.isNaN(ms)) throw this.#error("UNENCODABLE", "an invalid Date cannot be packed");
    this.#writer.date(ms);
  }

  #map(map: Map<unknown, unknown>): void {
    // A snapshot: the values' own code may change the map, and the count is already written.
    const entries = [...map];
    this.#open(map);
    this.#writer.mapHead(entries.length);
    const level = this.#depth - 1;
    for (const [key, value] of entries) {
      this.#keys[level] = key;
      const type = typeof key;
      if (type !== "string" && type !== "number" && type !== "bigint") {
        throw this.#error("UNENCODABLE", `a Map's key must be a string or a number, got ${type}`);
      }
      this.#value(key);
      this.#value(value);
    }
    this.#close();
  }

  #error(code: "UNENCODABLE" | "CYCLIC" | "INT_RANGE" | "TOO_DEEP", reason: string) {
    let path = "$";
    for (const key of this.#keys.slice(0, this.#depth)) {
      if (typeof key === "number") path += `[${key}]`;
      else path += `.${String(key).slice(0, 40)}`;
      if (path.length > 200) break;
    }
    return new CodecError(code, `${reason} (at ${path})`);
  }
}
