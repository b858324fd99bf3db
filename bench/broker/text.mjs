// The scenarios of suite broker in plain text, and a line for each target.
import { absentOnes, targetsText } from "../lib/promises.mjs";
import { figure, formatTable, times, wrapped } from "../lib/table.mjs";
import { describedScenarios } from "./scenarios.mjs";

/** @param {any[]} rows @param {{ isQuick?: boolean }} settings */
export function brokerText(rows, settings) {
  const scenarios = describedScenarios(rows, settings);
  const texts = scenarios.map(({ title, about, rows: own }) => {
    return `${title}\n\n${wrapped(about)}\n\n${[tableOf(own), ...refusalNotes(own)].join("\n")}`;
  });
  const titles = new Map(scenarios.map(({ name, title }) => [name, title]));
  const promiseName = (/** @type {any} */ { table, scenario, operation, contender }) =>
    `${titles.get(table)}: ${scenario}, ${operation}, against ${contender}`;
  const notes = absentOnes(rows).map(([name, reason]) => `${name} does not take part: ${reason}`);
  return [HOW, ...texts, ...notes, targetsText(rows, promiseName, settings)].join("\n\n");
}

const HOW =
  "x: how many times as fast we are as it, the median over rounds; above 1 we are the faster ones.";

/** @param {any[]} rows of one scenario */
function tableOf(rows) {
  const present = rows.filter((row) => row.absent === undefined);
  const ofRates = present.filter(({ operation }) => operation === "requests/s");
  const latency = (/** @type {string} */ operation) => (/** @type {any} */ row) =>
    times(
      present.find(
        (other) =>
          other.operation === operation &&
          other.depth === row.depth &&
          other.contender === row.contender,
      )?.ratio,
    );
  const hasLatencies = ofRates.length < present.length;
  return formatTable(
    [
      { title: "depth", value: (row) => row.depth },
      { title: "clients", value: (row) => row.clients },
      { title: "workers", value: (row) => row.workers },
      { title: "contender", value: (row) => row.contender, isText: true },
      { title: "req/s", value: (row) => figure(Math.round(row.requestsPerSecond)) },
      { title: "x", value: (row) => times(row.ratio) },
      { title: "p50 us", value: (row) => figure(row.p50Us) },
      ...(hasLatencies ? [{ title: "x", value: latency("p50") }] : []),
      { title: "p99 us", value: (row) => figure(row.p99Us) },
      ...(hasLatencies ? [{ title: "x", value: latency("p99") }] : []),
    ],
    ofRates,
  );
}

/** What a broker refused and was asked again, in a sentence each: it is in no column. @param {any[]} rows */
export function refusalNotes(rows) {
  const texts = rows
    .filter(({ refusals }) => refusals !== undefined)
    .map(({ contender, refusals: { refused = 0, refusedAfterWait = 0, ...others } }) => {
      const late = refusedAfterWait > 0 ? `, ${figure(refusedAfterWait)} of them after a wait` : "";
      const also = Object.entries(others).map(([name, count]) => `${name} ${figure(count)}`);
      const counts = [`refused ${figure(refused)}${late}`, ...also];
      return `The broker of ${contender} refused some, and was asked again: ${counts.join(", ")}.`;
    });
  return [...new Set(texts)];
}
