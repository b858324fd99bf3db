// What the broker suite sends, and the randomness that all values are made of. Always the same
// ones, from a seed, and many of each kind: a single value would be predicted by the processor and
// cached by whoever handles it.

/**
 * Marsaglia's xorshift32.
 * @param {number} seed
 * @returns {(end: number) => number} a whole number of 0..end-1
 */
export function randomFrom(seed) {
  let state = seed | 1;
  return (end) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % end;
  };
}

const CITIES = ["Uppsala", "Kyoto", "Porto", "Tartu", "Ghent", "Cusco", "Perth", "Lagos"];
const WORDS =
  "amber bolt cable dock engine flange gasket hinge inlet joint keel lever motor nozzle outlet pump".split(
    " ",
  );

/** @typedef {(end: number) => number} Random */

/** @param {Random} random @param {readonly any[]} items */
export function pick(random, items) {
  return items[random(items.length)];
}

/** @param {Random} random @param {number} count */
export function words(random, count) {
  return Array.from({ length: count }, () => pick(random, WORDS)).join(" ");
}

/** @param {Random} random @param {number} size */
export function bytes(random, size) {
  const filled = Buffer.alloc(size);
  for (let at = 0; at < size; at++) filled[at] = random(256);
  return filled;
}

/** An order of about 130 bytes, packed. @param {Random} random @param {number} index */
function order(random, index) {
  return {
    orderId: 1_000_000 + index,
    customer: `C-${random(1_000_000)}`,
    city: pick(random, CITIES),
    sku: `${pick(random, WORDS)}-${random(10_000)}`,
    quantity: 1 + random(40),
    price: (100 + random(99_900)) / 100,
    currency: "EUR",
    isExpress: random(4) === 0,
    placedAt: 1_790_000_000_000 + random(1_000_000_000),
    note: words(random, 2),
  };
}

/** @returns {any[]} */
export function makeOrders() {
  const random = randomFrom(0x9e3779b1);
  return Array.from({ length: 512 }, (_, index) => order(random, index));
}

/** Bodies of this many bytes, each telling its index in the first two. @param {number} size @param {number} count */
export function makeBodies(size, count) {
  const random = randomFrom(0x85ebca6b);
  return Array.from({ length: count }, (_, index) => {
    const body = bytes(random, size);
    body.writeUInt16LE(index);
    return body;
  });
}
