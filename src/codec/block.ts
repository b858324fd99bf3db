import type { HeldDictionary } from "./dictionary-shelf.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { errorOf } from "./status.js";

/**
 * Compresses to standard LZ4 blocks and back. What it returns is a view that its next use, and any
 * other use of the codec's memory, overwrites. Views of that memory taken before are void: it may
 * have grown.
 */
export interface BlockCompressor {
  /**
   * @param plain may lie in the codec's own memory, below its top
   * @param dictionary what the block may refer back to
   */
  compress(plain: Uint8Array, dictionary?: HeldDictionary): Uint8Array;
  /**
   * @param sizeMax the most bytes that the block may hold
   * @param size the bytes that it must hold, at most sizeMax; any number when left out
   * @param dictionary what the block may refer back to
   * @throws CodecError `BAD_BLOCK`, `TOO_LARGE`, `SIZE_MISMATCH`
   */
  decompress(
    block: Uint8Array,
    sizeMax: number,
    size?: number,
    dictionary?: HeldDictionary,
  ): Uint8Array;
  /** Overwrites what passed through, where that is not the codec's own memory. */
  wipe(): void;
}

/** The largest LZ4 block of so many plain bytes. */
export function blockSizeMax(plainSize: number): number {
  return plainSize + Math.ceil(plainSize / 255) + 16;
}

/**
 * The bytes that a block in linear memory holds, by walking it.
 *
 * @param before the size of the dictionary that it may refer back to
 * @throws CodecError as {@link BlockCompressor.decompress}
 */
export function measureBlock(
  memory: LinearMemory,
  offset: number,
  blockSize: number,
  sizeMax: number,
  expected: number | undefined,
  before = 0,
): number {
  const size = memory.exports.blockSize(offset, blockSize, sizeMax, before);
  if (size < 0) throw errorOf(size, memory.exports.errorOffset() - offset);
  if (expected !== undefined && size !== expected) {
    throw new CodecError("SIZE_MISMATCH", `the block holds ${size} bytes, not ${expected}`);
  }
  return size;
}
