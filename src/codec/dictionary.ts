import { CodecError } from "./errors.js";
import { requireBytes } from "./options.js";
import { allocate, loadSodium, release, type SodiumExports } from "./sodium.js";

/** Fewer bytes are no match. */
export const DICTIONARY_SIZE_MIN = 8;
/** As far back as an LZ4 offset reaches. */
export const DICTIONARY_SIZE_MAX = 65_536;
/** Makes the digest a hash of nothing else that anyone hashes. */
const DIGEST_DOMAIN = new TextEncoder().encode("wasmq-dictionary-1");

const bytesOf = new WeakMap<Dictionary, Uint8Array>();

/**
 * Bytes that messages are likely to have parts of: both ends hold them, and bodies refer to them.
 * Made by {@link importDictionary} or {@link trainDictionary}. It holds samples of messages in
 * clear, and does not show them when it is logged, inspected or serialized.
 */
export class Dictionary {
  /** The digest as sixteen hexadecimal digits: the name that bodies have for it. */
  readonly digestText: string;
  /** Its bytes, 8..65536. */
  readonly size: number;

  /** @internal */
  constructor(digestText: string, bytes: Uint8Array) {
    this.digestText = digestText;
    this.size = bytes.length;
    bytesOf.set(this, bytes);
    Object.freeze(this);
  }

  toString(): string {
    return `Dictionary ${this.digestText}`;
  }
}

/** The bytes themselves, not a copy. */
export function dictionaryBytes(dictionary: Dictionary): Uint8Array {
  const bytes = bytesOf.get(dictionary);
  if (bytes === undefined) {
    throw new TypeError(`dictionary must be a Dictionary, got ${typeof dictionary}`);
  }
  return bytes;
}

/** A copy of a dictionary's bytes, as any LZ4 library takes them. */
export function exportDictionary(dictionary: Dictionary): Uint8Array {
  return dictionaryBytes(dictionary).slice();
}

/**
 * A dictionary of these bytes, which are copied.
 *
 * @param digestText what its digest must be, where that is known
 * @throws CodecError `DICTIONARY_INVALID` when there are not 8..65536, or the digest is another
 */
export async function importDictionary(
  bytes: Uint8Array,
  digestText?: string,
): Promise<Dictionary> {
  requireBytes("bytes", bytes);
  if (bytes.length < DICTIONARY_SIZE_MIN || bytes.length > DICTIONARY_SIZE_MAX) {
    const reason = `a dictionary has ${DICTIONARY_SIZE_MIN}..${DICTIONARY_SIZE_MAX} bytes`;
    throw new CodecError("DICTIONARY_INVALID", `${reason}, got ${bytes.length}`);
  }
  const copy = Uint8Array.from(bytes);
  const found = digestOf(await loadSodium(), copy);
  if (digestText !== undefined && digestText !== found) {
    throw new CodecError("DICTIONARY_INVALID", `the digest is ${found}, not ${digestText}`);
  }
  return new Dictionary(found, copy);
}

/** The first 8 bytes, a little-endian number, of BLAKE2b-256(DIGEST_DOMAIN || bytes). */
function digestOf(sodium: SodiumExports, bytes: Uint8Array): string {
  const inputSize = DIGEST_DOMAIN.length + bytes.length;
  const offset = allocate(sodium, 32 + inputSize);
  try {
    sodium.HEAPU8.set(DIGEST_DOMAIN, offset + 32);
    sodium.HEAPU8.set(bytes, offset + 32 + DIGEST_DOMAIN.length);
    sodium._crypto_generichash(offset, 32, offset + 32, inputSize, 0, 0, 0);
    return digestTextOf(sodium.HEAPU8, offset);
  } finally {
    release(sodium, offset, 32 + inputSize);
  }
}

/** The u64 at an offset as sixteen hexadecimal digits. */
export function digestTextOf(bytes: Uint8Array, offset: number): string {
  let text = "";
  for (let at = offset + 7; at >= offset; at--) text += bytes[at].toString(16).padStart(2, "0");
  return text;
}
