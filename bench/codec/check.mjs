import { deepStrictEqual } from "node:assert";

/** Lists are large: a sample of them is compared, of all that is small every value. */
const CHECKED_MAX = 64;

/**
 * Holds a contender to giving back every value that it was given.
 * @template T
 * @param {string} name
 * @param {readonly T[]} values
 * @param {(value: T, index: number) => any} roundTrip
 */
export function check(name, values, roundTrip) {
  for (const [index, value] of values.slice(0, CHECKED_MAX).entries()) {
    deepStrictEqual(plain(roundTrip(value, index)), plain(value), `${name}, value ${index}`);
  }
}

/** A Buffer and a Uint8Array of the same bytes are the same here. @param {any} value */
function plain(value) {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  return value?.data === undefined ? value : { ...value, data: Uint8Array.from(value.data) };
}

/** @param {readonly { length: number }[]} arrays */
export function meanSize(arrays) {
  return arrays.reduce((sum, { length }) => sum + length, 0) / arrays.length;
}
