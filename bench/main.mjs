// The bench suites: how fast wasmq is beside what else a team would use, on this machine, now.
// Contenders take turns, each party of a broker and each section of the codec is a process of its
// own, figures are medians of rounds, and every reply is compared with what was asked.
import { writeFileSync } from "node:fs";
import { overloadColumns, runOverloadSuite } from "./broker/overload.mjs";
import { brokerChapter } from "./broker/page.mjs";
import { describePeers } from "./broker/peers/describe.mjs";
import { selectedScenarios } from "./broker/scenarios.mjs";
import { runBrokerSuite } from "./broker/suite.mjs";
import { brokerText } from "./broker/text.mjs";
import { eventLoopText, runEventLoopSuite } from "./codec/event-loop.mjs";
import { codecChapter } from "./codec/page.mjs";
import { describeRivals } from "./codec/rivals.mjs";
import { runCodecSuite, selected } from "./codec/suite.mjs";
import { codecText, rivalsText } from "./codec/text.mjs";
import { runCoreSuite } from "./core/suite.mjs";
import { coreText } from "./core/text.mjs";
import { BUSY_LOAD, busyText, describeMachine } from "./lib/machine.mjs";
import { readOptions, USAGE } from "./lib/options.mjs";
import { reportPage } from "./lib/page.mjs";
import { Parties } from "./lib/parties.mjs";
import { unjudged, unpromised } from "./lib/promises.mjs";
import { formatTable } from "./lib/table.mjs";
import { pubsubText, runPubsubSuite } from "./pubsub/suite.mjs";

/** @typedef {import("./lib/options.mjs").Options} Options */

/** Goes up when a row's fields change their meaning. */
const JSON_VERSION = 3;

/**
 * @typedef {object} Suite
 * @property {(options: Options, run: any) => Promise<any[]>} run
 * @property {(rows: any[], settings: any) => string} table
 * @property {(rows: any[], settings: any) => import("./lib/page.mjs").Chapter} [chapter] on the page
 */

/** @type {Record<string, Suite>} */
const suites = {
  broker: { run: runBrokerSuite, table: brokerText, chapter: brokerChapter },
  codec: { run: runCodecSuite, table: codecText, chapter: codecChapter },
  "event-loop": { run: runEventLoopSuite, table: eventLoopText },
  core: { run: runCoreSuite, table: coreText },
  pubsub: { run: runPubsubSuite, table: pubsubText },
  overload: { run: runOverloadSuite, table: (rows) => formatTable(overloadColumns, rows) },
};

/** @param {Options} options */
async function main(options) {
  const parties = new Parties();
  let isStopping = false;
  for (const [signal, code] of /** @type {const} */ ([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])) {
    process.on(signal, async () => {
      isStopping = true;
      await parties.endAll();
      process.exit(code);
    });
  }
  const progress = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);
  const { suites: names, seconds, rounds, codecRounds, depths, only, isQuick } = options;
  const settings = { suites: names, seconds, rounds, codecRounds, depths, only, isQuick };
  const machine = await describeMachine();
  const rivals = names.includes("codec") ? await describeRivals() : [];
  const peers = options.hasPeers ? describePeers() : [];
  const contenders = [...rivals, ...peers];
  /** @type {any[]} */
  const rows = [];
  try {
    if (!options.isJson) {
      console.log(`wasmq ${machine.wasmq} (${machine.commit}) on Node ${machine.node}, libzmq`);
      console.log(`${machine.libzmq}, ${machine.cores} x ${machine.cpu}, ${machine.takenAt}\n`);
      if (machine.load > BUSY_LOAD) console.log(`${busyText(machine)}\n`);
      if (rivals.length > 0) console.log(`${rivalsText(rivals)}\n`);
      for (const { name, version, absent } of peers) {
        console.log(absent === undefined ? `beside ${name}: ${version}` : `no ${name}: ${absent}`);
      }
      if (peers.length > 0) console.log("");
      if (isQuick) console.log("--quick: it runs; its figures say nothing about speed\n");
    }
    for (const name of names) {
      const { run, table } = suites[name];
      const measured = await run(options, { parties, progress });
      const suiteRows = isQuick ? measured.map(unjudged) : measured;
      rows.push(...suiteRows);
      const told = isQuick ? measured.map(unpromised) : measured;
      if (!options.isJson) console.log(`${name}\n\n${table(told, settings)}\n`);
    }
  } catch (error) {
    // Parties that were let go of fail what was under way.
    if (isStopping) return;
    throw error;
  } finally {
    await parties.endAll();
  }
  const report = { version: JSON_VERSION, machine, contenders, settings, rows };
  const json = JSON.stringify(report, null, 2);
  if (options.isJson) console.log(json);
  if (options.jsonFile !== undefined) writeFileSync(options.jsonFile, `${json}\n`);
  if (options.htmlFile !== undefined) {
    const chapters = names.flatMap((name) => {
      const all = rows.filter(({ suite }) => suite === name);
      const own = isQuick ? all.map(unpromised) : all;
      return suites[name].chapter?.(own, settings) ?? [];
    });
    writeFileSync(options.htmlFile, reportPage(report, chapters));
  }
  reportFaults(rows);
}

/** What must not be in a run, whatever its figures. @param {any[]} rows */
function reportFaults(rows) {
  for (const row of rows) {
    const { table, scenario, contender, sent, answered, failure, wrong, isMiscounted } = row;
    if (sent === answered && !wrong && !isMiscounted) continue;
    const where = [contender, table, scenario].filter((name) => name !== undefined).join(", ");
    const counted = isMiscounted ? "; its broker counted otherwise" : "";
    const what = `${sent} sent, ${answered} answered, ${wrong} of them wrongly${counted}`;
    console.error(`bench: ${where}: ${what}; ${failure ?? ""}`);
    process.exitCode = 1;
  }
}

/** What is asked for; undefined when only help is wanted. Wrong usage ends it with code 2, as of wasmq. */
function optionsOrExit() {
  try {
    const options = readOptions(process.argv.slice(2));
    // First of all, so that a name that nothing has is refused at once.
    if (options?.suites.includes("codec")) selected(options.only);
    if (options?.suites.includes("broker")) selectedScenarios(options);
    return options;
  } catch (error) {
    console.error(`bench: ${messageOf(error)}`);
    process.exit(2);
  }
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

const options = optionsOrExit();
try {
  if (options === undefined) console.log(USAGE);
  else await main(options);
} catch (error) {
  console.error(`bench: ${messageOf(error)}`);
  process.exitCode = 1;
}
