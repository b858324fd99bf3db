import { loadSodium } from "../../build/codec/sodium.js";
import { Finding } from "./canaries.mjs";
import { mix, mixBytes, mixText } from "./digest.mjs";
import { Inputs, TARGETS } from "./inputs.mjs";
import { Subject } from "./subjects.mjs";

/** Each so many inputs all of the memory is looked at. */
const THOROUGH_EVERY = 1024;
const TIME_EVERY = 256;

/** @typedef {import("../../build/codec/linear-memory.js").LinearMemory} LinearMemory */

/**
 * @typedef {object} Options
 * @property {number} seed
 * @property {number} [inputs] how many at most
 * @property {number} [seconds] how long at most
 * @property {readonly string[]} [targets]
 * @property {(report: Report) => void} [onMillion] told after each million
 * @property {(memory: LinearMemory) => void} [plant] puts a bug into each module; for the suite
 */

/**
 * @typedef {object} Report
 * @property {number} inputs
 * @property {string} digest of every input and its outcome
 * @property {Record<string, Record<string, number>>} outcomes by target, counted; "value" is one
 * @property {number} linearSize bytes of WASM memory of all codecs together
 * @property {number} heapSize bytes of libsodium's memory
 */

/** A finding, with what replays it. */
export class FuzzFailure extends Error {
  /**
   * @param {string} target
   * @param {Uint8Array} bytes
   * @param {Error} cause
   * @param {{ seed: number, index: number, targets: readonly string[] }} [run] that it is of
   */
  constructor(target, bytes, cause, run) {
    const hex = Buffer.from(bytes).toString("hex");
    const input = `target ${target}, ${bytes.length} bytes`;
    const lines = [
      cause.message,
      run === undefined ? input : `seed ${run.seed}, input ${run.index}, ${input}`,
      `replay: npm run fuzz -- --target ${target} --replay ${hex || '""'}`,
    ];
    if (run !== undefined) {
      // A codec remembers keys, strings and bodies from input to input.
      const only = run.targets.length === 1 ? ` --target ${target}` : "";
      const inputs = `--seed ${run.seed} --inputs ${run.index + 1}`;
      lines.push(`replay with all before it: npm run fuzz -- ${inputs}${only}`);
    }
    super(lines.join("\n"), { cause });
    this.target = target;
    this.hex = hex;
  }
}

/** Subjects of other canaries, compressors and engines, which must agree on every input. */
async function makeSubjects(plant) {
  const sodium = await loadSodium();
  const make = (compressor, engine, hasKey, fill) =>
    Subject.create({ compressor, engine, hasKey, fill }, sodium, plant);
  const keyed = [
    await make("assembly", "wasm", true, 0xa5),
    await make("assembly", "auto", true, 0x3c),
    await make("lz4-wasm", "auto", true, 0x5a),
  ];
  const plain = [
    await make("assembly", "wasm", false, 0xa5),
    await make("assembly", "auto", false, 0x3c),
    await make("lz4-wasm", "auto", false, 0x5a),
  ];
  return { sodium, keyed, plain };
}

/** Runs inputs on all subjects and adds up what they gave. */
class Fuzzer {
  #subjects;
  #digest = 0;
  #count = 0;
  /** @type {Record<string, Record<string, number>>} */
  #outcomes = {};

  /** @param {Awaited<ReturnType<typeof makeSubjects>>} subjects */
  constructor(subjects) {
    this.#subjects = subjects;
  }

  /** @param {string} target @param {Uint8Array} bytes @param {boolean} isThorough */
  run(target, bytes, isThorough) {
    const { keyed, plain } = this.#subjects;
    const subjects = target === "open-plain" ? plain : keyed;
    // Compressors have no part in unpack().
    const count = target === "unpack" ? 2 : subjects.length;
    const hash = subjects[0].run(target, bytes, isThorough);
    const { code = "value" } = subjects[0];
    for (let index = 1; index < count; index++) {
      if (subjects[index].run(target, bytes, isThorough) === hash) continue;
      const other = subjects[index].code ?? "value";
      throw new Finding(`codec ${index} gives another outcome than codec 0: ${other}, ${code}`);
    }
    this.#digest = mix(mixBytes(mixText(this.#digest, target), bytes), hash);
    this.#outcomes[target] ??= {};
    this.#outcomes[target][code] = (this.#outcomes[target][code] ?? 0) + 1;
    this.#count++;
  }

  checkAll() {
    for (const subject of [...this.#subjects.keyed, ...this.#subjects.plain]) subject.checkAll();
  }

  /** @returns {Report} */
  get report() {
    const { sodium, keyed, plain } = this.#subjects;
    return {
      inputs: this.#count,
      digest: (this.#digest >>> 0).toString(16).padStart(8, "0"),
      outcomes: this.#outcomes,
      linearSize: [...keyed, ...plain].reduce((sum, { linearSize }) => sum + linearSize, 0),
      heapSize: sodium.HEAPU8.length,
    };
  }
}

/**
 * Runs inputs until there were enough of them, or it took long enough.
 *
 * @param {Options} options
 * @returns {Promise<Report>}
 * @throws {FuzzFailure} at the first finding
 */
export async function fuzz(options) {
  return attempt(options, Number.POSITIVE_INFINITY);
}

/** @param {Options} options @param {number} allFrom from this input on all is looked at */
async function attempt(options, allFrom) {
  const { seed, inputs = Infinity, seconds = Infinity, targets = TARGETS } = options;
  const subjects = await makeSubjects(options.plant);
  const fuzzer = new Fuzzer(subjects);
  const source = await Inputs.create(seed, subjects.sodium, targets);
  const endMs = performance.now() + seconds * 1000;
  let index = 0;
  for (; index < inputs; index++) {
    if (index % TIME_EVERY === 0 && performance.now() >= endMs) break;
    const isThorough = index % THOROUGH_EVERY === 0;
    if (isThorough) await checkAll(fuzzer, options, index, allFrom);
    const bytes = source.next();
    try {
      fuzzer.run(source.target, bytes, isThorough);
      if (index >= allFrom) fuzzer.checkAll();
    } catch (error) {
      const run = { seed, index, targets };
      throw new FuzzFailure(source.target, bytes, /** @type {Error} */ (error), run);
    }
    if ((index + 1) % 1_000_000 === 0) options.onMillion?.(fuzzer.report);
  }
  await checkAll(fuzzer, options, index, allFrom);
  source.free();
  return fuzzer.report;
}

/** Looks at everything; when it is not as it was, runs again to find which input did it. */
async function checkAll(fuzzer, options, count, allFrom) {
  try {
    fuzzer.checkAll();
  } catch (error) {
    const from = Math.max(0, count - THOROUGH_EVERY);
    if (allFrom > from) await attempt({ ...options, inputs: count, seconds: undefined }, from);
    throw new Error(`seed ${options.seed}, one of inputs ${from}..${count}`, { cause: error });
  }
}

/**
 * Runs a single input.
 *
 * @param {string} target
 * @param {Uint8Array} bytes
 * @returns {Promise<Report>}
 * @throws {FuzzFailure}
 */
export async function replay(target, bytes) {
  const fuzzer = new Fuzzer(await makeSubjects());
  try {
    fuzzer.run(target, bytes, true);
    fuzzer.checkAll();
  } catch (error) {
    throw new FuzzFailure(target, bytes, /** @type {Error} */ (error));
  }
  return fuzzer.report;
}
