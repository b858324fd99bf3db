import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { LATE_MS_MAX, linesOf, violationList } from "./records.mjs";

/** Ends that need no excuse: what was refused, what a death or a deadline explains, what was asked for. */
const columns = new Map([
  ["OK", "replied"],
  ["RESOURCE_EXHAUSTED", "refused"],
  ["UNAVAILABLE", "unavailable"],
  ["DEADLINE_EXCEEDED", "deadline"],
  ["NOT_FOUND", "not found"],
  // A sealed request that comes again to a worker that has opened it already.
  ["ABORTED", "aborted"],
  ["CANCELLED", "cancelled"],
  ["THROWN", "thrown"],
]);

/**
 * @typedef {object} Asked one request, as its client has it in its record
 * @property {number} attempts
 * @property {number} lostAtStart connections that its client had lost when it was sent
 * @property {number} lost those it lost until the request ended
 * @property {string | undefined} outcome
 * @property {number} runs
 */

/**
 * Reads the records of a run and checks that they add up:
 * sent = replied + refused + failed + died with their client, and nothing ran more often than allowed.
 * @param {string} folder
 * @param {Set<string>} killed names of the client processes that were killed: only those may leave
 *   requests without an end
 */
export async function account(folder, killed) {
  const list = violationList();
  const violation = list.add;
  /** @type {Map<string, Asked>} */
  const asked = new Map();
  /** @type {Map<string, Record<string, number>>} */
  const rows = new Map();
  const files = readdirSync(folder);
  for (const file of files.filter((name) => name.startsWith("asked."))) {
    const client = file.slice("asked.".length);
    await readClient(join(folder, file), client, asked, violation);
  }
  const runs = { total: 0, again: 0, most: 0 };
  for (const file of files.filter((name) => name.startsWith("run."))) {
    for await (const line of linesOf(join(folder, file))) {
      runs.total++;
      const request = asked.get(line.split(" ")[0]);
      if (request === undefined) violation(`${file}: ran what nobody asked for: ${line}`);
      else request.runs++;
    }
  }
  for (const [id, request] of asked) {
    const client = id.slice(0, id.indexOf("."));
    let row = rows.get(client);
    if (row === undefined) {
      row = { sent: 0 };
      rows.set(client, row);
    }
    const { outcome, attempts } = request;
    row.sent++;
    const column = outcome === undefined ? "died with client" : columns.get(outcome);
    if (column !== undefined) row[column] = (row[column] ?? 0) + 1;
    if (outcome === undefined && !killed.has(id.slice(0, id.indexOf("#")))) {
      violation(`${id} was never answered`);
    } else if (column === undefined) violation(`${id} ended with ${outcome}`);
    // One attempt is one, whatever breaks; of others each lost broker may begin the count anew.
    const runsMax = attempts === 1 ? 1 : attempts * (1 + request.lost - request.lostAtStart);
    if (request.runs > runsMax) {
      violation(`${id} ran ${request.runs} times, at most ${runsMax} are allowed`);
    }
    if (outcome === "OK" && request.runs === 0) violation(`${id} was answered and never ran`);
    if (request.runs > 1) runs.again++;
    runs.most = Math.max(runs.most, request.runs);
  }
  return { violations: list.all(), rows, runs, columns: [...columns.values()] };
}

/**
 * @param {string} path
 * @param {string} client
 * @param {Map<string, Asked>} asked
 * @param {(what: string) => void} violation
 */
async function readClient(path, client, asked, violation) {
  let lost = 0;
  /** @type {Map<string, Asked>} */
  const open = new Map();
  for await (const line of linesOf(path)) {
    const [kind, id, what, late] = line.split(" ");
    if (kind === "D") lost++;
    else if (kind === "S") {
      const request = {
        attempts: Number(what),
        lostAtStart: lost,
        lost,
        outcome: undefined,
        runs: 0,
      };
      if (asked.has(id)) violation(`${basename(path)}: ${id} was asked twice`);
      asked.set(id, request);
      open.set(id, request);
    } else {
      const request = open.get(id);
      if (request === undefined) {
        violation(`${client}: a second end, or one of nothing: ${line}`);
        continue;
      }
      open.delete(id);
      request.outcome = what;
      request.lost = lost;
      if (Number(late) > LATE_MS_MAX)
        violation(`${id} ended ${late} ms after its deadline: ${what}`);
    }
  }
  for (const request of open.values()) request.lost = lost;
}
