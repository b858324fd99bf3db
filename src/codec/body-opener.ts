import { TAG_SIZE } from "./aead.js";
import { type BlockCompressor, blockSizeMax } from "./block.js";
import type { OpeningKeys, Origin } from "./body-keys.js";
import { type CodecContext, type ContextBinder, requestCheckOf } from "./context.js";
import type { DictionaryShelf } from "./dictionary-shelf.js";
import type { EngineKey, Engines } from "./engines.js";
import { CHUNK, type Envelope, nonceOf } from "./envelope.js";
import { CodecError } from "./errors.js";

/** An envelope to the packed bytes in it, once nothing speaks against believing them. */
export class BodyOpener {
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #keys: OpeningKeys;
  readonly #binder: ContextBinder;
  readonly #dictionaries: DictionaryShelf;
  readonly #sizeMax: number;
  /** What the last body that was opened came under. */
  origin: Origin = null;

  constructor(parts: {
    blocks: BlockCompressor;
    engines: Engines;
    keys: OpeningKeys;
    binder: ContextBinder;
    dictionaries: DictionaryShelf;
    sizeMax: number;
  }) {
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#keys = parts.keys;
    this.#binder = parts.binder;
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
    if ((envelope.flags & CHUNK) !== 0) {
      throw new CodecError("BAD_FLAGS", "a chunk of a stream, for openStream()");
    }
    const body = this.verify(bytes, envelope, context);
    if (!envelope.isCompressed) return body;
    const dictionary = this.#dictionaries.requiredBy(bytes, envelope);
    return this.#blocks.decompress(body, this.#sizeMax, envelope.plainSize, dictionary);
  }

  /**
   * The payload, verified, decrypted and marked as opened, but not decompressed; a view that the
   * next use of the engines overwrites.
   *
   * @throws CodecError as open(), up to `STALE`
   */
  verify(bytes: Uint8Array, envelope: Envelope, context: CodecContext): Uint8Array {
    this.#requirePayloadSize(bytes, envelope);
    return this.#verify(bytes, envelope, context);
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
    const key = this.#keys.admit(bytes, envelope, context);
    // Hints, and in clear: they say which of the causes it is, for the tag cannot. Whoever forges
    // one to pass here fails at the tag, whose associated data has the context itself.
    if (envelope.targetCheck !== this.#binder.targetCheckOf(context)) {
      const reason = `the body is not for the ${context.direction} of ${context.service}`;
      throw new CodecError("REDIRECTED", reason);
    }
    if (envelope.requestCheck !== requestCheckOf(context.requestId)) {
      throw new CodecError("SWAPPED", "the body is of another request");
    }
    this.origin = null;
    if (envelope.isAgreed) return this.#verifyAgreed(bytes, envelope, context);
    if (key === undefined) return bytes.subarray(envelope.payloadAt);
    const plain = this.#decrypt(bytes, envelope, context, key);
    // Not opened: with the dictionary at hand it may be. And only who can seal learns which are.
    this.#dictionaries.requiredBy(bytes, envelope);
    this.#keys.markOpened(bytes, null, context);
    return plain;
  }

  #verifyAgreed(bytes: Uint8Array, envelope: Envelope, context: CodecContext): Uint8Array {
    const session = this.#keys.sessionOf(bytes, envelope);
    let plain: Uint8Array;
    try {
      plain = this.#decrypt(bytes, envelope, context, session.key);
    } catch (error) {
      this.#keys.drop(session);
      throw error;
    }
    this.#keys.keep(session);
    this.#dictionaries.requiredBy(bytes, envelope);
    this.#keys.markOpened(bytes, session, context);
    this.origin = session;
    return plain;
  }

  #decrypt(
    bytes: Uint8Array,
    envelope: Envelope,
    context: CodecContext,
    key: EngineKey,
  ): Uint8Array {
    const payload = bytes.subarray(envelope.payloadAt);
    const associated = this.#binder.associate(bytes, envelope, context);
    const plain = this.#engines.decrypt(payload, associated, nonceOf(bytes), key);
    if (plain !== undefined) return plain;
    throw new CodecError("TAMPERED", "the tag does not verify for this body and context");
  }
}
