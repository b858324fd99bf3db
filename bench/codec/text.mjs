// The tables of suite codec in plain text: the contenders of an operation side by side.
import { absentOnes, countsText, linesOf, promisesOf } from "../lib/promises.mjs";
import { figure, formatTable, promised, times, wrapped } from "../lib/table.mjs";
import { INSTALL } from "./rivals.mjs";
import { TABLES } from "./tables.mjs";

/**
 * The tables one below the other, and what was met and missed.
 * @param {any[]} rows
 * @param {{ isQuick?: boolean }} settings
 */
export function codecText(rows, settings) {
  const texts = Object.entries(TABLES).flatMap(([name, { title, about, hasSizes }]) => {
    const own = rows.filter(({ table }) => table === name);
    if (own.length === 0) return [];
    const notes = absentNotes(own);
    return [`${title}\n\n${wrapped(about)}\n\n${tableOf(own, hasSizes)}${notes}`];
  });
  return [HOW, ...texts, summaryOf(rows, settings)].join("\n\n");
}

const HOW =
  "us: median of a call; x: how many times as fast as it we are, above 1 we are the faster ones.";

/** @param {any[]} rows of one table @param {boolean} hasSizes */
function tableOf(rows, hasSizes) {
  const lines = linesOf(rows);
  const rivals = [...new Set(lines.flatMap((line) => line.rivals.map(nameOf)))];
  const by = (/** @type {any} */ line, /** @type {string} */ rival) =>
    line.rivals.find((/** @type {any} */ row) => nameOf(row) === rival);
  return formatTable(
    [
      { title: "values", value: (line) => line.scenario, isText: true },
      { title: "bytes", value: (line) => rounded(line.valueBytes) },
      { title: "operation", value: (line) => line.operation, isText: true },
      { title: "wasmq us", value: (line) => figure(line.ours.callUs) },
      ...(hasSizes
        ? [{ title: "size", value: (/** @type {any} */ line) => rounded(line.ours.bytes) }]
        : []),
      ...rivals.flatMap((rival) => [
        {
          title: `${rival} us`,
          value: (/** @type {any} */ line) => figure(by(line, rival)?.callUs),
        },
        ...(hasSizes
          ? [{ title: "size", value: (/** @type {any} */ line) => rounded(by(line, rival)?.bytes) }]
          : []),
        { title: "x", value: (/** @type {any} */ line) => times(by(line, rival)?.ratio) },
      ]),
      ...(rows.some(({ target }) => target !== undefined)
        ? [
            { title: "target", value: targetText, isText: true },
            { title: "", value: resultText, isText: true },
          ]
        : []),
    ],
    lines,
  );
}

/** @param {any} row */
const nameOf = ({ contender }) => contender;

/** @param {number | undefined} bytes */
const rounded = (bytes) => (bytes === undefined ? "" : figure(Math.round(bytes)));

/** Of a line: `B 2x, A 12x`, or `each 1.6x` where all have the same. @param {any} line */
function targetText({ rivals, absent }) {
  const all = [...rivals, ...absent];
  const withTarget = all.filter(({ target }) => target !== undefined);
  const isSame = withTarget.every(({ target }) => target === withTarget[0].target);
  if (isSame && withTarget.length > 1 && withTarget.length === all.length) {
    return `each ${promised(withTarget[0].target)}`;
  }
  return withTarget.map(({ contender, target }) => `${contender} ${promised(target)}`).join(", ");
}

/** @param {any} line */
function resultText({ rivals, absent }) {
  const { met, missed, unmeasured } = promisesOf([...rivals, ...absent]);
  if (missed.length > 0) return `missed: ${missed.map(nameOf).join(", ")}`;
  if (unmeasured.length > 0) return `not measured: ${unmeasured.map(nameOf).join(", ")}`;
  return met.length > 0 ? "met" : "";
}

/** @param {any[]} rows */
function absentNotes(rows) {
  return absentOnes(rows)
    .map(([name, reason]) => `\n${name} does not take part: ${reason}`)
    .join("");
}

/** @param {any[]} rows @param {{ isQuick?: boolean }} settings */
function summaryOf(rows, settings) {
  return [
    countsText(rows, settings),
    ...promisesOf(rows).missed.map(
      ({ table, scenario, operation, contender, ratio, target }) =>
        `  missed: ${table}, ${scenario}, ${operation}: ${times(ratio)} ${contender}, not ${promised(target)}`,
    ),
  ].join("\n");
}

/**
 * Who takes part, with versions; and how to have those take part that do not.
 * @param {Awaited<ReturnType<typeof import("./rivals.mjs").describeRivals>>} rivals
 */
export function rivalsText(rivals) {
  const there = rivals.filter(({ absent }) => absent === undefined);
  const missing = rivals.filter(({ absent }) => absent !== undefined);
  const names = there.map(
    ({ name, version, note }) => `${name} ${version}${note === undefined ? "" : ` (${note})`}`,
  );
  const lines = [wrapped(`beside Node's own: ${names.join(", ")}`)];
  if (missing.length > 0) {
    const reasons = missing.map(({ name, absent }) => `${name} (${absent})`);
    lines.push(wrapped(`missing: ${reasons.join(", ")}`), `to install what is missing: ${INSTALL}`);
  }
  return lines.join("\n");
}
