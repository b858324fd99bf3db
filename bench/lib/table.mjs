/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: any) => string | number | undefined} value
 * @property {boolean} [isText] set left, as words are; figures are set right
 */

/**
 * A table in plain text that Markdown reads as one, too.
 * @param {readonly Column[]} columns
 * @param {readonly object[]} rows
 */
export function formatTable(columns, rows) {
  const cells = rows.map((row) => columns.map(({ value }) => String(value(row) ?? "")));
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, 3, ...cells.map((line) => line[index].length)),
  );
  const line = (/** @type {string[]} */ texts) => {
    const padded = texts.map((text, index) =>
      columns[index].isText ? text.padEnd(widths[index]) : text.padStart(widths[index]),
    );
    return `| ${padded.join(" | ")} |`;
  };
  const rule = columns.map(({ isText }, index) =>
    isText ? "-".repeat(widths[index]) : "-".repeat(widths[index] - 1) + ":",
  );
  return [line(columns.map(({ title }) => title)), line(rule), ...cells.map(line)].join("\n");
}

/**
 * A figure with three digits that count, thousands apart.
 * @param {number | undefined} value
 */
export function figure(value) {
  if (value === undefined) return "";
  if (Number.isInteger(value) || value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

/** @param {number | undefined} value */
export function times(value) {
  return value === undefined ? "" : `${figure(value)}x`;
}

/** What was promised, which has no more digits than it was given. @param {number} ratio */
export function promised(ratio) {
  return `${Number(ratio.toFixed(2))}x`;
}

/** In lines that a terminal shows. @param {string} text */
export function wrapped(text) {
  return text.replaceAll(/(.{1,100})(?: +|$)/g, "$1\n").trimEnd();
}
