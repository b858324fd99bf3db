import { compile, literalOf } from "./compile.js";
import type { LinearMemory } from "./linear-memory.js";
import type { Packer } from "./packer.js";
import type { Writer } from "./writer.js";

/** Writes one object, of a shape that it was found to have, at an offset; returns the end. */
export type ShapeWriter = (object: object, at: number) => number;

// Every bound below is on what a flood of objects with keys at random can take: memory for
// NODE_COUNT_MAX nodes, one step of learning for LEARNED_SHARE of the flood, no code at all.
const NODE_COUNT_MAX = 4096;
const WRITER_COUNT_MAX = 256;
const KEY_COUNT_MAX = 64;
const KEY_SIZE_MAX = 40;
/** One in so many objects of an unknown shape is learned from, one key further at a time. */
const LEARNED_SHARE = 4;
/** After so many objects in a row without a writer only one in LOOKED_SHARE is looked at. */
const MISS_RUN_MAX = 32;
const LOOKED_SHARE = 8;
/** Objects of a shape before code is made for it. */
const COMPILED_SIGHTS = 16;

/** The first keys of objects, in order: a node for each sequence that was met. */
class KeyNode {
  /** The child that was met last, and its key: most nodes have no other. */
  key: string | undefined = undefined;
  next: KeyNode | undefined = undefined;
  children: Map<string, KeyNode> | undefined = undefined;
  writer: ShapeWriter | undefined = undefined;
  sightCount = 0;
  /** The keys up to here. */
  readonly keys: readonly string[];

  constructor(keys: readonly string[]) {
    this.keys = keys;
  }
}

const encoder = new TextEncoder();
const bare = {};

/** Whether for-in would show more than an object's own properties. */
export function isPrototypeEnumerable(): boolean {
  for (const _ in bare) return true;
  return false;
}

/**
 * Shapes of the plain objects that are packed, a shape being the keys in their order, and code for
 * each that writes its keys from constants. An object's keys are compared one by one with those of
 * the shape before its code runs, so that two shapes are never taken for each other. Full caches
 * are thrown away whole and learned again.
 */
export class KeyTrie {
  readonly #scope: { memory: LinearMemory; writer: Writer; packer: Packer };
  #root = new KeyNode([]);
  #nodeCount = 0;
  #writerCount = 0;
  #missRun = 0;

  constructor(memory: LinearMemory, writer: Writer, packer: Packer) {
    this.#scope = { memory, writer, packer };
  }

  /** Nodes and writers that are kept; for tests. */
  get counts(): { nodes: number; writers: number } {
    return { nodes: this.#nodeCount, writers: this.#writerCount };
  }

  /** The writer for an object, when there is one for its shape. */
  writerOf(object: object): ShapeWriter | undefined {
    // At random, here and in #learn: a share counted out could fall in step with the caller's.
    if (this.#missRun >= MISS_RUN_MAX && Math.random() * LOOKED_SHARE >= 1) return undefined;
    const write = this.#find(object);
    this.#missRun = write === undefined ? this.#missRun + 1 : 0;
    return write;
  }

  #find(object: object): ShapeWriter | undefined {
    let node = this.#root;
    for (const key in object) {
      if (node.key === key) {
        node = node.next as KeyNode;
      } else {
        const child = node.children?.get(key);
        if (child === undefined) {
          this.#learn(node, key);
          return undefined;
        }
        // The one met last is asked first: rows of a list are all of one shape.
        node.key = key;
        node.next = child;
        node = child;
      }
    }
    return node.writer ?? this.#sighted(node);
  }

  #learn(node: KeyNode, key: string): void {
    if (Math.random() * LEARNED_SHARE >= 1) return;
    if (node.keys.length >= KEY_COUNT_MAX || key.length > KEY_SIZE_MAX) return;
    if (encoder.encode(key).length > KEY_SIZE_MAX) return;
    if (this.#nodeCount >= NODE_COUNT_MAX) return this.#forget();
    const child = new KeyNode([...node.keys, key]);
    this.#nodeCount++;
    if (node.key !== undefined) {
      node.children ??= new Map([[node.key, node.next as KeyNode]]);
      node.children.set(key, child);
    }
    node.key = key;
    node.next = child;
  }

  #forget(): void {
    this.#root = new KeyNode([]);
    this.#nodeCount = 0;
    this.#writerCount = 0;
  }

  #sighted(node: KeyNode): ShapeWriter | undefined {
    if (++node.sightCount !== COMPILED_SIGHTS) return undefined;
    if (this.#writerCount >= WRITER_COUNT_MAX) {
      this.#forget();
      return undefined;
    }
    this.#writerCount++;
    node.writer = compile<ShapeWriter>(this.#scope, sourceOf(node.keys));
    return node.writer;
  }
}

/**
 * For keys of `a` and `b`:  head, key a, value a, key b, value b. The cursor is laid down in
 * memory.top before each read of a property, which may be a getter that uses the codec, and the
 * views are taken after it.
 */
function sourceOf(keys: readonly string[]): string {
  const count = keys.length;
  return `function write(object, from) {
    const level = packer.depth - 1;
    let at = writer.mapHead(${count}, from), skipped = 0, value, view;
    ${keys.map(fieldOf).join("\n")}
    return skipped > 0 ? writer.shrinkMapHead(from, ${count}, ${count} - skipped, at) : at;
  }`;
}

function fieldOf(key: string): string {
  const name = literalOf(key);
  const bytes = encoder.encode(key);
  const head = bytes.length < 32 ? [0xa0 | bytes.length] : [0xd9, bytes.length];
  const encoded = [...head, ...bytes];
  return `memory.top = at;
    value = object[${name}];
    if (value === undefined) skipped++;
    else {
      if (at > writer.limit) writer.room(at);
      view = memory.view;
      ${storesOf(encoded)}
      at += ${encoded.length};
      if (typeof value === "string") at = writer.string(value, at);
      else if (typeof value === "number") {
        if ((value & 127) === value && value !== 0) memory.u8[at++] = value;
        else at = writer.number(value, at);
      }
      else if (value === null) memory.u8[at++] = 0xc0;
      else if (value === true) memory.u8[at++] = 0xc3;
      else if (value === false) memory.u8[at++] = 0xc2;
      else { packer.keys[level] = ${name}; at = packer.other(value, at); }
    }`;
}

/** Stores of constants at `at`, 8 bytes at a time as the number that has them; up to 7 too many. */
function storesOf(bytes: readonly number[]): string {
  const stores: string[] = [];
  const view = new DataView(new ArrayBuffer(8));
  for (let index = 0; index < bytes.length; index += 8) {
    for (let place = 0; place < 8; place++) view.setUint8(place, bytes[index + place] ?? 0);
    const float = view.getFloat64(0, true);
    // Not every pattern is that of a number which its literal gives back; ASCII always is.
    if (Number.isFinite(float) && float !== 0) {
      stores.push(`view.setFloat64(at + ${index}, ${float}, true);`);
    } else {
      stores.push(`view.setUint32(at + ${index}, ${view.getUint32(0)});`);
      stores.push(`view.setUint32(at + ${index + 4}, ${view.getUint32(4)});`);
    }
  }
  return stores.join(" ");
}
