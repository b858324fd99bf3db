// The tables of suite codec as a page: one file, nothing fetched, no script. Each row has its figures
// and its bar side by side.
import { BUSY_LOAD, busyText } from "../lib/machine.mjs";
import { figure, promised, times } from "../lib/table.mjs";
import { axisOf, axisPlot, barPlot, emptyPlot, promisePlot } from "./plots.mjs";
import { STYLE } from "./page-style.mjs";
import { INSTALL } from "./rivals.mjs";
import { TABLES } from "./tables.mjs";
import { linesOf, promisesOf } from "./text.mjs";

/**
 * @param {{ machine: any, contenders?: any[], settings: any, rows: any[] }} report as --json has it
 * @returns {string}
 */
export function codecPage({ machine, contenders = [], settings, rows }) {
  const codec = rows.filter(({ suite }) => suite === "codec");
  const tables = Object.entries(TABLES)
    .map(([name, table]) => ({ name, ...table, rows: codec.filter((row) => row.table === name) }))
    .filter((table) => table.rows.length > 0);
  const date = machine.takenAt.slice(0, 10);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>wasmq codec, ${date}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>wasmq codec <span>how fast, beside what else a team would use</span></h1>
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
${summary(tables, codec)}
${tables.map(tableSection).join("\n")}
${conditions(machine, contenders, settings)}
</main>
</body>
</html>
`;
}

/** @param {any[]} tables @param {any[]} rows */
function summary(tables, rows) {
  const { met, missed, unmeasured } = promisesOf(rows);
  const count = met.length + missed.length;
  const links = tables.map(
    ({ name, title, rows: own }) =>
      `<li><a href="#${name}">${escaped(title)}</a> ${metOf(promisesOf(own))}</li>`,
  );
  return `<section class="summary">
<div>
<p class="score"><b>${met.length}</b> of ${count} targets met</p>
<ul>${links.join("")}</ul>
${unmeasured.length === 0 ? "" : `<p class="note">${unmeasured.length} not measured: what they compare with is missing.</p>`}
<p class="legend">Ratios are how many times as fast wasmq is: <i class="faster"></i> right of 1×
faster, <i class="slower"></i> left of it slower. <i class="tick"></i> is the target, the fine line
the middle half of the rounds.</p>
</div>
<figure>
${promisePlot(tables.map(({ title, rows: own }) => ({ title, ...promisesOf(own) })))}
<figcaption>Each target a dot: its ratio over the target. Right of the line it is met.</figcaption>
</figure>
</section>
${missedList(missed)}`;
}

/** @param {{ met: any[], missed: any[] }} promises */
function metOf({ met, missed }) {
  return `<b>${met.length}</b>/${met.length + missed.length}`;
}

/** @param {any[]} missed */
function missedList(missed) {
  if (missed.length === 0) return "";
  const items = missed.map(
    ({ table, scenario, operation, contender, ratio, target }) =>
      `<li><b>${times(ratio)}</b> of ${promised(target)} ${escaped(
        `${TABLES[table].title}: ${scenario}, ${operation}, against ${contender}`,
      )}</li>`,
  );
  return `<details open class="missed"><summary>Missed: ${missed.length}</summary><ul>${items.join("")}</ul></details>`;
}

/** @param {any} table */
function tableSection({ name, title, about, hasSizes, rows }) {
  const lines = linesOf(rows);
  const operations = [...new Set(lines.map(({ operation }) => operation))];
  const axis = axisOf(rows.flatMap(({ ratio, target }) => [ratio, target]));
  const panels = operations.map((operation) => {
    const own = lines.filter((line) => line.operation === operation);
    return panel(operation, own, axis, hasSizes);
  });
  return `<section id="${name}">
<h2>${escaped(title)}</h2>
<p>${escaped(about)}</p>
<div class="panels">${panels.join("\n")}</div>
${absentNotes(rows)}
</section>`;
}

/** @param {string} operation @param {any[]} lines @param {any} axis @param {boolean} hasSizes */
function panel(operation, lines, axis, hasSizes) {
  const size = hasSizes ? "<th>bytes</th>" : "";
  return `<article><h3>${escaped(operation)}</h3>
<table>
<thead><tr><th class="text">values</th><th class="text">against</th><th>µs</th>${size}<th class="plot">${axisPlot(axis)}</th><th>ratio</th><th>target</th></tr></thead>
${lines.map((line) => group(line, axis, hasSizes)).join("\n")}
</table></article>`;
}

/** The rows of one kind of values: ours first, for its figures. @param {any} line @param {any} axis @param {boolean} hasSizes */
function group({ scenario, values, valueBytes, ours, rivals }, axis, hasSizes) {
  const size = (/** @type {any} */ { bytes }) =>
    hasSizes ? `<td>${bytes === undefined ? "" : figure(Math.round(bytes))}</td>` : "";
  const heading = `<th class="text" rowspan="${rivals.length + 1}" title="${figure(values)} different values">${escaped(scenario)}<small>${sizeText(valueBytes)}</small></th>`;
  const first = `<tr class="ours">${heading}<td class="text">wasmq</td><td>${figure(ours.callUs)}</td>${size(ours)}<td class="plot">${emptyPlot(axis)}</td><td></td><td></td></tr>`;
  const rest = rivals.map(
    (/** @type {any} */ row) =>
      `<tr><td class="text">${escaped(row.contender)}</td><td>${figure(row.callUs)}</td>${size(row)}<td class="plot">${barPlot(row, axis)}</td><td class="${row.ratio >= 1 ? "faster" : "slower"}">${times(row.ratio)}</td>${targetCell(row)}</tr>`,
  );
  return `<tbody>${first}${rest.join("")}</tbody>`;
}

/** @param {any} row */
function targetCell({ target, isMet }) {
  if (target === undefined) return "<td></td>";
  return `<td class="${isMet ? "met" : "unmet"}">${promised(target)} ${isMet ? "✓" : "✗"}</td>`;
}

/** @param {any[]} rows */
function absentNotes(rows) {
  const absent = new Map(
    rows.filter((row) => row.absent !== undefined).map((row) => [row.contender, row.absent]),
  );
  if (absent.size === 0) return "";
  const names = [...absent].map(([name, reason]) => `${name} (${reason})`).join(", ");
  return `<p class="note">Not taking part: ${escaped(names)}. <code>${INSTALL}</code> installs packages that are missing.</p>`;
}

/** @param {any} machine @param {any[]} contenders @param {any} settings */
function conditions(machine, contenders, settings) {
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
  const { codecRounds: rounds, seconds } = settings;
  return `<section id="conditions">
<h2>How it was measured</h2>
<ul>
<li>A process of its own for each kind of values: what V8 learnt from one is not carried to the next.</li>
<li>All contenders take turns in every round, ${rounds} ${rounds === 1 ? "round" : "rounds"}, every other one in reverse; a
ratio is the median of the ratios within rounds, so that a drift of the machine falls on both.</li>
<li>About ${figure((seconds * 1000) / 12)} ms a measurement, behind three times as much of warm-up; young garbage is collected
before each, and again at its end, within the time: whoever makes it pays for it.</li>
<li>Calls rotate through many different values, 512 and more but where they are large; hover a kind
of values for their number.</li>
<li>Before anything is timed, what each contender made must come back equal.</li>
</ul>
<dl>${unique.map(([name, text]) => `<div><dt>${escaped(name)}</dt><dd>${escaped(text)}</dd></div>`).join("")}</dl>
</section>`;
}

/** @param {string} text */
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** @param {number} bytes */
function sizeText(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const kibibytes = bytes / 1024;
  return kibibytes < 1024
    ? `${figure(Number(kibibytes.toPrecision(3)))} KiB`
    : `${figure(kibibytes / 1024)} MiB`;
}

/** @param {unknown} text */
function escaped(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
