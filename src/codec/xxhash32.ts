// xxHash32 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), seed 0: the checksum of LZ4 frames. It
// finds accidents; against anyone who means it it proves nothing.
const PRIME_1 = 0x9e3779b1;
const PRIME_2 = 0x85ebca77;
const PRIME_3 = 0xc2b2ae3d;
const PRIME_4 = 0x27d4eb2f;
const PRIME_5 = 0x165667b1;
const STRIPE_SIZE = 16;

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function lane(value: number, bytes: Uint8Array, at: number): number {
  return Math.imul(rotate((value + Math.imul(word(bytes, at), PRIME_2)) | 0, 13), PRIME_1);
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
}

/** The hash of bytes that come piece by piece. */
export class XxHash32 {
  #a = (PRIME_1 + PRIME_2) | 0;
  #b = PRIME_2 | 0;
  #c = 0;
  #d = -PRIME_1 | 0;
  #size = 0;
  readonly #rest = new Uint8Array(STRIPE_SIZE);

  update(bytes: Uint8Array): void {
    let at = 0;
    const held = this.#size % STRIPE_SIZE;
    this.#size += bytes.length;
    if (held > 0) {
      at = Math.min(STRIPE_SIZE - held, bytes.length);
      this.#rest.set(bytes.subarray(0, at), held);
      if (held + at < STRIPE_SIZE) return;
      this.#stripes(this.#rest, 0, STRIPE_SIZE);
    }
    const end = bytes.length - ((bytes.length - at) % STRIPE_SIZE);
    this.#stripes(bytes, at, end);
    this.#rest.set(bytes.subarray(end));
  }

  #stripes(bytes: Uint8Array, from: number, end: number): void {
    let [a, b, c, d] = [this.#a, this.#b, this.#c, this.#d];
    for (let at = from; at < end; at += STRIPE_SIZE) {
      a = lane(a, bytes, at);
      b = lane(b, bytes, at + 4);
      c = lane(c, bytes, at + 8);
      d = lane(d, bytes, at + 12);
    }
    [this.#a, this.#b, this.#c, this.#d] = [a, b, c, d];
  }

  /** The hash of all so far, as u32. */
  digest(): number {
    const size = this.#size;
    let hash =
      size < STRIPE_SIZE
        ? PRIME_5
        : rotate(this.#a, 1) + rotate(this.#b, 7) + rotate(this.#c, 12) + rotate(this.#d, 18);
    // The size modulo 2^32.
    hash = (hash + (size % 0x1_0000_0000)) | 0;
    const count = size % STRIPE_SIZE;
    let at = 0;
    for (; at + 4 <= count; at += 4) {
      hash = (hash + Math.imul(word(this.#rest, at), PRIME_3)) | 0;
      hash = Math.imul(rotate(hash, 17), PRIME_4);
    }
    for (; at < count; at++) {
      hash = (hash + Math.imul(this.#rest[at], PRIME_5)) | 0;
      hash = Math.imul(rotate(hash, 11), PRIME_1);
    }
    hash = Math.imul(hash ^ (hash >>> 15), PRIME_2);
    hash = Math.imul(hash ^ (hash >>> 13), PRIME_3);
    return (hash ^ (hash >>> 16)) >>> 0;
  }
}

/** The hash of bytes that are all there. */
export function xxHash32(bytes: Uint8Array): number {
  const hash = new XxHash32();
  hash.update(bytes);
  return hash.digest();
}
