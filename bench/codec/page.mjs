import { figure } from "../lib/table.mjs";
import { INSTALL } from "./rivals.mjs";
import { TIME_SHARE } from "./suite.mjs";
import { TABLES } from "./tables.mjs";

/**
 * The tables of suite codec, as the page has them.
 * @param {any[]} rows of the suite
 * @param {{ codecRounds: number, seconds: number }} settings
 * @returns {import("../lib/page.mjs").Chapter}
 */
export function codecChapter(rows, { codecRounds: rounds, seconds }) {
  const tables = Object.entries(TABLES)
    .map(([name, { title, about, hasSizes }]) => ({
      name,
      title,
      about,
      rows: rows.filter((row) => row.table === name),
      subject: "values",
      columns: () => (hasSizes ? [TIME, SIZE] : [TIME]),
      detail: (/** @type {any} */ { values, valueBytes }) => ({
        small: sizeText(valueBytes),
        hint: `${figure(values)} different values`,
      }),
    }))
    .filter((table) => table.rows.length > 0);
  return {
    name: "codec",
    installation: INSTALL,
    tables,
    conditions: [
      "A process of its own for each kind of values: what V8 learnt from one is not carried to the next.",
      `All contenders take turns in every round, ${rounds} ${rounds === 1 ? "round" : "rounds"}, every other one in reverse; a ratio is the median of the ratios within rounds, so that a drift of the machine falls on both.`,
      `About ${figure(seconds * 1000 * TIME_SHARE)} ms a measurement, behind three times as much of warm-up; young garbage is collected before each, and again at its end, within the time: whoever makes it pays for it.`,
      "Calls rotate through many different values, 512 and more but where they are large; hover a kind of values for their number.",
      "Before anything is timed, what each contender made must come back equal.",
    ],
  };
}

/** @type {import("../lib/page.mjs").Column} */
const TIME = { title: "µs", value: ({ callUs }) => figure(callUs) };
/** @type {import("../lib/page.mjs").Column} */
const SIZE = {
  title: "bytes",
  value: ({ bytes }) => (bytes === undefined ? "" : figure(Math.round(bytes))),
};

/** @param {number} bytes */
function sizeText(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const kibibytes = bytes / 1024;
  return kibibytes < 1024
    ? `${figure(Number(kibibytes.toPrecision(3)))} KiB`
    : `${figure(kibibytes / 1024)} MiB`;
}
