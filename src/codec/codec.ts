import { NONCE_SIZE, TAG_SIZE } from "./aead.js";
import { loadCodecModule, loadNativeCrypto, newBytes } from "./assets.js";
import { type BlockCompressor, blockSizeMax } from "./block.js";
import { type CodecContext, ContextBinder, requestCheckOf } from "./context.js";
import { type EngineKey, Engines } from "./engines.js";
import {
  COUNTER_END,
  type Envelope,
  HEADER_SIZE,
  counterOf,
  nonceOf,
  readEnvelope,
  sessionOf,
  writeHeader,
} from "./envelope.js";
import { CodecError } from "./errors.js";
import { type CodecKey, idTextOf } from "./keys.js";
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
import { isWorthCompressing } from "./probe.js";
import { ReplayGuard } from "./replay.js";
import { KeyRing } from "./ring.js";
import { loadSodium } from "./sodium.js";
import { Unpacker } from "./unpacker.js";

/** A value's bytes on the way out count as smaller when a sixteenth at least is saved. */
const SAVED_SHIFT = 4;
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
 * the caller's own, in a buffer of exactly its size; only unpack() lends of the caller's bytes.
 */
export class Codec {
  readonly #memory: LinearMemory;
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #ring: KeyRing<EngineKey>;
  readonly #packer: Packer;
  readonly #unpacker: Unpacker;
  readonly #guard: ReplayGuard;
  readonly #binder = new ContextBinder();
  readonly #sizeMax: number;
  readonly #isCompressing: boolean;
  #isClosed = false;

  /** @internal */
  constructor(parts: Parts, options: CodecOptions) {
    const complete = completeOptions(options);
    this.#memory = parts.memory;
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#ring = new KeyRing(parts.engines);
    this.#packer = new Packer(parts.memory, complete.depthMax, complete.sizeMax);
    this.#unpacker = new Unpacker(parts.memory, complete.depthMax);
    this.#guard = new ReplayGuard(complete.replayWindow, complete.replaySessionsMax);
    this.#sizeMax = complete.sizeMax;
    this.#isCompressing = complete.isCompressing;
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
   * The value of MessagePack bytes, all of them. Binaries of more than 64 bytes share memory with
   * the bytes given: copy them (`.slice()`) before either is changed.
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
      return this.#unpacker.unpackLent(bytes);
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
   * @throws CodecError `TOO_LARGE` beyond sizeMax
   */
  compress(bytes: Uint8Array): Uint8Array {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    this.#requireSize(bytes.length);
    const top = this.#memory.enter();
    try {
      return this.#blocks.compress(bytes).slice();
    } finally {
      this.#memory.leave(top);
    }
  }

  /**
   * The bytes of a standard LZ4 block. Nothing is allocated before the block has been walked and
   * its exact size is known to be at most `maxSize`.
   *
   * @param limits `maxSize` in bytes, 0..1 GiB; `size`, when it is known, must be met exactly
   * @throws CodecError `BAD_BLOCK`, `TOO_LARGE`, `SIZE_MISMATCH`
   */
  decompress(bytes: Uint8Array, limits: { maxSize: number; size?: number }): Uint8Array {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    const { maxSize, size: expected } = limits;
    requireInteger("maxSize", maxSize, 0, DECOMPRESSED_SIZE_MAX);
    if (expected !== undefined) requireInteger("size", expected, 0, DECOMPRESSED_SIZE_MAX);
    if (expected !== undefined && expected > maxSize) {
      throw new CodecError("TOO_LARGE", `size ${expected} is more than maxSize ${maxSize}`);
    }
    const top = this.#memory.enter();
    try {
      return this.#decompress(bytes, maxSize, expected).slice();
    } finally {
      this.#memory.leave(top);
    }
  }

  #decompress(bytes: Uint8Array, maxSize: number, expected: number | undefined): Uint8Array {
    if (bytes.length > blockSizeMax(maxSize)) {
      throw new CodecError("TOO_LARGE", `no block of ${maxSize} bytes has ${bytes.length}`);
    }
    return this.#blocks.decompress(bytes, maxSize, expected);
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
      const block = this.#squeeze(top, plainSize);
      // Taken now: compressing may have moved the memory.
      const body = block ?? memory.u8.subarray(top, top + plainSize);
      const sealing = this.#ring.next();
      const header = {
        isSealed: sealing !== undefined,
        isCompressed: block !== undefined,
        plainSize,
        targetCheck: this.#binder.targetCheckOf(context),
        requestCheck: requestCheckOf(context.requestId),
        keyId: sealing?.id ?? 0,
      };
      if (sealing === undefined) {
        const envelope = newBytes(HEADER_SIZE + body.length);
        writeHeader(envelope, header);
        envelope.set(body, HEADER_SIZE);
        return envelope;
      }
      const payloadAt = HEADER_SIZE + NONCE_SIZE;
      const envelope = newBytes(payloadAt + body.length + TAG_SIZE);
      writeHeader(envelope, header);
      envelope.set(sealing.nonce, HEADER_SIZE);
      const associated = this.#binder.associate(envelope, context);
      this.#engines.encrypt(body, associated, sealing.nonce, sealing.key, envelope, payloadAt);
      return envelope;
    } finally {
      memory.leave(top);
    }
  }

  /** The block of the bytes from the memory's top on, where it pays. */
  #squeeze(top: number, size: number): Uint8Array | undefined {
    if (!this.#isCompressing) return undefined;
    const memory = this.#memory;
    memory.top = top + size;
    const plain = memory.u8.subarray(top, memory.top);
    if (!isWorthCompressing(plain, this.#blocks)) return undefined;
    const block = this.#blocks.compress(memory.u8.subarray(top, top + size));
    return block.length <= size - (size >>> SAVED_SHIFT) ? block : undefined;
  }

  /**
   * The value of an envelope that was sealed for this context, once: a second time it is REPLAYED.
   *
   * @throws CodecError, in the order of the checks: `TRUNCATED`, `BAD_VERSION`, `BAD_FLAGS`,
   *   `TOO_LARGE`, `UNSEALED`, `UNKNOWN_KEY`, `REDIRECTED`, `SWAPPED`, `TAMPERED`, `BAD_COUNTER`,
   *   `REPLAYED`, `STALE`, `BAD_BLOCK`, `SIZE_MISMATCH`, then as unpack() does. TypeError,
   *   RangeError for a context that is not one
   */
  open(bytes: Uint8Array, context: CodecContext): unknown {
    this.#requireOpen();
    requireBytes("bytes", bytes);
    this.#binder.check(context);
    const envelope = readEnvelope(bytes);
    this.#requireSize(envelope.plainSize);
    const payloadSize = bytes.length - envelope.payloadAt - (envelope.isSealed ? TAG_SIZE : 0);
    this.#requirePayloadSize(envelope, payloadSize);
    const top = this.#memory.enter();
    try {
      const body = this.#verify(bytes, envelope, context);
      if (!envelope.isSealed && !envelope.isCompressed) return this.#unpacker.unpackLent(body);
      return this.#unpackFrom(
        envelope.isCompressed ? this.#decompress(body, this.#sizeMax, envelope.plainSize) : body,
      );
    } finally {
      this.#engines.settle();
      this.#memory.leave(top);
    }
  }

  #requirePayloadSize({ isCompressed, plainSize }: Envelope, payloadSize: number): void {
    const isPossible = isCompressed
      ? payloadSize <= blockSizeMax(plainSize)
      : payloadSize === plainSize;
    if (!isPossible) {
      const reason = `${payloadSize} bytes cannot hold the plain size ${plainSize} of the header`;
      throw new CodecError("SIZE_MISMATCH", reason);
    }
  }

  /** The payload, decrypted when it is sealed, once nothing speaks against believing it. */
  #verify(bytes: Uint8Array, envelope: Envelope, context: CodecContext): Uint8Array {
    const key = this.#keyFor(envelope);
    // Hints, and in clear: they say which of the causes it is, for the tag cannot. Whoever forges
    // one to pass here fails at the tag, whose associated data has the context itself.
    if (envelope.targetCheck !== this.#binder.targetCheckOf(context)) {
      const reason = `the body is not for the ${context.direction} of ${context.service}`;
      throw new CodecError("REDIRECTED", reason);
    }
    if (envelope.requestCheck !== requestCheckOf(context.requestId)) {
      throw new CodecError("SWAPPED", "the body is of another request");
    }
    const payload = bytes.subarray(envelope.payloadAt);
    if (key === undefined) return payload;
    const associated = this.#binder.associate(bytes, context);
    const plain = this.#engines.decrypt(payload, associated, nonceOf(bytes), key);
    if (plain === undefined) {
      throw new CodecError("TAMPERED", "the tag does not verify for this body and context");
    }
    this.#markOpened(bytes);
    return plain;
  }

  /** The key to open with; undefined when neither side seals. */
  #keyFor({ isSealed, keyId }: Envelope): EngineKey | undefined {
    if (!isSealed) {
      if (!this.isSealed) return undefined;
      throw new CodecError("UNSEALED", "the body is not sealed, and this codec holds keys");
    }
    const key = this.#ring.find(keyId);
    if (key === undefined) {
      const holds = this.keyIds.map(idTextOf).join(", ") || "none";
      throw new CodecError("UNKNOWN_KEY", `sealed under ${idTextOf(keyId)}, keys held: ${holds}`);
    }
    return key;
  }

  #markOpened(bytes: Uint8Array): void {
    const counter = counterOf(bytes);
    if (counter >= COUNTER_END) {
      throw new CodecError("BAD_COUNTER", `the nonce's counter ${counter} is 2^48 or more`);
    }
    const freshness = this.#guard.mark(sessionOf(bytes), counter);
    if (freshness === "REPLAYED") {
      throw new CodecError("REPLAYED", `message ${counter} of its session was opened before`);
    }
    if (freshness === "STALE") {
      throw new CodecError("STALE", `message ${counter} is older than the replay window`);
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
