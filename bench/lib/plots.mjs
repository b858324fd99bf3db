// SVG by hand: ratios on a logarithmic axis, where twice as fast is as far from 1 as half as fast.
import { promised, times } from "./table.mjs";

const WIDTH = 230;
const ROW_HEIGHT = 20;
const MARGIN = 16;
const TICKS_MAX = 7;
/** A single bar is not to flatten all the others: beyond 1/8 and 32 it ends in an arrow. */
const LOG_MIN = -3;
const LOG_MAX = 5;

/**
 * Powers of two from `low` to `high`.
 * @typedef {{ low: number, high: number }} Axis
 */

/**
 * An axis that has these ratios on it as far as it may reach, and a half and twice.
 * @param {readonly (number | undefined)[]} ratios
 * @returns {Axis}
 */
export function axisOf(ratios) {
  const logs = ratios.flatMap((ratio) => (ratio === undefined ? [] : [Math.log2(ratio)]));
  return {
    low: Math.max(LOG_MIN, Math.min(-1, Math.floor(Math.min(...logs)))),
    high: Math.min(LOG_MAX, Math.max(1, Math.ceil(Math.max(...logs)))),
  };
}

/** @param {number} ratio @param {Axis} axis */
function xOf(ratio, axis) {
  return round(MARGIN + shareOf(ratio, axis) * (WIDTH - 2 * MARGIN));
}

/** How far along the axis it is, 0..1: at the end where it is beyond. @param {number} ratio @param {Axis} axis */
function shareOf(ratio, { low, high }) {
  return (Math.min(Math.max(Math.log2(ratio), low), high) - low) / (high - low);
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;

/** @param {Axis} axis */
function powers({ low, high }) {
  return Array.from({ length: high - low + 1 }, (_, index) => 2 ** (low + index));
}

/** @param {Axis} axis @param {number} height */
function grid(axis, height) {
  return powers(axis)
    .map((ratio) => {
      const x = xOf(ratio, axis);
      const kind = ratio === 1 ? "one" : "grid";
      return `<line class="${kind}" x1="${x}" x2="${x}" y1="0" y2="${height}"/>`;
    })
    .join("");
}

/** @param {number} height @param {string} content @param {string} label */
function svg(height, content, label) {
  const size = `width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"`;
  return `<svg ${size} role="img" aria-label="${label}">${content}</svg>`;
}

/** The axis' labels, each power of two or every other one. @param {Axis} axis */
export function axisPlot(axis) {
  const all = powers(axis);
  const step = Math.ceil(all.length / TICKS_MAX);
  const labels = all
    .filter((ratio) => Math.log2(ratio) % step === 0)
    .map(
      (ratio) =>
        `<text x="${xOf(ratio, axis)}" y="13">${ratio < 1 ? fraction(ratio) : ratio}×</text>`,
    );
  return svg(ROW_HEIGHT, labels.join(""), "the axis of the ratios");
}

/** @param {number} ratio */
function fraction(ratio) {
  return { 0.5: "½", 0.25: "¼", 0.125: "⅛" }[ratio] ?? `1/${1 / ratio}`;
}

/** The grid alone, in the row of ours. @param {Axis} axis */
export function emptyPlot(axis) {
  return svg(ROW_HEIGHT, grid(axis, ROW_HEIGHT), "");
}

/** @param {number} x where the axis ends @param {boolean} isLeft */
function arrow(x, isLeft) {
  const tip = isLeft ? x - 7 : x + 7;
  const middle = ROW_HEIGHT / 2;
  return `<path class="${isLeft ? "slower" : "faster"}" d="M${tip} ${middle}L${x} ${middle - 7}V${middle + 7}Z"/>`;
}

/** A bar from 1 to the ratio, the spread of the rounds, and the target. @param {any} row @param {Axis} axis */
export function barPlot({ ratio, ratioLow, ratioHigh, target, isMet }, axis) {
  const one = xOf(1, axis);
  const end = xOf(ratio, axis);
  const middle = ROW_HEIGHT / 2;
  const label = `${times(ratio)}, half of the rounds ${times(ratioLow)} to ${times(ratioHigh)}`;
  const from = xOf(ratioLow, axis);
  const to = xOf(ratioHigh, axis);
  const parts = [
    `<title>${label}</title>`,
    grid(axis, ROW_HEIGHT),
    `<rect class="${ratio >= 1 ? "faster" : "slower"}" x="${Math.min(one, end)}" y="4" width="${round(Math.abs(end - one))}" height="${ROW_HEIGHT - 8}"/>`,
    `<line class="spread" x1="${from}" x2="${to}" y1="${middle}" y2="${middle}"/>`,
  ];
  if (Math.log2(ratio) < axis.low) parts.push(arrow(end, true));
  if (Math.log2(ratio) > axis.high) parts.push(arrow(end, false));
  if (target !== undefined) {
    const x = xOf(target, axis);
    const kind = isMet ? "target" : "target unmet";
    parts.push(`<line class="${kind}" x1="${x}" x2="${x}" y1="1" y2="${ROW_HEIGHT - 1}"/>`);
  }
  return svg(ROW_HEIGHT, parts.join(""), label);
}

const PROMISE_WIDTH = 560;
const PROMISE_ROW = 44;
const PROMISE_LEFT = 118;
const DOT_RADIUS = 4.5;

/**
 * All promises as dots, a row for each table: the ratio over the target.
 * @param {{ title: string, met: any[], missed: any[] }[]} tables
 */
export function promisePlot(tables) {
  const overTarget = (/** @type {any} */ { ratio, target }) => ratio / target;
  const axis = axisOf(tables.flatMap(({ met, missed }) => [...met, ...missed].map(overTarget)));
  const height = tables.length * PROMISE_ROW + 24;
  const x = (/** @type {number} */ share) => {
    return round(PROMISE_LEFT + shareOf(share, axis) * (PROMISE_WIDTH - PROMISE_LEFT - 20));
  };
  const bottom = tables.length * PROMISE_ROW;
  const all = powers(axis);
  const step = Math.ceil(all.length / TICKS_MAX);
  const lines = all.map((ratio) => {
    const at = x(ratio);
    return `<line class="${ratio === 1 ? "one" : "grid"}" x1="${at}" x2="${at}" y1="0" y2="${bottom}"/>`;
  });
  const labels = all
    .filter((ratio) => Math.log2(ratio) % step === 0)
    .map((ratio) => {
      const text = ratio === 1 ? "target" : `${ratio < 1 ? fraction(ratio) : ratio}×`;
      return `<text x="${x(ratio)}" y="${bottom + 16}">${text}</text>`;
    });
  const rows = tables.map(({ title, met, missed }, row) => {
    const middle = (row + 0.5) * PROMISE_ROW;
    const dots = spread([...missed, ...met], overTarget, x).map(({ promise, at, lane }) => {
      const { scenario, operation, contender, ratio, target } = promise;
      const label = `${scenario}, ${operation}, against ${contender}: ${times(ratio)} of ${promised(target)}`;
      const kind = promise.isMet ? "faster" : "unmet";
      return `<circle class="${kind}" cx="${at}" cy="${middle + lane}" r="${DOT_RADIUS}"><title>${label}</title></circle>`;
    });
    return `<text class="row" x="0" y="${middle + 4}">${title}</text>${dots.join("")}`;
  });
  const size = `viewBox="0 0 ${PROMISE_WIDTH} ${height}" width="${PROMISE_WIDTH}"`;
  return `<svg ${size} role="img" aria-label="targets met and missed">${lines.join("")}${labels.join("")}${rows.join("")}</svg>`;
}

/**
 * Dots that would lie on one another go above and below, as far as there is room.
 * @param {any[]} promises
 * @param {(promise: any) => number} overTarget
 * @param {(share: number) => number} x
 */
function spread(promises, overTarget, x) {
  const lanes = [0, -9, 9, -17, 17];
  /** @type {number[]} */
  const ends = lanes.map(() => Number.NEGATIVE_INFINITY);
  return promises
    .map((promise) => ({ promise, at: x(overTarget(promise)) }))
    .sort((a, b) => a.at - b.at)
    .map(({ promise, at }) => {
      const free = ends.findIndex((end) => at - end > 2 * DOT_RADIUS);
      const lane = free === -1 ? 0 : free;
      ends[lane] = at;
      return { promise, at, lane: lanes[lane] };
    });
}
