// Encryption alone: XChaCha20-Poly1305, and what else a service would take.
//
//   seal, bytes out:     plain bytes to ciphertext and tag, in memory of the caller's own
//   seal, envelope out:  plain bytes to | header 20 B | nonce 24 B | ciphertext and tag | in one array
//   open, bytes out:     and back
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { newBytes } from "../../build/codec/assets.js";
import { Engines } from "../../build/codec/engines.js";
import { loadSodium } from "../../build/codec/sodium.js";
import { check, meanSize } from "./check.mjs";
import { repeated } from "./measure.mjs";
import { absentOf } from "./rivals.mjs";

const SIZES = {
  "64 B": 64,
  "256 B": 256,
  "1 KiB": 1024,
  "4 KiB": 4096,
  "16 KiB": 16_384,
  "256 KiB": 262_144,
};
const COUNT = 512;
/** 512 of the large ones would be 128 MiB, twice; these are more than caches hold as well. */
const LARGE_COUNT = 128;
const LARGE_SIZE = 262_144;
const HEAD_SIZE = 44;
const NONCE_SIZE = 24;
const IV_SIZE = 12;
const TAG_SIZE = 16;
const TAG = { authTagLength: TAG_SIZE };

const secret = new Uint8Array(randomBytes(32));
const associated = new Uint8Array(randomBytes(66));
const header = new Uint8Array(randomBytes(20));

/** Random, then counted up in its last bytes: fresh for every message. @param {number} size */
function nonceOf(size) {
  const bytes = Buffer.from(Uint8Array.from(randomBytes(size)));
  let count = 0;
  return () => {
    bytes.writeUInt32LE(++count, size - 4);
    return bytes;
  };
}

/**
 * `toOpen` makes what `open` takes: a message with a nonce of its own.
 * @typedef {object} Cipher
 * @property {string} name
 * @property {(plain: Uint8Array) => Uint8Array} seal
 * @property {(plain: Uint8Array) => Uint8Array} envelope
 * @property {(plain: Uint8Array) => any} toOpen
 * @property {(message: any) => Uint8Array} open
 */

/** @param {Uint8Array} nonce @param {number} size */
function headed(nonce, size) {
  const envelope = newBytes(HEAD_SIZE + size);
  envelope.set(header, 0);
  envelope.set(nonce, header.length);
  return envelope;
}

/** @returns {Promise<Cipher>} */
async function ours() {
  const crypto = /** @type {any} */ (await import("node:crypto"));
  const sodium = await loadSodium();
  const engines = new Engines({ sodium, crypto, choice: "auto", nativeFrom: undefined });
  const key = engines.addKey(secret);
  const next = nonceOf(NONCE_SIZE);
  const seal = (
    /** @type {Uint8Array} */ plain,
    /** @type {Uint8Array} */ nonce,
    /** @type {Uint8Array} */ target,
    /** @type {number} */ offset,
  ) => {
    engines.encrypt(plain, associated, nonce, key, target, offset);
    return target;
  };
  return {
    name: "wasmq",
    seal: (plain) => seal(plain, next(), newBytes(plain.length + TAG_SIZE), 0),
    envelope(plain) {
      const nonce = next();
      return seal(plain, nonce, headed(nonce, plain.length + TAG_SIZE), HEAD_SIZE);
    },
    toOpen(plain) {
      const nonce = Uint8Array.from(next());
      return { nonce, sealed: seal(plain, nonce, newBytes(plain.length + TAG_SIZE), 0) };
    },
    open({ nonce, sealed }) {
      // A copy, which the chain does not need: it goes on where the plain bytes are.
      const plain = engines.decrypt(sealed, associated, nonce, key)?.slice();
      engines.settle();
      if (plain === undefined) throw new Error("the tag does not verify");
      return plain;
    },
  };
}

/** @param {any} sodium libsodium-wrappers, ready @returns {Cipher} */
function wrappers(sodium) {
  const next = nonceOf(NONCE_SIZE);
  const seal = (/** @type {Uint8Array} */ plain, /** @type {Uint8Array} */ nonce) =>
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, associated, null, nonce, secret);
  return {
    name: "libsodium-wrappers",
    seal: (plain) => seal(plain, next()),
    envelope(plain) {
      const nonce = next();
      const sealed = seal(plain, nonce);
      const envelope = headed(nonce, sealed.length);
      envelope.set(sealed, HEAD_SIZE);
      return envelope;
    },
    toOpen(plain) {
      const nonce = Uint8Array.from(next());
      return { nonce, sealed: seal(plain, nonce) };
    },
    open: ({ nonce, sealed }) =>
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, associated, nonce, secret),
  };
}

/**
 * node:crypto leaves ciphertext and tag in two arrays, which is less than the others do.
 * @param {"chacha20-poly1305" | "aes-256-gcm"} algorithm
 * @returns {Cipher}
 */
function node(algorithm) {
  const next = nonceOf(IV_SIZE);
  const seal = (/** @type {Uint8Array} */ plain, /** @type {Uint8Array} */ iv) => {
    const cipher = createCipheriv(/** @type {any} */ (algorithm), secret, iv, TAG);
    cipher.setAAD(associated);
    const sealed = cipher.update(plain);
    cipher.final();
    return { sealed, tag: cipher.getAuthTag() };
  };
  return {
    name: `node ${algorithm}`,
    seal: (plain) => seal(plain, next()).sealed,
    envelope(plain) {
      const iv = next();
      const { sealed, tag } = seal(plain, iv);
      return Buffer.concat([header, iv, sealed, tag]);
    },
    toOpen(plain) {
      const iv = Uint8Array.from(next());
      return { iv, ...seal(plain, iv) };
    },
    open({ iv, sealed, tag }) {
      const decipher = createDecipheriv(/** @type {any} */ (algorithm), secret, iv, TAG);
      decipher.setAAD(associated);
      decipher.setAuthTag(tag);
      const plain = decipher.update(sealed);
      decipher.final();
      return plain;
    },
  };
}

/** @param {any} sodium @returns {Cipher} */
function native(sodium) {
  const key = Buffer.from(secret);
  const next = nonceOf(NONCE_SIZE);
  const seal = (
    /** @type {Uint8Array} */ plain,
    /** @type {Uint8Array} */ nonce,
    /** @type {Uint8Array} */ target,
  ) => {
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(target, plain, associated, null, nonce, key);
    return target;
  };
  return {
    name: "sodium-native",
    seal: (plain) => seal(plain, next(), Buffer.allocUnsafe(plain.length + TAG_SIZE)),
    envelope(plain) {
      const nonce = next();
      const envelope = Buffer.allocUnsafe(HEAD_SIZE + plain.length + TAG_SIZE);
      envelope.set(header, 0);
      envelope.set(nonce, header.length);
      seal(plain, nonce, envelope.subarray(HEAD_SIZE));
      return envelope;
    },
    toOpen(plain) {
      const nonce = Buffer.from(next());
      return { nonce, sealed: seal(plain, nonce, Buffer.alloc(plain.length + TAG_SIZE)) };
    },
    open({ nonce, sealed }) {
      const plain = Buffer.allocUnsafe(sealed.length - TAG_SIZE);
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain,
        null,
        sealed,
        associated,
        nonce,
        key,
      );
      return plain;
    },
  };
}

/** @param {keyof typeof SIZES} name @param {import("./tables.mjs").Kit} kit */
async function openSize(name, { valuesMax, rivals }) {
  const size = SIZES[name];
  const count = Math.min(valuesMax, size < LARGE_SIZE ? COUNT : LARGE_COUNT);
  const plains = Array.from({ length: count }, () => new Uint8Array(randomBytes(size)));
  const ciphers = [await ours()];
  const { "libsodium-wrappers": js, "sodium-native": addon } = rivals;
  if (js.absent === undefined) ciphers.push(wrappers(js.module));
  if (addon.absent === undefined) ciphers.push(native(addon.module));
  const absent = absentOf(rivals, ["libsodium-wrappers", "sodium-native"]);
  ciphers.push(node("chacha20-poly1305"), node("aes-256-gcm"));
  const messages = ciphers.map(({ toOpen }) => plains.map(toOpen));
  for (const [index, { name: cipher, open }] of ciphers.entries()) {
    check(`${cipher}, ${name}`, plains, (_, at) => open(messages[index][at]));
  }
  /** @type {Record<string, number>} */
  const targets = {};
  // Under 0.6 of the time; within 1.15 times the time.
  if (size === 64) targets["libsodium-wrappers"] = 1 / 0.6;
  if (size >= 16_384) targets["node chacha20-poly1305"] = 1 / 1.15;
  return {
    values: count,
    valueBytes: meanSize(plains),
    operations: [
      {
        name: "seal, bytes out",
        targets,
        absent,
        contenders: ciphers.map(({ name, seal }) => {
          return { name, time: repeated(count, (at) => seal(plains[at])) };
        }),
      },
      {
        name: "seal, envelope out",
        absent,
        contenders: ciphers.map(({ name, envelope }) => {
          return { name, time: repeated(count, (at) => envelope(plains[at])) };
        }),
      },
      {
        name: "open, bytes out",
        absent,
        contenders: ciphers.map(({ name, open }, index) => {
          return { name, time: repeated(count, (at) => open(messages[index][at])) };
        }),
      },
    ],
  };
}

/** @type {import("./tables.mjs").Table} */
export const encryption = {
  title: "Encryption",
  hasSizes: false,
  about:
    "Plain bytes to ciphertext and tag, and back, with 66 bytes that the tag covers as well and a " +
    "fresh nonce a message. Ours, libsodium-wrappers and sodium-native write XChaCha20-Poly1305, " +
    "whose nonce of 24 bytes may be random; node:crypto's ciphers have 12 bytes and leave the tag " +
    "in an array of its own, which is less to do. An envelope is header, nonce, ciphertext and tag " +
    "in one array, as it goes on the wire.",
  sections: Object.fromEntries(
    Object.keys(SIZES).map((name) => [
      name,
      (kit) => openSize(/** @type {keyof typeof SIZES} */ (name), kit),
    ]),
  ),
};
