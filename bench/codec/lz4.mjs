// LZ4 blocks alone, from a Uint8Array of JavaScript's to bytes; on JSON.
import { loadCodecModule, loadLz4Module } from "../../build/codec/assets.js";
import { blockSizeMax } from "../../build/codec/block.js";
import { LinearMemory, SLACK_SIZE } from "../../build/codec/linear-memory.js";
import { Lz4Assembly } from "../../build/codec/lz4-assembly.js";
import { check, meanSize } from "./check.mjs";
import { makeTexts } from "./families.mjs";
import { buildLiblz4 } from "./liblz4.mjs";
import { repeated } from "./measure.mjs";
import { absentOf } from "./rivals.mjs";

/** How many texts: of the large ones as many as are more than caches hold. */
const SIZES = {
  "300 B": { size: 300, count: 1024 },
  "16 KiB": { size: 16 * 1024, count: 512 },
  "256 KiB": { size: 256 * 1024, count: 128 },
  "1 MiB": { size: 1024 * 1024, count: 32 },
};
const SMALL_SIZE_MAX = 4096;

/**
 * Blocks of each kind its own: with the size in front of them, or without.
 * @typedef {object} Blocks
 * @property {string} name
 * @property {(plain: any) => Uint8Array} compress
 * @property {(block: any, size: number) => Uint8Array} decompress
 */

/** @param {WebAssembly.Module} module @returns {Blocks} */
function ours(module) {
  const blocks = new Lz4Assembly(new LinearMemory(module));
  return {
    name: "wasmq",
    compress: (plain) => blocks.compress(plain),
    decompress: (block, size) => blocks.decompress(block, size, size),
  };
}

/**
 * The raw exports of lz4-wasm, which believe the size and walk no block first. What they return is
 * held until the next call.
 * @param {WebAssembly.Module} module
 * @returns {Blocks}
 */
function lz4Wasm(module) {
  const imports = { "./lz4_wasm_bg.js": { __wbindgen_string_new: () => 0 } };
  /** @type {any} */
  const exports = new WebAssembly.Instance(module, imports).exports;
  const { memory, __wbindgen_malloc: allocate, __wbindgen_free: free } = exports;
  let held = 0;
  let heldSize = 0;
  const run = (
    /** @type {(...args: number[]) => void} */ call,
    /** @type {number} */ offset,
    /** @type {number} */ size,
    /** @type {number} */ skip,
  ) => {
    if (heldSize > 0) free(held, heldSize);
    const result = exports.__wbindgen_add_to_stack_pointer(-16);
    call(result, offset, size);
    [held, heldSize] = new Uint32Array(memory.buffer, result, 2);
    exports.__wbindgen_add_to_stack_pointer(16);
    return new Uint8Array(memory.buffer, held + skip, heldSize - skip);
  };
  return {
    name: "lz4-wasm",
    compress(plain) {
      const offset = allocate(plain.length);
      new Uint8Array(memory.buffer).set(plain, offset);
      return run(exports.compress, offset, plain.length, 4);
    },
    decompress(block, size) {
      const offset = allocate(block.length + 4);
      new DataView(memory.buffer).setUint32(offset, size, true);
      new Uint8Array(memory.buffer).set(block, offset + 4);
      return run(exports.decompress, offset, block.length + 4, 0);
    },
  };
}

/**
 * Our kernels alone, on texts and blocks that lie in WASM memory already: what C does.
 * @param {WebAssembly.Module} module
 * @param {Uint8Array[]} plains
 * @param {Uint8Array[]} blocks
 */
function inMemory(module, plains, blocks) {
  const memory = new LinearMemory(module);
  let end = memory.top;
  const lay = (/** @type {Uint8Array} */ bytes) => {
    const offset = align(end);
    end = offset + bytes.length + SLACK_SIZE;
    memory.reserve(offset, bytes.length);
    memory.u8.set(bytes, offset);
    return { offset, size: bytes.length };
  };
  const laidPlains = plains.map(lay);
  const laidBlocks = blocks.map(lay);
  const target = align(end);
  const capacity = blockSizeMax(Math.max(...plains.map(({ length }) => length)));
  memory.reserve(target, capacity);
  const { exports } = memory;
  const compress = (/** @type {number} */ at) =>
    exports.compress(laidPlains[at].offset, laidPlains[at].size, target, capacity);
  const decompress = (/** @type {number} */ at) =>
    exports.decompress(laidBlocks[at].offset, laidBlocks[at].size, target, laidPlains[at].size);
  check("wasmq, in WASM memory", plains, (_, at) => {
    if (compress(at) !== blocks[at].length) throw new Error("another block than before");
    return memory.u8.slice(target, target + decompress(at));
  });
  return { compress, decompress };
}

/** As Lz4Assembly lays what it is given. @param {number} offset */
const align = (offset) => (offset + 15) & ~15;

/** @param {import("./tables.mjs").Kit["rivals"]} rivals @returns {Blocks[]} */
function rivalBlocks(rivals) {
  const blocks = [];
  const wasm = rivals["lz4-wasm-nodejs"].module;
  if (wasm !== undefined) {
    const decompress = (/** @type {any} */ block) => wasm.decompress(block);
    blocks.push({ name: "lz4-wasm-nodejs", compress: wasm.compress, decompress });
  }
  const napi = rivals["lz4-napi"].module;
  if (napi !== undefined) {
    // Its second argument would be a dictionary.
    const decompress = (/** @type {any} */ block) => napi.uncompressSync(block);
    blocks.push({ name: "lz4-napi", compress: napi.compressSync, decompress });
  }
  return blocks;
}

/** @param {keyof typeof SIZES} name @param {import("./tables.mjs").Kit} kit */
async function openSize(name, { valuesMax, rivals }) {
  const { size, count } = SIZES[name];
  // lz4-napi takes Buffers only, which the others take as well.
  const plains = makeTexts(size, Math.min(count, valuesMax)).map((plain) => Buffer.from(plain));
  const all = [
    ours(await loadCodecModule()),
    lz4Wasm(await loadLz4Module()),
    ...rivalBlocks(rivals),
  ];
  const inputs = all.map(({ compress }) =>
    plains.map((plain) => Buffer.from(compress(plain).slice())),
  );
  for (const [index, blocks] of all.entries()) {
    check(`${blocks.name}, ${name}`, plains, (plain, at) =>
      blocks.decompress(inputs[index][at], plain.length).slice(),
    );
  }
  const absent = absentOf(rivals, ["lz4-wasm-nodejs", "lz4-napi"]);
  const sizes = inputs.map((blocks) => meanSize(blocks));
  const targets = { "lz4-wasm": size < SMALL_SIZE_MAX ? 2 : 1.3 };
  const c = buildLiblz4(plains);
  const native = "absent" in c ? [] : [c];
  const kernels = inMemory(await loadCodecModule(), plains, inputs[0]);
  /** @param {"compress" | "decompress"} way @returns {import("./measure.mjs").Operation} */
  const alone = (way) => ({
    name: `${way}, in memory`,
    // Within 1.5 times the time of C.
    targets: { [c.name]: 1 / 1.5 },
    absent: "absent" in c ? { [c.name]: c.absent } : {},
    contenders: [
      { name: "wasmq", bytes: sizes[0], time: repeated(plains.length, kernels[way]) },
      ...native.map((each) => ({ name: each.name, bytes: each.bytes, time: each[way] })),
    ],
  });
  return {
    values: plains.length,
    valueBytes: meanSize(plains),
    operations: [
      {
        name: "compress",
        targets,
        absent,
        contenders: all.map(({ name, compress }, index) => {
          const time = repeated(plains.length, (at) => compress(plains[at]));
          return { name, bytes: sizes[index], time };
        }),
      },
      {
        name: "decompress",
        targets,
        absent,
        contenders: all.map(({ name, decompress }, index) => {
          const blocks = inputs[index];
          const time = repeated(plains.length, (at) => decompress(blocks[at], plains[at].length));
          return { name, bytes: sizes[index], time };
        }),
      },
      alone("compress"),
      alone("decompress"),
    ],
    close: () => native.forEach((each) => void each.close()),
  };
}

/** @type {import("./tables.mjs").Table} */
export const lz4 = {
  title: "LZ4",
  hasSizes: true,
  about:
    "JSON to LZ4 blocks and back, from an array of JavaScript's. Ours and the raw exports of " +
    "lz4-wasm leave the result in WASM memory until the next call, as a chain takes it up; the " +
    "packages return memory of their own, for their API has no other way. In memory: our kernel " +
    "alone, on bytes that lie in WASM memory, beside liblz4 in a C program, which has nothing to " +
    "copy either. Each decompresses its own blocks.",
  // Another kind of values, such as messages with a dictionary, is one more entry here.
  sections: Object.fromEntries(
    Object.keys(SIZES).map((name) => [
      name,
      (kit) => openSize(/** @type {keyof typeof SIZES} */ (name), kit),
    ]),
  ),
};
