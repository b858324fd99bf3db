import { CodecError } from "./errors.js";
import { allocate, release, type SodiumExports } from "./sodium.js";

// What the three kinds of keys have in common: 32 bytes, an id that is a hash of them, and a text
// for a file: | prefix | . | id, 8 hex digits | . | bytes, base64url without padding, 43 |

export const KEY_SIZE = 32;

/** A kind of key. The domain makes its id a hash of nothing else that anyone hashes keys for. */
export interface KeyKind {
  /** What it is called where it is refused. */
  name: string;
  prefix: string;
  domain: Uint8Array;
}

/** A key's id as eight hexadecimal digits, as the key's text has it. */
export function idTextOf(id: number): string {
  return id.toString(16).padStart(8, "0");
}

/** The first 4 bytes, little-endian, of BLAKE2b-256(domain || bytes); 1 in place of 0. */
export function idOf(sodium: SodiumExports, { domain }: KeyKind, bytes: Uint8Array): number {
  const inputSize = domain.length + KEY_SIZE;
  const offset = allocate(sodium, 32 + inputSize);
  try {
    sodium.HEAPU8.set(domain, offset + 32);
    sodium.HEAPU8.set(bytes, offset + 32 + domain.length);
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

/** A copy of the 32 bytes of a key. @throws CodecError `KEY_INVALID` when there are not 32 */
export function keyBytes({ name }: KeyKind, bytes: Uint8Array): Uint8Array {
  if (!(bytes instanceof Uint8Array) || bytes.length !== KEY_SIZE) {
    throw new CodecError("KEY_INVALID", `a ${name} has ${KEY_SIZE} bytes, got ${bytes?.length}`);
  }
  return Uint8Array.from(bytes);
}

export function formatText({ prefix }: KeyKind, idText: string, bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes));
  const base64url = base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${prefix}.${idText}.${base64url}`;
}

/**
 * The key of a text, made of its bytes by `make`; space around the text is ignored. No part of it
 * is repeated in an error: it may be most of a secret.
 *
 * @throws CodecError `KEY_INVALID` when the form, the size or the id is wrong
 */
export async function parseText<K extends { idText: string }>(
  { name, prefix }: KeyKind,
  text: string,
  make: (bytes: Uint8Array) => Promise<K>,
): Promise<K> {
  const parts = typeof text === "string" ? text.trim().split(".") : [];
  const [first, idText, base64url] = parts;
  if (parts.length !== 3 || first !== prefix) {
    throw new CodecError("KEY_INVALID", `a ${name}'s text is ${prefix}.<id>.<43 of base64url>`);
  }
  // 43 characters hold 258 bits: the last one has two bits to spare, which must be zero.
  if (!/^[0-9a-f]{8}$/.test(idText) || !/^[\w-]{42}[AEIMQUYcgkosw048]$/.test(base64url)) {
    throw new CodecError(
      "KEY_INVALID",
      `a ${name}'s id is 8 hex digits, its bytes 43 of base64url`,
    );
  }
  const binary = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const key = await make(bytes);
  bytes.fill(0);
  if (key.idText !== idText) {
    const reason = `the ${name}'s id is ${key.idText}, its text says ${idText}`;
    throw new CodecError("KEY_INVALID", reason);
  }
  return key;
}

/** A new key's bytes, of which any 32 do. */
export function randomBytes(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(KEY_SIZE));
}
