import { randomBytes } from "node:crypto";
import { absence } from "./peers/nats.mjs";
import { interleave, median, medianRatio } from "../lib/rounds.mjs";
import { figure, times } from "../lib/table.mjs";

/** @typedef {import("../lib/parties.mjs").Party} Party */
/** @typedef {import("../lib/parties.mjs").Parties} Parties */
/** @typedef {import("../lib/options.mjs").Options} Options */

const WASMQ = { name: "wasmq", module: new URL("wasmq.mjs", import.meta.url) };
const NAIVE = { name: "naive", module: new URL("../naive-broker.mjs", import.meta.url) };
/** What else a team would take; `--peers` adds those that are there. */
const PEERS = [
  { name: "Proxy", module: new URL("peers/proxy.mjs", import.meta.url) },
  { name: "NATS", module: new URL("peers/nats.mjs", import.meta.url) },
  { name: "NATS by hand", module: new URL("peers/nats-by-hand.mjs", import.meta.url) },
];
const WORKERS_MANY = 4;
const DEPTH_OF_MANY = 256;
const WARMUP_DEPTH = 64;
const WARMUP_SECONDS_MAX = 0.5;
const REQUESTS_MAX = 50_000_000;
const QUICK_SECONDS_MAX = 5;
/** How long after its time a measurement may still wait for its last replies. */
const STUCK_MS = 30_000;

/**
 * What is asked of the contenders, side by side; the last of them is the baseline.
 * @typedef {object} Scenario
 * @property {string} name
 * @property {"bytes" | "order"} payload
 * @property {boolean} isSealed
 * @property {{ name: string, module: URL }[]} contenders
 * @property {boolean} hasManyWorkers also with four workers
 */

/** @type {Scenario[]} */
const SCENARIOS = [
  {
    name: "64 B, in clear",
    payload: "bytes",
    isSealed: false,
    contenders: [WASMQ, NAIVE],
    hasManyWorkers: true,
  },
  {
    name: "order, sealed",
    payload: "order",
    isSealed: true,
    contenders: [WASMQ, { ...NAIVE, name: "naive, JSON + AES-GCM" }],
    hasManyWorkers: false,
  },
];

/** One contender's processes. */
class Fleet {
  /** @type {Party[]} */
  #workers = [];
  /** @type {Party | undefined} */
  #client;
  #endpoints = { frontend: "", backend: "" };
  #start;
  #secret;
  answered = 0;

  /**
   * @param {{ name: string, module: URL }} contender
   * @param {Parties} parties
   * @param {string} label
   * @param {string | undefined} secret
   * @param {Options} options
   */
  constructor(contender, parties, label, secret, { profileFolder }) {
    this.name = contender.name;
    this.#secret = secret;
    const { module } = contender;
    this.#start = (/** @type {string} */ role) =>
      parties.start(`${contender.name} ${role} ${label}`, { module, profileFolder });
    this.broker = this.#start("broker");
  }

  async start() {
    this.#endpoints = await this.broker.ask("broker");
    await this.growTo(1);
    this.#client = this.#start("client");
    await this.#client.ask("client", { ...this.#endpoints, secret: this.#secret });
  }

  /** @param {number} count */
  async growTo(count) {
    while (this.#workers.length < count) {
      const worker = this.#start(`worker ${this.#workers.length + 1}`);
      this.#workers.push(worker);
      await worker.ask("worker", { ...this.#endpoints, secret: this.#secret });
    }
  }

  /**
   * @param {import("./load.mjs").Load} load
   * @returns {Promise<import("./load.mjs").Measurement>}
   */
  async measure(load) {
    const timeoutMs = (load.warmupSeconds + load.seconds) * 1000 + STUCK_MS;
    const measured = await this.#client?.ask("measure", load, timeoutMs);
    this.answered += measured.answered;
    return measured;
  }

  /** Client first: nothing is in flight when the broker goes. @param {Parties} parties */
  async end(parties) {
    for (const party of [this.#client, ...this.#workers, this.broker]) {
      if (party !== undefined) await parties.end(party);
    }
  }
}

/**
 * @param {Options} options
 * @param {{ parties: Parties, progress(text: string): void }} run
 */
export async function runBrokerSuite(options, run) {
  const rows = [];
  const absent = options.hasPeers ? absence() : undefined;
  if (absent !== undefined) run.progress(`broker: no NATS: ${absent}`);
  const peers = PEERS.filter(({ name }) => name === "Proxy" || absent === undefined);
  for (const each of SCENARIOS) {
    const isBeside = options.hasPeers && each.payload === "bytes";
    const scenario = isBeside
      ? { ...each, contenders: [each.contenders[0], ...peers, ...each.contenders.slice(1)] }
      : each;
    rows.push(...(await runScenario(scenario, options, run)));
  }
  return rows;
}

/**
 * @param {Scenario} scenario
 * @param {Options} options
 * @param {{ parties: Parties, progress(text: string): void }} run
 */
async function runScenario(scenario, options, { parties, progress }) {
  const secret = scenario.isSealed ? randomBytes(32).toString("base64") : undefined;
  const fleets = scenario.contenders.map(
    (contender) => new Fleet(contender, parties, scenario.name, secret, options),
  );
  for (const fleet of fleets) await fleet.start();
  // At a depth of 1 the first figures would be those of code not compiled yet.
  const warmup = extentOf(WARMUP_DEPTH, {
    ...options,
    seconds: Math.min(options.seconds, WARMUP_SECONDS_MAX),
  });
  for (const fleet of fleets) {
    await fleet.measure({ payload: scenario.payload, depth: WARMUP_DEPTH, ...warmup });
  }
  const steps = options.depths.map((depth) => ({ depth, workers: 1 }));
  if (scenario.hasManyWorkers) steps.push({ depth: DEPTH_OF_MANY, workers: WORKERS_MANY });

  /** @type {any[]} */
  const rows = [];
  for (const { depth, workers } of steps) {
    progress(`broker: ${scenario.name}, depth ${depth}, ${workers} worker(s)`);
    for (const fleet of fleets) await fleet.growTo(workers);
    const load = { payload: scenario.payload, depth, ...extentOf(depth, options) };
    const results = await interleave(fleets, options.rounds, (fleet) => fleet.measure(load));
    const rates = results.map((each) => each.map((one) => one.requestsPerSecond));
    const baseline = rates[rates.length - 1];
    fleets.forEach((fleet, index) => {
      rows.push({
        suite: "broker",
        scenario: scenario.name,
        contender: fleet.name,
        depth,
        workers,
        ...summary(results[index]),
        rounds: rates[index],
        ratio: medianRatio(rates[index], baseline),
      });
    });
  }
  for (const fleet of fleets) await checkCounts(fleet);
  for (const fleet of fleets) await fleet.end(parties);
  return rows;
}

/**
 * How long a measurement is: by the clock, or for a quick one by count.
 * @param {number} depth
 * @param {Options} options
 */
function extentOf(depth, { isQuick, seconds }) {
  return isQuick
    ? { seconds: QUICK_SECONDS_MAX, warmupSeconds: 0, requestsMax: 200 + 2 * depth }
    : { seconds, warmupSeconds: seconds / 2, requestsMax: REQUESTS_MAX };
}

/** @param {import("./load.mjs").Measurement[]} measured */
function summary(measured) {
  const total = (/** @type {"sent" | "answered" | "failed" | "wrong"} */ name) =>
    measured.reduce((sum, each) => sum + each[name], 0);
  return {
    requestsPerSecond: median(measured.map((each) => each.requestsPerSecond)),
    p50Us: median(measured.map((each) => each.p50Us)),
    p99Us: median(measured.map((each) => each.p99Us)),
    sent: total("sent"),
    answered: total("answered"),
    failed: total("failed"),
    wrong: total("wrong"),
    failure: measured.find((each) => each.failure !== undefined)?.failure,
  };
}

/** The broker must have seen what the client has, and nothing else. @param {Fleet} fleet */
async function checkCounts(fleet) {
  const counts = await fleet.broker.ask("counts");
  if (counts === undefined) return;
  const { requests, replies, ...others } = counts;
  const odd = Object.entries(others).filter(([, count]) => count !== 0);
  if (requests !== replies || replies !== fleet.answered || odd.length > 0) {
    const counted = JSON.stringify({ requests, replies, ...others });
    throw new Error(`${fleet.name}: client has ${fleet.answered} replies, broker ${counted}`);
  }
}

/** @type {import("../lib/table.mjs").Column[]} */
export const brokerColumns = [
  { title: "bodies", value: (row) => row.scenario, isText: true },
  { title: "workers", value: (row) => row.workers },
  { title: "depth", value: (row) => row.depth },
  { title: "contender", value: (row) => row.contender, isText: true },
  { title: "req/s", value: (row) => figure(row.requestsPerSecond) },
  { title: "p50 us", value: (row) => figure(row.p50Us) },
  { title: "p99 us", value: (row) => figure(row.p99Us) },
  { title: "x naive", value: (row) => times(row.ratio) },
];
