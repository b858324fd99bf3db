// The codecs that suite codec compares, each as the same operations.
import { createCodec, importKey } from "../../build/codec/index.js";
import { BuiltinCodec } from "./builtin.mjs";

/** @typedef {{ value: any, packed: Uint8Array, requestId: Uint8Array }} Sample */

/**
 * One thing to measure: `prepare` makes what `run` is given, outside the measured time.
 * @typedef {object} Operation
 * @property {(sample: Sample) => any} prepare
 * @property {(input: any) => any} run
 * @property {boolean} [isOnce] an input can be used one time only: a replay is refused
 * @property {(result: any, sample: Sample) => any} [check] what must equal the value, or the packed
 *   bytes where it returns bytes; without it the result itself must
 */

export const OPERATIONS = [
  "pack",
  "unpack",
  "compress",
  "decompress",
  "seal, in clear",
  "open, in clear",
  "seal",
  "open",
];

const MAX_SIZE = 16 * 1024 * 1024;

/**
 * @param {string} secret
 * @returns {Promise<Record<string, Operation>>}
 */
async function wasmqOperations(secret) {
  const clear = await createCodec();
  const keyed = await createCodec({ keys: [await importKey(Buffer.from(secret, "base64"))] });
  const contextOf = (/** @type {Sample} */ { requestId }) => ({
    service: "bench.echo",
    direction: /** @type {const} */ ("request"),
    requestId,
  });
  /** @param {typeof clear} codec @returns {Operation} */
  const seal = (codec) => ({
    prepare: (sample) => ({ value: sample.value, context: contextOf(sample) }),
    run: ({ value, context }) => codec.seal(value, context),
    check: (result, sample) => codec.open(result, contextOf(sample)),
  });
  /** @param {typeof clear} codec @returns {Operation} */
  const open = (codec) => ({
    prepare: (sample) => {
      const context = contextOf(sample);
      return { bytes: codec.seal(sample.value, context), context };
    },
    run: ({ bytes, context }) => codec.open(bytes, context),
    isOnce: codec.isSealed,
  });
  return {
    pack: {
      prepare: ({ value }) => value,
      run: (value) => clear.pack(value),
      check: (result) => clear.unpack(result),
    },
    unpack: { prepare: ({ packed }) => packed, run: (packed) => clear.unpack(packed) },
    compress: {
      prepare: ({ packed }) => packed,
      run: (packed) => clear.compress(packed),
      check: (result) => clear.decompress(result, { maxSize: MAX_SIZE }),
    },
    decompress: {
      prepare: ({ packed }) => clear.compress(packed),
      run: (block) => clear.decompress(block, { maxSize: MAX_SIZE }),
      check: (result) => result,
    },
    "seal, in clear": seal(clear),
    "open, in clear": open(clear),
    seal: seal(keyed),
    open: open(keyed),
  };
}

/**
 * @param {string} secret
 * @returns {Promise<Record<string, Operation>>}
 */
async function builtinOperations(secret) {
  const clear = new BuiltinCodec(undefined);
  const keyed = new BuiltinCodec(secret);
  /** @param {BuiltinCodec} codec @returns {Operation} */
  const seal = (codec) => ({
    prepare: (sample) => sample,
    run: ({ value, requestId }) => codec.seal(value, requestId),
    check: (result, { requestId }) => codec.open(result, requestId),
  });
  /** @param {BuiltinCodec} codec @returns {Operation} */
  const open = (codec) => ({
    prepare: ({ value, requestId }) => ({ bytes: codec.seal(value, requestId), requestId }),
    run: ({ bytes, requestId }) => codec.open(bytes, requestId),
  });
  return {
    pack: {
      prepare: ({ value }) => value,
      run: (value) => clear.pack(value),
      check: (result) => clear.unpack(result),
    },
    unpack: { prepare: ({ value }) => clear.pack(value), run: (bytes) => clear.unpack(bytes) },
    compress: {
      prepare: ({ packed }) => packed,
      run: (packed) => clear.compress(packed),
      check: (result) => clear.decompress(result, { maxSize: MAX_SIZE }),
    },
    decompress: {
      prepare: ({ packed }) => clear.compress(packed),
      run: (bytes) => clear.decompress(bytes, { maxSize: MAX_SIZE }),
      check: (result) => result,
    },
    "seal, in clear": seal(clear),
    "open, in clear": open(clear),
    seal: seal(keyed),
    open: open(keyed),
  };
}

/** The last is the baseline. */
export const CONTENDERS = [
  { name: "wasmq", operations: wasmqOperations },
  { name: "built-in", operations: builtinOperations },
];
