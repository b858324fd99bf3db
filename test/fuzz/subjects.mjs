import * as nodeCrypto from "node:crypto";
import { loadCodecModule } from "../../build/codec/assets.js";
import { Codec } from "../../build/codec/codec.js";
import { Engines } from "../../build/codec/engines.js";
import { CodecError } from "../../build/codec/errors.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Lz4Assembly } from "../../build/codec/lz4-assembly.js";
import { Lz4Wasm } from "../../build/codec/lz4-wasm.js";
import { Canary, Finding, GuardedHeap } from "./canaries.mjs";
import { mix, mixBytes, mixText, mixValue } from "./digest.mjs";
import { CONTEXT, KEY } from "./envelopes.mjs";
import { INPUT_SIZE_MAX } from "./inputs.mjs";

/** `sizeMax` of the codecs, and the most bytes that a block may hold. */
const PLAIN_SIZE_MAX = 64 * 1024;
/** Working memory of a call: plain bytes, block, and the tape of at most 16 bytes a byte. */
const AREA_SIZE_MAX = PLAIN_SIZE_MAX * 17 + INPUT_SIZE_MAX + 4096;
/** Looked at after every call, behind the areas; all the rest now and then. */
const WINDOW_SIZE = 512;
/** What the compressor reads of before the working area, never writes. */
const ROOM_SIZE = 64;
const SLACK_SIZE = 64;

/** What each target may refuse an input with. All else that is thrown is a finding. */
const ENVELOPE_CODES =
  "TRUNCATED BAD_VERSION BAD_FLAGS TOO_LARGE SIZE_MISMATCH UNSEALED UNKNOWN_KEY REDIRECTED SWAPPED TAMPERED BAD_COUNTER REPLAYED STALE";
const BLOCK_CODES = "BAD_BLOCK TOO_LARGE SIZE_MISMATCH";
const VALUE_CODES = "TRUNCATED TRAILING_BYTES RESERVED_BYTE BAD_KEY BAD_TIMESTAMP TOO_DEEP";
/** @type {Record<string, Set<string>>} */
const CODES = Object.fromEntries(
  Object.entries({
    unpack: VALUE_CODES,
    decompress: BLOCK_CODES,
    "decompress-sized": BLOCK_CODES,
    open: `${ENVELOPE_CODES} ${BLOCK_CODES} ${VALUE_CODES}`,
    // In clear anyone may name a dictionary, and these codecs hold none.
    "open-plain": `${ENVELOPE_CODES} UNKNOWN_DICTIONARY ${BLOCK_CODES} ${VALUE_CODES}`,
  }).map(([target, codes]) => [target, new Set(codes.split(" "))]),
);

/** @param {number} offset */
function align(offset) {
  return (offset + 15) & ~15;
}

/** @param {Uint8Array} bytes @param {number} at */
function u32(bytes, at) {
  return at + 4 <= bytes.length ? Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE(at) : 0;
}

/**
 * One codec whose memory has canaries wherever nothing of a call belongs.
 *
 *   | tables | room for a dictionary, filled | areas of the call, slack filled | filled to the end |
 */
export class Subject {
  #memory;
  #codec;
  #heap;
  #canary;
  #base;
  #linearSize;
  #compressor;
  #value;
  /** Bytes that the last block was said to hold, or did; undefined when that is not known. */
  #plainSize;
  /** Code of the last refusal; undefined when there was a value. @type {string | undefined} */
  code;

  /**
   * @param {object} about
   * @param {"assembly" | "lz4-wasm"} about.compressor
   * @param {"wasm" | "auto"} about.engine
   * @param {boolean} about.hasKey
   * @param {number} about.fill a byte
   * @param {import("../../build/codec/sodium.js").SodiumExports} sodium
   * @param {((memory: LinearMemory) => void) | undefined} plant puts a bug into the module's exports
   */
  static async create(about, sodium, plant) {
    const memory = new LinearMemory(await loadCodecModule());
    plant?.(memory);
    const isOurs = about.compressor === "assembly";
    const blocks = isOurs ? new Lz4Assembly(memory) : await Lz4Wasm.load(memory);
    return new Subject(about, memory, blocks, new GuardedHeap(sodium, about.fill));
  }

  /**
   * @param {{ compressor: string, engine: "wasm" | "auto", hasKey: boolean, fill: number }} about
   * @param {LinearMemory} memory
   * @param {Lz4Assembly | Lz4Wasm} blocks
   * @param {GuardedHeap} heap
   */
  constructor({ compressor, engine, hasKey, fill }, memory, blocks, heap) {
    this.#memory = memory;
    this.#heap = heap;
    this.#compressor = compressor;
    this.#canary = new Canary(fill);
    // A crossover of its own measuring would not be the same in each run.
    const nativeFrom = engine === "auto" ? 256 : undefined;
    const engines = new Engines({ sodium: heap, crypto: nodeCrypto, choice: engine, nativeFrom });
    this.#codec = new Codec(
      { memory, blocks, engines },
      { keys: hasKey ? [KEY] : undefined, sizeMax: PLAIN_SIZE_MAX },
    );
    this.#base = memory.top;
    // All that any input may need, from the start: whatever grows later is a finding.
    memory.reserve(this.#base, AREA_SIZE_MAX);
    this.#linearSize = memory.u8.length;
    this.#canary.refill(memory.u8.buffer, this.#base - ROOM_SIZE, this.#linearSize);
  }

  get linearSize() {
    return this.#memory.u8.length;
  }

  /**
   * Runs one input and returns a hash of what it gave.
   *
   * @param {string} target
   * @param {Uint8Array} bytes
   * @param {boolean} isThorough looks at all of the memory, and packs again what was unpacked
   * @returns {number}
   * @throws {Finding}
   */
  run(target, bytes, isThorough) {
    const hash = this.#outcome(target, bytes);
    const { u8, top } = this.#memory;
    const [base, end] = [this.#base, this.#linearSize];
    if (u8.length !== end)
      throw new Finding(`linear memory went from ${end} to ${u8.length} bytes`);
    if (top !== base) throw new Finding(`the top was left at ${top}`);
    if (this.#compressor === "assembly" && target.startsWith("decompress")) {
      this.#checkSlack(target === "decompress-sized" ? bytes.length - 4 : bytes.length);
    }
    const areaEnd = this.#areaEnd(target, bytes);
    const canary = this.#canary;
    canary.check(base - ROOM_SIZE, base, "before the areas");
    canary.check(areaEnd, isThorough ? end : areaEnd + WINDOW_SIZE, "behind the areas");
    if (target.startsWith("open")) this.#heap.check();
    if (isThorough && this.code === undefined) this.#repack();
    canary.refill(u8.buffer, base, isThorough ? end : areaEnd);
    return hash;
  }

  /** Everything, after calls that each looked only around their areas. */
  checkAll() {
    this.#canary.check(this.#base - ROOM_SIZE, this.#linearSize, "far from the areas");
    this.#heap.check();
  }

  /** @param {string} target @param {Uint8Array} bytes */
  #outcome(target, bytes) {
    this.code = undefined;
    this.#value = undefined;
    try {
      if (target.startsWith("decompress")) return this.#decompress(target, bytes);
      const codec = this.#codec;
      this.#value = target === "unpack" ? codec.unpack(bytes) : codec.open(bytes, CONTEXT);
      return mixValue(1, this.#value, this.#memory.u8.buffer);
    } catch (error) {
      if (error instanceof Finding) throw error;
      if (!(error instanceof CodecError)) throw new Finding(`${error}`, { cause: error });
      if (!CODES[target].has(error.code)) throw new Finding(`${target} refused with ${error}`);
      this.code = error.code;
      return mixText(2, error.code);
    }
  }

  /** A value is one that can be packed, and then is the same. */
  #repack() {
    if (this.#value === undefined) return;
    const again = this.#codec.unpack(this.#codec.pack(this.#value));
    const own = this.#memory.u8.buffer;
    if (mixValue(1, again, own) !== mixValue(1, this.#value, own)) {
      throw new Finding("packed and unpacked once more, it is another value");
    }
  }

  /** @param {string} target @param {Uint8Array} bytes */
  #decompress(target, bytes) {
    const isSized = target === "decompress-sized";
    const block = isSized ? bytes.subarray(4) : bytes;
    const size = isSized ? u32(bytes, 0) : undefined;
    this.#plainSize = size;
    const plain = this.#codec.decompress(block, { maxSize: PLAIN_SIZE_MAX, size });
    if (plain.buffer === this.#memory.u8.buffer || plain.buffer.byteLength !== plain.length) {
      throw new Finding("the plain bytes are a view of more than themselves");
    }
    this.#plainSize = plain.length;
    return mixBytes(mix(3, plain.length), plain);
  }

  /**
   * The layout of src/codec/lz4-assembly.ts: a copy by 16 of no bytes reaches 16 into the slack,
   * whether the block turned out to be one or not.
   * @param {number} blockSize
   */
  #checkSlack(blockSize) {
    if (this.#plainSize === undefined || this.#plainSize > PLAIN_SIZE_MAX) return;
    const plainEnd = this.#base + this.#plainSize;
    const blockAt = align(plainEnd + SLACK_SIZE);
    const blockEnd = blockAt + blockSize;
    // A block without a size was walked first, where the plain bytes went then.
    const slackAt = Math.max(plainEnd + 16, this.#base + blockSize);
    if (slackAt < blockAt) this.#canary.check(slackAt, blockAt, "between plain bytes and block");
    this.#canary.check(blockEnd, blockEnd + SLACK_SIZE, "in the slack behind the block");
  }

  /** Where the areas of a call end, at most. @param {string} target @param {Uint8Array} bytes */
  #areaEnd(target, bytes) {
    let plain = bytes.length;
    if (target === "decompress") plain = PLAIN_SIZE_MAX;
    else if (target === "decompress-sized") plain = u32(bytes, 0);
    else if (target !== "unpack") plain = u32(bytes, 4);
    // Beyond the limit nothing is done.
    if (plain > PLAIN_SIZE_MAX) plain = 0;
    const tape = target.startsWith("decompress") ? 0 : plain * 16;
    return align(this.#base + plain + tape + bytes.length + 4 * SLACK_SIZE);
  }
}
