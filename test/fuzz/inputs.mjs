import { FAMILY_NAMES, makeFamily } from "../../bench/codec/families.mjs";
import { createCodec } from "../../build/codec/index.js";
import { Random } from "../random.mjs";
import { writeBlock } from "./blocks.mjs";
import { Bytes } from "./bytes.mjs";
import { Sealer } from "./envelopes.mjs";
import { writeMessage } from "./messages.mjs";
import { mutate } from "./mutate.mjs";

/**
 * What is called with an input. `decompress-sized` has the size that its caller claims in the first
 * four bytes of the input, little-endian; `open` opens with a key, `open-plain` without.
 */
export const TARGETS = ["unpack", "decompress", "decompress-sized", "open", "open-plain"];

/** No input is larger. */
export const INPUT_SIZE_MAX = 16 * 1024;
/** Room for an envelope's header, nonce and tag, and a claimed size. */
const BODY_SIZE_MAX = INPUT_SIZE_MAX - 64;

/** @typedef {{ message: Uint8Array, block: Uint8Array }} Example a message, and it compressed */

/** Well-formed messages of every kind that the bench has. @returns {Promise<Example[]>} */
async function examples() {
  const codec = await createCodec();
  const found = [];
  for (const kind of FAMILY_NAMES) {
    for (const value of makeFamily(kind, 12)) {
      const message = codec.pack(value);
      // A part of a larger one is no message, but still makes a block.
      const part = message.subarray(0, BODY_SIZE_MAX / 2);
      found.push({ message: part, block: codec.compress(part) });
    }
  }
  codec.close();
  return found;
}

/** Inputs without end: generated, mutated, truncated, spliced; the same ones for the same seed. */
export class Inputs {
  #random;
  #examples;
  #sealer;
  #targets;
  #body = new Bytes(BODY_SIZE_MAX);
  #plain = new Bytes(INPUT_SIZE_MAX);
  #input = new Bytes(INPUT_SIZE_MAX);
  target = TARGETS[0];

  /**
   * @param {number} seed
   * @param {import("../../build/codec/sodium.js").SodiumExports} sodium
   * @param {readonly string[]} targets
   */
  static async create(seed, sodium, targets) {
    return new Inputs(new Random(seed), sodium, targets, await examples());
  }

  /**
   * @param {Random} random
   * @param {import("../../build/codec/sodium.js").SodiumExports} sodium
   * @param {readonly string[]} targets
   * @param {Example[]} found
   */
  constructor(random, sodium, targets, found) {
    this.#random = random;
    this.#examples = found;
    this.#sealer = new Sealer(sodium, random);
    this.#targets = targets;
  }

  /** The next input, for `target`; a view that the next call overwrites. @returns {Uint8Array} */
  next() {
    this.target = this.#random.pick(this.#targets);
    const input = this.#input;
    switch (this.target) {
      case "unpack":
        this.#message(input);
        break;
      case "decompress":
        this.#block(input);
        break;
      case "decompress-sized":
        this.#sizedBlock(input);
        break;
      default:
        this.#envelope(input, this.target === "open");
    }
    return input.view;
  }

  /** @param {Bytes} out */
  #message(out) {
    const random = this.#random;
    const source = random.below(16);
    out.size = 0;
    if (source === 0) return out.noise(random, random.below(64));
    if (source < 9) writeMessage(random, out);
    else out.put(this.#example().message);
    if (random.chance(50)) mutate(random, out, () => this.#example().message);
  }

  /** @returns {Example} a small one mostly: a large one takes the time of many */
  #example() {
    const example = this.#random.pick(this.#examples);
    return example.message.length <= 1024 || this.#random.chance(5)
      ? example
      : this.#random.pick(this.#examples);
  }

  /** @param {Bytes} out @returns {number} the size of what it held before it was spoilt */
  #block(out) {
    const random = this.#random;
    const source = random.below(16);
    out.size = 0;
    let plainSize = 0;
    if (source === 0) out.noise(random, random.below(64));
    else if (source < 9) plainSize = writeBlock(random, out);
    else {
      const { block, message } = this.#example();
      out.put(block);
      plainSize = message.length;
    }
    if (random.chance(50)) mutate(random, out, () => this.#example().block);
    return plainSize;
  }

  /** @param {Bytes} out */
  #sizedBlock(out) {
    const size = this.#claim(this.#block(this.#body));
    out.size = 4;
    for (let index = 0; index < 4; index++) out.all[index] = size >>> (8 * index);
    out.put(this.#body.view);
  }

  /** A size, or one near it. @param {number} size */
  #claim(size) {
    const random = this.#random;
    if (random.chance(75)) return size;
    return Math.max(0, random.pick([size - 1, size + 1, size - 16, size + 16, 0, 65_536, 65_537]));
  }

  /** @param {Bytes} out @param {boolean} hasKey whether its opener has one */
  #envelope(out, hasKey) {
    const random = this.#random;
    const isSealed = hasKey !== (random.below(64) === 0);
    const body = this.#body;
    let plainSize = 0;
    const kind = random.below(4);
    if (kind === 0) {
      plainSize = this.#claim(this.#block(body));
    } else if (kind === 1) {
      this.#stored(body);
      plainSize = this.#claim(this.#plain.size);
    } else {
      this.#message(body);
      plainSize = random.chance(95) ? body.size : this.#claim(body.size);
    }
    this.#sealer.write(out, body.view, { isSealed, isCompressed: kind < 2, plainSize });
    if (random.chance(30)) mutate(random, out, () => this.#example().message);
  }

  /** A message, spoilt or not, in a valid block: of literals alone. @param {Bytes} out */
  #stored(out) {
    const plain = this.#plain;
    this.#message(plain);
    const size = Math.min(plain.size, BODY_SIZE_MAX - 80);
    plain.size = size;
    out.size = 0;
    out.u8(Math.min(size, 15) << 4);
    for (let left = size - 15; left >= 0; left -= 255) out.u8(Math.min(left, 255));
    out.put(plain.view);
  }

  free() {
    this.#sealer.free();
  }
}
