// The values that the codec is measured on: families of messages as services send them. Always the
// same ones, from a seed, no two of a family alike.
import { bytes, pick, randomFrom } from "../lib/values.mjs";

/** @typedef {import("../lib/values.mjs").Random} Random */

const LARGE_COUNT = 512;
const SMALL_COUNT = 1024;

const WORDS =
  "the quick brown fox jumps over lazy dog while seven wizards brew strange potions under silver moonlight".split(
    " ",
  );
const NAMES = ["Zoë", "Anna", "Bernd", "Chloé", "Dmitri", "Eva", "Farid", "Greta", "Hans", "Ivy"];
const CHINESE = "订单已发货预计明天送达请注意查收谢谢您的购买期待再次光临";
const EMOJI = ["🎉", "🔑", "🚀", "😀", "📦"];

/** @template T @param {number} count @param {(index: number) => T} make */
const many = (count, make) => Array.from({ length: count }, (_, index) => make(index));

/** @param {Random} random @param {number} size */
const hex = (random, size) => many(size, () => random(16).toString(16)).join("");

/** @param {Random} random */
function uuid(random) {
  const variant = pick(random, ["8", "9", "a", "b"]);
  const parts = [hex(random, 8), hex(random, 4), `4${hex(random, 3)}`, variant + hex(random, 3)];
  return [...parts, hex(random, 12)].join("-");
}

/** @param {Random} random */
function sentence(random) {
  return `${many(8 + random(8), () => pick(random, WORDS)).join(" ")}.`;
}

/** @param {Random} random @param {number} index */
function order(random, index) {
  return {
    orderId: `A-${10_000 + index}`,
    sku: `SKU-${10_000 + random(90_000)}`,
    quantity: 1 + random(9),
    price: random(10_000) / 100,
    currency: pick(random, ["EUR", "USD", "GBP"]),
    customer: { id: random(5000), name: pick(random, NAMES) },
    tags: ["new", pick(random, ["gift", "sale", "bulk"])],
    express: random(2) === 0,
    note: null,
  };
}

/** @param {Random} random */
function list(random) {
  return many(1000, (index) => ({
    id: index + random(100_000),
    name: `item-${random(100_000)}`,
    price: random(100_000) / 100,
    stock: random(500),
    active: random(2) === 0,
    category: pick(random, ["books", "music", "garden", "tools"]),
  }));
}

/** @param {Random} random */
function nums(random) {
  return {
    ints: many(2000, () => random(100_000)),
    floats: many(2000, () => (random(2 ** 31) / 2 ** 31) * 1000),
  };
}

/** @param {Random} random */
function unicode(random) {
  const chinese = () => many(6 + random(14), () => CHINESE[random(CHINESE.length)]).join("");
  const kinds = [
    chinese,
    () => sentence(random).slice(0, 30) + pick(random, EMOJI),
    () => sentence(random).slice(0, 40),
  ];
  return many(300, (index) => kinds[index % 3]());
}

/** @param {Random} random */
function nested(random) {
  const from = 1_700_000_000 + random(1_000_000);
  return {
    jsonrpc: "2.0",
    id: uuid(random),
    method: pick(random, ["orders.create", "orders.list"]),
    params: {
      session: {
        token: uuid(random),
        user: { id: random(1_000_000), roles: ["admin", "editor"], name: pick(random, NAMES) },
      },
      filter: { from, to: from + random(10_000_000), states: ["open", "paid"], limit: 50 },
      trace: {
        traceId: uuid(random),
        parentId: uuid(random),
        spanId: hex(random, 16),
        sampled: true,
      },
    },
  };
}

const SHAPES = many(16, (shape) =>
  many(4 + (shape % 5), (key) => `f${shape}_${WORDS[(shape * 7 + key) % WORDS.length]}${key}`),
);

/** @param {Random} random @param {number} index */
function shapes(random, index) {
  const values = [() => random(100_000), () => pick(random, WORDS), () => random(2) === 0];
  const keys = SHAPES[index % SHAPES.length];
  return Object.fromEntries(keys.map((key, at) => [key, values[at % 3]()]));
}

/** @param {Random} random */
function randomKeys(random) {
  return Object.fromEntries(many(20, () => [`${hex(random, 4 + random(8))}k`, random(1000)]));
}

/** @param {number} size */
const blob = (size) => (/** @type {Random} */ random, /** @type {number} */ index) => ({
  id: index,
  type: "image/jpeg",
  data: bytes(random, size),
});

/**
 * How many values a family has, and how each is made.
 * @type {Record<string, { count: number, make: (random: Random, index: number) => any }>}
 */
const FAMILIES = {
  order: { count: SMALL_COUNT, make: order },
  list: { count: LARGE_COUNT, make: list },
  nums: { count: LARGE_COUNT, make: nums },
  strs: { count: LARGE_COUNT, make: (random) => many(500, () => sentence(random)) },
  unicode: { count: LARGE_COUNT, make: unicode },
  nested: { count: SMALL_COUNT, make: nested },
  "16 shapes": { count: SMALL_COUNT, make: shapes },
  tiny: {
    count: SMALL_COUNT,
    make: (random, index) => ({ op: "ping", seq: index, ok: random(2) === 0 }),
  },
  blob: { count: LARGE_COUNT, make: blob(65_536) },
  "random keys": { count: SMALL_COUNT, make: randomKeys },
  "1 KiB random": { count: SMALL_COUNT, make: blob(1024) },
  "64 KiB random": { count: LARGE_COUNT, make: blob(65_536) },
};

export const FAMILY_NAMES = Object.keys(FAMILIES);

/**
 * The values of one family.
 * @param {string} name
 * @param {number} countMax
 * @returns {any[]}
 */
export function makeFamily(name, countMax) {
  const { count, make } = FAMILIES[name];
  const random = randomFrom(0x9e3779b1);
  return many(Math.min(count, countMax), (index) => make(random, index));
}

/** JSON of exactly `size` bytes: orders in an array, cut off; as LZ4 sees it. */
export function makeTexts(/** @type {number} */ size, /** @type {number} */ count) {
  const random = randomFrom(0x85ebca6b);
  return many(count, (index) => {
    const parts = [];
    for (let length = 0; length < size; length += parts[parts.length - 1].length + 1) {
      parts.push(JSON.stringify(invoice(random, index + parts.length)));
    }
    const text = parts.length === 1 ? parts[0] : `[${parts.join(",")}]`;
    return Uint8Array.from(Buffer.from(text).subarray(0, size));
  });
}

/** An order with the address in it, of about 300 bytes as JSON. */
function invoice(/** @type {Random} */ random, /** @type {number} */ index) {
  const word = () => pick(random, WORDS);
  return {
    ...order(random, index),
    customer: { id: random(100_000), name: pick(random, NAMES), email: `${word()}@example.com` },
    address: { street: `${word()} street ${random(200)}`, city: word(), zip: `${random(90_000)}` },
  };
}
