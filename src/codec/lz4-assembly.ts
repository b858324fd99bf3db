import { type BlockCompressor, blockSizeMax, measureBlock } from "./block.js";
import type { HeldDictionary } from "./dictionary-shelf.js";
import { CodecError } from "./errors.js";
import { type LinearMemory, SLACK_SIZE } from "./linear-memory.js";
import { errorOf } from "./status.js";

/** No byte of a block stands for more plain bytes than this. */
const GROWTH_MAX = 255;

/**
 * assembly/lz4-*.ts, in the codec's own memory:
 *
 *   | dictionaries | ... | plain bytes, at the top | slack | block | slack |
 *
 * Plain bytes that are there already are compressed where they are.
 */
export class Lz4Assembly implements BlockCompressor {
  readonly #memory: LinearMemory;

  constructor(memory: LinearMemory) {
    this.#memory = memory;
  }

  compress(plain: Uint8Array, dictionary?: HeldDictionary): Uint8Array {
    const memory = this.#memory;
    const size = plain.length;
    const capacity = blockSizeMax(size);
    const isInPlace = plain.buffer === memory.u8.buffer;
    const offset = isInPlace ? plain.byteOffset : align(memory.top);
    const target = align(Math.max(memory.top, offset + size + SLACK_SIZE));
    // May move the memory, and make a `plain` in it void: its offset is what counts from here on.
    memory.reserve(target, capacity);
    if (!isInPlace) memory.u8.set(plain, offset);
    const { exports } = memory;
    const blockSize =
      dictionary === undefined
        ? exports.compress(offset, size, target, capacity, 0)
        : exports.compressUsing(
            offset,
            size,
            target,
            capacity,
            dictionary.offset,
            dictionary.size,
            dictionary.index,
          );
    if (blockSize < 0) throw errorOf(blockSize, exports.errorOffset() - offset);
    return memory.u8.subarray(target, target + blockSize);
  }

  decompress(
    block: Uint8Array,
    sizeMax: number,
    expected?: number,
    dictionary?: HeldDictionary,
  ): Uint8Array {
    const memory = this.#memory;
    // What is claimed is believed as far as a block of these bytes can hold it. Not as much, and
    // the block is walked first, as it is without a claim.
    if (expected === undefined || expected > block.length * GROWTH_MAX) {
      const offset = memory.place(block);
      const before = dictionary?.size;
      const size = measureBlock(memory, offset, block.length, sizeMax, expected, before);
      return this.#inflate(block, sizeMax, size, dictionary);
    }
    return this.#inflate(block, sizeMax, expected, dictionary);
  }

  #inflate(
    block: Uint8Array,
    sizeMax: number,
    size: number,
    dictionary: HeldDictionary | undefined,
  ): Uint8Array {
    const memory = this.#memory;
    const target = align(memory.top);
    const offset = align(target + size + SLACK_SIZE);
    memory.reserve(offset, block.length);
    memory.u8.set(block, offset);
    const { exports } = memory;
    const inflated =
      dictionary === undefined
        ? exports.decompress(offset, block.length, target, size, 0)
        : exports.decompressUsing(
            offset,
            block.length,
            target,
            size,
            dictionary.offset,
            dictionary.size,
          );
    if (inflated !== size) {
      // What is wrong with it is found by a walk, so that every implementation says the same.
      measureBlock(memory, offset, block.length, sizeMax, size, dictionary?.size);
      throw new CodecError("BAD_BLOCK", "the LZ4 block was refused");
    }
    return memory.u8.subarray(target, target + size);
  }

  wipe(): void {
    this.#memory.exports.forgetPositions(0);
  }
}

/** To 16 bytes, as the copies go. */
function align(offset: number): number {
  return (offset + 15) & ~15;
}
