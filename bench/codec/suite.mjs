import { deepStrictEqual } from "node:assert";
import { randomBytes } from "node:crypto";
import { createCodec } from "../../build/codec/index.js";
import { interleave, median, medianRatio } from "../lib/rounds.mjs";
import { figure, times } from "../lib/table.mjs";
import { makeValues, VALUE_KINDS } from "../lib/values.mjs";
import { CONTENDERS, OPERATIONS } from "./contenders.mjs";

/** @typedef {import("./contenders.mjs").Operation} Operation */
/** @typedef {import("./contenders.mjs").Sample} Sample */

/** The share of `--seconds` that one figure takes: there are many. */
const TIME_SHARE = 1 / 8;
const QUICK_VALUES_MAX = 4;

/**
 * @param {import("../lib/options.mjs").Options} options
 * @param {{ progress(text: string): void }} run
 */
export async function runCodecSuite(options, { progress }) {
  const packer = await createCodec();
  const secret = randomBytes(32).toString("base64");
  const contenders = [];
  for (const { name, operations } of CONTENDERS) {
    contenders.push({ name, operations: await operations(secret) });
  }
  const rows = [];
  for (const kind of VALUE_KINDS) {
    progress(`codec: ${kind}`);
    const samples = makeValues(kind, options.isQuick ? QUICK_VALUES_MAX : Infinity).map(
      (value) => ({
        value,
        packed: packer.pack(value),
        requestId: Uint8Array.from(randomBytes(16)),
      }),
    );
    for (const operation of OPERATIONS) {
      const kindRows = await compare(contenders, operation, samples, options);
      rows.push(...kindRows.map((row) => ({ suite: "codec", scenario: kind, ...row })));
    }
  }
  return rows;
}

/**
 * @param {{ name: string, operations: Record<string, Operation> }[]} contenders
 * @param {string} operation
 * @param {Sample[]} samples
 * @param {import("../lib/options.mjs").Options} options
 */
async function compare(contenders, operation, samples, options) {
  const valueBytes = mean(samples.map(({ packed }) => packed.length));
  const resultBytes = contenders.map(({ operations }) => check(operations[operation], samples));
  const durationMs = options.seconds * 1000 * TIME_SHARE;
  for (const { operations } of contenders) time(operations[operation], samples, durationMs / 2);
  const results = await interleave(contenders, options.rounds, async ({ operations }) => {
    // Between measurements, so that Ctrl-C is heard.
    await new Promise((resolve) => setImmediate(resolve));
    return time(operations[operation], samples, durationMs);
  });
  const rates = results.map((each) => each.map((callUs) => 1 / callUs));
  return contenders.map(({ name }, index) => {
    const callUs = median(results[index]);
    return {
      operation,
      contender: name,
      values: samples.length,
      valueBytes,
      resultBytes: resultBytes[index],
      callUs,
      // Of the packed value, for every contender: what it makes of it may be smaller or larger.
      megabytesPerSecond: valueBytes / callUs,
      ratio: medianRatio(rates[index], rates[rates.length - 1]),
    };
  });
}

/**
 * Runs over the samples again and again for about this long.
 * @param {Operation} operation
 * @param {Sample[]} samples
 * @param {number} durationMs
 * @returns {number} us per call
 */
function time({ prepare, run, isOnce }, samples, durationMs) {
  let inputs = samples.map(prepare);
  let spentMs = 0;
  let count = 0;
  while (spentMs < durationMs) {
    if (isOnce && count > 0) inputs = samples.map(prepare);
    const startMs = performance.now();
    for (const input of inputs) run(input);
    spentMs += performance.now() - startMs;
    count += inputs.length;
  }
  return (spentMs / count) * 1000;
}

/**
 * Holds an operation to what it should give, for every sample.
 * @param {Operation} operation
 * @param {Sample[]} samples
 * @returns {number | undefined} mean size of the results, where they are bytes
 */
function check(operation, samples) {
  const sizes = [];
  for (const sample of samples) {
    const result = operation.run(operation.prepare(sample));
    if (result instanceof Uint8Array) sizes.push(result.length);
    const checked = operation.check === undefined ? result : operation.check(result, sample);
    const isBytes = checked instanceof Uint8Array;
    deepStrictEqual(plain(checked), plain(isBytes ? sample.packed : sample.value));
  }
  return sizes.length === 0 ? undefined : mean(sizes);
}

/** A Buffer and a Uint8Array of the same bytes are the same here. @param {any} value */
function plain(value) {
  if (value instanceof Uint8Array) return Uint8Array.from(value);
  return value.data === undefined ? value : { ...value, data: Uint8Array.from(value.data) };
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** One line for each operation on each kind, the contenders side by side. @param {any[]} rows */
export function codecLines(rows) {
  const lines = new Map();
  for (const row of rows) {
    const key = `${row.scenario}/${row.operation}`;
    const line = lines.get(key) ?? { ...row, by: {} };
    line.by[row.contender] = row;
    lines.set(key, line);
  }
  return [...lines.values()];
}

/** @type {import("../lib/table.mjs").Column[]} */
export const codecColumns = [
  { title: "value", value: (line) => line.scenario, isText: true },
  { title: "bytes", value: (line) => figure(Math.round(line.valueBytes)) },
  { title: "operation", value: (line) => line.operation, isText: true },
  ...CONTENDERS.flatMap(({ name }) => [
    { title: `${name} us`, value: (/** @type {any} */ line) => figure(line.by[name].callUs) },
    {
      title: "MB/s",
      value: (/** @type {any} */ line) => figure(line.by[name].megabytesPerSecond),
    },
    { title: "size", value: (/** @type {any} */ line) => sizeOf(line.by[name].resultBytes) },
  ]),
  {
    title: `x ${CONTENDERS[CONTENDERS.length - 1].name}`,
    value: (line) => times(line.by.wasmq.ratio),
  },
];

/** @param {number | undefined} bytes */
function sizeOf(bytes) {
  return bytes === undefined ? "" : figure(Math.round(bytes));
}
