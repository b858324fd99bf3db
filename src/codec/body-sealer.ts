import { TAG_SIZE } from "./aead.js";
import { newBytes } from "./assets.js";
import type { BlockCompressor } from "./block.js";
import type { Origin, Sealing, SealingKeys } from "./body-keys.js";
import { type CodecContext, type ContextBinder, requestCheckOf } from "./context.js";
import { type DictionaryShelf, type HeldDictionary, writeDictionary } from "./dictionary-shelf.js";
import type { Engines } from "./engines.js";
import {
  AGREED,
  agreedAtOf,
  CHUNK_FIELD_SIZE,
  COMPRESSED,
  DICTIONARY,
  DICTIONARY_FIELD_SIZE,
  fieldsAtOf,
  fieldsSizeOf,
  HEADER_SIZE,
  nonceIn,
  SEALED,
  writeHeader,
} from "./envelope.js";
import type { LinearMemory } from "./linear-memory.js";
import { DICTIONARY_PLAIN_MAX, DICTIONARY_PLAIN_MIN, isWorthCompressing } from "./probe.js";

/** Bytes on the way out count as smaller when a sixteenth at least is saved. */
const SAVED_SHIFT = 4;

/** Packed bytes to an envelope: compressed where that pays, encrypted, copied out once. */
export class BodySealer {
  readonly #memory: LinearMemory;
  readonly #blocks: BlockCompressor;
  readonly #engines: Engines;
  readonly #keys: SealingKeys;
  readonly #binder: ContextBinder;
  readonly #dictionaries: DictionaryShelf;
  readonly #isCompressing: boolean;

  constructor(parts: {
    memory: LinearMemory;
    blocks: BlockCompressor;
    engines: Engines;
    keys: SealingKeys;
    binder: ContextBinder;
    dictionaries: DictionaryShelf;
    isCompressing: boolean;
  }) {
    this.#memory = parts.memory;
    this.#blocks = parts.blocks;
    this.#engines = parts.engines;
    this.#keys = parts.keys;
    this.#binder = parts.binder;
    this.#dictionaries = parts.dictionaries;
    this.#isCompressing = parts.isCompressing;
  }

  /**
   * The envelope of the `plainSize` bytes at the memory's top, for a context that was checked.
   *
   * @param origin of the request that it answers, where that is known
   */
  seal(plainSize: number, context: CodecContext, origin?: Origin): Uint8Array {
    const memory = this.#memory;
    const top = memory.top;
    const dictionary = this.#isCompressing ? this.#dictionaries.chosenFor(context) : undefined;
    const block = this.#squeeze(top, plainSize, dictionary);
    // A request names it also where it is not compressed: the reply may then refer to it.
    const isNamed =
      dictionary !== undefined &&
      (block === undefined ? context.direction === "request" : isFitForDictionary(plainSize));
    // Taken now: compressing may have moved the memory.
    const body = block ?? memory.u8.subarray(top, top + plainSize);
    const flags = (block === undefined ? 0 : COMPRESSED) | (isNamed ? DICTIONARY : 0);
    const sealing = this.#keys.sealing(context, origin);
    return this.wrap(body, { flags, plainSize, sealing, dictionary }, context);
  }

  /**
   * A body in an envelope of these flags, sealed by what `sealing` names.
   *
   * @param body what stands in it, compressed if the flags say so
   * @param dictionary what the DICTIONARY field names, when the flags have it
   * @param chunk the CHUNK field, when the flags have it
   */
  wrap(
    body: Uint8Array,
    parts: {
      flags: number;
      plainSize: number;
      sealing?: Sealing;
      dictionary?: HeldDictionary;
      chunk?: Uint8Array;
    },
    context: CodecContext,
  ): Uint8Array {
    const { plainSize, sealing, dictionary, chunk } = parts;
    const flags =
      parts.flags |
      (sealing === undefined ? 0 : SEALED) |
      (sealing?.publicKey === undefined ? 0 : AGREED);
    const fieldsAt = fieldsAtOf(flags);
    const payloadAt = fieldsAt + fieldsSizeOf(flags);
    const tagSize = sealing === undefined ? 0 : TAG_SIZE;
    const envelope = newBytes(payloadAt + body.length + tagSize);
    // First of all: from here on it is the envelope's, whoever else seals meanwhile.
    if (sealing !== undefined) envelope.set(sealing.nonce, HEADER_SIZE);
    writeHeader(envelope, {
      flags,
      plainSize,
      targetCheck: this.#binder.targetCheckOf(context),
      requestCheck: requestCheckOf(context.requestId),
      keyId: sealing?.id ?? 0,
    });
    if (dictionary !== undefined && (flags & DICTIONARY) !== 0) {
      writeDictionary(envelope, fieldsAt, dictionary);
    }
    if (chunk !== undefined) envelope.set(chunk, payloadAt - CHUNK_FIELD_SIZE);
    if (sealing === undefined) {
      envelope.set(body, payloadAt);
      return envelope;
    }
    if (sealing.publicKey !== undefined) envelope.set(sealing.publicKey, agreedAtOf(flags));
    const associated = this.#binder.associate(envelope, { fieldsAt, payloadAt }, context);
    const nonce = nonceIn(envelope, sealing.nonce);
    this.#engines.encrypt(body, associated, nonce, sealing.key, envelope, payloadAt);
    return envelope;
  }

  /** The block of the bytes from the memory's top on, where it pays. */
  #squeeze(
    top: number,
    size: number,
    dictionary: HeldDictionary | undefined,
  ): Uint8Array | undefined {
    if (!this.#isCompressing) return undefined;
    const memory = this.#memory;
    memory.top = top + size;
    const plain = memory.u8.subarray(top, memory.top);
    let block: Uint8Array;
    let sizeMost = size - (size >>> SAVED_SHIFT);
    if (dictionary !== undefined && isFitForDictionary(size)) {
      block = this.#blocks.compress(plain, dictionary);
      sizeMost -= DICTIONARY_FIELD_SIZE;
    } else {
      if (!isWorthCompressing(plain, this.#blocks)) return undefined;
      block = this.#blocks.compress(memory.u8.subarray(top, top + size));
    }
    return block.length <= sizeMost ? block : undefined;
  }
}

/** Whether a body of this size is compressed with a dictionary where there is one. */
function isFitForDictionary(size: number): boolean {
  return size >= DICTIONARY_PLAIN_MIN && size <= DICTIONARY_PLAIN_MAX;
}
