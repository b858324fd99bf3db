/**
 * A frame of this many bytes and more has memory of its own wherever it is, and may be kept; a smaller one that came
 * in lies where it was read, and is good until its message is dealt with: who keeps it copies it.
 */
export const OWN_FRAME_BYTES_MIN = 64 * 1024;

const KIND_BITS_MIN = 14;
const KINDS = 4;
/** Of each size so much is kept while nobody has it. */
const FREE_BYTES_MAX = 4 * 1024 * 1024;

export const BLOCK_BYTES_MIN = 1 << KIND_BITS_MIN;
export const BLOCK_BYTES_MAX = 1 << (KIND_BITS_MIN + KINDS - 1);

/**
 * Memory for messages on their way, 16 to 128 KiB, that is used again: V8 counts what ArrayBuffers hold, and each 64
 * MB of new ones make it collect all there is. At 16 KiB a request that took most of a broker's time.
 * A block that is not given back is garbage like any other.
 */
export class Blocks {
  readonly #free: Buffer[][] = Array.from({ length: KINDS }, () => []);
  readonly #lent = new WeakMap<ArrayBufferLike, Buffer>();

  /** At least `size` bytes, which must be at most BLOCK_BYTES_MAX. */
  take(size: number): Buffer {
    const kind = Math.max(0, 32 - Math.clz32(size - 1) - KIND_BITS_MIN);
    const block = this.#free[kind].pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES_MIN << kind);
    this.#lent.set(block.buffer, block);
    return block;
  }

  /** Whether `bytes` lie in a block that somebody has. */
  has(bytes: Uint8Array): boolean {
    return this.#lent.has(bytes.buffer);
  }

  /** The block of `bytes`, if they lie in one, is used no more; again says nothing. */
  giveBack(bytes: Uint8Array): void {
    const block = this.#lent.get(bytes.buffer);
    if (block === undefined) return;
    this.#lent.delete(bytes.buffer);
    const free = this.#free[31 - Math.clz32(block.length) - KIND_BITS_MIN];
    if (free.length * block.length < FREE_BYTES_MAX) free.push(block);
  }
}

/** Where a frame of an outgoing message lies in one of `outgoing`, so many bytes before it are free for its header. */
export const FRAME_HEAD_BYTES = 9;

/** What is written to be sent; given back when it is. */
export const outgoing = new Blocks();
