// `node bench/lz4.mjs [ROUNDS]`, after a build: the LZ4 of assembly/ against lz4-wasm, both from a
// Uint8Array of JavaScript's to a view of the result, on JSON that rotates. lz4-wasm goes through its
// raw exports here, which believe the size: neither walks a block first. A row for C's liblz4 follows
// where cc and the library are; its bytes need no copy into a WASM memory.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadCodecModule, loadLz4Module } from "../build/codec/assets.js";
import { LinearMemory } from "../build/codec/linear-memory.js";
import { Lz4Assembly } from "../build/codec/lz4-assembly.js";
import { interleave, median, medianRatio } from "./lib/rounds.mjs";

const rounds = Number(process.argv[2] ?? 41);
const SIZES = [
  { size: 300, count: 1024 },
  { size: 16 * 1024, count: 64 },
  { size: 256 * 1024, count: 8 },
  { size: 1024 * 1024, count: 4 },
];

let state = 7;
function below(count) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return (state >>> 8) % count;
}
const WORDS = "red blue large small classic slim travel cotton steel glass lamp chair mug".split(
  " ",
);
const word = () => WORDS[below(WORDS.length)];

function order() {
  return {
    orderId: `A-${10_000 + below(90_000)}`,
    sku: `SKU-${below(100_000)}`,
    quantity: 1 + below(9),
    price: below(100_000) / 100,
    currency: ["EUR", "USD", "CNY"][below(3)],
    customer: { id: below(100_000), name: `${word()} ${word()}`, email: `${word()}@example.com` },
    address: { street: `${word()} street ${below(200)}`, city: word(), zip: `${below(90_000)}` },
    tags: [word(), word()],
    express: below(2) === 1,
    note: null,
  };
}

/** JSON of exactly so many bytes, or of one order where that is less. */
function json(size) {
  if (size <= 300) return Uint8Array.from(Buffer.from(JSON.stringify(order())).subarray(0, size));
  const parts = [];
  for (let bytes = 0; bytes < size; bytes += parts.at(-1).length + 1) {
    parts.push(JSON.stringify(order()));
  }
  return Uint8Array.from(Buffer.from(`[${parts.join(",")}]`).subarray(0, size));
}

function ours(module) {
  const blocks = new Lz4Assembly(new LinearMemory(module));
  return {
    name: "assembly",
    compress: (plain) => blocks.compress(plain),
    decompress: (block, size) => blocks.decompress(block, size, size),
  };
}

function lz4Wasm(module) {
  const imports = { "./lz4_wasm_bg.js": { __wbindgen_string_new: () => 0 } };
  const { exports } = new WebAssembly.Instance(module, imports);
  const { memory, __wbindgen_malloc: allocate, __wbindgen_free: free } = exports;
  let held = 0;
  let heldSize = 0;
  const run = (call, offset, size, skip) => {
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

/** us a call, over all inputs. */
function time(count, call) {
  const began = process.hrtime.bigint();
  for (let index = 0; index < count; index++) call(index);
  return Number(process.hrtime.bigint() - began) / 1000 / count;
}

function buildC(folder) {
  const source = fileURLToPath(new URL("lz4.c", import.meta.url));
  const program = join(folder, "lz4");
  for (const library of ["-llz4", "-l:liblz4.so.1"]) {
    const { status } = spawnSync("cc", ["-O2", source, "-o", program, library]);
    if (status === 0) return program;
  }
  return undefined;
}

function runC(program, folder, plains) {
  const file = join(folder, "inputs");
  const withSize = (plain) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(plain.length);
    return [size, plain];
  };
  writeFileSync(file, Buffer.concat(plains.flatMap(withSize)));
  const { stdout, status } = spawnSync(program, [String(rounds), file], { encoding: "utf8" });
  return status === 0 ? stdout.split(" ").map(Number) : undefined;
}

function print(name, compressUs, decompressUs, blockSize, ratios = "") {
  const figures = `${compressUs.toFixed(3).padStart(10)} ${decompressUs.toFixed(3).padStart(10)}`;
  console.log(`  ${name.padEnd(10)} ${figures} us ${Math.round(blockSize)} B ${ratios}`);
}

const contenders = [ours(await loadCodecModule()), lz4Wasm(await loadLz4Module())];
const folder = mkdtempSync(join(tmpdir(), "wasmq-lz4-"));
try {
  const program = buildC(folder);
  console.log("compress, decompress, block size; how many times as fast as lz4-wasm");
  for (const { size, count } of SIZES) {
    const plains = Array.from({ length: count }, () => json(size));
    // Each decompresses the same blocks.
    const blocks = plains.map((plain) => contenders[1].compress(plain).slice());
    const sizes = contenders.map(({ compress, decompress }) => {
      for (const [index, plain] of plains.entries()) {
        const isSame =
          Buffer.compare(decompress(compress(plain).slice(), plain.length), plain) === 0;
        const isOpened = Buffer.compare(decompress(blocks[index], plain.length), plain) === 0;
        if (!isSame || !isOpened) throw new Error(`a block of ${plain.length} bytes is wrong`);
      }
      return plains.reduce((sum, plain) => sum + compress(plain).length, 0) / count;
    });
    const results = await interleave(contenders, rounds, ({ compress, decompress }) => [
      time(count, (index) => compress(plains[index])),
      time(count, (index) => decompress(blocks[index], plains[index].length)),
    ]);
    const us = results.map((figures) => [0, 1].map((at) => figures.map((figure) => figure[at])));
    console.log(`${Math.round(median(plains.map(({ length }) => length)))} B of JSON`);
    for (const [index, { name }] of contenders.entries()) {
      // Of times, so the baseline's over its own.
      const ratios = [0, 1].map((at) => `${medianRatio(us[1][at], us[index][at]).toFixed(2)}x`);
      print(name, median(us[index][0]), median(us[index][1]), sizes[index], ratios.join(" "));
    }
    const c = program === undefined ? undefined : runC(program, folder, plains);
    if (c !== undefined) print("C liblz4", ...c);
  }
} finally {
  rmSync(folder, { recursive: true });
}
