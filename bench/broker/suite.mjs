import { randomBytes } from "node:crypto";
import { comparison } from "../lib/promises.mjs";
import { interleave, median } from "../lib/rounds.mjs";
import { Fleet } from "./fleet.mjs";
import { countsOf } from "./load.mjs";
import { describePeers } from "./peers/describe.mjs";
import { quickened, selectedScenarios } from "./scenarios.mjs";

/** @typedef {import("../lib/parties.mjs").Parties} Parties */
/** @typedef {import("../lib/options.mjs").Options} Options */
/** @typedef {import("./load.mjs").Measurement} Measurement */
/** @typedef {import("./scenarios.mjs").Contender} Contender */
/** @typedef {import("./scenarios.mjs").Operation} Operation */
/** @typedef {import("./scenarios.mjs").Scenario & { table: string }} Scenario */
/** @typedef {import("./scenarios.mjs").Step} Step */
/** @typedef {{ parties: Parties, progress(text: string): void }} Run */

const WARMUP_DEPTH = 64;
const WARMUP_SECONDS_MAX = 0.5;
const REQUESTS_MAX = 50_000_000;
const QUICK_SECONDS_MAX = 5;
const STOOD_STILL = "answered nothing in one of its rounds";

/**
 * How many times as good ours is, by each figure.
 * @type {Record<Operation, (ours: Measurement, theirs: Measurement) => number>}
 */
const RATIOS = {
  "requests/s": (ours, theirs) => ours.requestsPerSecond / theirs.requestsPerSecond,
  p50: (ours, theirs) => theirs.p50Us / ours.p50Us,
  p99: (ours, theirs) => theirs.p99Us / ours.p99Us,
};

/**
 * @param {Options} options
 * @param {Run} run
 */
export async function runBrokerSuite(options, run) {
  const absence = describePeers().find(({ name }) => name === "NATS")?.absent;
  const rows = [];
  for (const scenario of selectedScenarios(options)) {
    const isThere = (/** @type {Contender} */ { isNats }) => !isNats || absence === undefined;
    const contenders = scenario.contenders.filter(isThere);
    const absent = scenario.contenders.filter((each) => !isThere(each));
    // Alone it would say nothing.
    if (contenders.length + absent.length < 2) continue;
    const measured = await runScenario({ ...scenario, contenders }, options, run);
    for (const { step, stepRows } of measured) {
      const missing = absent.map(({ name }) => ({ contender: name, absent: absence }));
      rows.push(...stepRows, ...missing.flatMap((each) => absentRows(scenario, step, each)));
    }
  }
  return rows;
}

/**
 * @param {Scenario} full
 * @param {Options} options
 * @param {Run} run
 */
async function runScenario(full, options, { parties, progress }) {
  const scenario = options.isQuick ? quickened(full) : full;
  const { table, contenders, payload, isSealed } = scenario;
  const steps = stepsOf(scenario, options);
  const secret = isSealed ? randomBytes(32).toString("base64") : undefined;
  const settings = { payload, secret, isQuick: options.isQuick };
  const fleets = contenders.map(
    (each) => new Fleet(each, scenario, settings, parties, options.profileFolder),
  );
  await Promise.all(fleets.map((fleet) => fleet.start()));
  const [{ clients }] = fleets;
  // At a depth of 1 the first figures would be those of code not compiled yet.
  const warmupDepth = Math.min(WARMUP_DEPTH, Math.max(...steps.map(({ depth }) => depth)));
  const warmupSeconds = Math.min(options.seconds, WARMUP_SECONDS_MAX);
  const warmup = extentOf(warmupDepth, clients, { ...options, seconds: warmupSeconds });
  for (const fleet of fleets) await fleet.measure(warmup);

  const measured = [];
  for (const step of steps) {
    progress(`broker: ${table}, depth ${step.depth}: ${contenders.length} contenders`);
    const extent = extentOf(step.depth, clients, options);
    const results = await interleave(fleets, options.rounds, (fleet) => fleet.measure(extent));
    measured.push({ step, stepRows: rowsOf(scenario, step, fleets, results) });
  }
  const audits = await Promise.all(fleets.map((fleet) => fleet.audit()));
  await Promise.all(fleets.map((fleet) => fleet.end(parties)));
  for (const { stepRows } of measured) {
    for (const row of stepRows) Object.assign(row, audits[contenders.findIndex(isOf(row))]);
  }
  return measured;
}

/** @param {{ contender: string }} row */
const isOf =
  ({ contender }) =>
  (/** @type {Contender} */ { name }) =>
    name === contender;

/**
 * `--depths` is of the scenario that is about them.
 * @param {Scenario} scenario
 * @param {Options} options
 * @returns {Step[]}
 */
function stepsOf({ table, steps }, { depths }) {
  if (table !== "depth" || depths === undefined) return steps;
  return depths.map(
    (depth) => steps.find((step) => step.depth === depth) ?? { depth, targets: {} },
  );
}

/**
 * How long a measurement is: by the clock, or for a quick one by count.
 * @param {number} depth of each client
 * @param {number} clients
 * @param {Options} options
 */
function extentOf(depth, clients, { isQuick, seconds }) {
  return isQuick
    ? {
        depth,
        seconds: QUICK_SECONDS_MAX,
        warmupSeconds: 0,
        requestsMax: 200 + 2 * depth * clients,
      }
    : { depth, seconds, warmupSeconds: seconds / 2, requestsMax: REQUESTS_MAX };
}

/** @param {Step} step @returns {Operation[]} */
function operationsOf({ targets }) {
  const latencies = /** @type {const} */ (["p50", "p99"]);
  return ["requests/s", ...latencies.filter((name) => targets[name] !== undefined)];
}

/** @param {Scenario} scenario @param {Step} step @param {Operation} operation */
function headOf({ table }, { depth }, operation) {
  return { suite: "broker", table, scenario: `depth ${depth}`, depth, operation };
}

/**
 * One row for each contender, ours first; of latencies that were promised one more each.
 * @param {Scenario} scenario
 * @param {Step} step
 * @param {Fleet[]} fleets
 * @param {Measurement[][]} results by contender, then by round
 */
function rowsOf(scenario, step, fleets, results) {
  return operationsOf(step).flatMap((operation) => {
    const targets = step.targets[operation] ?? {};
    return fleets.map(({ name, workers, clients }, index) => {
      const measured = results[index];
      const row = {
        ...headOf(scenario, step, operation),
        contender: name,
        workers,
        clients,
        requestsPerSecond: median(measured.map((each) => each.requestsPerSecond)),
        p50Us: median(measured.map((each) => each.p50Us)),
        p99Us: median(measured.map((each) => each.p99Us)),
        // A request counts once, whatever is told of it.
        ...(operation === "requests/s" ? countsOf(measured) : {}),
        rounds: measured.map((each) => each.requestsPerSecond),
      };
      if (index === 0) return { ...row, isOurs: true };
      // Whoever stood still is no one to be faster than.
      if (row.rounds.includes(0)) return { ...row, target: targets[name], absent: STOOD_STILL };
      const ratios = measured.map((theirs, round) => RATIOS[operation](results[0][round], theirs));
      return { ...row, ...comparison(ratios, targets[name]) };
    });
  });
}

/** @param {Scenario} scenario @param {Step} step @param {{ contender: string, absent?: string }} each */
function absentRows(scenario, step, each) {
  return operationsOf(step).map((operation) => ({
    ...headOf(scenario, step, operation),
    ...each,
    target: step.targets[operation]?.[each.contender],
  }));
}
