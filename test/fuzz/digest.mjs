import { ExtData } from "../../build/codec/index.js";

// Hashes of what a call gave, so that millions of outcomes can be compared and added up. Not
// cryptographic: they are compared with hashes of our own making.

/**
 * Murmur3's round.
 * @param {number} hash
 * @param {number} word
 * @returns {number}
 */
export function mix(hash, word) {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/**
 * @param {number} hash
 * @param {Uint8Array} bytes
 * @returns {number}
 */
export function mixBytes(hash, bytes) {
  let mixed = mix(hash, bytes.length);
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) {
    const word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    mixed = mix(mixed, word);
  }
  for (; at < bytes.length; at++) mixed = mix(mixed, bytes[at]);
  return mixed;
}

/**
 * @param {number} hash
 * @param {string} text
 * @returns {number}
 */
export function mixText(hash, text) {
  let mixed = mix(hash, text.length);
  for (let at = 0; at < text.length; at++) mixed = mix(mixed, text.charCodeAt(at));
  return mixed;
}

const float = new Float64Array(1);
const words = new Int32Array(float.buffer);

/**
 * @param {number} hash
 * @param {number} value
 * @returns {number}
 */
function mixNumber(hash, value) {
  if ((value | 0) === value && !Object.is(value, -0)) return mix(hash + 1, value);
  // One NaN is as good as another.
  float[0] = Number.isNaN(value) ? Number.NaN : value;
  return mix(mix(hash + 2, words[0]), words[1]);
}

/**
 * The hash of a value that unpack() may give. Throws at any other: it is not valid then.
 * @param {number} hash
 * @param {unknown} value
 * @param {ArrayBufferLike} own the codec's memory, which no value may be a view of
 * @returns {number}
 */
export function mixValue(hash, value, own) {
  switch (typeof value) {
    case "number":
      return mixNumber(hash, value);
    case "string":
      return mixText(hash + 3, value);
    case "boolean":
      return mix(hash + 4, value ? 1 : 0);
    case "bigint": {
      const low = Number(BigInt.asIntN(32, value));
      return mix(mix(hash + 5, low), Number(BigInt.asIntN(32, value >> 32n)));
    }
    case "object":
      return value === null ? mix(hash, 6) : mixObject(hash, value, own);
    default:
      throw new Error(`unpack() gave a ${typeof value}`);
  }
}

/**
 * @param {number} hash
 * @param {object} value
 * @param {ArrayBufferLike} own
 * @returns {number}
 */
function mixObject(hash, value, own) {
  if (Array.isArray(value)) {
    let mixed = mix(hash + 7, value.length);
    for (let index = 0; index < value.length; index++) mixed = mixValue(mixed, value[index], own);
    return mixed;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype) {
    const keys = Object.keys(value);
    let mixed = mix(hash + 8, keys.length);
    for (const key of keys) mixed = mixValue(mixText(mixed, key), value[key], own);
    return mixed;
  }
  if (value instanceof Uint8Array) {
    if (value.buffer === own) throw new Error("the value is a view of the codec's memory");
    return mixBytes(hash + 9, value);
  }
  if (value instanceof Date) return mixNumber(hash + 10, value.getTime());
  if (value instanceof ExtData) return mixValue(mix(hash + 11, value.type), value.data, own);
  throw new Error(`unpack() gave a ${prototype?.constructor?.name ?? "thing without prototype"}`);
}
