import { expect } from "vitest";
import { FAMILY_NAMES, makeFamily } from "../../bench/codec/families.mjs";

// The families that the bench has, as tests want them: a few values of each, always the same.

const COUNT = 24;

/** Beyond what one family has: each kind of number at the edges of its forms. */
function edges(index: number): number[] {
  return [0, 5, 7, 8, 15, 16, 31, 32, 33, 40, 52].flatMap((bits) => {
    const edge = 2 ** bits + index;
    return [edge, edge - 1, -edge, -edge - 1, edge + 0.5, edge / 3];
  });
}

/** Families of values by name; the same ones each time. */
export const families: [string, unknown[]][] = [
  ...FAMILY_NAMES.map((name): [string, unknown[]] => [name, makeFamily(name, COUNT)]),
  ["edges", Array.from({ length: COUNT }, (_, index) => edges(index))],
];

/** Makes something else of all that is in a value and is neither an array nor an object. */
export function mapLeaves(value: unknown, leaf: (value: unknown) => unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => mapLeaves(item, leaf));
  const prototype = value === null ? undefined : Object.getPrototypeOf(value);
  if (typeof value === "object" && (prototype === Object.prototype || prototype === null)) {
    const entries = Object.entries(value as object);
    return Object.fromEntries(entries.map(([key, item]) => [key, mapLeaves(item, leaf)]));
  }
  return leaf(value);
}

/** As toEqual(), which takes seconds over bytes of some size. */
export function expectAlike(value: unknown, expected: unknown): void {
  const named = (leaf: unknown) =>
    leaf instanceof Uint8Array
      ? { [leaf.constructor.name]: Buffer.from(leaf).toString("hex") }
      : leaf;
  expect(mapLeaves(value, named)).toEqual(mapLeaves(expected, named));
}
