// Order-like messages of 150 to 300 bytes of MessagePack, for the dictionary's figures: one family
// full of random ids, one without. Always the same ones from a seed, and no two alike.

/** @typedef {(end: number) => number} Random */

/** Marsaglia's xorshift32. @param {number} seed @returns {Random} a whole number of 0..end-1 */
function randomFrom(seed) {
  let state = seed | 1;
  return (end) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % end;
  };
}

const NAMES =
  "Ada Bela Chen Dara Emil Fatou Greta Hugo Ines Jonas Kim Lena Milo Nora Omar Pia".split(" ");
const FAMILIES = "Abe Berg Costa Diaz Evans Fischer Garcia Haas Ito Jensen Klein Lopez Meyer".split(
  " ",
);
const STREETS = ["Main Street", "Church Lane", "Station Road", "Mill Road", "High Street"];
const CITIES = ["Uppsala", "Kyoto", "Porto", "Tartu", "Ghent", "Cusco", "Perth", "Lagos"];
const COLOURS = ["red", "blue", "black", "white", "steel", "oak"];
const GOODS = ["lamp", "chair", "desk", "mug", "shelf", "clock", "rug", "stool"];
const STATES = ["accepted", "packed", "shipped", "delivered"];
const CARRIERS = ["DHL", "UPS", "PostNord", "La Poste"];

/** @template T @param {Random} random @param {readonly T[]} list */
const one = (random, list) => list[random(list.length)];

/** @param {Random} random @param {number} count hexadecimal digits */
function digits(random, count) {
  return Array.from({ length: count }, () => random(16).toString(16)).join("");
}

/** @param {Random} random */
function uuid(random) {
  return digits(random, 32).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

/** An order whose parts are named by ids that nothing foretells. @param {Random} random */
function orderOfIds(random) {
  return {
    type: "order.placed",
    version: 2,
    orderId: uuid(random),
    customerId: uuid(random),
    paymentId: `pay_${digits(random, 16)}`,
    channel: one(random, ["web", "app", "store"]),
    lines: [
      {
        sku: `SKU-${10_000 + random(90_000)}`,
        quantity: 1 + random(9),
        unitPrice: random(20_000) / 100,
      },
    ],
    currency: one(random, ["EUR", "USD", "SEK"]),
    shipping: {
      carrier: one(random, CARRIERS),
      city: one(random, CITIES),
      isExpress: random(2) === 0,
    },
    placedAt: 1_790_000_000_000 + random(1_000_000_000),
  };
}

/** An order of names, words and small numbers. @param {Random} random */
function orderOfWords(random) {
  const count = 1 + random(2);
  return {
    type: "order.updated",
    version: 2,
    state: one(random, STATES),
    customer: {
      name: `${one(random, NAMES)} ${one(random, FAMILIES)}`,
      tier: one(random, ["basic", "gold"]),
    },
    address: { street: one(random, STREETS), house: 1 + random(120), city: one(random, CITIES) },
    lines: Array.from({ length: count }, () => ({
      article: `${one(random, COLOURS)} ${one(random, GOODS)}`,
      quantity: 1 + random(9),
      currency: "EUR",
    })),
    shipping: {
      carrier: one(random, CARRIERS),
      isExpress: random(2) === 0,
      isGift: random(5) === 0,
    },
  };
}

/** @type {Record<string, (random: Random) => unknown>} */
export const ORDER_FAMILIES = { "random ids": orderOfIds, words: orderOfWords };

/** @param {string} family @param {number} count @param {number} seed @returns {any[]} */
export function makeOrders(family, count, seed) {
  const random = randomFrom(seed);
  // The first numbers after a small seed are small themselves.
  for (let step = 0; step < 16; step++) random(2);
  return Array.from({ length: count }, () => ORDER_FAMILIES[family](random));
}
