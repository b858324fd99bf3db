import { type Aead, NONCE_SIZE, SECRET_SIZE, TAG_SIZE } from "./aead.js";

/** What a machine's crossover is taken to be until measured, and where measuring ran out of time. */
export const NATIVE_FROM_DEFAULT = 4096;
const SIZES = [1024, 2048, 3072, 4096, 6144, 8192, 16_384];
const MEASURE_MS = 5;
const REPEAT_COUNT = 6;
const CALLS_A_REPEAT = 3;

/** An engine with a key of its own. */
class Subject<Key> {
  readonly #aead: Aead<Key>;
  readonly #key: Key;
  readonly #nonce = new Uint8Array(NONCE_SIZE);

  constructor(aead: Aead<Key>, secret: Uint8Array) {
    this.#aead = aead;
    this.#key = aead.addKey(secret);
  }

  seal(plain: Uint8Array): Uint8Array {
    const sealed = new Uint8Array(plain.length + TAG_SIZE);
    this.#aead.encrypt(plain, this.#nonce, this.#nonce, this.#key, sealed, 0);
    return sealed;
  }

  open(sealed: Uint8Array): Uint8Array | undefined {
    return this.#aead.decrypt(sealed, this.#nonce, this.#nonce, this.#key)?.slice();
  }

  /** The least milliseconds of some calls: what disturbs only ever adds. */
  leastMs(plain: Uint8Array, least: number): number {
    const start = performance.now();
    for (let call = 0; call < CALLS_A_REPEAT; call++) this.seal(plain);
    return Math.min(least, performance.now() - start);
  }

  end(): void {
    this.#aead.settle();
    this.#aead.dropKey(this.#key);
  }
}

function isSame(left: Uint8Array | undefined, right: Uint8Array): boolean {
  return left?.length === right.length && right.every((byte, index) => byte === left[index]);
}

/** A secret and bytes that are always the same, and of no value. */
const secret = Uint8Array.from({ length: SECRET_SIZE }, (_, index) => index * 7);
const sample = Uint8Array.from({ length: 200 }, (_, index) => index);

/**
 * Whether an engine does what another one does: the known-answer test of node:crypto, which a
 * build may lack ChaCha20 in, or a policy forbid.
 */
export function agrees<A, B>(engine: Aead<A>, reference: Aead<B>): boolean {
  let subject: Subject<A> | undefined;
  const other = new Subject(reference, secret);
  try {
    subject = new Subject(engine, secret);
    for (const plain of [sample, new Uint8Array()]) {
      const answer = other.seal(plain);
      if (!isSame(subject.seal(plain), answer) || !isSame(subject.open(answer), plain))
        return false;
      answer[answer.length - 1] ^= 1;
      if (subject.open(answer) !== undefined) return false;
    }
    return true;
  } catch {
    return false;
  } finally {
    subject?.end();
    other.end();
  }
}

/** The bytes from which on `native` is the faster one, found in 5 ms or so; Infinity for never. */
export function measureCrossover<A, B>(native: Aead<A>, wasm: Aead<B>): number {
  const left = new Subject(native, secret);
  const right = new Subject(wasm, secret);
  try {
    const end = performance.now() + MEASURE_MS;
    // Code that has hardly run is slow, and not by the same factor for both.
    const first = new Uint8Array(NATIVE_FROM_DEFAULT);
    for (let repeat = 0; repeat < REPEAT_COUNT; repeat++) {
      left.leastMs(first, 0);
      right.leastMs(first, 0);
    }
    // The first size that `native` is faster at, by bisection: low..high may still be it.
    let low = 0;
    let high = SIZES.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const plain = new Uint8Array(SIZES[middle]);
      let nativeMs = Number.POSITIVE_INFINITY;
      let wasmMs = Number.POSITIVE_INFINITY;
      for (let repeat = 0; repeat < REPEAT_COUNT; repeat++) {
        nativeMs = left.leastMs(plain, nativeMs);
        wasmMs = right.leastMs(plain, wasmMs);
        if (performance.now() > end) return NATIVE_FROM_DEFAULT;
      }
      if (nativeMs < wasmMs) high = middle;
      else low = middle + 1;
    }
    return low < SIZES.length ? SIZES[low] : Number.POSITIVE_INFINITY;
  } finally {
    left.end();
    right.end();
  }
}
