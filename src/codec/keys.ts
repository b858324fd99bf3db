import { CodecError } from "./errors.js";
import { type SodiumExports, allocate, loadSodium, release } from "./sodium.js";

export const KEY_SIZE = 32;
const TEXT_PREFIX = "wasmq-key-1";
// Makes the id a hash of nothing else that anyone hashes keys for.
const ID_DOMAIN = new TextEncoder().encode("wasmq-key-id-1");

const secretOf = new WeakMap<CodecKey, Uint8Array>();

/**
 * A key of 32 bytes that seals and opens. Made by {@link generateKey}, {@link importKey} or
 * {@link parseKey}. It does not show its secret when it is logged, inspected or serialized;
 * {@link formatKey} does.
 */
export class CodecKey {
  /** 1..2^32-1, derived from the secret: an id and a key never disagree. */
  readonly id: number;

  /** @internal */
  constructor(id: number, secret: Uint8Array) {
    this.id = id;
    secretOf.set(this, secret);
    Object.freeze(this);
  }

  /** The id as eight hexadecimal digits. */
  get idText(): string {
    return idTextOf(this.id);
  }

  toString(): string {
    return `CodecKey ${this.idText}`;
  }
}

/** A key's id as eight hexadecimal digits, as the key's text has it. */
export function idTextOf(id: number): string {
  return id.toString(16).padStart(8, "0");
}

/** The secret itself, not a copy. */
export function secretBytes(key: CodecKey): Uint8Array {
  const secret = secretOf.get(key);
  if (secret === undefined) throw new TypeError(`key must be a CodecKey, got ${typeof key}`);
  return secret;
}

/** The first 4 bytes, little-endian, of BLAKE2b-256(ID_DOMAIN || secret); 1 in place of 0. */
function idOf(sodium: SodiumExports, secret: Uint8Array): number {
  const inputSize = ID_DOMAIN.length + KEY_SIZE;
  const offset = allocate(sodium, 32 + inputSize);
  try {
    sodium.HEAPU8.set(ID_DOMAIN, offset + 32);
    sodium.HEAPU8.set(secret, offset + 32 + ID_DOMAIN.length);
    sodium._crypto_generichash(offset, 32, offset + 32, inputSize, 0, 0, 0);
    const hash = sodium.HEAPU8;
    const id =
      (hash[offset] |
        (hash[offset + 1] << 8) |
        (hash[offset + 2] << 16) |
        (hash[offset + 3] << 24)) >>>
      0;
    return id === 0 ? 1 : id;
  } finally {
    release(sodium, offset, 32 + inputSize);
  }
}

/** A new random key. */
export async function generateKey(): Promise<CodecKey> {
  const secret = crypto.getRandomValues(new Uint8Array(KEY_SIZE));
  return new CodecKey(idOf(await loadSodium(), secret), secret);
}

/**
 * A key of 32 bytes that come from elsewhere, such as a key management service. The bytes are
 * copied; they must be uniformly random, not a password.
 *
 * @throws CodecError `KEY_INVALID` when there are not 32
 */
export async function importKey(secret: Uint8Array): Promise<CodecKey> {
  if (!(secret instanceof Uint8Array) || secret.length !== KEY_SIZE) {
    throw new CodecError("KEY_INVALID", `a key has ${KEY_SIZE} bytes, got ${secret?.length}`);
  }
  const copy = Uint8Array.from(secret);
  return new CodecKey(idOf(await loadSodium(), copy), copy);
}

/** The key as one token for a key file: `wasmq-key-1.<id, 8 hex>.<secret, base64url>`. Secret! */
export function formatKey(key: CodecKey): string {
  const secret = btoa(String.fromCharCode(...secretBytes(key)));
  const base64url = secret.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${TEXT_PREFIX}.${key.idText}.${base64url}`;
}

/**
 * Reads the token of {@link formatKey}; space around it is ignored. No part of the text is
 * repeated in an error: it may be most of a secret.
 *
 * @throws CodecError `KEY_INVALID` when the form, the size or the id is wrong
 */
export async function parseKey(text: string): Promise<CodecKey> {
  const parts = typeof text === "string" ? text.trim().split(".") : [];
  const [prefix, idText, base64url] = parts;
  if (parts.length !== 3 || prefix !== TEXT_PREFIX) {
    throw new CodecError("KEY_INVALID", `a key's text is ${TEXT_PREFIX}.<id>.<secret>`);
  }
  // 43 characters hold 258 bits: the last one has two bits to spare, which must be zero.
  if (!/^[0-9a-f]{8}$/.test(idText) || !/^[\w-]{42}[AEIMQUYcgkosw048]$/.test(base64url)) {
    throw new CodecError("KEY_INVALID", "a key's id is 8 hex digits, its secret 43 of base64url");
  }
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  const key = await importKey(Uint8Array.from(binary, (character) => character.charCodeAt(0)));
  if (key.idText !== idText) {
    throw new CodecError("KEY_INVALID", `the key's id is ${key.idText}, its text says ${idText}`);
  }
  return key;
}
