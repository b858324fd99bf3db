// The stacks that a user would build in place of codec.seal and codec.open. All of them bind the
// request id as associated data, count a nonce up from a random start, write one array with all
// that the reader needs, and verify the tag before they look at anything. As a user would, they
// compress whatever comes.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { BuiltinCodec } from "./builtin.mjs";

const NONCE_SIZE = 24;
const IV_SIZE = 12;
const TAG_SIZE = 16;

/**
 * What a body is bound to; made once for each value, and outside the measured time.
 * @typedef {{ service: string, direction: "request", requestId: Buffer }} Context
 *
 * @typedef {object} Stack
 * @property {string} name
 * @property {(value: any, context: Context) => Uint8Array} seal
 * @property {(bytes: any, context: Context) => any} open
 *
 * @typedef {import("./rivals.mjs").Rival} Rival
 */

/** @param {Buffer} nonce */
function countUp(nonce) {
  for (let at = 0; at < nonce.length && ++nonce[at] === 256; at++);
}

/** @param {string} name @param {number} [deflatedSizeMin] @returns {Stack} */
function builtin(name, deflatedSizeMin) {
  const codec = new BuiltinCodec(randomBytes(32).toString("base64"), deflatedSizeMin);
  return {
    name,
    seal: (value, { requestId }) => codec.seal(value, requestId),
    open: (bytes, { requestId }) => codec.open(bytes, requestId),
  };
}

/** @param {string} name @param {any} msgpackr @param {any} lz4 @param {any} sodium @returns {Stack} */
function native(name, msgpackr, lz4, sodium) {
  const packr = new msgpackr.Packr({ useRecords: false });
  const key = randomBytes(32);
  const nonce = randomBytes(NONCE_SIZE);
  return {
    name,
    seal(value, { requestId }) {
      const block = lz4.compressSync(packr.pack(value));
      const bytes = Buffer.allocUnsafe(NONCE_SIZE + block.length + TAG_SIZE);
      countUp(nonce);
      bytes.set(nonce);
      const sealed = bytes.subarray(NONCE_SIZE);
      sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, block, requestId, null, nonce, key);
      return bytes;
    },
    open(bytes, { requestId }) {
      const sealed = bytes.subarray(NONCE_SIZE);
      const block = Buffer.allocUnsafe(sealed.length - TAG_SIZE);
      const used = bytes.subarray(0, NONCE_SIZE);
      sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(block, null, sealed, requestId, used, key);
      return packr.unpack(lz4.uncompressSync(block));
    },
  };
}

/** @param {string} name @param {any} msgpackr @param {any} snappy @returns {Stack} */
function mixed(name, msgpackr, snappy) {
  const packr = new msgpackr.Packr({ useRecords: false });
  const key = randomBytes(32);
  const iv = randomBytes(IV_SIZE);
  return {
    name,
    seal(value, { requestId }) {
      countUp(iv);
      const cipher = createCipheriv("aes-256-gcm", key, iv);
      cipher.setAAD(requestId);
      const sealed = cipher.update(snappy.compressSync(packr.pack(value)));
      cipher.final();
      return Buffer.concat([iv, sealed, cipher.getAuthTag()]);
    },
    open(bytes, { requestId }) {
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, IV_SIZE));
      decipher.setAAD(requestId);
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_SIZE));
      const block = decipher.update(bytes.subarray(IV_SIZE, bytes.length - TAG_SIZE));
      decipher.final();
      return packr.unpack(snappy.uncompressSync(block, { asBuffer: true }));
    },
  };
}

/** @param {string} name @param {any} msgpack @param {any} lz4 @param {any} sodium @returns {Stack} */
function wasm(name, msgpack, lz4, sodium) {
  const encoder = new msgpack.Encoder();
  const decoder = new msgpack.Decoder();
  const key = Uint8Array.from(randomBytes(32));
  const nonce = randomBytes(NONCE_SIZE);
  const encrypt = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt;
  const decrypt = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt;
  return {
    name,
    seal(value, { requestId }) {
      const block = lz4.compress(encoder.encodeSharedRef(value));
      countUp(nonce);
      const sealed = encrypt(block, requestId, null, nonce, key);
      const bytes = Buffer.allocUnsafe(NONCE_SIZE + sealed.length);
      bytes.set(nonce);
      bytes.set(sealed, NONCE_SIZE);
      return bytes;
    },
    open(bytes, { requestId }) {
      const used = bytes.subarray(0, NONCE_SIZE);
      const block = decrypt(null, bytes.subarray(NONCE_SIZE), requestId, used, key);
      return decoder.decode(lz4.decompress(block));
    },
  };
}

/**
 * Each with its letter, what it is made of, and whom it needs.
 * @type {{ name: string, of: string, isForSmall?: boolean, needs: string[], make: (name: string, ...modules: any[]) => Stack }[]}
 */
const STACKS = [
  {
    name: "A",
    of: "JSON + deflate level 1 + aes-256-gcm, all of node",
    needs: [],
    make: (name) => builtin(name, 0),
  },
  {
    name: "A from 1 KiB",
    of: "A that leaves less than 1 KiB undeflated, where that matters",
    isForSmall: true,
    needs: [],
    make: (name) => builtin(name),
  },
  {
    name: "B",
    of: "msgpackr + lz4-napi + sodium-native, XChaCha20-Poly1305",
    needs: ["msgpackr", "lz4-napi", "sodium-native"],
    make: native,
  },
  {
    name: "C",
    of: "msgpackr + snappy + aes-256-gcm of node",
    needs: ["msgpackr", "snappy"],
    make: mixed,
  },
  {
    name: "E",
    of: "@msgpack/msgpack + lz4-wasm-nodejs + libsodium-wrappers",
    needs: ["@msgpack/msgpack", "lz4-wasm-nodejs", "libsodium-wrappers"],
    make: wasm,
  },
];

export const STACKS_TEXT = STACKS.map(({ name, of }) => `${name}: ${of}.`).join(" ");

/** @param {Record<string, Rival>} rivals @param {boolean} isSmall bodies have less than 1 KiB */
export function makeStacks(rivals, isSmall) {
  const stacks = [];
  /** @type {Record<string, string>} */
  const absent = {};
  for (const { name, isForSmall, needs, make } of STACKS) {
    if (isForSmall && !isSmall) continue;
    const missing = needs.filter((need) => rivals[need].absent !== undefined);
    if (missing.length === 0) stacks.push(make(name, ...needs.map((need) => rivals[need].module)));
    else absent[name] = `needs ${missing.join(", ")}`;
  }
  return { stacks, absent };
}
