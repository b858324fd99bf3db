import { createHash } from "node:crypto";
import { ContextBinder, requestCheckOf } from "../../build/codec/context.js";
import {
  COMPRESSED,
  COUNTER_END,
  fieldsAtOf,
  fieldsSizeOf,
  HEADER_SIZE,
  SEALED,
  writeHeader,
} from "../../build/codec/envelope.js";
import { importKey } from "../../build/codec/keys.js";
import { SodiumAead } from "../../build/codec/sodium-aead.js";

// Envelopes around bytes of any kind, as whoever holds the key could make them: what a sealed body
// holds is not to be believed either.

// Always the same, so that a single input can be run again without its seed.
const SECRET = createHash("sha256").update("wasmq fuzz").digest();
export const KEY = await importKey(SECRET);
export const CONTEXT = {
  service: "fuzz.target",
  direction: /** @type {const} */ ("request"),
  requestId: Uint8Array.from({ length: 16 }, (_, index) => index),
  headers: new TextEncoder().encode("trace=1"),
};
const OTHERS = [
  { ...CONTEXT, service: "fuzz.other" },
  { ...CONTEXT, direction: /** @type {const} */ ("reply") },
  { ...CONTEXT, requestId: new Uint8Array(16) },
  { ...CONTEXT, headers: undefined },
];
const NONCE_SIZE = 24;
const TAG_SIZE = 16;
/** A session's counter now and then leaps: further than the replay window, or to where it ends. */
const LEAPS = [1, 2, 1024, 1_048_576 * 2, 2 ** 48];

/** @typedef {import("../random.mjs").Random} Random */
/** @typedef {import("./bytes.mjs").Bytes} Bytes */

export class Sealer {
  #aead;
  #key;
  #binder = new ContextBinder();
  #random;
  #nonce = new Uint8Array(NONCE_SIZE);
  #view = new DataView(this.#nonce.buffer);
  #counter = 0;

  /**
   * @param {import("../../build/codec/sodium.js").SodiumExports} sodium
   * @param {Random} random
   */
  constructor(sodium, random) {
    this.#aead = new SodiumAead(sodium);
    this.#key = this.#aead.addKey(SECRET);
    this.#random = random;
    this.#beginSession();
  }

  #beginSession() {
    for (let at = 0; at < 16; at++) this.#nonce[at] = this.#random.below(256);
    this.#counter = 0;
  }

  #step() {
    const random = this.#random;
    const dice = random.below(256);
    // Nothing is accepted of a session that has come to its end.
    // One that is late is late alone: behind it the whole rest of the session would be stale.
    let late = 0;
    if (dice === 0 || this.#counter >= COUNTER_END) this.#beginSession();
    else if (dice === 1) this.#counter += random.pick(LEAPS);
    else if (dice === 2) late = random.pick(LEAPS);
    else if (dice < 12) late = random.below(5);
    else this.#counter++;
    this.#view.setBigUint64(16, BigInt(Math.max(0, this.#counter - late)), true);
  }

  /**
   * @param {Bytes} out becomes the envelope
   * @param {Uint8Array} body not a view of `out`
   * @param {{ isSealed: boolean, isCompressed: boolean, plainSize: number }} about
   */
  write(out, body, { isSealed, isCompressed, plainSize }) {
    const random = this.#random;
    const context = random.below(64) === 0 ? random.pick(OTHERS) : CONTEXT;
    const flags = (isCompressed ? COMPRESSED : 0) | (isSealed ? SEALED : 0);
    const fieldsAt = fieldsAtOf(flags);
    const payloadAt = fieldsAt + fieldsSizeOf(flags);
    out.size = payloadAt + body.length + (isSealed ? TAG_SIZE : 0);
    writeHeader(out.all, {
      flags,
      plainSize,
      targetCheck: this.#binder.targetCheckOf(context),
      requestCheck: requestCheckOf(context.requestId),
      keyId: isSealed ? KEY.id : 0,
    });
    if (!isSealed) return out.all.set(body, payloadAt);
    this.#step();
    out.all.set(this.#nonce, HEADER_SIZE);
    const associated = this.#binder.associate(out.all, { fieldsAt, payloadAt }, context);
    this.#aead.encrypt(body, associated, this.#nonce, this.#key, out.all, payloadAt);
  }

  free() {
    this.#aead.dropKey(this.#key);
    this.#aead.free();
  }
}
