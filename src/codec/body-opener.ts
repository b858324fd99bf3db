import { TAG_SIZE } from "./aead.js";
import { type BlockCompressor, blockSizeMax } from "./block.js";
import { type CodecContext, type ContextBinder, requestCheckOf } from "./context.js";
import type { DictionaryShelf } from "./dictionary-shelf.js";
import type { EngineKey, Engines } from "./engines.js";
import { COUNTER_END, type Envelope, counterOf, nonceOf, sessionOf } from "./envelope.js";
import { CodecError } from "./errors.js";
import { idTextOf } from "./keys.js";
import type { ReplayGuard } from "./replay.js";
import type { KeyRing } from "./ring.js";

/** An envelope to the packed bytes in it, once nothing speaks against believing them. */
export class BodyOpener {
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #ring: KeyRing<EngineKey>;
  readonly #binder: ContextBinder;
  readonly #guard: ReplayGuard;
  readonly #dictionaries: DictionaryShelf;
  readonly #sizeMax: number;

  constructor(parts: {
    blocks: BlockCompressor;
    engines: Engines;
    ring: KeyRing<EngineKey>;
    binder: ContextBinder;
    guard: ReplayGuard;
    dictionaries: DictionaryShelf;
    sizeMax: number;
  }) {
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#ring = parts.ring;
    this.#binder = parts.binder;
    this.#guard = parts.guard;
    this.#dictionaries = parts.dictionaries;
    this.#sizeMax = parts.sizeMax;
  }

  /**
   * The packed bytes; a view that the next use of the codec's memory overwrites.
   *
   * @param envelope what readEnvelope() says of the bytes; its plain size is within sizeMax
   * @throws CodecError as Codec.open() does up to `SIZE_MISMATCH`
   */
  open(bytes: Uint8Array, envelope: Envelope, context: CodecContext): Uint8Array {
    this.#requirePayloadSize(bytes, envelope);
    const body = this.#verify(bytes, envelope, context);
    if (!envelope.isCompressed) return body;
    const dictionary = this.#dictionaries.requiredBy(bytes, envelope);
    return this.#blocks.decompress(body, this.#sizeMax, envelope.plainSize, dictionary);
  }

  #requirePayloadSize(bytes: Uint8Array, envelope: Envelope): void {
    const { isCompressed, isSealed, plainSize, payloadAt } = envelope;
    const payloadSize = bytes.length - payloadAt - (isSealed ? TAG_SIZE : 0);
    const isPossible = isCompressed
      ? payloadSize <= blockSizeMax(plainSize)
      : payloadSize === plainSize;
    if (!isPossible) {
      const reason = `${payloadSize} bytes cannot hold the plain size ${plainSize} of the header`;
      throw new CodecError("SIZE_MISMATCH", reason);
    }
  }

  /** The payload, decrypted when it is sealed. */
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
    const associated = this.#binder.associate(bytes, envelope, context);
    const plain = this.#engines.decrypt(payload, associated, nonceOf(bytes), key);
    if (plain === undefined) {
      throw new CodecError("TAMPERED", "the tag does not verify for this body and context");
    }
    // Not opened: with the dictionary at hand it may be. And only who can seal learns which are.
    this.#dictionaries.requiredBy(bytes, envelope);
    this.#markOpened(bytes);
    return plain;
  }

  /** The key to open with; undefined when neither side seals. */
  #keyFor({ isSealed, keyId }: Envelope): EngineKey | undefined {
    const { ids } = this.#ring;
    if (!isSealed) {
      if (ids.length === 0) return undefined;
      throw new CodecError("UNSEALED", "the body is not sealed, and this codec holds keys");
    }
    const key = this.#ring.find(keyId);
    if (key === undefined) {
      const holds = ids.map(idTextOf).join(", ") || "none";
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
}
