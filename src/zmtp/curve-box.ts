// crypto_box of libsodium (Curve25519, XSalsa20-Poly1305), in its bare WASM exports: its wrappers make five
// arrays a call.
import sodium from "libsodium-wrappers";
import { decodeZ85, encodeZ85 } from "../base/z85.js";

export const KEY_SIZE = 32;
export const NONCE_SIZE = 24;
export const TAG_SIZE = 16;

/** Two keys agreed upon: what one side seals with it, the other opens with the same. */
export type SharedKey = Uint8Array;

export interface KeyPairBytes {
  publicKey: Uint8Array;
  secretKey: Uint8Array;
}

/** The exports that are used; all arguments but sizes are offsets in the heap, a size of 64 bits is two halves. */
interface Exports {
  HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(offset: number): void;
  _crypto_scalarmult_base(publicKey: number, secretKey: number): number;
  _crypto_box_keypair(publicKey: number, secretKey: number): number;
  _crypto_box_beforenm(shared: number, publicKey: number, secretKey: number): number;
  _crypto_box_easy_afternm(
    sealed: number,
    plain: number,
    plainSize: number,
    plainSizeHigh: number,
    nonce: number,
    shared: number,
  ): number;
  _crypto_box_open_easy_afternm(
    plain: number,
    sealed: number,
    sealedSize: number,
    sealedSizeHigh: number,
    nonce: number,
    shared: number,
  ): number;
}

/** Memory that had to grow past this is given back after the call that it grew for. */
const RETAINED_SIZE_MAX = 1024 * 1024;
const TEXT_SIZE_MIN = 128 * 1024;

/**
 * Everything is copied into memory of its own and out of it: the codec of the same process uses the same heap,
 * which moves when it grows.
 */
export class CurveBox {
  static #loading: Promise<CurveBox> | undefined;
  readonly #exports: Exports;
  /** Three keys at most, and a nonce. */
  readonly #keys: number;
  readonly #nonce: number;
  #text: number;
  #textSize = TEXT_SIZE_MIN;

  private constructor(exports: Exports) {
    this.#exports = exports;
    this.#keys = this.#allocate(3 * KEY_SIZE);
    this.#nonce = this.#allocate(NONCE_SIZE);
    this.#text = this.#allocate(TEXT_SIZE_MIN);
  }

  /** The one of this process, once libsodium is ready. */
  static load(): Promise<CurveBox> {
    CurveBox.#loading ??= sodium.ready.then(
      () => new CurveBox((sodium as unknown as { libsodium: Exports }).libsodium),
    );
    return CurveBox.#loading;
  }

  keyPair(): KeyPairBytes {
    const publicAt = this.#keys;
    const secretAt = publicAt + KEY_SIZE;
    this.#exports._crypto_box_keypair(publicAt, secretAt);
    return { publicKey: this.#takeKey(publicAt), secretKey: this.#takeKey(secretAt) };
  }

  /** These keys, in Z85. Throws TypeError where they are no pair. */
  pairOf({ publicKey, secretKey }: { publicKey: string; secretKey: string }): KeyPairBytes {
    const secret = decodeZ85(secretKey);
    const own = this.publicKeyOf(secret);
    if (encodeZ85(own) !== publicKey) {
      throw new TypeError("curve.publicKey is not the one that belongs to curve.secretKey");
    }
    return { publicKey: own, secretKey: secret };
  }

  publicKeyOf(secretKey: Uint8Array): Uint8Array {
    const publicAt = this.#keys;
    const secretAt = publicAt + KEY_SIZE;
    this.#exports.HEAPU8.set(secretKey, secretAt);
    this.#exports._crypto_scalarmult_base(publicAt, secretAt);
    this.#wipe(secretAt, KEY_SIZE);
    return this.#takeKey(publicAt);
  }

  /** What both sides seal and open with; undefined where `publicKey` is none (of small order). */
  agree(publicKey: Uint8Array, secretKey: Uint8Array): SharedKey | undefined {
    const sharedAt = this.#keys;
    const publicAt = sharedAt + KEY_SIZE;
    const secretAt = publicAt + KEY_SIZE;
    this.#exports.HEAPU8.set(publicKey, publicAt);
    this.#exports.HEAPU8.set(secretKey, secretAt);
    const status = this.#exports._crypto_box_beforenm(sharedAt, publicAt, secretAt);
    this.#wipe(secretAt, KEY_SIZE);
    const shared = this.#takeKey(sharedAt);
    return status === 0 ? shared : undefined;
  }

  /**
   * Seals `first`, one byte, if it is not -1, and `plain` behind it into `target` at `at`: TAG_SIZE bytes more than
   * they have. A nonce must never be used again with the same key.
   */
  seal(
    key: SharedKey,
    nonce: Uint8Array,
    first: number,
    plain: Uint8Array,
    target: Uint8Array,
    at: number,
  ): void {
    const headSize = first < 0 ? 0 : 1;
    const size = headSize + plain.length;
    const text = this.#begin(key, nonce, TAG_SIZE + size);
    const heap = this.#exports.HEAPU8;
    const plainAt = text + TAG_SIZE;
    if (headSize > 0) heap[plainAt] = first;
    heap.set(plain, plainAt + headSize);
    this.#exports._crypto_box_easy_afternm(text, plainAt, size, 0, this.#nonce, this.#keys);
    target.set(heap.subarray(text, plainAt + size), at);
    this.#settle();
  }

  /**
   * What was sealed, good until the next call; undefined where it was not sealed with this key and nonce, or there is
   * no memory for it.
   */
  open(key: SharedKey, nonce: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const { length } = sealed;
    if (length < TAG_SIZE) return undefined;
    let text: number;
    try {
      this.#settle();
      text = this.#begin(key, nonce, length);
    } catch {
      return undefined;
    }
    this.#exports.HEAPU8.set(sealed, text);
    const plainAt = text + TAG_SIZE;
    const status = this.#exports._crypto_box_open_easy_afternm(
      plainAt,
      text,
      length,
      0,
      this.#nonce,
      this.#keys,
    );
    return status === 0 ? this.#exports.HEAPU8.subarray(plainAt, text + length) : undefined;
  }

  /** Where `size` bytes of text may lie. */
  #begin(key: SharedKey, nonce: Uint8Array, size: number): number {
    if (size > this.#textSize) this.#resize(size);
    // Behind the resize: the heap may have moved.
    const heap = this.#exports.HEAPU8;
    heap.set(key, this.#keys);
    heap.set(nonce, this.#nonce);
    return this.#text;
  }

  #settle(): void {
    if (this.#textSize > RETAINED_SIZE_MAX) this.#resize(TEXT_SIZE_MIN);
  }

  #resize(size: number): void {
    const text = this.#allocate(size);
    this.#wipe(this.#text, this.#textSize);
    this.#exports._free(this.#text);
    this.#text = text;
    this.#textSize = size;
  }

  #takeKey(at: number): Uint8Array {
    const key = new Uint8Array(this.#exports.HEAPU8.subarray(at, at + KEY_SIZE));
    this.#wipe(at, KEY_SIZE);
    return key;
  }

  #wipe(at: number, size: number): void {
    this.#exports.HEAPU8.fill(0, at, at + size);
  }

  #allocate(size: number): number {
    let at = 0;
    try {
      at = this.#exports._malloc(size);
    } catch {
      // Falls through: 0 is no memory either.
    }
    if (at === 0) throw new Error(`libsodium has no memory for ${size} bytes`);
    return at;
  }
}
