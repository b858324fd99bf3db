// Chaos, for real: brokers, workers and clients as processes that are killed, stopped, restarted and
// flooded at random, and an account of every request at the end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { formatTable } from "../../bench/lib/table.mjs";
import { Random } from "../random.mjs";
import { account } from "./account.mjs";
import { accountPatterns } from "./account-patterns.mjs";
import { makeCast } from "./cast.mjs";
import { trouble } from "./faults.mjs";
import { readOptions, USAGE } from "./options.mjs";

/** How soon after the last fault new requests must work. */
const HEAL_MS_MAX = 10_000;
const LEAVE_MS_MAX = 20_000;
/** The longest deadline of a client's request, and as much again. */
const SETTLE_MS_MAX = 20_000;

const nouns = new Map([
  ["tasks", "task"],
  ["topics", "event"],
  ["streams", "stream"],
  ["surveys", "survey"],
]);

/** @typedef {import("./party.mjs").Party} Party */

/** @param {import("./options.mjs").ChaosOptions} options */
async function main(options) {
  const { seconds, seed, patterns, isKept } = options;
  const folder = mkdtempSync(join(tmpdir(), "wqc-"));
  const random = new Random(seed);
  /** @type {string[]} */
  const violations = [];
  const cast = await makeCast(options, random, folder, (what) => violations.push(what));
  const { brokers, workers, clients, isSealed, isCurved } = cast;
  const parties = [...brokers, ...workers, ...clients];
  /** Whatever happens: by the pids of what was started here. */
  const killAll = () => Promise.all(parties.map((party) => party.kill()));
  let isInterrupted = false;
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, async () => {
      isInterrupted = true;
      await killAll();
      rmSync(folder, { recursive: true, force: true });
      process.exit(signal === "SIGINT" ? 130 : 143);
    });
  }
  const under = isCurved ? "under CURVE" : "without CURVE";
  console.log(
    `chaos: --seconds ${seconds} --seed ${seed}, ${isSealed ? "sealed" : "in clear"}, ${under}`,
  );
  let done = new Map();
  /** @type {string[]} */
  let dead = [];
  /** When processes of each broker ended, but for the last, which was asked for what is dead. */
  /** @type {number[][]} */
  let ends = [];
  try {
    for (const party of parties) await party.start();
    done = await trouble(parties, random, seconds, () => isInterrupted || violations.length > 0);
    await heal(clients);
    if (patterns.includes("topics")) await hearAll(clients);
    if (patterns.includes("tasks")) dead = await finishTasks(brokers, clients[0]);
    ends = brokers.map(({ endedMs }) => [...endedMs]);
    for (const group of [clients, workers, brokers]) {
      await Promise.all(group.map((party) => party.leave(LEAVE_MS_MAX)));
    }
  } catch (error) {
    if (isInterrupted) return;
    violations.push(/** @type {Error} */ (error).message);
  } finally {
    await killAll();
  }
  if (isInterrupted) return;
  const result = await account(folder, killedOf(clients));
  violations.push(...result.violations);
  const beside = await accountPatterns(folder, patterns, killedOf(clients), ends, new Set(dead));
  violations.push(...beside.violations);
  report(result, done, parties);
  if (patterns.length > 0) console.log(beside.text);
  if (isKept) console.log(`records: ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
  if (violations.length === 0) {
    const all = ["request", ...patterns.map((name) => nouns.get(name))];
    console.log(`every ${all.join(", ")} is accounted for`);
    return;
  }
  console.error(`${violations.length} violations; again: npm run chaos -- ${again(options)}`);
  for (const what of violations) console.error(`- ${what}`);
  process.exitCode = 1;
}

/** No more arrivals: what is pending ends, and then new requests work at once. */
async function heal(/** @type {Party[]} */ clients) {
  const settled = clients.map((client) => client.told("settled", SETTLE_MS_MAX));
  for (const client of clients) client.tell("stop");
  await Promise.all(settled);
  const probed = clients.map((client) => client.told("probed", HEAL_MS_MAX));
  for (const client of clients) client.tell("probe");
  for (const failed of await Promise.all(probed)) {
    if (failed.length > 0) throw new Error(`not healed: new requests ended with ${failed}`);
  }
}

/** Everybody calls out until everybody has heard everybody. */
async function hearAll(/** @type {Party[]} */ clients) {
  const heard = clients.map((client) => client.told("heard", HEAL_MS_MAX));
  for (const client of clients) client.tell("call");
  await Promise.all(heard);
}

/**
 * Waits until no broker has a task to do, and asks for what is dead then.
 * @param {Party[]} brokers
 * @param {Party} client
 * @returns {Promise<string[]>} ids of tasks
 */
async function finishTasks(brokers, client) {
  const endMs = performance.now() + SETTLE_MS_MAX;
  for (const broker of brokers) {
    for (;;) {
      const told = broker.told("holds", HEAL_MS_MAX);
      broker.tell("holds");
      const { counts, queues } = await told;
      const held = sum(queues.map(({ ready, delayed, inFlight }) => ready + delayed + inFlight));
      const lying = sum(queues.map(({ dead }) => dead));
      const { pushed, done, deadDropped } = counts;
      if (pushed !== done + held + lying + deadDropped) {
        const parts = `${done} done, ${held} held, ${lying} dead, ${deadDropped} dropped`;
        throw new Error(`${broker.name} took ${pushed} tasks, not ${parts}`);
      }
      if (held === 0) break;
      if (performance.now() > endMs)
        throw new Error(`${broker.name} still has ${held} tasks to do`);
      await after(50);
    }
  }
  const told = client.told("dead", HEAL_MS_MAX);
  client.tell("dead");
  return told;
}

const sum = (/** @type {number[]} */ numbers) => numbers.reduce((total, each) => total + each, 0);

/** The client processes that were killed: all of a party but its last, which left in good order. */
function killedOf(/** @type {Party[]} */ clients) {
  const killed = new Set();
  for (const { name, incarnation } of clients) {
    for (let count = 1; count < incarnation; count++) killed.add(`${name}.${count}`);
  }
  return killed;
}

/**
 * @param {Awaited<ReturnType<typeof account>>} result
 * @param {Map<string, number>} done
 * @param {Party[]} parties
 */
function report({ rows, runs, columns }, done, parties) {
  const total = { client: "all" };
  const lines = [...rows].map(([client, row]) => ({ client, ...row }));
  const names = ["sent", ...columns, "died with client"];
  for (const name of names) total[name] = lines.reduce((sum, line) => sum + (line[name] ?? 0), 0);
  const table = formatTable(
    [
      { title: "client", value: ({ client }) => client, isText: true },
      ...names.map((title) => ({ title, value: (row) => row[title] ?? 0 })),
    ],
    [...lines, total],
  );
  console.log(`\n${table}\n`);
  const faultsDone = [...done].sort().map(([name, count]) => `${name} ${count}`);
  console.log(`faults: ${faultsDone.join(", ")}`);
  const started = parties.reduce((sum, { incarnation }) => sum + incarnation, 0);
  console.log(`processes started: ${started}`);
  console.log(
    `runs of handlers: ${runs.total}; requests that ran more than once: ${runs.again}, at most ${runs.most} times`,
  );
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) console.log(USAGE);
  else await main(options);
} catch (error) {
  console.error(`chaos: ${/** @type {Error} */ (error).message}`);
  process.exitCode = 2;
}

/** @param {import("./options.mjs").ChaosOptions} options */
function again({ seconds, seed, rate, patterns, isCurved }) {
  const list = patterns.join(",") || "none";
  const curve = isCurved === undefined ? "" : ` --curve ${isCurved ? "yes" : "no"}`;
  return `--seconds ${seconds} --seed ${seed} --rate ${rate} --patterns ${list}${curve}`;
}
