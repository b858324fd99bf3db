import { targetsText } from "../lib/promises.mjs";
import { figure, formatTable, times } from "../lib/table.mjs";

/** @type {import("../lib/table.mjs").Column[]} */
const COLUMNS = [
  { title: "workers", value: (row) => figure(row.workers) },
  { title: "services", value: (row) => figure(row.services) },
  { title: "queued", value: (row) => figure(row.queued) },
  { title: "cycles/s", value: (row) => figure(row.cyclesPerSecond) },
  { title: "ns/cycle", value: (row) => figure(1e9 / row.cyclesPerSecond) },
  { title: "x first row", value: (row) => times(row.ratio) },
];

/** @param {any[]} rows @param {{ isQuick?: boolean }} settings */
export function coreText(rows, settings) {
  const promises = rows.map((row) =>
    row.cyclesTarget === undefined
      ? row
      : {
          ...row,
          target: row.cyclesTarget,
          figureText: `${figure(Math.round(row.cyclesPerSecond))}/s`,
          targetText: `${figure(row.cyclesTarget)}/s`,
        },
  );
  return `${formatTable(COLUMNS, rows)}\n\n${targetsText(promises, ({ scenario }) => scenario, settings)}`;
}
