// MessagePack alone. "in the chain": bytes are left in WASM memory, where compression takes them
// up, or are copied there, as open() does behind decryption. "alone": codec.pack and codec.unpack,
// a Buffer out, a Buffer in.
import { loadCodecModule } from "../../build/codec/assets.js";
import { createCodec } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Packer } from "../../build/codec/packer.js";
import { Unpacker } from "../../build/codec/unpacker.js";
import { check, meanSize } from "./check.mjs";
import { makeFamily } from "./families.mjs";
import { repeated } from "./measure.mjs";
import { absentOf } from "./rivals.mjs";

const SIZE_MAX = 16 * 1024 * 1024;
const DEPTH_MAX = 64;

/** How many times as fast as msgpackr: in the chain, and alone where something was promised. */
const TARGETS = {
  order: [3, 2],
  list: [3, 2],
  nums: [2.5, 2],
  strs: [1, 2],
  unicode: [3, 2],
  nested: [2.5],
  "16 shapes": [1],
  tiny: [1],
  blob: [1],
  "random keys": [1],
};

/**
 * @typedef {object} Format
 * @property {string} name
 * @property {(value: any) => any} encode to bytes, or to bytes in WASM memory
 * @property {(value: any) => Uint8Array} toBytes
 * @property {(bytes: any) => any} decode
 */

/** Ours between values and bytes in WASM memory. @returns {Promise<Format>} */
async function inMemory() {
  const memory = new LinearMemory(await loadCodecModule());
  const packer = new Packer(memory, DEPTH_MAX, SIZE_MAX);
  const unpacker = new Unpacker(memory, DEPTH_MAX);
  const encode = (/** @type {any} */ value) => {
    const top = memory.enter();
    const size = packer.pack(value);
    memory.leave(top);
    return size;
  };
  return {
    name: "wasmq",
    encode,
    toBytes(value) {
      const size = encode(value);
      return memory.u8.slice(memory.top, memory.top + size);
    },
    decode(bytes) {
      const top = memory.enter();
      const value = unpacker.unpack(memory.place(bytes), bytes.length);
      memory.leave(top);
      return value;
    },
  };
}

/** @returns {Promise<Format>} */
async function alone() {
  const codec = await createCodec();
  const encode = (/** @type {any} */ value) => codec.pack(value);
  return { name: "wasmq", encode, toBytes: encode, decode: (bytes) => codec.unpack(bytes) };
}

/** @param {import("./tables.mjs").Kit["rivals"]} rivals @param {boolean} isInChain */
function rivalFormats(rivals, isInChain) {
  /** @type {Format[]} */
  const formats = [];
  const msgpackr = rivals.msgpackr.module;
  if (msgpackr !== undefined) {
    const packr = new msgpackr.Packr({ useRecords: false });
    const encode = (/** @type {any} */ value) => packr.pack(value);
    const decode = (/** @type {any} */ bytes) => packr.unpack(bytes);
    formats.push({ name: "msgpackr", encode, toBytes: encode, decode });
  }
  const msgpack = rivals["@msgpack/msgpack"].module;
  if (msgpack !== undefined) {
    const encoder = new msgpack.Encoder();
    const decoder = new msgpack.Decoder();
    // In a chain nobody keeps the bytes, and so they need no copy.
    const encode = isInChain
      ? (/** @type {any} */ value) => encoder.encodeSharedRef(value)
      : (/** @type {any} */ value) => encoder.encode(value);
    const decode = (/** @type {any} */ bytes) => decoder.decode(bytes);
    formats.push({ name: "@msgpack/msgpack", encode, toBytes: encode, decode });
  }
  return formats;
}

const toJson = (/** @type {any} */ value) => Buffer.from(JSON.stringify(value));

/** @type {Format} */
const json = {
  name: "JSON",
  encode: toJson,
  toBytes: toJson,
  decode: (bytes) => JSON.parse(bytes.toString()),
};

/**
 * Each place in a process of its own: a second codec in a process slows down both.
 * @param {string} family
 * @param {boolean} isInChain
 * @param {import("./tables.mjs").Kit} kit
 */
async function openFamily(family, isInChain, { valuesMax, rivals }) {
  const values = makeFamily(family, valuesMax);
  const targets = TARGETS[/** @type {keyof typeof TARGETS} */ (family)];
  const target = targets[isInChain ? 0 : 1];
  const formats = [
    isInChain ? await inMemory() : await alone(),
    ...rivalFormats(rivals, isInChain),
    // JSON has no bytes.
    ...(isInChain || family === "blob" ? [] : [json]),
  ];
  // Each reads what it writes: the widths of heads and numbers are its own.
  const inputs = formats.map(({ toBytes }) => values.map((value) => Buffer.from(toBytes(value))));
  for (const [index, { name, decode }] of formats.entries()) {
    check(`${name}, ${family}`, values, (_, at) => decode(inputs[index][at]));
  }
  const common = {
    targets: target === undefined ? undefined : { msgpackr: target },
    absent: absentOf(rivals, ["msgpackr", "@msgpack/msgpack"]),
  };
  const place = isInChain ? "in the chain" : "alone";
  return {
    scenario: family,
    values: values.length,
    valueBytes: meanSize(inputs[0]),
    operations: [
      {
        ...common,
        name: `encode, ${place}`,
        contenders: formats.map(({ name, encode }, index) => {
          const time = repeated(values.length, (at) => encode(values[at]));
          return { name, bytes: meanSize(inputs[index]), time };
        }),
      },
      {
        ...common,
        name: `decode, ${place}`,
        contenders: formats.map(({ name, decode }, index) => {
          const own = inputs[index];
          const time = repeated(values.length, (at) => decode(own[at]));
          return { name, bytes: meanSize(own), time };
        }),
      },
    ],
  };
}

/** @type {import("./tables.mjs").Table} */
export const messagepack = {
  title: "MessagePack",
  hasSizes: false,
  about:
    "Values to MessagePack and back. In the chain: bytes are left in WASM memory, and copied into it " +
    "before they are read, as codec.seal and codec.open have it. Alone: codec.pack and codec.unpack, " +
    "a result of the caller's own. msgpackr without its records extension, which other readers do " +
    "not know; its pack, and encodeSharedRef of @msgpack/msgpack in the chain, return views that " +
    "are not copied. JSON as V8 has it, to a Buffer and from one.",
  sections: Object.fromEntries(
    [true, false].flatMap((isInChain) =>
      Object.keys(TARGETS).map((family) => [
        `${family}/${isInChain ? "chain" : "alone"}`,
        (/** @type {import("./tables.mjs").Kit} */ kit) => openFamily(family, isInChain, kit),
      ]),
    ),
  ),
};
