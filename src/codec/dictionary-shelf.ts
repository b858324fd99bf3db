import type { CodecContext } from "./context.js";
import { type Dictionary, dictionaryBytes, digestTextOf } from "./dictionary.js";
import { DICTIONARY, type Envelope, readEnvelope, setU32, u32 } from "./envelope.js";
import { CodecError } from "./errors.js";
import { type LinearMemory, SLACK_SIZE } from "./linear-memory.js";

/** Each takes 64 KiB and its own size of memory. */
export const DICTIONARIES_COUNT_MAX = 16;

/** A dictionary in the codec's memory. */
export interface HeldDictionary {
  digestText: string;
  /** The digest, a u64, in halves. */
  low: number;
  high: number;
  /** Where its bytes begin, and how many they are. */
  offset: number;
  size: number;
  /** Where its index is: assembly/lz4-dictionary.ts. */
  index: number;
}

/** The dictionaries that a codec holds; the first compresses, all open. */
export class DictionaryShelf {
  readonly #held: HeldDictionary[] = [];

  /** @throws RangeError, TypeError that name the option */
  constructor(memory: LinearMemory, dictionaries: readonly Dictionary[]) {
    if (dictionaries.length > DICTIONARIES_COUNT_MAX) {
      const most = `dictionaries must be at most ${DICTIONARIES_COUNT_MAX}`;
      throw new RangeError(`${most}, got ${dictionaries.length}`);
    }
    for (const dictionary of dictionaries) {
      // Before anything is asked of it: it may be no dictionary.
      const bytes = dictionaryBytes(dictionary);
      const { digestText } = dictionary;
      if (this.find(digestText) !== undefined) {
        throw new RangeError(`dictionaries must differ, got ${digestText} twice`);
      }
      this.#held.push(shelve(memory, digestText, bytes));
    }
  }

  /** The digests held, in the order given. */
  get digestTexts(): string[] {
    return this.#held.map(({ digestText }) => digestText);
  }

  /** The one of this digest; undefined where it is not held. */
  find(digestText: string): HeldDictionary | undefined {
    return this.#held.find((held) => held.digestText === digestText);
  }

  /** The one of this digest. @throws RangeError that names the argument */
  require(name: string, digestText: string): HeldDictionary {
    const held = this.find(digestText);
    if (held === undefined) {
      const holds = this.digestTexts.join(", ") || "none";
      throw new RangeError(`${name} must be the digest of one held (${holds}), got ${digestText}`);
    }
    return held;
  }

  /** The one to seal for a context with; undefined for none. @throws RangeError */
  chosenFor({ dictionary }: CodecContext): HeldDictionary | undefined {
    if (dictionary === undefined) return this.#held[0];
    return dictionary === null ? undefined : this.require("context.dictionary", dictionary);
  }

  /** The one that an envelope names; undefined when it names none, or one that is not held. */
  namedBy(bytes: Uint8Array, { flags, fieldsAt }: Envelope): HeldDictionary | undefined {
    if ((flags & DICTIONARY) === 0) return undefined;
    const low = u32(bytes, fieldsAt);
    const high = u32(bytes, fieldsAt + 4);
    return this.#held.find((held) => held.low === low && held.high === high);
  }

  /** The digest that an envelope names, when it is held. */
  digestNamedBy(bytes: Uint8Array): string | null {
    if (this.#held.length === 0) return null;
    return this.namedBy(bytes, readEnvelope(bytes))?.digestText ?? null;
  }

  /**
   * The one that an envelope's block refers to; undefined for none.
   *
   * @throws CodecError `UNKNOWN_DICTIONARY` that names the digest
   */
  requiredBy(bytes: Uint8Array, envelope: Envelope): HeldDictionary | undefined {
    // Without a block the name is an offer: nothing of this body depends on it.
    if ((envelope.flags & DICTIONARY) === 0 || !envelope.isCompressed) return undefined;
    const held = this.namedBy(bytes, envelope);
    if (held === undefined) {
      const digestText = digestTextOf(bytes, envelope.fieldsAt);
      const holds = this.digestTexts.join(", ") || "none";
      const reason = `compressed with ${digestText}, dictionaries held: ${holds}`;
      throw new CodecError("UNKNOWN_DICTIONARY", reason);
    }
    return held;
  }
}

/** Writes the DICTIONARY field. */
export function writeDictionary(bytes: Uint8Array, at: number, { low, high }: HeldDictionary) {
  setU32(bytes, at, low);
  setU32(bytes, at + 4, high);
}

function shelve(memory: LinearMemory, digestText: string, bytes: Uint8Array): HeldDictionary {
  const held: HeldDictionary = {
    digestText,
    low: Number.parseInt(digestText.slice(8), 16),
    high: Number.parseInt(digestText.slice(0, 8), 16),
    offset: 0,
    size: bytes.length,
    index: 0,
  };
  const indexAt = (bytes.length + SLACK_SIZE + 15) & ~15;
  memory.hold(indexAt + memory.exports.indexSize(), (offset) => {
    held.offset = offset;
    held.index = offset + indexAt;
    memory.u8.set(bytes, held.offset);
    memory.exports.indexDictionary(held.offset, held.size, held.index);
  });
  return held;
}
