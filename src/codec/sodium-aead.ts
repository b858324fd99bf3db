import { type Aead, NONCE_SIZE, SECRET_SIZE, TAG_SIZE } from "./aead.js";
import { allocate, release, type SodiumExports } from "./sodium.js";

/** An area that had to grow past this is given back after the call. */
const RETAINED_SIZE_MAX = 1024 * 1024;

/** Bytes of libsodium's heap that stay allocated from call to call. */
class Area {
  readonly #exports: SodiumExports;
  readonly #sizeMin: number;
  offset: number;
  #size: number;

  constructor(exports: SodiumExports, size: number) {
    this.#exports = exports;
    this.#sizeMin = size;
    this.#size = size;
    this.offset = allocate(exports, size);
  }

  require(size: number): number {
    if (size > this.#size) this.#resize(size);
    return this.offset;
  }

  settle(): void {
    if (this.#size > RETAINED_SIZE_MAX) this.#resize(this.#sizeMin);
  }

  #resize(size: number): void {
    const rounded = size < RETAINED_SIZE_MAX ? Math.max(size * 2, this.#sizeMin) : size;
    const offset = allocate(this.#exports, rounded);
    this.free();
    this.offset = offset;
    this.#size = rounded;
  }

  free(): void {
    release(this.#exports, this.offset, this.#size);
  }
}

/** A key that lives in libsodium's heap. */
export type KeyOffset = number;

/**
 * The engine in WASM: libsodium's bare exports, for the wrappers allocate five times a call.
 * Encrypts in place in one persistent area.
 */
export class SodiumAead implements Aead<KeyOffset> {
  readonly #exports: SodiumExports;
  readonly #nonce: Area;
  readonly #associated: Area;
  readonly #text: Area;

  constructor(exports: SodiumExports) {
    this.#exports = exports;
    this.#nonce = new Area(exports, NONCE_SIZE);
    this.#associated = new Area(exports, 1024);
    this.#text = new Area(exports, 16 * 1024);
  }

  addKey(secret: Uint8Array): KeyOffset {
    const offset = allocate(this.#exports, SECRET_SIZE);
    this.#exports.HEAPU8.set(secret, offset);
    return offset;
  }

  dropKey(key: KeyOffset): void {
    release(this.#exports, key, SECRET_SIZE);
  }

  encrypt(
    plain: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: KeyOffset,
    target: Uint8Array,
    offset: number,
  ): void {
    const size = plain.length;
    const text = this.#fill(plain, size + TAG_SIZE, associated, nonce);
    this.#exports._crypto_aead_xchacha20poly1305_ietf_encrypt(
      text,
      0,
      text,
      size,
      0,
      this.#associated.offset,
      associated.length,
      0,
      0,
      this.#nonce.offset,
      key,
    );
    target.set(this.#exports.HEAPU8.subarray(text, text + size + TAG_SIZE), offset);
    this.settle();
  }

  decrypt(
    sealed: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: KeyOffset,
  ): Uint8Array | undefined {
    const size = sealed.length;
    const text = this.#fill(sealed, size, associated, nonce);
    const status = this.#exports._crypto_aead_xchacha20poly1305_ietf_decrypt(
      text,
      0,
      0,
      text,
      size,
      0,
      this.#associated.offset,
      associated.length,
      0,
      this.#nonce.offset,
      key,
    );
    if (status !== 0) return undefined;
    return this.#exports.HEAPU8.subarray(text, text + size - TAG_SIZE);
  }

  #fill(text: Uint8Array, textSize: number, associated: Uint8Array, nonce: Uint8Array): number {
    const textAt = this.#text.require(textSize);
    const associatedAt = this.#associated.require(associated.length);
    // Taken after the areas: the heap may have moved.
    const heap = this.#exports.HEAPU8;
    heap.set(text, textAt);
    heap.set(associated, associatedAt);
    heap.set(nonce, this.#nonce.offset);
    return textAt;
  }

  settle(): void {
    this.#text.settle();
    this.#associated.settle();
  }

  free(): void {
    this.#text.free();
    this.#associated.free();
    this.#nonce.free();
  }
}
