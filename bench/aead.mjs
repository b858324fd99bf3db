// Encryption alone, one size a line: libsodium-wrappers' high-level call, node:crypto's
// chacha20-poly1305 without the rest, and the codec's engines. `node bench/aead.mjs [--quick]`.
//
//   bytes:     plain text to ciphertext and tag, each contender the way it gives them
//   envelope:  plain text to | header 20 B | nonce 24 B | ciphertext and tag | in one array
//   given:     plain text to ciphertext and tag in an array that is there already
//
// "node, bytes" leaves ciphertext and tag in two arrays, which is less than the others do.
//
// Rounds of all contenders in turns, data rotating; figures are medians over rounds, and ratios
// medians of the ratios within a round, for the machine's speed drifts.
import { createCipheriv, randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import sodium from "libsodium-wrappers";
import { newBytes } from "../build/codec/assets.js";
import { Engines } from "../build/codec/engines.js";
import { loadSodium } from "../build/codec/sodium.js";
import { median, medianRatio } from "./lib/rounds.mjs";

const isQuick = process.argv.includes("--quick");
const ROUND_COUNT = isQuick ? 3 : 31;
const ROUND_MS = isQuick ? 0.5 : 20;
const SIZES = [64, 256, 1024, 16_384, 262_144];
const HEAD_SIZE = 44;
const TAG_SIZE = 16;
const TAG = { authTagLength: TAG_SIZE };

setFlagsFromString("--expose-gc");
/** @type {() => void} */
const collectGarbage = runInNewContext("gc");

const exports = await loadSodium();
const crypto = await import("node:crypto");
const parts = { sodium: exports, crypto: /** @type {any} */ (crypto), nativeFrom: undefined };
const secret = new Uint8Array(randomBytes(32));
const nonce = new Uint8Array(randomBytes(24));
const iv = new Uint8Array(randomBytes(12));
const header = new Uint8Array(randomBytes(20));
const associated = new Uint8Array(randomBytes(66));

const engines = new Engines({ ...parts, choice: "auto" });
const key = engines.addKey(secret);
const given = new Uint8Array(SIZES[SIZES.length - 1] + TAG_SIZE);

/** @param {Uint8Array} plain @param {Uint8Array} target @param {number} offset */
function seal(plain, target, offset) {
  engines.encrypt(plain, associated, nonce, key, target, offset);
  return target;
}

/** @param {Uint8Array} plain */
const highLevel = (plain) =>
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, associated, null, nonce, secret);

/** @param {Uint8Array} plain */
function nodeAlone(plain) {
  const cipher = createCipheriv("chacha20-poly1305", secret, iv, TAG);
  cipher.setAAD(associated);
  const sealed = cipher.update(plain);
  cipher.final();
  return { sealed, tag: cipher.getAuthTag() };
}

/** @param {number} size */
function headed(size) {
  const envelope = newBytes(HEAD_SIZE + size);
  envelope.set(header, 0);
  envelope.set(nonce, header.length);
  return envelope;
}

/** @type {Record<string, (plain: Uint8Array) => Uint8Array>} */
const CONTENDERS = {
  "wrappers, bytes": highLevel,
  "node, bytes": (plain) => nodeAlone(plain).sealed,
  "ours, bytes": (plain) => seal(plain, newBytes(plain.length + TAG_SIZE), 0),
  "wrappers, envelope": (plain) => {
    const sealed = highLevel(plain);
    const envelope = headed(sealed.length);
    envelope.set(sealed, HEAD_SIZE);
    return envelope;
  },
  "node, envelope": (plain) => {
    const { sealed, tag } = nodeAlone(plain);
    return Buffer.concat([header, nonce, sealed, tag]);
  },
  "ours, envelope": (plain) => seal(plain, headed(plain.length + TAG_SIZE), HEAD_SIZE),
  "ours, given": (plain) => seal(plain, given, 0),
};
const RATIOS = [
  ["ours, given", "wrappers, bytes"],
  ["ours, bytes", "wrappers, bytes"],
  ["ours, envelope", "wrappers, envelope"],
  ["ours, given", "node, bytes"],
  ["ours, bytes", "node, bytes"],
  ["ours, envelope", "node, envelope"],
];

/** @param {(plain: Uint8Array) => unknown} run @param {Uint8Array[]} data @param {number} count */
function microseconds(run, data, count) {
  const start = performance.now();
  for (let index = 0; index < count; index++) run(data[index % data.length]);
  return ((performance.now() - start) * 1000) / count;
}

console.log(`node:crypto from ${engines.nativeFrom} bytes on`);
for (const size of SIZES) {
  const data = Array.from({ length: 16 }, () => new Uint8Array(randomBytes(size)));
  /** @type {Record<string, number[]>} */
  const times = {};
  /** @type {Record<string, number>} */
  const counts = {};
  for (const [name, run] of Object.entries(CONTENDERS)) {
    const once = microseconds(run, data, isQuick ? 20 : 20_000 / Math.sqrt(size));
    counts[name] = Math.ceil((ROUND_MS * 1000) / once);
    times[name] = [];
  }
  for (let round = 0; round < ROUND_COUNT; round++) {
    const turns = Object.entries(CONTENDERS);
    if (round % 2 === 1) turns.reverse();
    for (const [name, run] of turns) {
      // Nobody pays for the garbage of another; of its own each makes enough to pay for.
      collectGarbage();
      times[name].push(microseconds(run, data, counts[name]));
    }
  }
  console.log(`\n${size} B, us a call`);
  for (const [name, all] of Object.entries(times)) {
    console.log(`  ${name.padEnd(20)} ${median(all).toFixed(2).padStart(8)}`);
  }
  for (const [ours, theirs] of RATIOS) {
    const ratio = medianRatio(times[ours], times[theirs]);
    console.log(`  ${ours} / ${theirs}: ${ratio.toFixed(2)}`);
  }
}
