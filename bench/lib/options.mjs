import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";

/**
 * What a run is to do.
 * @typedef {object} Options
 * @property {string[]} suites
 * @property {boolean} isJson on stdout, in place of the tables
 * @property {string | undefined} jsonFile
 * @property {string | undefined} htmlFile
 * @property {boolean} isQuick
 * @property {boolean} hasPeers suite broker beside other products too
 * @property {number} seconds one measurement of the broker takes this long; others a part of it
 * @property {number} rounds
 * @property {number} codecRounds
 * @property {string[] | undefined} only tables of suite codec, or `table/section`; scenarios of suite broker
 * @property {number[] | undefined} depths in place of those of the scenario that is about them
 * @property {string | undefined} profileFolder
 */

export const SUITES = ["broker", "codec", "event-loop", "core", "pubsub", "overload"];

export const USAGE = `usage: npm run bench -- [broker] [codec] [event-loop] [core] [pubsub] [overload] [options]

  --json [FILE]    print JSON instead of tables, or beside them into FILE, which ends in .json
  --html FILE      write the tables of suites codec and broker as a page with plots
  --only LIST      of suite codec: messagepack,lz4,encryption,chain, or one kind: chain/order;
                   of suite broker: depth,large,workers,clients,sealed,curve,plain
  --seconds N      length of one measurement at the broker, default 2; of others a part of it
  --rounds N       rounds per figure, default 3, of suite codec 7; figures are medians
  --depths LIST    of suite broker, requests in flight, default 1,64,256,2048
  --peers          suite broker beside NATS, where it is installed, and zeromq's native Proxy too
  --quick          tiny counts: shows that it runs, not how fast
  --profile DIR    write a CPU profile of each process that measures into DIR
  --help`;

/** Suites that have a page, and parts that can be named. */
const PAGED = ["codec", "broker"];

/**
 * Reads the command line; undefined when only help is wanted.
 * @param {string[]} args
 * @returns {Options | undefined}
 * @throws {TypeError | RangeError} that names the argument
 */
export function readOptions(args) {
  const { values, positionals } = parseArgs({
    args: withJsonFile(args),
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      "json-file": { type: "string" },
      html: { type: "string" },
      only: { type: "string" },
      quick: { type: "boolean", default: false },
      seconds: { type: "string" },
      rounds: { type: "string" },
      depths: { type: "string" },
      profile: { type: "string" },
      peers: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  for (const name of positionals) {
    if (!SUITES.includes(name)) {
      throw new RangeError(`suite must be one of ${SUITES.join(", ")}, got ${name}`);
    }
  }
  const { quick, only } = values;
  const byDefault = only === undefined ? SUITES : ["codec"];
  const suites = positionals.length === 0 ? byDefault : positionals;
  for (const name of /** @type {const} */ (["html", "only"])) {
    if (values[name] === undefined || suites.some((suite) => PAGED.includes(suite))) continue;
    throw new RangeError(`--${name} is of suites codec and broker, got ${suites.join(", ")}`);
  }
  if (only !== undefined && PAGED.every((suite) => suites.includes(suite))) {
    throw new RangeError("--only is of suite codec or of suite broker, got both");
  }
  // Now, and not after minutes of measuring.
  for (const file of [values["json-file"], values.html]) {
    if (file === undefined || existsSync(dirname(file))) continue;
    throw new RangeError(`there is no folder ${dirname(file)} for ${file}`);
  }
  if (values.peers && !suites.includes("broker")) {
    throw new RangeError(`--peers is of suite broker, got ${suites.join(", ")}`);
  }
  return {
    suites,
    hasPeers: values.peers,
    isJson: values.json,
    jsonFile: values["json-file"],
    htmlFile: values.html,
    only: only?.split(","),
    isQuick: quick,
    seconds: number("--seconds", values.seconds, quick ? 0.03 : 2, 0.01, 600),
    rounds: wholeNumber("--rounds", values.rounds, quick ? 1 : 3, 1, 99),
    codecRounds: wholeNumber("--rounds", values.rounds, quick ? 1 : 7, 1, 99),
    depths: values.depths?.split(",").map((text) => wholeNumber("--depths", text, 1, 1, 32_768)),
    profileFolder: values.profile,
  };
}

/**
 * `--json FILE` and `--json=FILE` as an option of its own: what follows a bare `--json` may be a
 * suite.
 * @param {string[]} args
 */
function withJsonFile(args) {
  return args.flatMap((arg, index) => {
    if (arg.startsWith("--json=")) return [arg.replace("--json=", "--json-file=")];
    if (arg === "--json" && args[index + 1]?.endsWith(".json")) return ["--json-file"];
    return [arg];
  });
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
