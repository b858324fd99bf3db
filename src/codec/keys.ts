import {
  formatText,
  idOf,
  idTextOf,
  type KeyKind,
  keyBytes,
  parseText,
  randomBytes,
} from "./key-text.js";
import { loadSodium, type SodiumExports } from "./sodium.js";

const KIND: KeyKind = {
  name: "key",
  prefix: "wasmq-key-1",
  domain: new TextEncoder().encode("wasmq-key-id-1"),
};

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

export { idTextOf };

/** The secret itself, not a copy. */
export function secretBytes(key: CodecKey): Uint8Array {
  const secret = secretOf.get(key);
  if (secret === undefined) throw new TypeError(`key must be a CodecKey, got ${typeof key}`);
  return secret;
}

/** The id of a secret that seals and opens. */
export function secretIdOf(sodium: SodiumExports, secret: Uint8Array): number {
  return idOf(sodium, KIND, secret);
}

/** A new random key. */
export async function generateKey(): Promise<CodecKey> {
  const secret = randomBytes();
  return new CodecKey(secretIdOf(await loadSodium(), secret), secret);
}

/**
 * A key of 32 bytes that come from elsewhere, such as a key management service. The bytes are
 * copied; they must be uniformly random, not a password.
 *
 * @throws CodecError `KEY_INVALID` when there are not 32
 */
export async function importKey(secret: Uint8Array): Promise<CodecKey> {
  const copy = keyBytes(KIND, secret);
  return new CodecKey(secretIdOf(await loadSodium(), copy), copy);
}

/** The key as one token for a key file: `wasmq-key-1.<id, 8 hex>.<secret, base64url>`. Secret! */
export function formatKey(key: CodecKey): string {
  return formatText(KIND, idTextOf(key.id), secretBytes(key));
}

/**
 * Reads the token of {@link formatKey}; space around it is ignored. No part of the text is
 * repeated in an error: it may be most of a secret.
 *
 * @throws CodecError `KEY_INVALID` when the form, the size or the id is wrong
 */
export function parseKey(text: string): Promise<CodecKey> {
  return parseText(KIND, text, importKey);
}
