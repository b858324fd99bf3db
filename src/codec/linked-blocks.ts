import { type BlockCompressor, blockSizeMax, measureBlock } from "./block.js";
import { CodecError } from "./errors.js";
import { type LinearMemory, SLACK_SIZE } from "./linear-memory.js";
import { Lz4Assembly } from "./lz4-assembly.js";
import { errorOf } from "./status.js";

/** How far back an LZ4 offset reaches, and one byte. */
const HISTORY_SIZE = 64 * 1024;

/**
 * The LZ4 blocks of one stream, each of which may refer to the 64 KiB before it. These are kept
 * here and laid in front of each block's plain bytes, so that between two calls the codec's memory
 * is anyone's:
 *
 *   | history, up to 64 KiB | plain bytes | slack | block | slack |
 */
export class LinkedBlocks {
  readonly #memory: LinearMemory;
  readonly #blocks: BlockCompressor;
  readonly #history = new Uint8Array(HISTORY_SIZE);
  #size = 0;

  constructor(memory: LinearMemory, blocks: BlockCompressor) {
    this.#memory = memory;
    this.#blocks = blocks;
  }

  /** Whether what compress() makes refers to what was remembered; lz4-wasm cannot. */
  get isLinking(): boolean {
    return this.#blocks instanceof Lz4Assembly;
  }

  /** The next block, of bytes outside of linear memory; a view that the next use overwrites. */
  compress(plain: Uint8Array): Uint8Array {
    if (!this.isLinking) return this.#blocks.compress(plain);
    const memory = this.#memory;
    const capacity = blockSizeMax(plain.length);
    const offset = this.#placeHistory();
    const target = align(offset + plain.length + SLACK_SIZE);
    memory.reserve(target, capacity);
    memory.u8.set(plain, offset);
    const size = memory.exports.compress(offset, plain.length, target, capacity, this.#size);
    if (size < 0) throw errorOf(size, memory.exports.errorOffset() - offset);
    return memory.u8.subarray(target, target + size);
  }

  /**
   * The bytes of the next block, linked or not, at most `sizeMax`; a view that the next use
   * overwrites.
   *
   * @throws CodecError `BAD_BLOCK`, `TOO_LARGE`, `SIZE_MISMATCH`
   */
  decompress(block: Uint8Array, sizeMax: number, expected?: number): Uint8Array {
    const memory = this.#memory;
    const room = expected ?? sizeMax;
    const offset = this.#placeHistory();
    const source = align(offset + room + SLACK_SIZE);
    memory.reserve(source, block.length);
    memory.u8.set(block, source);
    const { exports } = memory;
    const size = exports.decompress(source, block.length, offset, room, this.#size);
    if (size < 0 || (expected !== undefined && size !== expected)) {
      measureBlock(memory, source, block.length, sizeMax, expected, this.#size);
      throw new CodecError("BAD_BLOCK", "the LZ4 block was refused");
    }
    return memory.u8.subarray(offset, offset + size);
  }

  /** Where the next block's plain bytes go; what was remembered stands right in front of it. */
  #placeHistory(): number {
    const memory = this.#memory;
    const offset = align(memory.top + this.#size);
    memory.reserve(offset, 0);
    memory.u8.set(this.#history.subarray(0, this.#size), offset - this.#size);
    return offset;
  }

  /** Adds bytes to what the next blocks may refer to. */
  remember(plain: Uint8Array): void {
    const history = this.#history;
    const added = plain.length < HISTORY_SIZE ? plain : plain.subarray(-HISTORY_SIZE);
    const kept = Math.min(this.#size, HISTORY_SIZE - added.length);
    history.copyWithin(0, this.#size - kept, this.#size);
    history.set(added, kept);
    this.#size = kept + added.length;
  }

  /** Forgets all, at the end of a stream or before another one. */
  wipe(): void {
    this.#history.fill(0);
    this.#size = 0;
  }
}

/** To 16 bytes, as the copies go. */
function align(offset: number): number {
  return (offset + 15) & ~15;
}
