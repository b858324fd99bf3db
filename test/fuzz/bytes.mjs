/** Bytes written one after the other into an area of fixed size; what does not fit is left out. */
export class Bytes {
  /** @param {number} capacity */
  constructor(capacity) {
    this.all = new Uint8Array(capacity);
    this.size = 0;
  }

  /** The bytes so far; a view that the next use overwrites. */
  get view() {
    return this.all.subarray(0, this.size);
  }

  get room() {
    return this.all.length - this.size;
  }

  /** @param {number} byte */
  u8(byte) {
    if (this.room > 0) this.all[this.size++] = byte;
  }

  /**
   * An unsigned integer, big-endian, its low bits where it does not fit.
   * @param {number} width bytes, 1..8
   * @param {number} value up to 2^53
   */
  be(width, value) {
    for (let index = width - 1; index >= 0; index--) this.u8(Math.floor(value / 256 ** index));
  }

  /** @param {Uint8Array} bytes */
  put(bytes) {
    const size = Math.min(bytes.length, this.room);
    this.all.set(size === bytes.length ? bytes : bytes.subarray(0, size), this.size);
    this.size += size;
  }

  /** @param {Uint8Array} bytes */
  become(bytes) {
    this.size = 0;
    this.put(bytes);
  }

  /**
   * @param {import("../random.mjs").Random} random
   * @param {number} count
   */
  noise(random, count) {
    for (let index = 0; index < count; index++) this.u8(random.below(256));
  }
}
