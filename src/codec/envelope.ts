import { NONCE_SIZE, SESSION_SIZE, TAG_SIZE } from "./aead.js";
import { CodecError } from "./errors.js";

// docs/codec.md 1: an envelope, integers little-endian.
//
//    0         1         2             4              8                12
//   | version | flags   | reserved u16 | plainSize u32 | targetCheck u32 | requestCheck u32 |
//   16                  20                        44
//   | keyId u32         | nonce 24 B, if SEALED   | fields | payload; and its tag, if SEALED  |
//
// The fields are those that the flags announce, in the order of the flags.

export const VERSION = 1;
export const HEADER_SIZE = 20;

export const COMPRESSED = 0x01;
export const SEALED = 0x02;
/** The body is bytes, not MessagePack; so far only with CHUNK. */
export const RAW = 0x04;
/** A dictionary's digest, u64: what the block refers to, or what a reply may refer to. */
export const DICTIONARY = 0x08;
/** An X25519 public key. */
export const AGREED = 0x10;
/** The place in a stream. */
export const CHUNK = 0x20;
/** What this version of the codec understands. */
const KNOWN_FLAGS = COMPRESSED | SEALED | RAW | DICTIONARY | AGREED | CHUNK;

const PLAIN_SIZE_AT = 4;
const TARGET_CHECK_AT = 8;
const REQUEST_CHECK_AT = 12;
const KEY_ID_AT = 16;
const NONCE_AT = HEADER_SIZE;

export const DICTIONARY_FIELD_SIZE = 8;
export const AGREED_FIELD_SIZE = 32;
export const CHUNK_FIELD_SIZE = 16;
/** The counter of chunk 0, which names its stream; the first of the CHUNK field. */
export const STREAM_NAME_SIZE = 8;

/** What an envelope's header says; anyone may read it, only a verified tag makes it true. */
export interface Envelope {
  /** The flags, as in the header. */
  flags: number;
  /** Whether the payload is sealed under a key. */
  isSealed: boolean;
  /** Whether that key was agreed on by the client's public key, which is among the fields. */
  isAgreed: boolean;
  /** Whether the plain bytes are an LZ4 block. */
  isCompressed: boolean;
  /** Bytes of the body before compression. */
  plainSize: number;
  /** CRC-32 of direction and service: a hint, see docs/codec.md. */
  targetCheck: number;
  /** CRC-32 of the request id: a hint. */
  requestCheck: number;
  /** The key that sealed it, or the service key agreed with; 0 when it is not sealed. */
  keyId: number;
  /** Where the fields begin. */
  fieldsAt: number;
  /** Where the payload begins. */
  payloadAt: number;
}

/** What a header is written from. */
export type Header = Pick<
  Envelope,
  "flags" | "plainSize" | "targetCheck" | "requestCheck" | "keyId"
>;

/** @internal */
export function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** @internal */
export function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

/** What is looked at more than once: bytes of a SharedArrayBuffer, which could change, as a copy. */
export function steadyBytes(bytes: Uint8Array): Uint8Array {
  return bytes.buffer instanceof ArrayBuffer ? bytes : new Uint8Array(bytes);
}

/**
 * Reads an envelope's header, without a key.
 *
 * @throws CodecError `TRUNCATED`, `BAD_VERSION`, `BAD_FLAGS`
 */
export function readEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length === 0) throw new CodecError("TRUNCATED", "an envelope has 20 bytes, got 0");
  if (bytes[0] !== VERSION) {
    throw new CodecError("BAD_VERSION", `version must be ${VERSION}, got ${bytes[0]}`);
  }
  if (bytes.length < HEADER_SIZE) {
    throw new CodecError("TRUNCATED", `an envelope has 20 bytes or more, got ${bytes.length}`);
  }
  const flags = bytes[1];
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw new CodecError("BAD_FLAGS", `flags 0x${flags.toString(16)} has reserved bits set`);
  }
  if (((flags & RAW) === 0) !== ((flags & CHUNK) === 0)) {
    throw new CodecError("BAD_FLAGS", "RAW goes with CHUNK, and only with it");
  }
  if (bytes[2] !== 0 || bytes[3] !== 0) {
    throw new CodecError("BAD_FLAGS", "the reserved bytes 2 and 3 must be 0");
  }
  const isSealed = (flags & SEALED) !== 0;
  const keyId = u32(bytes, KEY_ID_AT);
  if ((keyId !== 0) !== isSealed) {
    throw new CodecError("BAD_FLAGS", "a key id goes with SEALED, and only with it");
  }
  const isAgreed = (flags & AGREED) !== 0;
  if (isAgreed && !isSealed) throw new CodecError("BAD_FLAGS", "AGREED goes with SEALED only");
  const fieldsAt = fieldsAtOf(flags);
  const payloadAt = fieldsAt + fieldsSizeOf(flags);
  const sizeMin = isSealed ? payloadAt + TAG_SIZE : payloadAt;
  if (bytes.length < sizeMin) {
    const reason = `an envelope of flags ${flags} has ${sizeMin} bytes or more, got ${bytes.length}`;
    throw new CodecError("TRUNCATED", reason);
  }
  return {
    flags,
    isSealed,
    isAgreed,
    isCompressed: (flags & COMPRESSED) !== 0,
    plainSize: u32(bytes, PLAIN_SIZE_AT),
    targetCheck: u32(bytes, TARGET_CHECK_AT),
    requestCheck: u32(bytes, REQUEST_CHECK_AT),
    keyId,
    fieldsAt,
    payloadAt,
  };
}

/** Where the fields of an envelope with these flags begin. */
export function fieldsAtOf(flags: number): number {
  return (flags & SEALED) === 0 ? HEADER_SIZE : NONCE_AT + NONCE_SIZE;
}

/** Bytes of the fields that the flags announce. */
export function fieldsSizeOf(flags: number): number {
  return (
    ((flags & DICTIONARY) === 0 ? 0 : DICTIONARY_FIELD_SIZE) +
    ((flags & AGREED) === 0 ? 0 : AGREED_FIELD_SIZE) +
    ((flags & CHUNK) === 0 ? 0 : CHUNK_FIELD_SIZE)
  );
}

/** Where the client's public key stands in an envelope with these flags, AGREED among them. */
export function agreedAtOf(flags: number): number {
  return fieldsAtOf(flags) + ((flags & DICTIONARY) === 0 ? 0 : DICTIONARY_FIELD_SIZE);
}

/** Writes every byte of a header at the beginning of `bytes`. */
export function writeHeader(bytes: Uint8Array, envelope: Header): void {
  bytes[0] = VERSION;
  bytes[1] = envelope.flags;
  bytes[2] = 0;
  bytes[3] = 0;
  setU32(bytes, PLAIN_SIZE_AT, envelope.plainSize);
  setU32(bytes, TARGET_CHECK_AT, envelope.targetCheck);
  setU32(bytes, REQUEST_CHECK_AT, envelope.requestCheck);
  setU32(bytes, KEY_ID_AT, envelope.keyId);
}

/** The nonce of a sealed envelope. */
export function nonceOf(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(NONCE_AT, NONCE_AT + NONCE_SIZE);
}

/**
 * The nonce that was put in an envelope, from the array it came in: that is the envelope's still if
 * its counter is, and saves a view. It may not be: bytes of a context may have a `length` of the
 * caller's own, which seals.
 */
export function nonceIn(envelope: Uint8Array, given: Uint8Array): Uint8Array {
  const isSame = u32(envelope, NONCE_AT + SESSION_SIZE) === u32(given, SESSION_SIZE);
  return isSame ? given : nonceOf(envelope);
}

/** Key id and session id of a sealed envelope, as a string that no other pair has. */
export function sessionOf(bytes: Uint8Array): string {
  let session = "";
  for (let at = KEY_ID_AT; at < NONCE_AT + SESSION_SIZE; at += 2) {
    session += String.fromCharCode(bytes[at] | (bytes[at + 1] << 8));
  }
  return session;
}

/** The counter in a sealed envelope's nonce; exact below 2^53. */
export function counterOf(bytes: Uint8Array): number {
  const at = NONCE_AT + SESSION_SIZE;
  return u32(bytes, at) + u32(bytes, at + 4) * 4_294_967_296;
}

/**
 * The place of a chunk in its stream, the last of the fields:
 *
 *   | counter of chunk 0 u64 | index u32 | isLast u8 | 0 u24 |
 *
 * @throws CodecError `BAD_FLAGS`
 */
export function chunkFieldOf(
  bytes: Uint8Array,
  { payloadAt }: Envelope,
): { name: string; index: number; isLast: boolean } {
  const at = payloadAt - CHUNK_FIELD_SIZE;
  const last = u32(bytes, at + STREAM_NAME_SIZE + 4);
  if (last > 1) throw new CodecError("BAD_FLAGS", "a chunk's isLast must be 0 or 1, then 0s");
  const name = String.fromCharCode(...bytes.subarray(at, at + STREAM_NAME_SIZE));
  return { name, index: u32(bytes, at + STREAM_NAME_SIZE), isLast: last === 1 };
}

/** Whether the stream is named by this chunk's own counter, as it is by that of its first. */
export function isNamedByItself(bytes: Uint8Array, { payloadAt }: Envelope): boolean {
  const [nameAt, counterAt] = [payloadAt - CHUNK_FIELD_SIZE, NONCE_AT + SESSION_SIZE];
  for (let at = 0; at < STREAM_NAME_SIZE; at++) {
    if (bytes[nameAt + at] !== bytes[counterAt + at]) return false;
  }
  return true;
}

/** A counter may not reach this: its session ends, and another one begins. */
export const COUNTER_END = 2 ** 48;

/** Nonces that never repeat under a key: | session 16 bytes, random | counter u64 |. */
export class NonceSequence {
  readonly #nonce = new Uint8Array(NONCE_SIZE);
  #counter: number;

  /**
   * @param first the first counter; only the suite begins elsewhere than at 0
   * @param session 16 bytes, for a key that has no other sender and ends before its counter does
   */
  constructor(first = 0, session?: Uint8Array) {
    this.#counter = first;
    if (session === undefined) this.#renew();
    else this.#nonce.set(session);
  }

  /** How many came before, of this session. */
  get counter(): number {
    return this.#counter;
  }

  #renew(): void {
    crypto.getRandomValues(this.#nonce.subarray(0, SESSION_SIZE));
  }

  /** The next nonce; the array is overwritten by the next call. */
  next(): Uint8Array {
    if (this.#counter >= COUNTER_END) {
      this.#renew();
      this.#counter = 0;
    }
    setU32(this.#nonce, SESSION_SIZE, this.#counter >>> 0);
    setU32(this.#nonce, SESSION_SIZE + 4, Math.floor(this.#counter / 4_294_967_296));
    this.#counter++;
    return this.#nonce;
  }
}
