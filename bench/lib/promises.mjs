// What was promised, and what came of it: rows that have a `ratio` have a `target` where one was set.

import { median, quantile } from "./rounds.mjs";
import { formatTable, promised, times } from "./table.mjs";

/**
 * A row of a quick run, which neither meets nor misses what was promised.
 * @param {any} row
 */
export function unjudged({ isMet, ...row }) {
  return row;
}

/**
 * The same for those who read it: nothing is said of what was promised.
 * @param {any} row
 */
export function unpromised({ isMet, target, cyclesTarget, ...row }) {
  return row;
}

/**
 * How many times as fast as another we are, by ratios of figures taken in the same round.
 * @param {readonly number[]} ratios one a round
 * @param {number | undefined} target
 */
export function comparison(ratios, target) {
  const ratio = median(ratios);
  return {
    ratio,
    ratioLow: quantile(ratios, 0.25),
    ratioHigh: quantile(ratios, 0.75),
    target,
    isMet: target === undefined ? undefined : ratio >= target,
  };
}

/**
 * One line for each operation in each scenario: ours, those it is compared with, those not there.
 * @param {any[]} rows of one table
 */
export function linesOf(rows) {
  const lines = new Map();
  for (const row of rows) {
    const key = `${row.scenario}/${row.operation}`;
    const line = lines.get(key) ?? { ...row, ours: undefined, rivals: [], absent: [] };
    if (row.isOurs) line.ours = row;
    else if (row.absent === undefined) line.rivals.push(row);
    else line.absent.push(row);
    lines.set(key, line);
  }
  return [...lines.values()];
}

/** What came of the promises in these rows. @param {any[]} rows */
export function promisesOf(rows) {
  const withTarget = rows.filter(({ target }) => target !== undefined);
  return {
    met: withTarget.filter(({ isMet }) => isMet === true),
    missed: withTarget.filter(({ isMet }) => isMet === false),
    unmeasured: withTarget.filter(({ isMet }) => isMet === undefined),
  };
}

/** How many were met, in words. @param {any[]} rows @param {{ isQuick?: boolean }} settings */
export function countsText(rows, { isQuick = false }) {
  if (isQuick) return "no targets: a quick run says nothing about speed";
  const { met, missed, unmeasured } = promisesOf(rows);
  const unknown = unmeasured.length === 0 ? "" : `, ${unmeasured.length} not measured`;
  return `targets: ${met.length} met, ${missed.length} missed${unknown}`;
}

/** Who is not there, each once, with the reason. @param {any[]} rows */
export function absentOnes(rows) {
  const absent = rows.filter((row) => row.absent !== undefined);
  return [...new Map(absent.map((row) => [row.contender, row.absent]))];
}

/**
 * Every target in a line: what it is of, the figure, what was promised, and whether it is met; and
 * how many of them are.
 * @param {any[]} rows
 * @param {(row: any) => string} nameOf
 * @param {{ isQuick?: boolean }} settings
 */
export function targetsText(rows, nameOf, settings) {
  if (settings.isQuick) return countsText(rows, settings);
  const withTarget = rows.filter(({ target }) => target !== undefined);
  if (withTarget.length === 0) return "no targets: who they compare with was not asked for";
  const table = formatTable(
    [
      { title: "target", value: nameOf, isText: true },
      { title: "figure", value: (row) => row.figureText ?? times(row.ratio) },
      { title: "promised", value: (row) => row.targetText ?? promised(row.target) },
      { title: "", value: resultOf, isText: true },
    ],
    withTarget,
  );
  return `${table}\n\n${countsText(rows, settings)}`;
}

/** @param {{ isMet?: boolean }} row */
function resultOf({ isMet }) {
  if (isMet === undefined) return "not measured";
  return isMet ? "met" : "MISSED";
}
