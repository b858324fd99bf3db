// Whether what was done beside requests adds up: tasks, publications, streams, surveys.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { formatTable } from "../../bench/lib/table.mjs";
import { LATE_MS_MAX, linesOf, violationList } from "./records.mjs";

/** Ends that need no excuse, by pattern. */
const EXCUSED = {
  tasks: ["OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"],
  topics: ["OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"],
  streams: [
    ...["OK", "LEFT", "THROWN", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"],
    // ABORTED: one that comes again to a worker which has begun it.
    ...["NOT_FOUND", "ABORTED", "CANCELLED"],
  ],
  surveys: ["OK", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED"],
};

/**
 * @typedef {object} Task
 * @property {string} via the index of the broker it was pushed to, or *
 * @property {number} pushedMs
 * @property {string | undefined} taskId once a broker has it
 * @property {boolean} isDone
 * @property {number} runs
 */

/**
 * @param {string} folder
 * @param {readonly string[]} patterns
 * @param {Set<string>} killed the client processes that were killed
 * @param {readonly number[][]} ends when processes of each broker ended whose tasks nobody was asked for
 * @param {Set<string>} dead ids of the dead letters in the end
 */
export async function accountPatterns(folder, patterns, killed, ends, dead) {
  const list = violationList();
  /** @type {Map<string, string>} pattern by id, until it ends */
  const open = new Map();
  /** @type {Map<string, Map<string, number>>} */
  const rows = new Map(patterns.map((name) => [name, new Map()]));
  /** @type {Map<string, Task>} */
  const tasks = new Map();
  const count = (/** @type {string} */ pattern, /** @type {string} */ column) => {
    const row = rows.get(pattern);
    row?.set(column, (row.get(column) ?? 0) + 1);
  };
  const files = readdirSync(folder);
  for (const file of files.filter((name) => name.startsWith("pattern."))) {
    for await (const line of linesOf(join(folder, file))) {
      const [kind, ...words] = line.split(" ");
      if (kind === "V") list.add(`${file}: ${line.slice(2)}`);
      else if (kind === "T") {
        const [id, via, ms] = words;
        const task = { via, pushedMs: Number(ms), taskId: undefined, isDone: false, runs: 0 };
        tasks.set(id, task);
      } else if (kind === "A") {
        const task = tasks.get(words[0]);
        if (task !== undefined) task.taskId = words[1];
      } else if (kind === "S") {
        count(words[0], "begun");
        open.set(words[1], words[0]);
      } else {
        const [pattern, id, outcome, late] = words;
        if (!open.delete(id)) list.add(`a second end, or one of nothing: ${line}`);
        count(pattern, outcome);
        if (!EXCUSED[pattern].includes(outcome)) list.add(`${id} ended with ${outcome}`);
        if (Number(late) > LATE_MS_MAX) list.add(`${id} ended ${late} ms too late: ${outcome}`);
      }
    }
  }
  for (const [id, pattern] of open) {
    count(pattern, "died with client");
    if (!killed.has(id.slice(0, id.indexOf("#")))) list.add(`${id} never ended`);
  }
  for (const file of files.filter((name) => name.startsWith("task."))) {
    for await (const line of linesOf(join(folder, file))) {
      const [kind, id] = line.split(" ");
      const task = tasks.get(id);
      if (task === undefined) list.add(`${file}: did what nobody pushed: ${line}`);
      else if (kind === "D") task.isDone = true;
      else task.runs++;
    }
  }
  const text = [tableOf(rows)];
  if (patterns.includes("tasks")) text.push(accountTasks(tasks, ends, dead, list.add));
  return { violations: list.all(), text: text.join("\n") };
}

/**
 * Each task that a broker has taken is done once at least, or a dead letter, or was lost with a broker that had it:
 * tasks are kept in memory.
 * @param {Map<string, Task>} tasks
 * @param {readonly number[][]} ends
 * @param {Set<string>} dead
 * @param {(what: string) => void} violation
 */
function accountTasks(tasks, ends, dead, violation) {
  const counts = { taken: 0, kept: 0, done: 0, dead: 0, lost: 0, again: 0 };
  for (const [id, { via, pushedMs, taskId, isDone, runs }] of tasks) {
    if (runs > 1) counts.again++;
    if (taskId === undefined) continue;
    counts.taken++;
    // The end of a broker is known once its process is gone: what was pushed later is not lost with it.
    const wasLost = ends.some((times, index) => {
      return (via === "*" || via === String(index)) && times.some((ms) => ms >= pushedMs);
    });
    if (via !== "*" && ends[Number(via)]?.length === 0) counts.kept++;
    if (isDone) counts.done++;
    else if (dead.has(taskId)) counts.dead++;
    else if (wasLost) counts.lost++;
    else violation(`${id} was taken, and is neither done nor dead; it ran ${runs} times`);
  }
  return (
    `tasks taken: ${counts.taken}; done ${counts.done}, dead letters ${counts.dead}, ` +
    `lost with a broker ${counts.lost} (${counts.kept} were at brokers that never ended); ` +
    `ran more than once ${counts.again}`
  );
}

/** @param {Map<string, Map<string, number>>} rows */
function tableOf(rows) {
  const columns = [...new Set([...rows.values()].flatMap((row) => [...row.keys()]))];
  const names = ["begun", ...columns.filter((name) => name !== "begun").sort()];
  const lines = [...rows].map(([pattern, row]) => ({ pattern, row }));
  return formatTable(
    [
      { title: "pattern", value: ({ pattern }) => pattern, isText: true },
      ...names.map((title) => ({
        title: title.toLowerCase().replaceAll("_", " "),
        value: ({ row }) => row.get(title) ?? 0,
      })),
    ],
    lines,
  );
}
