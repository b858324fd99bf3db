import { parseArgs } from "node:util";

/**
 * @typedef {object} ChaosOptions
 * @property {number} seconds how long things go wrong; healing comes on top
 * @property {number} seed
 * @property {number} rate requests a second of all clients together, floods not counted
 * @property {readonly string[]} patterns what is done beside requests
 * @property {boolean | undefined} isCurved under CURVE or not; undefined: by the seed
 * @property {boolean} isKept the records stay in their folder
 */

export const USAGE = `usage: npm run chaos -- [options]

  --seconds N   how long things go wrong, default 10; healing and counting come on top
  --seed S      of the schedule of faults; a new one by default, printed
  --rate N      requests a second of all clients together, default 1200; floods come on top
  --patterns LIST   what is done beside requests, with commas: tasks, topics, streams, surveys; default all, or none
  --curve yes|no   whether all connections are under CURVE; half the seeds do so by default
  --keep        leave the records of what was asked and run in their folder
  --help`;

const PATTERNS = ["tasks", "topics", "streams", "surveys"];

/** @param {string} text */
function patternsOf(text) {
  const names = text === "none" ? [] : text.split(",");
  const unknown = names.find((name) => !PATTERNS.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(
      `--patterns must be some of ${PATTERNS.join(",")}, or none, got ${unknown}`,
    );
  }
  return names;
}

/** @param {string | undefined} text */
function curveOf(text) {
  if (text === undefined) return undefined;
  if (text === "yes" || text === "no") return text === "yes";
  throw new TypeError(`--curve must be yes or no, got ${text}`);
}

/**
 * Reads the command line; undefined when only help is wanted.
 * @param {string[]} args
 * @returns {ChaosOptions | undefined}
 * @throws {TypeError | RangeError} that names the argument
 */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: "string" },
      seed: { type: "string" },
      rate: { type: "string" },
      patterns: { type: "string", default: PATTERNS.join(",") },
      curve: { type: "string" },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  return {
    seconds: number("--seconds", values.seconds, 10, 1, 86_400),
    seed: number("--seed", values.seed, Math.floor(Math.random() * 2 ** 32), 0, 2 ** 32 - 1),
    rate: number("--rate", values.rate, 1200, 1, 5000),
    patterns: patternsOf(values.patterns),
    isCurved: curveOf(values.curve),
    isKept: values.keep,
  };
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} missing
 * @param {number} least
 * @param {number} most
 */
function number(name, text, missing, least, most) {
  if (text === undefined) return missing;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name} must be a whole number ${least}..${most}, got ${text}`);
  }
  return value;
}
