import { loadLz4Module } from "./assets.js";
import { type BlockCompressor, measureBlock } from "./block.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";

interface Lz4Exports {
  memory: WebAssembly.Memory;
  /** Take over and free the input; the result is | offset u32 | size u32 |, then an error. */
  compress(result: number, offset: number, size: number): void;
  decompress(result: number, offset: number, size: number): void;
  __wbindgen_add_to_stack_pointer(change: number): number;
  __wbindgen_malloc(size: number): number;
  __wbindgen_free(offset: number, size: number): void;
}

const RETAINED_SIZE_MAX = 32 * 1024 * 1024;
/** lz4-wasm puts the plain size, a u32, before its blocks, and believes it when it reads them. */
const PREFIX_SIZE = 4;

/**
 * lz4_flex as the lz4-wasm package has it, through its bare exports. It believes what it is told of
 * sizes, so blocks are walked in the codec's memory before it sees them.
 */
export class Lz4Wasm implements BlockCompressor {
  readonly #memory: LinearMemory;
  readonly #module: WebAssembly.Module;
  #exports!: Lz4Exports;
  /** The last result, held until the next use. */
  #held = 0;
  #heldSize = 0;

  private constructor(memory: LinearMemory, module: WebAssembly.Module) {
    this.#memory = memory;
    this.#module = module;
    this.#instantiate();
  }

  static async load(memory: LinearMemory): Promise<Lz4Wasm> {
    return new Lz4Wasm(memory, await loadLz4Module());
  }

  #instantiate(): void {
    // Called for the text of an error alone, which a validated block does not raise.
    const glue = { __wbindgen_string_new: () => 0 };
    const instance = new WebAssembly.Instance(this.#module, { "./lz4_wasm_bg.js": glue });
    this.#exports = instance.exports as unknown as Lz4Exports;
    this.#held = 0;
    this.#heldSize = 0;
  }

  compress(plain: Uint8Array): Uint8Array {
    return this.#run(PREFIX_SIZE, () => {
      const offset = this.#place(plain, 0);
      return { run: this.#exports.compress, offset, size: plain.length };
    });
  }

  decompress(block: Uint8Array, sizeMax: number, expected?: number): Uint8Array {
    const memory = this.#memory;
    const walked = memory.place(block);
    const size = measureBlock(memory, walked, block.length, sizeMax, expected);
    // The copy that was walked, not the caller's, which could change in between.
    return this.#inflate(memory.u8.subarray(walked, walked + block.length), size);
  }

  #inflate(block: Uint8Array, size: number): Uint8Array {
    const plain = this.#run(0, () => {
      const offset = this.#place(block, PREFIX_SIZE);
      new DataView(this.#exports.memory.buffer).setUint32(offset, size, true);
      return { run: this.#exports.decompress, offset, size: block.length + PREFIX_SIZE };
    });
    if (plain.length !== size) {
      throw new CodecError("BAD_BLOCK", `the block held ${plain.length} bytes instead of ${size}`);
    }
    return plain;
  }

  #place(bytes: Uint8Array, room: number): number {
    const offset = this.#exports.__wbindgen_malloc(bytes.length + room);
    new Uint8Array(this.#exports.memory.buffer).set(bytes, offset + room);
    return offset;
  }

  #run(
    skip: number,
    prepare: () => { run: Lz4Exports["compress"]; offset: number; size: number },
  ): Uint8Array {
    this.#release();
    const { __wbindgen_add_to_stack_pointer: moveStack } = this.#exports;
    try {
      const { run, offset, size } = prepare();
      const result = moveStack(-16);
      run(result, offset, size);
      const { buffer } = this.#exports.memory;
      const [held, heldSize, , failed] = new Uint32Array(buffer, result, 4);
      moveStack(16);
      if (failed !== 0 && skip === 0) {
        throw new CodecError("BAD_BLOCK", "the LZ4 block was refused");
      }
      this.#held = held;
      this.#heldSize = heldSize;
      return new Uint8Array(buffer, held + skip, heldSize - skip);
    } catch (error) {
      if (error instanceof CodecError) throw error;
      // A trap (no memory is the one that can be thought of) leaves the instance in an unknown
      // state: it is given up, and the next call has a new one.
      this.#instantiate();
      throw new CodecError("OUT_OF_MEMORY", `LZ4 failed: ${error}`);
    }
  }

  #release(): void {
    if (this.#heldSize > 0) this.#exports.__wbindgen_free(this.#held, this.#heldSize);
    this.#held = 0;
    this.#heldSize = 0;
    if (this.#exports.memory.buffer.byteLength > RETAINED_SIZE_MAX) this.#instantiate();
  }

  wipe(): void {
    // The heap's own bookkeeping is in there too: wiped, it is of no use any more.
    new Uint8Array(this.#exports.memory.buffer).fill(0);
    this.#instantiate();
  }
}
