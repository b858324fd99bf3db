// The tables of a run as a page: one file, nothing fetched, no script. Each row has its figures and
// its bar side by side.
import { BUSY_LOAD, busyText } from "./machine.mjs";
import { STYLE } from "./page-style.mjs";
import { axisOf, axisPlot, barPlot, emptyPlot, promisePlot } from "./plots.mjs";
import { absentOnes, linesOf, promisesOf } from "./promises.mjs";
import { figure, promised, times } from "./table.mjs";

/**
 * What a suite has on the page.
 * @typedef {object} Chapter
 * @property {string} name
 * @property {string} installation how to have those take part that do not
 * @property {PageTable[]} tables
 * @property {string[]} conditions how it was measured, in sentences
 *
 * Rows of a table are told apart by `scenario` and `operation`; of each the first is ours, and others
 * have a `ratio`, or say why they are `absent`.
 * @typedef {object} PageTable
 * @property {string} name
 * @property {string} title
 * @property {string} about
 * @property {any[]} rows
 * @property {string} subject what its scenarios are
 * @property {(operation: string) => Column[]} columns a row's own figures
 * @property {string[]} [notes] what its figures do not tell, in sentences
 * @property {(line: any) => { small: string, hint: string }} detail of a scenario
 *
 * @typedef {{ title: string, value: (row: any) => string }} Column
 *
 * @typedef {import("./plots.mjs").Axis} Axis
 */

const COLUMNS_NARROW = 2;
/** Shown where the window is narrower than a table. */
const SIDEWAYS = "· scroll the table sideways: ratios are at its right →";

/**
 * @param {{ machine: any, contenders?: any[], settings: any }} report as --json has it
 * @param {Chapter[]} chapters
 * @returns {string}
 */
export function reportPage({ machine, contenders = [], settings }, chapters) {
  const names = chapters.map(({ name }) => name).join(" and ");
  const date = machine.takenAt.slice(0, 10);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>wasmq ${names}, ${date}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>wasmq ${names} <span>how fast, beside what else a team would use</span></h1>
<p class="where">${[
    date,
    `${machine.cores} × ${machine.cpu}`,
    `Node ${machine.node}`,
    `wasmq ${machine.wasmq}${machine.commit === undefined ? "" : ` (${machine.commit})`}`,
  ]
    .map(escaped)
    .join(" · ")}</p>
${machine.load > BUSY_LOAD ? `<p class="warning">${escaped(capital(busyText(machine)))}.</p>` : ""}
${settings.isQuick ? '<p class="warning">A quick run: it shows that the suite runs. Its figures say nothing about speed.</p>' : ""}
</header>
<main>
${summary(chapters.flatMap(({ tables }) => tables))}
${chapters.flatMap(({ tables, installation }) => tables.map((table) => tableSection(table, installation))).join("\n")}
${conditionsSection(machine, contenders, chapters)}
</main>
</body>
</html>
`;
}

/** @param {PageTable[]} tables */
function summary(tables) {
  const { met, missed, unmeasured } = promisesOf(tables.flatMap(({ rows }) => rows));
  const count = met.length + missed.length;
  const links = tables.map(
    ({ name, title, rows: own }) =>
      `<li><a href="#${name}">${escaped(title)}</a>${metOf(promisesOf(own))}</li>`,
  );
  const withTargets = tables
    .map(({ title, rows }) => ({ title, ...promisesOf(rows) }))
    .filter((own) => own.met.length + own.missed.length > 0);
  const tick = count === 0 ? "" : ` <i class="tick"></i> is the target.`;
  return `<section class="summary">
<div>
${count === 0 ? "" : `<p class="score"><b>${met.length}</b> of ${count} targets met</p>`}
<ul>${links.join("")}</ul>
${unmeasured.length === 0 ? "" : `<p class="note">${unmeasured.length} not measured: what they compare with is missing.</p>`}
<p class="legend">Ratios are how many times as fast wasmq is: <i class="faster"></i> right of 1×
faster, <i class="slower"></i> left of it slower.${tick} The fine line
is the middle half of the rounds.</p>
</div>
${count === 0 ? "" : overview(withTargets)}
</section>
${missedList(tables)}`;
}

/** @param {{ title: string, met: any[], missed: any[] }[]} tables */
function overview(tables) {
  return `<figure>
${promisePlot(tables)}
<figcaption>Each target a dot: its ratio over the target. Right of the line it is met.</figcaption>
</figure>`;
}

/** @param {{ met: any[], missed: any[] }} promises */
function metOf({ met, missed }) {
  if (met.length + missed.length === 0) return "";
  return ` <b>${met.length}</b>/${met.length + missed.length}`;
}

/** @param {PageTable[]} tables */
function missedList(tables) {
  const items = tables.flatMap(({ title, rows }) =>
    promisesOf(rows).missed.map(
      ({ scenario, operation, contender, ratio, target }) =>
        `<li><b>${times(ratio)}</b> of ${promised(target)} ${escaped(
          `${title}: ${scenario}, ${operation}, against ${contender}`,
        )}</li>`,
    ),
  );
  if (items.length === 0) return "";
  return `<details open class="missed"><summary>Missed: ${items.length}</summary><ul>${items.join("")}</ul></details>`;
}

/** @param {PageTable} table @param {string} installation */
function tableSection(table, installation) {
  const { name, title, about, rows } = table;
  const lines = linesOf(rows);
  const operations = [...new Set(lines.map(({ operation }) => operation))];
  const axis = axisOf(rows.flatMap(({ ratio, target }) => [ratio, target]));
  const panels = operations.map((operation) => {
    const own = lines.filter((line) => line.operation === operation);
    return panel(operation, own, axis, table);
  });
  return `<section id="${name}">
<h2>${escaped(title)}</h2>
<p>${escaped(about)}</p>
<div class="panels">${panels.join("\n")}</div>
${(table.notes ?? []).map((text) => `<p class="note">${escaped(text)}</p>`).join("")}
${absentNotes(rows, installation)}
</section>`;
}

/** @param {string} operation @param {any[]} lines @param {Axis} axis @param {PageTable} table */
function panel(operation, lines, axis, table) {
  const columns = table.columns(operation);
  const titles = columns.map(({ title }) => `<th>${title}</th>`).join("");
  const hasTargets = table.rows.some(({ target }) => target !== undefined);
  // Two of them would not fit beside each other.
  const kind = columns.length > COLUMNS_NARROW ? ' class="wide"' : "";
  return `<article${kind} tabindex="0"><h3>${escaped(operation)} <small>${SIDEWAYS}</small></h3>
<table>
<thead><tr><th class="text">${table.subject}</th><th class="text">against</th>${titles}<th class="plot">${axisPlot(axis)}</th><th>ratio</th>${hasTargets ? "<th>target</th>" : ""}</tr></thead>
${lines.map((line) => group(line, axis, columns, table.detail, hasTargets)).join("\n")}
</table></article>`;
}

/** The rows of one scenario: ours first, for its figures. @param {any} line @param {Axis} axis @param {Column[]} columns @param {PageTable["detail"]} detail @param {boolean} hasTargets */
function group(line, axis, columns, detail, hasTargets) {
  const { scenario, ours, rivals } = line;
  const figures = (/** @type {any} */ row) =>
    columns.map(({ value }) => `<td>${value(row)}</td>`).join("");
  const { small, hint } = detail(line);
  const heading = `<th class="text" rowspan="${rivals.length + 1}" title="${escaped(hint)}">${escaped(scenario)}<small>${escaped(small)}</small></th>`;
  const first = `<tr class="ours">${heading}<td class="text">${escaped(ours.contender)}</td>${figures(ours)}<td class="plot">${emptyPlot(axis)}</td><td></td>${hasTargets ? "<td></td>" : ""}</tr>`;
  const rest = rivals.map(
    (/** @type {any} */ row) =>
      `<tr><td class="text">${escaped(row.contender)}</td>${figures(row)}<td class="plot">${barPlot(row, axis)}</td><td class="${row.ratio >= 1 ? "faster" : "slower"}">${times(row.ratio)}</td>${hasTargets ? targetCell(row) : ""}</tr>`,
  );
  return `<tbody>${first}${rest.join("")}</tbody>`;
}

/** @param {any} row */
function targetCell({ target, isMet }) {
  if (target === undefined) return "<td></td>";
  return `<td class="${isMet ? "met" : "unmet"}">${promised(target)} ${isMet ? "✓" : "✗"}</td>`;
}

/** @param {any[]} rows @param {string} installation */
function absentNotes(rows, installation) {
  const absent = absentOnes(rows);
  if (absent.length === 0) return "";
  const names = absent.map(([name, reason]) => `${name} (${reason})`).join(", ");
  return `<p class="note">Not taking part: ${escaped(names)}. <code>${installation}</code> installs packages that are missing.</p>`;
}

/** @param {any} machine @param {any[]} contenders @param {Chapter[]} chapters */
function conditionsSection(machine, contenders, chapters) {
  const versions = [
    [
      "wasmq",
      `${machine.wasmq}${machine.commit === undefined ? "" : `, commit ${machine.commit}`}`,
    ],
    ["Node", `${machine.node}, V8 ${machine.v8}, OpenSSL ${machine.openssl}`],
    [
      "machine",
      `${machine.cores} × ${machine.cpu}, ${figure(machine.memoryMiB)} MiB, ${machine.system}`,
    ],
    ["taken", machine.takenAt],
    ...Object.entries(machine.packages),
    ...contenders.map(({ name, version, note, absent }) => [
      name,
      absent ?? `${version}${note === undefined ? "" : `, ${note}`}`,
    ]),
  ];
  const unique = [...new Map(versions.map(([name, text]) => [name, text]))];
  const sentences = chapters.flatMap(({ conditions }) => conditions);
  return `<section id="conditions">
<h2>How it was measured</h2>
<ul>
${sentences.map((text) => `<li>${escaped(text)}</li>`).join("\n")}
</ul>
<dl>${unique.map(([name, text]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(text)}</dd></div>`).join("")}</dl>
</section>`;
}

/** @param {string} text */
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** @param {unknown} text */
function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
