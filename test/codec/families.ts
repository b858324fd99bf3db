import { expect } from "vitest";
import { VALUE_KINDS, makeValues } from "../../bench/lib/values.mjs";
import { Random } from "../random.mjs";

// The kinds of values that the bench has, and those that it promises figures for, as tests want
// them: a few of each, always the same.

const COUNT = 24;

function keyOf(random: Random): string {
  return `k${random.below(2 ** 32).toString(36)}`;
}

/** Sixteen shapes that differ in which keys they have. */
function shapeOf(random: Random, index: number): unknown {
  const shape = index % 16;
  const value: Record<string, unknown> = { kind: shape };
  for (const [bit, name] of ["id", "owner", "state", "updatedAt"].entries()) {
    if ((shape >> bit) & 1) value[name] = random.below(2 ** 32);
  }
  return value;
}

const MAKERS: Record<string, (random: Random, index: number) => unknown> = {
  nums: (random) => ({
    ints: Array.from({ length: 2000 }, () => random.below(2 ** 32) - 2 ** 31),
    floats: Array.from({ length: 2000 }, () => random.below(2 ** 32) / 1000),
  }),
  "16 shapes": shapeOf,
  tiny: (random) => ({ id: random.below(1e6), ok: random.chance(50) }),
  blob: (random) => ({
    id: random.below(1e6),
    data: Uint8Array.from({ length: 65_536 }, () => random.below(256)),
  }),
  "random keys": (random) =>
    Object.fromEntries(Array.from({ length: 20 }, () => [keyOf(random), random.below(1000)])),
  // Beyond what one family has: each kind of number at the edges of its forms.
  edges: (_, index) =>
    [0, 5, 7, 8, 15, 16, 31, 32, 33, 40, 52].flatMap((bits) => {
      const edge = 2 ** bits + index;
      return [edge, edge - 1, -edge, -edge - 1, edge + 0.5, edge / 3];
    }),
};

/** Families of values by name; the same ones each time. */
export const families: [string, unknown[]][] = [
  ...VALUE_KINDS.map((kind): [string, unknown[]] => [kind, makeValues(kind, COUNT)]),
  ...Object.entries(MAKERS).map(([name, make]): [string, unknown[]] => {
    const random = new Random(name.length);
    return [name, Array.from({ length: COUNT }, (_, index) => make(random, index))];
  }),
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
