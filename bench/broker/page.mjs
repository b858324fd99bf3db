import { INSTALL } from "../codec/rivals.mjs";
import { figure } from "../lib/table.mjs";
import { describedScenarios } from "./scenarios.mjs";
import { refusalNotes } from "./text.mjs";

/**
 * The scenarios of suite broker, as the page has them.
 * @param {any[]} rows of the suite
 * @param {{ rounds: number, seconds: number, isQuick?: boolean }} settings
 * @returns {import("../lib/page.mjs").Chapter}
 */
export function brokerChapter(rows, settings) {
  const { rounds, seconds } = settings;
  const tables = describedScenarios(rows, settings).map((scenario) => ({
    ...scenario,
    subject: "in flight",
    columns: columnsOf,
    notes: refusalNotes(scenario.rows),
    detail: (/** @type {any} */ { ours }) => ({
      small: `${count(ours.clients, "client")}, ${count(ours.workers, "worker")}`,
      hint: `rounds: ${ours.rounds.map((/** @type {number} */ rate) => figure(Math.round(rate))).join(", ")} requests/s`,
    }),
  }));
  return {
    name: "broker",
    installation: INSTALL,
    tables,
    conditions: [
      "Broker, workers and clients are processes of their own, on this machine, over TCP on loopback.",
      `All contenders of a scenario take turns, ${count(rounds, "round")}, every other one in reverse; figures are medians, a ratio is the median of the ratios within rounds.`,
      `${figure(seconds)} s a measurement, behind half as much of warm-up. Each lane asks the next as soon as the last is answered.`,
      "Every reply is compared with what was sent, and a broker that counts must have sent what the clients have.",
      "wasmq by its public face with its defaults: deadlines, credits, limits and retries are on.",
    ],
  };
}

/** @type {import("../lib/page.mjs").Column} */
const RATE = { title: "req/s", value: (row) => figure(Math.round(row.requestsPerSecond)) };
/** @type {import("../lib/page.mjs").Column} */
const P50 = { title: "p50 µs", value: (row) => figure(Math.round(row.p50Us)) };
/** @type {import("../lib/page.mjs").Column} */
const P99 = { title: "p99 µs", value: (row) => figure(Math.round(row.p99Us)) };

/** @param {string} operation */
function columnsOf(operation) {
  if (operation === "p50") return [P50];
  return operation === "p99" ? [P99] : [RATE, P50, P99];
}

/** @param {number} number @param {string} noun */
function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
