// MessagePack by its grammar (msgpack/spec.md), with every head there is, most of it valid and some
// of it lying about a size. Keys and short texts come from a small stock, so that what the codec
// remembers from message to message is met again, and from chance.

const STOCK = ["id", "name", "sku", "price", "__proto__", "constructor", "a\"'\n\\", "Zoë", "订单"];
const STOCK_BYTES = [...STOCK, "x".repeat(31), "y".repeat(32), "z".repeat(33)].map((text) =>
  new TextEncoder().encode(text),
);
const WIDE = new TextEncoder().encode("日本語のテキスト🔑👩‍🔧é");
const EDGES = [0, 1, 0x1f, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff];
const LARGE_EDGES = [2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 64 - 2 ** 11];
const DEPTH_MAX = 66;

/** @typedef {import("../random.mjs").Random} Random */
/** @typedef {import("./bytes.mjs").Bytes} Bytes */

/**
 * A head that tells a size, in one of its forms.
 * @param {Random} random
 * @param {Bytes} out
 * @param {number} size
 * @param {[number, number] | undefined} fix first byte and largest size of the short form
 * @param {(number | undefined)[]} heads first bytes for sizes of 8, 16 and 32 bits
 */
function head(random, out, size, fix, heads) {
  // One in 64 says another size than it has.
  const told = random.below(64) === 0 ? random.pick([size + 1, size - 1, ...EDGES]) : size;
  const claimed = Math.max(0, told);
  if (fix !== undefined && claimed <= fix[1] && random.chance(80)) return out.u8(fix[0] + claimed);
  const [tiny, short, long] = heads;
  if (tiny !== undefined && claimed <= 0xff && random.chance(80)) {
    out.u8(tiny);
    return out.be(1, claimed);
  }
  if (short !== undefined && claimed <= 0xffff && random.chance(80)) {
    out.u8(short);
    return out.be(2, claimed);
  }
  out.u8(long);
  out.be(4, claimed);
}

/** @param {Random} random @param {Bytes} out */
function number(random, out) {
  const width = [0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3];
  switch (random.below(6)) {
    case 0:
      return out.u8(random.below(128));
    case 1:
      return out.u8(224 + random.below(32));
    case 2:
    case 3: {
      const index = random.below(8);
      out.u8(width[index]);
      const value = random.pick(random.chance(70) ? EDGES : LARGE_EDGES);
      return out.be(1 << (index & 3), value);
    }
    case 4:
      out.u8(0xca);
      return out.noise(random, 4);
    default:
      out.u8(0xcb);
      return out.noise(random, 8);
  }
}

/** @param {Random} random @param {Bytes} out */
function text(random, out) {
  const heads = [0xd9, 0xda, 0xdb];
  const kind = random.below(10);
  if (kind < 6) {
    const stock = random.pick(STOCK_BYTES);
    head(random, out, stock.length, [0xa0, 31], heads);
    return out.put(stock);
  }
  const size = random.pick([0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 60, random.below(700)]);
  head(random, out, size, [0xa0, 31], heads);
  if (kind === 6) return out.noise(random, size);
  if (kind === 7) {
    for (let left = size; left > 0; left -= WIDE.length) {
      out.put(left < WIDE.length ? WIDE.subarray(0, left) : WIDE);
    }
    return;
  }
  for (let index = 0; index < size; index++) out.u8(0x20 + random.below(95));
}

/** @param {Random} random @param {Bytes} out */
function extension(random, out) {
  const type = random.chance(60) ? 0xff : random.below(256);
  const index = random.below(7);
  if (index < 5) {
    out.u8(0xd4 + index);
    out.u8(type);
    return out.noise(random, 1 << index);
  }
  const size = random.pick([0, 4, 8, 12, 12, 13, 40]);
  head(random, out, size, undefined, [0xc7, 0xc8, 0xc9]);
  out.u8(type);
  // Most timestamps of 12 bytes at chance are of no time that a Date can hold.
  if (size === 12 && random.chance(70)) out.put(Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0));
  out.noise(random, size === 12 ? 4 : size);
}

/** @param {Random} random @param {Bytes} out */
function scalar(random, out) {
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2:
      return number(random, out);
    case 3:
    case 4:
      return text(random, out);
    case 5:
      return out.u8(random.pick([0xc0, 0xc2, 0xc3]));
    case 6: {
      const size = random.pick([0, 1, 5, 255, 256, random.below(400)]);
      head(random, out, size, undefined, [0xc4, 0xc5, 0xc6]);
      return out.noise(random, size);
    }
    default:
      return random.below(100) === 0 ? out.u8(0xc1) : extension(random, out);
  }
}

/** @param {Random} random @param {Bytes} out @param {number} depth @param {number} budget */
function container(random, out, depth, budget) {
  const count = random.pick([0, 1, 2, 3, 4, 5, 8, 15, 16, 17]);
  const share = budget / (count + 1);
  if (random.chance(50)) {
    head(random, out, count, [0x90, 15], [undefined, 0xdc, 0xdd]);
    const isRun = random.chance(30);
    for (let index = 0; index < count; index++) {
      if (isRun) number(random, out);
      else writeMessage(random, out, depth + 1, share);
    }
    return;
  }
  head(random, out, count, [0x80, 15], [undefined, 0xde, 0xdf]);
  const from = random.below(4);
  for (let index = 0; index < count; index++) {
    const kind = random.below(40);
    if (kind === 0) {
      if (random.chance(20)) out.u8(0xc1);
      else scalar(random, out);
    } else if (kind < 4) number(random, out);
    else if (kind < 8) text(random, out);
    else {
      // In the same order as in other maps: that is what a shape is.
      const key = STOCK_BYTES[(from + index) % STOCK_BYTES.length];
      head(random, out, key.length, [0xa0, 31], [0xd9, 0xda, 0xdb]);
      out.put(key);
    }
    writeMessage(random, out, depth + 1, share);
  }
}

/**
 * Writes one value.
 * @param {Random} random
 * @param {Bytes} out
 * @param {number} depth levels of containers that it is in
 * @param {number} budget how many containers it may have, about
 */
export function writeMessage(random, out, depth = 0, budget = 6) {
  if (depth === 0 && random.below(50) === 0) {
    const levels = random.pick([62, 63, 64, 65, DEPTH_MAX]);
    for (let level = 0; level < levels; level++) out.u8(0x91);
    return scalar(random, out);
  }
  if (budget >= 1 && depth < DEPTH_MAX && random.chance(depth === 0 ? 80 : 40)) {
    return container(random, out, depth, budget);
  }
  scalar(random, out);
}
