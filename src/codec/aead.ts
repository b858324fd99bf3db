export const NONCE_SIZE = 24;
export const TAG_SIZE = 16;
export const SECRET_SIZE = 32;
/** The bytes of a nonce that choose the subkey, and that a sender keeps for a session. */
export const SESSION_SIZE = 16;

/**
 * XChaCha20-Poly1305-IETF (draft-irtf-cfrg-xchacha-03). Every engine writes the same bytes; what a
 * key is, each has its own idea of.
 */
export interface Aead<Key> {
  /** The secret is copied. */
  addKey(secret: Uint8Array): Key;
  /** Wipes the copy and all that was derived from it. */
  dropKey(key: Key): void;

  /** Writes ciphertext and tag, `plain.length + TAG_SIZE` bytes, into `target` at `offset`. */
  encrypt(
    plain: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: Key,
    target: Uint8Array,
    offset: number,
  ): void;

  /**
   * The plain bytes, good until settle() or the next use, or undefined when the tag does not
   * verify. `sealed` is ciphertext and tag, at least TAG_SIZE bytes.
   */
  decrypt(
    sealed: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: Key,
  ): Uint8Array | undefined;

  /** Ends the use of what decrypt() returned; gives back what a large body took. */
  settle(): void;
  /** Wipes and frees all but the keys. */
  free(): void;
}

/** A copy that fill(0) wipes: small arrays live where the garbage collector moves and copies. */
export function copySecret(secret: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(secret.length));
  copy.set(secret);
  return copy;
}
