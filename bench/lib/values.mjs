// The values that are sent, packed and sealed. Always the same ones, from a seed, and many of each
// kind: a single value would be predicted by the processor and cached by whoever handles it.

/**
 * Marsaglia's xorshift32.
 * @param {number} seed
 * @returns {(end: number) => number} a whole number of 0..end-1
 */
function randomFrom(seed) {
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
const CHINESE = "订单已经发货请在三天之内确认收货谢谢您的支持价格数量地址电话仓库";
const EMOJI = ["📦", "🚚", "✅", "🧾", "💶", "🇸🇪", "👩‍🔧"];

/** @typedef {(end: number) => number} Random */

/** @param {Random} random @param {number} count */
function words(random, count) {
  return Array.from({ length: count }, () => WORDS[random(WORDS.length)]).join(" ");
}

/** An order of about 130 bytes, packed. @param {Random} random @param {number} index */
function order(random, index) {
  return {
    orderId: 1_000_000 + index,
    customer: `C-${random(1_000_000)}`,
    city: CITIES[random(CITIES.length)],
    sku: `${WORDS[random(WORDS.length)]}-${random(10_000)}`,
    quantity: 1 + random(40),
    price: (100 + random(99_900)) / 100,
    currency: "EUR",
    isExpress: random(4) === 0,
    placedAt: 1_790_000_000_000 + random(1_000_000_000),
    note: words(random, 2),
  };
}

/** A call of about 360 bytes, nested. @param {Random} random @param {number} index */
function call(random, index) {
  return {
    method: "orders.quote",
    version: 3,
    trace: {
      traceId: `${random(2 ** 31)}-${random(2 ** 31)}`,
      spanId: random(2 ** 31),
      sampled: true,
    },
    user: { id: index, name: words(random, 2), roles: ["buyer", WORDS[random(WORDS.length)]] },
    params: {
      items: Array.from({ length: 3 }, () => ({
        sku: `${WORDS[random(WORDS.length)]}-${random(10_000)}`,
        quantity: 1 + random(9),
        price: random(100_000) / 100,
      })),
      shipTo: { city: CITIES[random(CITIES.length)], zip: String(10_000 + random(89_999)) },
      discount: null,
    },
    sentAt: 1_790_000_000_000 + random(1_000_000_000),
  };
}

/** @param {Random} random @param {number} index */
function rows(random, index) {
  return Array.from({ length: 1000 }, (_, row) => ({
    id: index * 1000 + row,
    name: words(random, 2),
    city: CITIES[random(CITIES.length)],
    amount: random(1_000_000) / 100,
    active: random(2) === 0,
  }));
}

/** @param {Random} random */
function strings(random) {
  return Array.from({ length: 100 }, () => words(random, 1 + random(6)));
}

/** @param {Random} random */
function unicode(random) {
  const chinese = () =>
    Array.from({ length: 6 + random(10) }, () => CHINESE[random(CHINESE.length)]).join("");
  return {
    标题: chinese(),
    message: chinese() + EMOJI[random(EMOJI.length)],
    lines: Array.from({ length: 6 }, () => `${EMOJI[random(EMOJI.length)]} ${chinese()}`),
    naïve: "smörgåsbord på Gröna Lund",
  };
}

/** A message with 64 KiB that compress as logs do. @param {Random} random @param {number} index */
function text(random, index) {
  let log = "";
  while (log.length < 65_536) {
    log += `2026-11-22T10:${random(60)}:${random(60)}Z INFO ${words(random, 8)} took ${random(900)} ms\n`;
  }
  return { id: index, type: "text/plain", data: Buffer.from(log.slice(0, 65_536)) };
}

/** A message with 64 KiB that do not compress. @param {Random} random @param {number} index */
function noise(random, index) {
  return { id: index, type: "image/jpeg", data: bytes(random, 65_536) };
}

/** @param {Random} random @param {number} size */
function bytes(random, size) {
  const filled = Buffer.alloc(size);
  for (let at = 0; at < size; at++) filled[at] = random(256);
  return filled;
}

/**
 * The kinds of values, each with how many different ones take part.
 * @type {Record<string, { count: number, make: (random: Random, index: number) => unknown }>}
 */
const KINDS = {
  "order 130 B": { count: 512, make: order },
  "call 360 B": { count: 512, make: call },
  // 48 lists have 48 000 different rows.
  "1000 rows": { count: 48, make: rows },
  "100 strings": { count: 512, make: strings },
  unicode: { count: 512, make: unicode },
  "64 KiB text": { count: 64, make: text },
  "64 KiB random": { count: 64, make: noise },
};

export const VALUE_KINDS = Object.keys(KINDS);

/**
 * The values of one kind.
 * @param {string} kind
 * @param {number} countMax
 * @returns {any[]}
 */
export function makeValues(kind, countMax = Infinity) {
  const { count, make } = KINDS[kind];
  const random = randomFrom(0x9e3779b1);
  return Array.from({ length: Math.min(count, countMax) }, (_, index) => make(random, index));
}

/** Bodies of this many bytes, each telling its index in the first two. @param {number} size */
export function makeBodies(size) {
  const random = randomFrom(0x85ebca6b);
  return Array.from({ length: 1024 }, (_, index) => {
    const body = bytes(random, size);
    body.writeUInt16LE(index);
    return body;
  });
}
