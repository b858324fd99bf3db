import { parseArgs } from "node:util";

/**
 * What a run is to do.
 * @typedef {object} Options
 * @property {string[]} suites
 * @property {boolean} isJson
 * @property {boolean} isQuick
 * @property {number} seconds one measurement of the broker takes this long; others a part of it
 * @property {number} rounds
 * @property {number[]} depths
 * @property {string | undefined} profileFolder
 */

export const SUITES = ["broker", "codec", "core", "overload"];

export const USAGE = `usage: npm run bench -- [broker] [codec] [core] [overload] [options]

  --json           print JSON instead of tables
  --seconds N      length of one measurement at the broker, default 0.7
  --rounds N       rounds per figure, default 3; figures are medians
  --depths LIST    requests in flight, default 1,64,256,2048
  --quick          tiny counts: shows that it runs, not how fast
  --profile DIR    write a CPU profile of each process of suite broker into DIR
  --help`;

const DEPTHS = [1, 64, 256, 2048];

/**
 * Reads the command line; undefined when only help is wanted.
 * @param {string[]} args
 * @returns {Options | undefined}
 * @throws {TypeError | RangeError} that names the argument
 */
export function readOptions(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      seconds: { type: "string" },
      rounds: { type: "string" },
      depths: { type: "string" },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  for (const name of positionals) {
    if (!SUITES.includes(name)) {
      throw new RangeError(`suite must be one of ${SUITES.join(", ")}, got ${name}`);
    }
  }
  const { quick } = values;
  return {
    suites: positionals.length === 0 ? SUITES : positionals,
    isJson: values.json,
    isQuick: quick,
    seconds: number("--seconds", values.seconds, quick ? 0.03 : 0.7, 0.01, 600),
    rounds: wholeNumber("--rounds", values.rounds, quick ? 1 : 3, 1, 99),
    depths:
      values.depths === undefined
        ? DEPTHS
        : values.depths.split(",").map((text) => wholeNumber("--depths", text, 1, 1, 32_768)),
    profileFolder: values.profile,
  };
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} byDefault
 * @param {number} min
 * @param {number} max
 */
function number(name, text, byDefault, min, max) {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (text.trim() === "" || !(value >= min && value <= max)) {
    throw new RangeError(`${name} must be ${min}..${max}, got ${text}`);
  }
  return value;
}

/** @type {typeof number} */
function wholeNumber(name, text, byDefault, min, max) {
  const value = number(name, text, byDefault, min, max);
  if (!Number.isInteger(value)) throw new RangeError(`${name} must be whole, got ${text}`);
  return value;
}
