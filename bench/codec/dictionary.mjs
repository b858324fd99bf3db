import { loadCodecModule } from "../../build/codec/assets.js";
import { DictionaryShelf } from "../../build/codec/dictionary-shelf.js";
import { createCodec, trainDictionary } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Lz4Assembly } from "../../build/codec/lz4-assembly.js";
import { meanSize } from "./check.mjs";
import { repeated } from "./measure.mjs";
import { makeOrders, ORDER_FAMILIES } from "./orders.mjs";

const KIB = 1024;
const DICTIONARY_SIZES = [4 * KIB, 16 * KIB, 64 * KIB];
const TRAINED_COUNT = 4000;
const FRESH_COUNT = 1024;
const TRAINED_SEED = 11;
const FRESH_SEED = 999;

/**
 * A way to compress, with the blocks that it makes, each of which it was seen to open.
 * @param {readonly Uint8Array[]} plains
 * @param {import("../../build/codec/index.js").Dictionary} [dictionary]
 */
async function contender(plains, dictionary) {
  const memory = new LinearMemory(await loadCodecModule());
  const shelf = new DictionaryShelf(memory, dictionary === undefined ? [] : [dictionary]);
  const held = dictionary && shelf.find(dictionary.digestText);
  const codec = new Lz4Assembly(memory);
  const blocks = plains.map((plain) => codec.compress(plain, held).slice());
  for (const [index, plain] of plains.entries()) {
    const opened = codec.decompress(blocks[index], plain.length, plain.length, held);
    if (Buffer.compare(opened, plain) !== 0) throw new Error(`message ${index} did not come back`);
  }
  return {
    bytes: meanSize(blocks),
    compress: repeated(plains.length, (at) => codec.compress(plains[at], held)),
    decompress: repeated(plains.length, (at) => {
      const { length } = plains[at];
      return codec.decompress(blocks[at], length, length, held);
    }),
  };
}

/**
 * @param {string} family
 * @param {import("./tables.mjs").Kit} kit
 * @returns {Promise<import("./measure.mjs").Case>}
 */
async function openFamily(family, { valuesMax }) {
  const codec = await createCodec();
  const pack = (/** @type {unknown} */ value) => codec.pack(value);
  const samples = makeOrders(family, Math.min(TRAINED_COUNT, valuesMax * 100), TRAINED_SEED).map(
    pack,
  );
  const plains = makeOrders(family, Math.min(FRESH_COUNT, valuesMax), FRESH_SEED).map(pack);
  codec.close();
  const alone = await contender(plains);
  const operations = [];
  for (const size of DICTIONARY_SIZES) {
    const using = await contender(plains, await trainDictionary(samples, { size }));
    for (const way of /** @type {const} */ (["compress", "decompress"])) {
      operations.push({
        name: `${way}, ${size / KIB} KiB`,
        // Under twice the time.
        targets: { "no dictionary": 1 / 2 },
        contenders: [
          { name: "wasmq", bytes: using.bytes, time: using[way] },
          { name: "no dictionary", bytes: alone.bytes, time: alone[way] },
        ],
      });
    }
  }
  return { values: plains.length, valueBytes: meanSize(plains), operations };
}

/** @type {import("./tables.mjs").Table} */
export const dictionary = {
  title: "Dictionaries",
  hasSizes: true,
  about:
    "Orders as MessagePack, none of them seen in training, to LZ4 blocks with a dictionary of so many " +
    "KiB and back, beside the same code without one: what it saves is in the sizes, what it costs in " +
    "the times. A test holds the sizes: half for orders full of random ids, 3.5 times smaller for " +
    "the rest.",
  sections: Object.fromEntries(
    Object.keys(ORDER_FAMILIES).map((family) => [
      family,
      (/** @type {import("./tables.mjs").Kit} */ kit) => openFamily(family, kit),
    ]),
  ),
};
