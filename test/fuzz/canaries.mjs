/** @typedef {import("../../build/codec/sodium.js").SodiumExports} SodiumExports */

/** What was found to be wrong with an input. */
export class Finding extends Error {}

/**
 * An area of linear memory that is filled with one byte, and is looked at again: whoever wrote
 * beyond what is its own shows. Which bytes belong to a call is said afterwards.
 */
export class Canary {
  #buffer = Buffer.alloc(0);
  #filled;
  #fill;

  /** @param {number} fill a byte */
  constructor(fill) {
    this.#fill = fill;
    this.#filled = Buffer.alloc(0);
  }

  /** @param {ArrayBuffer} memory @param {number} from @param {number} to */
  refill(memory, from, to) {
    if (this.#buffer.buffer !== memory) {
      this.#buffer = Buffer.from(memory);
      this.#filled = Buffer.alloc(memory.byteLength, this.#fill);
    }
    this.#buffer.fill(this.#fill, from, to);
  }

  /** @param {number} from @param {number} to @param {string} where */
  check(from, to, where) {
    const filled = this.#filled;
    if (this.#buffer.compare(filled, 0, to - from, from, to) === 0) return;
    let at = from;
    while (this.#buffer[at] === this.#fill) at++;
    const byte = this.#buffer[at].toString(16);
    throw new Finding(`wrote 0x${byte} at ${at}, ${where} (${from}..${to} is not its own)`);
  }
}

/** Bytes before and behind each allocation. */
const GUARD_SIZE = 64;

/**
 * libsodium's exports, with guards around each allocation. What is allocated is filled, so that
 * bytes that nobody wrote differ from one heap to the next.
 */
export class GuardedHeap {
  #exports;
  #fill;
  /** @type {Map<number, number>} */
  #sizes = new Map();

  /** @param {SodiumExports} exports @param {number} fill a byte */
  constructor(exports, fill) {
    this.#exports = exports;
    this.#fill = fill;
    this._crypto_generichash = exports._crypto_generichash;
    this._crypto_aead_xchacha20poly1305_ietf_encrypt =
      exports._crypto_aead_xchacha20poly1305_ietf_encrypt;
    this._crypto_aead_xchacha20poly1305_ietf_decrypt =
      exports._crypto_aead_xchacha20poly1305_ietf_decrypt;
  }

  get HEAPU8() {
    return this.#exports.HEAPU8;
  }

  /** @param {number} size */
  _malloc(size) {
    const whole = size + 2 * GUARD_SIZE;
    const offset = this.#exports._malloc(whole);
    if (offset === 0) return 0;
    this.HEAPU8.fill(this.#fill, offset, offset + whole);
    this.#sizes.set(offset + GUARD_SIZE, size);
    return offset + GUARD_SIZE;
  }

  /** @param {number} offset */
  _free(offset) {
    const size = this.#sizes.get(offset);
    if (size === undefined) throw new Finding(`free(${offset}) of what was not allocated`);
    this.#check(offset, size);
    this.#sizes.delete(offset);
    this.#exports._free(offset - GUARD_SIZE);
  }

  check() {
    for (const [offset, size] of this.#sizes) this.#check(offset, size);
  }

  /** @param {number} offset @param {number} size */
  #check(offset, size) {
    const heap = this.HEAPU8;
    for (let index = 0; index < GUARD_SIZE; index++) {
      const isWhole =
        heap[offset - 1 - index] === this.#fill && heap[offset + size + index] === this.#fill;
      if (!isWhole) throw new Finding(`wrote beyond libsodium's area ${offset}..${offset + size}`);
    }
  }
}
