import { type Aead, copySecret, SECRET_SIZE } from "./aead.js";
import { NonceSequence } from "./envelope.js";
import { type CodecKey, idTextOf, secretBytes } from "./keys.js";

interface Held<Key> {
  id: number;
  secret: Uint8Array;
  key: Key;
}

/** What one body is sealed with; the nonce is overwritten by the next of its sequence. */
export interface Sealing<Key> {
  id: number;
  key: Key;
  nonce: Uint8Array;
}

/** A key that goes on sealing for who holds on to it, when another has become the first. */
export interface SealingHold<Key> {
  /** Undefined once the ring has left the key out. */
  next(): Sealing<Key> | undefined;
}

/** The keys that a codec holds: the first seals, all open. */
export class KeyRing<Key> {
  readonly #aead: Aead<Key>;
  #held = new Map<number, Held<Key>>();
  #sealing: Held<Key> | undefined;
  #nonces: NonceSequence | undefined;

  constructor(aead: Aead<Key>) {
    this.#aead = aead;
  }

  get ids(): number[] {
    return [...this.#held.keys()];
  }

  get isEmpty(): boolean {
    return this.#held.size === 0;
  }

  /** The key to open with, or undefined. */
  find(id: number): Key | undefined {
    return this.#held.get(id)?.key;
  }

  /** The key to seal with and its next nonce, or undefined without keys. */
  next(): Sealing<Key> | undefined {
    if (this.#sealing === undefined || this.#nonces === undefined) return undefined;
    const { id, key } = this.#sealing;
    return { id, key, nonce: this.#nonces.next() };
  }

  /** The key that seals now, for more than one body; undefined without keys. */
  hold(): SealingHold<Key> | undefined {
    const [sealing, nonces] = [this.#sealing, this.#nonces];
    if (sealing === undefined || nonces === undefined) return undefined;
    const { id, key } = sealing;
    const isHeld = () => this.#held.get(id) === sealing;
    return { next: () => (isHeld() ? { id, key, nonce: nonces.next() } : undefined) };
  }

  /** Replaces all keys, or, when it throws, none. */
  replace(keys: readonly CodecKey[]): void {
    if (!Array.isArray(keys) || keys.length === 0) {
      // An empty list would turn encryption off without anyone having said so.
      throw new RangeError(`keys must hold a key or more, got ${keys?.length ?? typeof keys}`);
    }
    const secrets = new Map<number, Uint8Array>();
    for (const key of keys) {
      const secret = secretBytes(key);
      const other = secrets.get(key.id);
      if (other !== undefined && !isSame(other, secret)) {
        throw new RangeError(`keys must differ in id, got two of ${idTextOf(key.id)}`);
      }
      secrets.set(key.id, secret);
    }
    const before = this.#held;
    const after = new Map<number, Held<Key>>();
    for (const [id, secret] of secrets) {
      const known = before.get(id);
      const isKnown = known !== undefined && isSame(known.secret, secret);
      // A copy: the caller may wipe or change what it gave.
      const held = isKnown
        ? known
        : { id, secret: copySecret(secret), key: this.#aead.addKey(secret) };
      after.set(id, held);
    }
    for (const held of before.values()) if (after.get(held.id) !== held) this.#drop(held);
    this.#held = after;
    const sealing = after.get(keys[0].id);
    // A session belongs to one key; a key that goes on sealing goes on counting.
    if (sealing !== this.#sealing) this.#nonces = new NonceSequence();
    this.#sealing = sealing;
  }

  #drop(held: Held<Key>): void {
    this.#aead.dropKey(held.key);
    held.secret.fill(0);
  }

  /** Ids and secrets of all keys, the one that seals first, in an array to be wiped. */
  copySecrets(): { ids: number[]; secrets: Uint8Array } {
    const { ids } = this;
    const secrets = new Uint8Array(ids.length * SECRET_SIZE);
    let at = 0;
    for (const { secret } of this.#held.values()) {
      secrets.set(secret, at);
      at += SECRET_SIZE;
    }
    return { ids, secrets };
  }

  /** Wipes all keys. */
  clear(): void {
    for (const held of this.#held.values()) this.#drop(held);
    this.#held.clear();
    this.#sealing = undefined;
    this.#nonces = undefined;
  }
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return left.every((byte, index) => byte === right[index]);
}
