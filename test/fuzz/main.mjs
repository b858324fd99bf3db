import { parseArgs } from "node:util";
import { TARGETS } from "./inputs.mjs";
import { fuzz, replay } from "./run.mjs";

const USAGE = `usage: npm run fuzz -- [options]

  --seconds N      how long, default 10 when --inputs is left out
  --inputs N       how many inputs, for a run that can be repeated exactly
  --seed S         whole number, default from the clock; the same seed makes the same inputs
  --target T       only this one: ${TARGETS.join(", ")}
  --replay HEX     runs this one input, at --target
  --help`;

const OPTIONS = /** @type {const} */ ({
  seconds: { type: "string" },
  inputs: { type: "string" },
  seed: { type: "string" },
  target: { type: "string" },
  replay: { type: "string" },
  help: { type: "boolean", default: false },
});

/** @param {string} name @param {string | undefined} text @param {number} max */
function number(name, text, max) {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= max) return value;
  throw new RangeError(`${name} must be 0..${max}, got ${text}`);
}

/** @param {string | undefined} text */
function hex(text) {
  if (text === undefined || /^([0-9a-f]{2})*$/i.test(text)) return text;
  throw new RangeError(`--replay must be hexadecimal, got ${text}`);
}

/** @param {import("./run.mjs").Report} report */
function memoryLine({ inputs, linearSize, heapSize }) {
  const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
  // With `node --expose-gc` what is in use, without what was at the last collection.
  globalThis.gc?.();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  const used = kib(heapUsed + arrayBuffers);
  return `${inputs} inputs: RSS ${kib(rss)}, JavaScript ${used}, WASM ${kib(linearSize)}, libsodium ${kib(heapSize)}`;
}

/** @param {import("./run.mjs").Report} report */
function print(report) {
  for (const [target, counts] of Object.entries(report.outcomes)) {
    const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a);
    console.log(`${target}: ${sorted.map(([code, count]) => `${code} ${count}`).join(", ")}`);
  }
  console.log(memoryLine(report));
  console.log(`digest ${report.digest}`);
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  const { target } = values;
  if (values.help) return console.log(USAGE);
  if (target !== undefined && !TARGETS.includes(target)) {
    throw new RangeError(`--target must be one of ${TARGETS.join(", ")}, got ${target}`);
  }
  const input = hex(values.replay);
  if (input !== undefined) {
    if (target === undefined) throw new RangeError("--replay goes with --target");
    return print(await replay(target, Buffer.from(input, "hex")));
  }
  const inputs = number("--inputs", values.inputs, 2 ** 40);
  const seconds =
    number("--seconds", values.seconds, 86_400) ?? (inputs === undefined ? 10 : undefined);
  const seed = number("--seed", values.seed, 2 ** 32 - 1) ?? Date.now() % 2 ** 32;
  console.log(`seed ${seed}`);
  const onMillion = (report) => console.log(memoryLine(report));
  const targets = target === undefined ? TARGETS : [target];
  print(await fuzz({ seed, inputs, seconds, targets, onMillion }));
}

try {
  await main();
} catch (error) {
  const isUsage = error instanceof RangeError || error.code?.startsWith("ERR_PARSE_ARGS");
  console.error(isUsage ? error.message : `${error.message}\n${error.cause?.stack ?? error.stack}`);
  process.exitCode = isUsage ? 2 : 1;
}
