import { loadCodecModule, loadNativeCrypto } from "./assets.js";
import { type BlockCompressor, blockSizeMax } from "./block.js";
import { BodyOpener } from "./body-opener.js";
import { BodySealer } from "./body-sealer.js";
import { type CodecContext, ContextBinder } from "./context.js";
import { DictionaryShelf } from "./dictionary-shelf.js";
import { type EngineKey, Engines } from "./engines.js";
import { readEnvelope } from "./envelope.js";
import { CodecError } from "./errors.js";
import type { CodecKey } from "./keys.js";
import { LinearMemory } from "./linear-memory.js";
import { Lz4Assembly } from "./lz4-assembly.js";
import { Lz4Wasm } from "./lz4-wasm.js";
import {
  type CodecOptions,
  type EngineChoice,
  completeOptions,
  requireBytes,
  requireInteger,
} from "./options.js";
import { Packer } from "./packer.js";
import { ReplayGuard } from "./replay.js";
import { KeyRing } from "./ring.js";
import { loadSodium } from "./sodium.js";
import { Unpacker } from "./unpacker.js";

const DECOMPRESSED_SIZE_MAX = 1024 * 1024 * 1024;

/** The parts that are loaded before a codec exists. */
interface Parts {
  memory: LinearMemory;
  blocks: BlockCompressor;
  engines: Engines;
}

/**
 * Values to sealed bytes and back: MessagePack, LZ4 block, XChaCha20-Poly1305. Made by
 * {@link createCodec}. All calls are synchronous, an instance may be shared, and every result is
 * the caller's own, in a buffer of exactly its size.
 */
export class Codec {
  readonly #memory: LinearMemory;
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #ring: KeyRing<EngineKey>;
  readonly #packer: Packer;
  readonly #unpacker: Unpacker;
  readonly #binder = new ContextBinder();
  readonly #sealer: BodySealer;
  readonly #opener: BodyOpener;
  readonly #dictionaries: DictionaryShelf;
  readonly #sizeMax: number;
  #isClosed = false;

  /** @internal */
  constructor(parts: Parts, options: CodecOptions) {
    const complete = completeOptions(options);
    this.#memory = parts.memory;
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#ring = new KeyRing(parts.engines);
    this.#dictionaries = new DictionaryShelf(parts.memory, complete.dictionaries);
    this.#packer = new Packer(parts.memory, complete.depthMax, complete.sizeMax);
    this.#unpacker = new Unpacker(parts.memory, complete.depthMax);
    const shared = {
      ...parts,
      ring: this.#ring,
      binder: this.#binder,
      dictionaries: this.#dictionaries,
    };
    this.#sealer = new BodySealer({ ...shared, isCompressing: complete.isCompressing });
    const guard = new ReplayGuard(complete.replayWindow, complete.replaySessionsMax);
    this.#opener = new BodyOpener({ ...shared, guard, sizeMax: complete.sizeMax });
    this.#sizeMax = complete.sizeMax;
    if (options.keys !== undefined) this.#ring.replace(options.keys);
  }

  /** Whether seal() encrypts, and open() refuses what is not sealed. */
  get isSealed(): boolean {
    return this.keyIds.length > 0;
  }

  /** The ids of the keys held, in the order given; the first one seals. */
  get keyIds(): number[] {
    return this.#ring.ids;
  }

  /** The digests of the dictionaries held, in the order given; the first one compresses. */
  get dictionaryDigests(): string[] {
    return this.#dictionaries.digestTexts;
  }

  /**
   * The dictionary that an envelope names, when this codec holds it; else null. It is what the
   * context of a reply to that envelope wants. True only once the envelope was opened.
   *
   * @throws CodecError `TRUNCATED`, `BAD_VERSION`, `BAD_FLAGS`
   */
  dictionaryNamedBy(bytes: Uint8Array): string | null {
    return this.#dictionaries.digestNamedBy(bytes);
  }

  /** Who encrypts: "auto" when both do, by size; "wasm" also where node:crypto cannot. */
  get engine(): EngineChoice {
    return this.#engines.choice;
  }

  /** Bytes of a body from which on node:crypto encrypts; Infinity when libsodium does all. */
  get nativeFrom(): number {
    return this.#engines.nativeFrom;
  }

  /**
   * Replaces the keys from the next call on: the first seals, all open. To rotate, add the new key
   * behind the old one everywhere, then put it first everywhere, then leave the old one out.
   *
   * @throws RangeError when there are none, or two of one id; nothing has changed then
   */
  setKeys(keys: readonly CodecKey[]): void {
    this.#requireOpen();
    this.#ring.replace(keys);
  }

  /**
   * A value as MessagePack. docs/codec.md 4 says what becomes of each type.
   *
   * @throws CodecError `UNENCODABLE`, `CYCLIC`, `INT_RANGE`, `TOO_DEEP`, `TOO_LARGE`, with the path
   */
  pack(value: unknown): Uint8Array {
    this.#requireOpen();
    const memory = this.#memory;
    const top = memory.enter();
    try {
      const size = this.#packer.pack(value);
      this.#requireOpen();
      return memory.u8.slice(top, top + size);
    } finally {
      memory.leave(top);
    }
  }

  /**
   * The value of MessagePack bytes, all of them.
   *
   * @throws CodecError `TRUNCATED`, `TRAILING_BYTES`, `RESERVED_BYTE`, `BAD_KEY`, `BAD_TIMESTAMP`,
   *   `TOO_DEEP`, `TOO_LARGE`
   */
  unpack(bytes: Uint8Array): unknown {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    this.#requireSize(bytes.length);
    const top = this.#memory.enter();
    try {
      return this.#unpackFrom(bytes);
    } finally {
      this.#memory.leave(top);
    }
  }

  #unpackFrom(bytes: Uint8Array): unknown {
    // Copied before it is looked at: bytes of a SharedArrayBuffer could change in between.
    const size = bytes.length;
    return this.#unpacker.unpack(this.#memory.place(bytes), size);
  }

  /**
   * Bytes as one standard LZ4 block, without a size before it. Not always smaller: up to 0.4% and
   * 16 bytes larger.
   *
   * @param options `dictionary`, the digest of one held that the block may refer back to; none
   * @throws CodecError `TOO_LARGE` beyond sizeMax; RangeError for a dictionary that is not held
   */
  compress(bytes: Uint8Array, { dictionary }: { dictionary?: string } = {}): Uint8Array {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    const held = this.#dictionaryOf(dictionary);
    this.#requireSize(bytes.length);
    const top = this.#memory.enter();
    try {
      return this.#blocks.compress(bytes, held).slice();
    } finally {
      this.#memory.leave(top);
    }
  }

  /**
   * The bytes of a standard LZ4 block. Nothing is allocated before the block has been walked and
   * its exact size is known to be at most `maxSize`.
   *
   * @param limits `maxSize` in bytes, 0..1 GiB; `size`, when it is known, must be met exactly
   *   `dictionary` is the digest of the one that it was compressed with: another one gives other
   *   bytes, and no error
   * @throws CodecError `BAD_BLOCK`, `TOO_LARGE`, `SIZE_MISMATCH`; RangeError for a dictionary that is
   *   not held
   */
  decompress(
    bytes: Uint8Array,
    limits: { maxSize: number; size?: number; dictionary?: string },
  ): Uint8Array {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    const held = this.#dictionaryOf(limits.dictionary);
    const { maxSize, size: expected } = limits;
    requireInteger("maxSize", maxSize, 0, DECOMPRESSED_SIZE_MAX);
    if (expected !== undefined) requireInteger("size", expected, 0, DECOMPRESSED_SIZE_MAX);
    if (expected !== undefined && expected > maxSize) {
      throw new CodecError("TOO_LARGE", `size ${expected} is more than maxSize ${maxSize}`);
    }
    if (bytes.length > blockSizeMax(maxSize)) {
      throw new CodecError("TOO_LARGE", `no block of ${maxSize} bytes has ${bytes.length}`);
    }
    const top = this.#memory.enter();
    try {
      return this.#blocks.decompress(bytes, maxSize, expected, held).slice();
    } finally {
      this.#memory.leave(top);
    }
  }

  /**
   * A value, packed, compressed where that pays, and sealed for one context, as an envelope of
   * docs/codec.md 1. Without keys the same envelope, visibly not sealed.
   *
   * @throws CodecError as pack() does; TypeError, RangeError for a context that is not one
   */
  seal(value: unknown, context: CodecContext): Uint8Array {
    this.#requireOpen();
    this.#binder.check(context);
    const memory = this.#memory;
    const top = memory.enter();
    try {
      const plainSize = this.#packer.pack(value);
      // The value's own code may have closed the codec, or changed its keys.
      this.#requireOpen();
      return this.#sealer.seal(plainSize, context);
    } finally {
      memory.leave(top);
    }
  }

  /** @internal As seal(), of bytes that pack() made: a client may have to seal them again. */
  sealPacked(packed: Uint8Array, context: CodecContext): Uint8Array {
    this.#requireOpen();
    this.#binder.check(context);
    const memory = this.#memory;
    const top = memory.enter();
    try {
      memory.reserve(top, packed.length);
      memory.u8.set(packed, top);
      return this.#sealer.seal(packed.length, context);
    } finally {
      memory.leave(top);
    }
  }

  /**
   * The value of an envelope that was sealed for this context, once: a second time it is REPLAYED.
   *
   * @throws CodecError, in the order of the checks: `TRUNCATED`, `BAD_VERSION`, `BAD_FLAGS`,
   *   `TOO_LARGE`, `UNSEALED`, `UNKNOWN_KEY`, `REDIRECTED`, `SWAPPED`, `TAMPERED`, `UNKNOWN_DICTIONARY`,
   *   `BAD_COUNTER`, `REPLAYED`, `STALE`, `BAD_BLOCK`, `SIZE_MISMATCH`, then as unpack() does. TypeError,
   *   RangeError for a context that is not one
   */
  open(bytes: Uint8Array, context: CodecContext): unknown {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    this.#binder.check(context);
    const envelope = readEnvelope(bytes);
    this.#requireSize(envelope.plainSize);
    const top = this.#memory.enter();
    try {
      return this.#unpackFrom(this.#opener.open(bytes, envelope, context));
    } finally {
      this.#engines.settle();
      this.#memory.leave(top);
    }
  }

  /**
   * Wipes the keys and the memory that bodies passed through, as far as JavaScript allows: keys of
   * the caller's and values stay where the caller has them. Every later call throws `CLOSED`.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ring.clear();
    this.#engines.free();
    this.#blocks.wipe();
    this.#memory.wipe();
  }

  #dictionaryOf(digestText: string | undefined) {
    return digestText === undefined
      ? undefined
      : this.#dictionaries.require("dictionary", digestText);
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new CodecError("CLOSED", "the codec was closed");
  }

  #requireSize(size: number): void {
    if (size > this.#sizeMax) {
      throw new CodecError("TOO_LARGE", `${size} bytes are more than sizeMax ${this.#sizeMax}`);
    }
  }
}

/**
 * Loads the WASM parts and makes a codec. One a process is best: each has memory of its own.
 *
 * @throws RangeError, TypeError that name the option; Error when engine is "native" and there is
 *   no node:crypto that can
 */
export async function createCodec(options: CodecOptions = {}): Promise<Codec> {
  const { engine, nativeFrom, compressor } = completeOptions(options);
  const [module, sodium, crypto] = await Promise.all([
    loadCodecModule(),
    loadSodium(),
    engine === "wasm" ? undefined : loadNativeCrypto(),
  ]);
  const memory = new LinearMemory(module);
  const blocks = compressor === "assembly" ? new Lz4Assembly(memory) : await Lz4Wasm.load(memory);
  const engines = new Engines({ sodium, crypto, choice: engine, nativeFrom });
  try {
    return new Codec({ memory, blocks, engines }, options);
  } catch (error) {
    engines.free();
    throw error;
  }
}
