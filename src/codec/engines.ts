import { type Aead, TAG_SIZE } from "./aead.js";
import { agrees, measureCrossover } from "./crossover.js";
import { NativeAead, type NativeCrypto, type NativeKey } from "./native-aead.js";
import type { EngineChoice } from "./options.js";
import type { SodiumExports } from "./sodium.js";
import { type KeyOffset, SodiumAead } from "./sodium-aead.js";

/** A key in both engines. */
export interface EngineKey {
  wasm: KeyOffset;
  native: NativeKey | undefined;
}

// Properties of the machine, and so found out once a process.
const usable = new WeakMap<NativeCrypto, boolean>();
const crossovers = new WeakMap<NativeCrypto, number>();

/** Both engines as one: each body is encrypted by the one that is faster at its size. */
export class Engines implements Aead<EngineKey> {
  readonly #wasm: SodiumAead;
  readonly #crypto: NativeCrypto | undefined;
  readonly #native: NativeAead | undefined;
  /** Undefined until it is measured, which a codec without keys has no need of. */
  #nativeFrom: number | undefined;

  /** @throws Error when the choice is "native" and `crypto` cannot */
  constructor(parts: {
    sodium: SodiumExports;
    crypto: NativeCrypto | undefined;
    choice: EngineChoice;
    nativeFrom: number | undefined;
  }) {
    const { crypto, choice } = parts;
    this.#wasm = new SodiumAead(parts.sodium);
    if (crypto !== undefined && choice !== "wasm" && this.#isUsable(crypto)) {
      this.#crypto = crypto;
      this.#native = new NativeAead(crypto);
      this.#nativeFrom = choice === "native" ? 0 : parts.nativeFrom;
      return;
    }
    if (choice === "native") {
      this.free();
      throw new Error('engine must be "auto" or "wasm" here: node:crypto has no ChaCha20-Poly1305');
    }
    this.#nativeFrom = Number.POSITIVE_INFINITY;
  }

  #isUsable(crypto: NativeCrypto): boolean {
    let isUsable = usable.get(crypto);
    if (isUsable === undefined) {
      isUsable = agrees(new NativeAead(crypto), this.#wasm);
      usable.set(crypto, isUsable);
    }
    return isUsable;
  }

  /** The choice that is in force. */
  get choice(): EngineChoice {
    if (this.nativeFrom === 0) return "native";
    return this.nativeFrom === Number.POSITIVE_INFINITY ? "wasm" : "auto";
  }

  /** Bytes of a body from which on node:crypto takes it; Infinity where WASM serves alone. */
  get nativeFrom(): number {
    this.#nativeFrom ??= this.#measure();
    return this.#nativeFrom;
  }

  #measure(): number {
    const crypto = this.#crypto;
    if (crypto === undefined || this.#native === undefined) return Number.POSITIVE_INFINITY;
    let crossover = crossovers.get(crypto);
    if (crossover === undefined) {
      crossover = measureCrossover(this.#native, this.#wasm);
      crossovers.set(crypto, crossover);
    }
    return crossover;
  }

  /** Measures what is to be measured now, and not with the first message: it takes some ms. */
  prepare(): void {
    this.#nativeFrom ??= this.#measure();
  }

  addKey(secret: Uint8Array): EngineKey {
    this.prepare();
    return { wasm: this.#wasm.addKey(secret), native: this.#native?.addKey(secret) };
  }

  dropKey(key: EngineKey): void {
    this.#wasm.dropKey(key.wasm);
    if (key.native !== undefined) this.#native?.dropKey(key.native);
  }

  encrypt(
    plain: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: EngineKey,
    target: Uint8Array,
    offset: number,
  ): void {
    if (plain.length >= this.nativeFrom && this.#native !== undefined && key.native !== undefined) {
      this.#native.encrypt(plain, associated, nonce, key.native, target, offset);
    } else {
      this.#wasm.encrypt(plain, associated, nonce, key.wasm, target, offset);
    }
  }

  decrypt(
    sealed: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: EngineKey,
  ): Uint8Array | undefined {
    const size = sealed.length - TAG_SIZE;
    if (size >= this.nativeFrom && this.#native !== undefined && key.native !== undefined) {
      return this.#native.decrypt(sealed, associated, nonce, key.native);
    }
    return this.#wasm.decrypt(sealed, associated, nonce, key.wasm);
  }

  settle(): void {
    this.#wasm.settle();
    this.#native?.settle();
  }

  free(): void {
    this.#wasm.free();
    this.#native?.free();
  }
}
