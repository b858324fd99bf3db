import { loadCodecModule, loadNativeCrypto } from "./assets.js";
import { type BlockCompressor, blockSizeMax } from "./block.js";
import { BodyKeys, type Origin } from "./body-keys.js";
import { BodyOpener } from "./body-opener.js";
import { BodySealer } from "./body-sealer.js";
import { type CodecContext, ContextBinder } from "./context.js";
import { DictionaryShelf } from "./dictionary-shelf.js";
import { Engines } from "./engines.js";
import { readEnvelope, steadyBytes } from "./envelope.js";
import { CodecError } from "./errors.js";
import type { CodecKey } from "./keys.js";
import { LinearMemory } from "./linear-memory.js";
import { Lz4Assembly } from "./lz4-assembly.js";
import { Lz4Wasm } from "./lz4-wasm.js";
import { OpenedRequest, requireRequest } from "./opened-request.js";
import {
  type CodecOptions,
  type CompleteOptions,
  completeOptions,
  type EngineChoice,
  requireBytes,
  requireInteger,
} from "./options.js";
import { Packer } from "./packer.js";
import type { PublicKey, ServiceKey } from "./service-keys.js";
import type { AgreementStats } from "./service-sessions.js";
import { loadSodium, type SodiumExports } from "./sodium.js";
import { type CodecParts, ThreadCodec } from "./thread-codec.js";
import { Unpacker } from "./unpacker.js";

const DECOMPRESSED_SIZE_MAX = 1024 * 1024 * 1024;

/** The parts that are loaded before a codec exists. */
interface Parts {
  memory: LinearMemory;
  blocks: BlockCompressor;
  engines: Engines;
  sodium: SodiumExports;
}

/**
 * Values to sealed bytes and back: MessagePack, LZ4 block, XChaCha20-Poly1305. Made by
 * {@link createCodec}. Calls are synchronous but for streams and those named so, an instance may
 * be shared, and every result is the caller's own, in a buffer of exactly its size; only unpack(),
 * and open() of what is neither sealed nor compressed, lend of the caller's bytes.
 */
export class Codec extends ThreadCodec {
  readonly #memory: LinearMemory;
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #keys: BodyKeys;
  readonly #packer: Packer;
  readonly #unpacker: Unpacker;
  readonly #binder = new ContextBinder();
  readonly #sealer: BodySealer;
  readonly #opener: BodyOpener;
  readonly #dictionaries: DictionaryShelf;
  readonly #options: CompleteOptions;
  #isClosed = false;

  /** @internal */
  constructor(parts: Parts, options: CodecOptions) {
    super();
    const complete = completeOptions(options);
    this.#options = complete;
    this.#memory = parts.memory;
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#keys = new BodyKeys(parts, complete);
    this.#dictionaries = new DictionaryShelf(parts.memory, complete.dictionaries);
    this.#packer = new Packer(parts.memory, complete.depthMax, complete.sizeMax);
    this.#unpacker = new Unpacker(parts.memory, complete.depthMax);
    const shared = {
      ...parts,
      keys: this.#keys,
      binder: this.#binder,
      dictionaries: this.#dictionaries,
    };
    this.#sealer = new BodySealer({ ...shared, isCompressing: complete.isCompressing });
    this.#opener = new BodyOpener({ ...shared, sizeMax: complete.sizeMax });
    const { keys, serviceKeys, servicePublicKeys } = options;
    try {
      if (keys !== undefined) this.#keys.ring.replace(keys);
      if (serviceKeys !== undefined) this.#keys.services.replace(serviceKeys);
      if (servicePublicKeys !== undefined) this.#keys.clients.replace(servicePublicKeys);
    } catch (error) {
      this.#keys.clear();
      throw error;
    }
  }

  /** Whether seal() encrypts, and open() refuses what is not sealed. */
  get isSealed(): boolean {
    return !this.#keys.isEmpty;
  }

  /** The ids of the shared keys held, in the order given; the first one seals. */
  get keyIds(): number[] {
    return this.#keys.ring.ids;
  }

  /** The ids of the service keys held. */
  get serviceKeyIds(): number[] {
    return this.#keys.services.ids;
  }

  /** What was agreed on with clients, under the service keys. */
  get agreements(): AgreementStats {
    return this.#keys.services.stats;
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
    this.requireOpen();
    this.#keys.ring.replace(keys);
    this.onKeys();
  }

  /**
   * Replaces the service keys from the next call on; each opens requests of the clients that have
   * its public key. To rotate, add the new key everywhere, give clients its public key, and leave
   * the old one out once they use it and what they asked under the old one was answered.
   *
   * @throws RangeError when there are none, or two of one id; nothing has changed then
   */
  setServiceKeys(keys: readonly ServiceKey[]): void {
    this.requireOpen();
    this.#keys.services.replace(keys);
  }

  /**
   * Replaces the public keys of services from the next call on. Replies to what was asked before
   * still open. They are told from others by their session: a service that had none yet, and was
   * asked under a shared key, should have been answered before.
   *
   * @throws RangeError when there are none, or for a pattern that is none; nothing has changed then
   */
  setServicePublicKeys(publicKeys: Readonly<Record<string, PublicKey>>): void {
    this.requireOpen();
    this.#keys.clients.replace(publicKeys);
  }

  /**
   * A value as MessagePack. docs/codec.md 4 says what becomes of each type.
   *
   * @throws CodecError `UNENCODABLE`, `CYCLIC`, `INT_RANGE`, `TOO_DEEP`, `TOO_LARGE`, with the path
   */
  pack(value: unknown): Uint8Array {
    this.requireOpen();
    const memory = this.#memory;
    const top = memory.enter();
    try {
      const size = this.#packer.pack(value);
      this.requireOpen();
      return memory.u8.slice(top, top + size);
    } finally {
      memory.leave(top);
    }
  }

  /**
   * The value of MessagePack bytes, all of them. Binaries of more than 64 bytes share memory with
   * the bytes given: copy them (`.slice()`) before either is changed.
   *
   * @throws CodecError `TRUNCATED`, `TRAILING_BYTES`, `RESERVED_BYTE`, `BAD_KEY`, `BAD_TIMESTAMP`,
   *   `TOO_DEEP`, `TOO_LARGE`
   */
  unpack(bytes: Uint8Array): unknown {
    this.requireOpen();
    requireBytes("bytes", bytes);
    this.#requireSize(bytes.length);
    const top = this.#memory.enter();
    try {
      return this.#unpacker.unpackLent(bytes);
    } finally {
      this.#memory.leave(top);
    }
  }

  /** @internal As unpack(), but nothing of the value is lent from these bytes. */
  override unpackOwn(bytes: Uint8Array): unknown {
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
    this.requireOpen();
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
    this.requireOpen();
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
   * A request to a service of `servicePublicKeys` is sealed by agreement. With service keys only
   * what openRequest() returned can seal a reply.
   *
   * @throws CodecError as pack() does, and `NO_KEY` when there are keys, but none for this body;
   *   TypeError, RangeError for a context that is not one
   */
  seal(value: unknown, context: CodecContext): Uint8Array {
    return this.sealFor(value, context, undefined);
  }

  /** @internal As seal(), in answer to a request of that origin. */
  override sealFor(value: unknown, context: CodecContext, origin: Origin | undefined): Uint8Array {
    this.requireOpen();
    const own = this.#binder.check(context);
    const memory = this.#memory;
    const top = memory.enter();
    try {
      const plainSize = this.#packer.pack(value);
      // The value's own code may have closed the codec, or changed its keys.
      this.requireOpen();
      return this.#sealer.seal(plainSize, own, origin);
    } finally {
      memory.leave(top);
    }
  }

  /** @internal As sealFor(), of bytes that pack() made: a client may have to seal them again. */
  sealPacked(packed: Uint8Array, context: CodecContext, origin?: Origin): Uint8Array {
    this.requireOpen();
    const own = this.#binder.check(context);
    const memory = this.#memory;
    const top = memory.enter();
    try {
      memory.reserve(top, packed.length);
      memory.u8.set(packed, top);
      return this.#sealer.seal(packed.length, own, origin);
    } finally {
      memory.leave(top);
    }
  }

  /**
   * The value of an envelope that was sealed for this context, once: a second time it is REPLAYED.
   *
   * @throws CodecError, in the order of the checks: `TRUNCATED`, `BAD_VERSION`, `BAD_FLAGS`,
   *   `TOO_LARGE`, `UNSEALED`, `UNKNOWN_KEY`, `REDIRECTED`, `SWAPPED`, `BAD_AGREEMENT`, `TAMPERED`,
   *   `UNKNOWN_DICTIONARY`,
   *   `BAD_COUNTER`, `REPLAYED`, `STALE`, `BAD_BLOCK`, `SIZE_MISMATCH`, then as unpack() does. TypeError,
   *   RangeError for a context that is not one
   */
  open(bytes: Uint8Array, context: CodecContext): unknown;
  /** @internal `isPassing`: the bytes are others' as soon as this returns, so nothing is lent from them. */
  open(bytes: Uint8Array, context: CodecContext, isPassing: boolean): unknown;
  open(bytes: Uint8Array, context: CodecContext, isPassing = false): unknown {
    this.requireOpen();
    requireBytes("bytes", bytes);
    return this.#open(steadyBytes(bytes), this.#binder.check(context), isPassing);
  }

  /** Of bytes that stay as they are, and for a context that check() returned. */
  #open(bytes: Uint8Array, context: CodecContext, isPassing: boolean): unknown {
    const envelope = readEnvelope(bytes);
    this.#requireSize(envelope.plainSize);
    const top = this.#memory.enter();
    try {
      const body = this.#opener.open(bytes, envelope, context);
      const isLent = !isPassing && !envelope.isSealed && !envelope.isCompressed;
      return isLent ? this.#unpacker.unpackLent(body) : this.#unpackFrom(body);
    } finally {
      this.#engines.settle();
      this.#memory.leave(top);
    }
  }

  /**
   * Opens a request, as open() does, to be answered: what it returns has the value and seals the
   * reply under what the request came under, which its client knows to be from the service.
   *
   * @param context direction "request"; the bytes of its id are kept, and must not change until the
   *   reply is sealed
   * @throws CodecError as open() does; RangeError for a direction that is not "request"
   */
  openRequest(bytes: Uint8Array, context: CodecContext): OpenedRequest;
  /** @internal `isPassing`: see open(). */
  openRequest(bytes: Uint8Array, context: CodecContext, isPassing: boolean): OpenedRequest;
  openRequest(bytes: Uint8Array, context: CodecContext, isPassing = false): OpenedRequest {
    this.requireOpen();
    requireBytes("bytes", bytes);
    const steady = steadyBytes(bytes);
    const own = this.#binder.check(context);
    requireRequest(own);
    const value = this.#open(steady, own, isPassing);
    own.dictionary = this.dictionaryNamedBy(steady);
    return new OpenedRequest(this, value, own, this.#opener.origin);
  }

  /**
   * Wipes the keys and the memory that bodies passed through, as far as JavaScript allows: keys of
   * the caller's and values stay where the caller has them. Every later call throws `CLOSED`.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.closeThread();
    this.#keys.clear();
    this.#engines.free();
    this.#blocks.wipe();
    this.#memory.wipe();
  }

  protected override parts(): CodecParts {
    return {
      memory: this.#memory,
      blocks: this.#blocks,
      engines: this.#engines,
      keys: this.#keys,
      binder: this.#binder,
      packer: this.#packer,
      sealer: this.#sealer,
      opener: this.#opener,
      options: this.#options,
    };
  }

  #dictionaryOf(digestText: string | undefined) {
    return digestText === undefined
      ? undefined
      : this.#dictionaries.require("dictionary", digestText);
  }

  protected override requireOpen(): void {
    if (this.#isClosed) throw new CodecError("CLOSED", "the codec was closed");
  }

  #requireSize(size: number): void {
    const { sizeMax } = this.#options;
    if (size > sizeMax) {
      throw new CodecError("TOO_LARGE", `${size} bytes are more than sizeMax ${sizeMax}`);
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
    return new Codec({ memory, blocks, engines, sodium }, options);
  } catch (error) {
    engines.free();
    throw error;
  }
}
