// `node bench/codec/dictionary.mjs [ROUNDS]`, after a build: what a dictionary saves on orders that it
// was not trained on, and what it costs, beside the same code without one. Both from a Uint8Array of
// JavaScript's to a view of the result.
import { fileURLToPath } from "node:url";
import { loadCodecModule } from "../../build/codec/assets.js";
import { DictionaryShelf } from "../../build/codec/dictionary-shelf.js";
import { createCodec, trainDictionary } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Lz4Assembly } from "../../build/codec/lz4-assembly.js";
import { interleave, median, medianRatio } from "../lib/rounds.mjs";
import { makeOrders, ORDER_FAMILIES } from "./orders.mjs";

const SIZES = [4096, 16_384, 65_536];
const TRAINED_SEED = 11;
const FRESH_SEED = 999;

/**
 * @typedef {object} DictionaryRow
 * @property {string} family what the messages are like
 * @property {number} dictionarySize 0 for none
 * @property {number} plainSize mean bytes of a message
 * @property {number} blockSize mean bytes of its block
 * @property {number} ratio how many times smaller
 * @property {number} compressUs median time of a call
 * @property {number} decompressUs
 * @property {number} compressRatio time by that without a dictionary, as the median of the rounds' ratios
 * @property {number} decompressRatio
 */

/**
 * @param {{ rounds?: number, trainedCount?: number, freshCount?: number }} [options]
 * @returns {Promise<DictionaryRow[]>}
 */
export async function dictionaryRows({ rounds = 41, trainedCount = 4000, freshCount = 1024 } = {}) {
  const codec = await createCodec();
  const rows = [];
  for (const family of Object.keys(ORDER_FAMILIES)) {
    const pack = (value) => codec.pack(value);
    const samples = makeOrders(family, trainedCount, TRAINED_SEED).map(pack);
    const plains = makeOrders(family, freshCount, FRESH_SEED).map(pack);
    const contenders = [await contender(plains, undefined)];
    for (const size of SIZES) {
      contenders.push(await contender(plains, await trainDictionary(samples, { size })));
    }
    rows.push(...(await measure(family, plains, contenders, rounds)));
  }
  return rows;
}

/** A way to compress, with the blocks it makes, each of which it was seen to open. */
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
  return { codec, held, blocks, size: dictionary?.size ?? 0 };
}

async function measure(family, plains, contenders, rounds) {
  const results = await interleave(contenders, rounds, ({ codec, held, blocks }) => [
    time(plains.length, (index) => codec.compress(plains[index], held)),
    time(plains.length, (index) => {
      const { length } = plains[index];
      codec.decompress(blocks[index], length, length, held);
    }),
  ]);
  const us = results.map((figures) => [0, 1].map((at) => figures.map((figure) => figure[at])));
  const mean = (list) => list.reduce((sum, { length }) => sum + length, 0) / list.length;
  return contenders.map(({ blocks, size }, index) => ({
    family,
    dictionarySize: size,
    plainSize: mean(plains),
    blockSize: mean(blocks),
    ratio: mean(plains) / mean(blocks),
    compressUs: median(us[index][0]),
    decompressUs: median(us[index][1]),
    compressRatio: medianRatio(us[index][0], us[0][0]),
    decompressRatio: medianRatio(us[index][1], us[0][1]),
  }));
}

/** us a call, over all messages. */
function time(count, call) {
  const began = process.hrtime.bigint();
  for (let index = 0; index < count; index++) call(index);
  return Number(process.hrtime.bigint() - began) / 1000 / count;
}

/** @param {readonly DictionaryRow[]} rows */
export function printDictionaryRows(rows) {
  console.log(
    "family       dictionary  plain  block  ratio    compress  by none  decompress  by none",
  );
  for (const row of rows) {
    const cells = [
      row.family.padEnd(12),
      String(row.dictionarySize || "none").padStart(10),
      `${Math.round(row.plainSize)} B`.padStart(6),
      `${Math.round(row.blockSize)} B`.padStart(6),
      `${row.ratio.toFixed(2)}x`.padStart(6),
      `${row.compressUs.toFixed(3)} us`.padStart(11),
      `${row.compressRatio.toFixed(2)}x`.padStart(8),
      `${row.decompressUs.toFixed(3)} us`.padStart(11),
      `${row.decompressRatio.toFixed(2)}x`.padStart(8),
    ];
    console.log(cells.join(" "));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  printDictionaryRows(await dictionaryRows({ rounds: Number(process.argv[2] ?? 41) }));
}
