// What `wasmq top` shows: two states of a broker -> lines. Pure.
import type { BrokerState, ServiceCounts, ServiceState, Times } from "../admin/state.js";
import { bucketOf } from "../admin/state.js";
import { type Bucket, bucketEndMs, quantileMs } from "../base/histogram.js";
import type { StatusName } from "../base/status.js";
import { printable } from "./printable.js";
import { byRate, type TopOrder } from "./top-order.js";

export interface View {
  /** A character more would wrap. */
  columns: number;
  /** How many lines there is room for. */
  rows: number;
  /** How long ago the broker was last heard, where it is not heard any more. */
  goneMs?: number;
}

interface Row {
  name: string;
  cells: string[];
  /** Ends in this interval, a second. */
  rate: number;
  failures: [StatusName, number][];
}

const TITLES = ["RATE/S", "QUEUE", "FLIGHT", "WORK", "CREDIT", "W50", "W99", "S50", "S99"];
const WIDTHS = [6, 5, 6, 4, 6, 5, 5, 5, 5];
/** A column at the right goes rather than that names are cut to less; to this, where only RATE/S is left. */
const NAME_WIDTH_WANTED = 24;
const NAME_WIDTH_MIN = 8;
/** Times below are counted together with none at all. */
const NO_TIME_MS = bucketEndMs(0);
const OTHER_NAME = "(never served)";

/**
 * Lines of a table for `now`, with rates and times since `before`; since the start of the broker where
 * there is none, or where that was another broker. `order` keeps rows where they were.
 */
export function topLines(
  now: BrokerState,
  before: BrokerState | undefined,
  view: View,
  order?: TopOrder,
): string[] {
  const base = before?.startedAt === now.startedAt ? before : undefined;
  const elapsedMs = Math.max(1, now.uptimeMs - (base?.uptimeMs ?? 0));
  const rows = serviceRows(now, base, elapsedMs, base === undefined ? undefined : order);
  const head = headLines(now, base, elapsedMs, view.goneMs);
  const failures = failureLines(rows);
  // The services matter most, but one line says that something fails.
  const room = view.rows - head.length - (failures.length === 0 ? 1 : 2);
  const failureRoom = Math.min(failures.length, Math.max(1, Math.floor(room / 3)));
  const lines = [
    ...head,
    "",
    ...tableLines(rows, view.columns, room - failureRoom),
    ...(failures.length === 0 ? [] : [""]),
    ...shortened(failures, failureRoom),
  ];
  return lines.map((line) => clipped(printable(line), view.columns));
}

function headLines(
  now: BrokerState,
  base: BrokerState | undefined,
  elapsedMs: number,
  goneMs: number | undefined,
): string[] {
  const { process, peers, limits } = now;
  const activeMs = process.loopActiveMs - (base?.process.loopActiveMs ?? 0);
  const idleMs = process.loopIdleMs - (base?.process.loopIdleMs ?? 0);
  const loop = Math.round((100 * activeMs) / Math.max(1, activeMs + idleMs));
  const state = now.isDraining ? "DRAINING" : now.isReady ? "ready" : "starting";
  const span = base === undefined ? "since start" : `last ${span3(elapsedMs)}`;
  // What follows it is as it was then.
  const life =
    goneMs === undefined
      ? `${state}  up ${uptime(now.uptimeMs)}`
      : `NO ANSWER for ${uptime(goneMs)}  was ${state}, up ${uptime(now.uptimeMs)}`;
  const also = (plain: number, majordomo: number) =>
    (plain === 0 ? "" : `+${plain} plain`) + (majordomo === 0 ? "" : `+${majordomo} MDP`);
  return [
    `wasmq ${now.version}  ${life}  ` + `rss ${bytes(process.rssBytes)}  loop ${loop}%  ${span}`,
    `clients ${peers.clients}${also(peers.plainClients, peers.majordomoClients)}  ` +
      `workers ${peers.workers}${also(peers.plainWorkers, peers.majordomoWorkers)}  ` +
      `held ${count(now.requests)} of ${count(limits.requestsMax)}, ` +
      `${bytes(now.requestBytes)} of ${bytes(limits.requestBytesMax)}`,
    ...troubles(now, base),
  ];
}

/** What came in that was not taken. */
function troubles(now: BrokerState, base: BrokerState | undefined): string[] {
  const sum = (values: Record<string, number> = {}) =>
    Object.values(values).reduce((total, value) => total + value, 0);
  const faults = sum(now.faults) - sum(base?.faults);
  const refusals = sum(now.refusals) - sum(base?.refusals);
  if (faults + refusals === 0) return [];
  return [`not taken: faults ${count(faults)}, connections refused ${count(refusals)}`];
}

function serviceRows(
  now: BrokerState,
  base: BrokerState | undefined,
  elapsedMs: number,
  order: TopOrder | undefined,
): Row[] {
  const earlier = new Map(base?.services.map((service) => [service.name, service]));
  const rows = now.services.map((service) => {
    const row = countsRow(service, earlier.get(service.name), elapsedMs);
    return {
      ...row,
      name: service.name,
      cells: [row.cells[0], ...gauges(service), ...row.cells.slice(1)],
    };
  });
  if (order === undefined) rows.sort(byRate);
  else order.sort(rows, now);
  const others = countsRow(now.other, base?.other, elapsedMs);
  const { queued } = now.other;
  if (others.rate === 0 && queued === 0) return rows;
  const cells = [others.cells[0], count(queued), "", "", "", ...others.cells.slice(1)];
  return [...rows, { ...others, name: OTHER_NAME, cells }];
}

function gauges({ queued, inFlight, workers, credits, isServed }: ServiceState): string[] {
  return [count(queued), count(inFlight), isServed ? count(workers) : "none", count(credits)];
}

function countsRow(
  now: ServiceCounts,
  before: ServiceCounts | undefined,
  elapsedMs: number,
): Omit<Row, "name"> {
  const perSecond: [StatusName, number][] = [];
  for (const [status, total] of Object.entries(now.outcomes) as [StatusName, number][]) {
    const grown = total - (before?.outcomes[status] ?? 0);
    if (grown > 0) perSecond.push([status, (grown * 1000) / elapsedMs]);
  }
  const rate = perSecond.reduce((sum, [, value]) => sum + value, 0);
  const wait = since(now.wait, before?.wait);
  const served = since(now.service, before?.service);
  const times = [wait, served].flatMap((buckets) => [0.5, 0.99].map((q) => timeAt(buckets, q)));
  return { rate, cells: [count(rate), ...times], failures: perSecond.filter(([s]) => s !== "OK") };
}

/** What was counted after `before`. */
function since(now: Times, before: Times | undefined): Bucket[] {
  const earlier = new Map(before?.buckets);
  return now.buckets
    .map((bucket): Bucket => {
      const [upToMs, total] = bucketOf(bucket);
      return [upToMs, total - (earlier.get(bucket[0]) ?? 0)];
    })
    .filter(([, grown]) => grown > 0);
}

function timeAt(buckets: readonly Bucket[], q: number): string {
  if (buckets.length === 0) return "-";
  const ms = quantileMs(buckets, q);
  // Most of these did not wait at all: the middle of the bucket is nobody's time.
  return span3(ms <= NO_TIME_MS ? 0 : ms);
}

function tableLines(rows: readonly Row[], columns: number, room: number): string[] {
  // Before they are padded: what is not printable may be of another length.
  const names = rows.map(({ name }) => printable(name));
  const longest = Math.max(NAME_WIDTH_MIN, ...names.map((name) => [...name].length));
  const roomFor = (shown: number) =>
    columns - WIDTHS.slice(0, shown).reduce((sum, width) => sum + width + 1, 0);
  let shown = WIDTHS.length;
  while (shown > 1 && roomFor(shown) < Math.min(longest, NAME_WIDTH_WANTED)) shown--;
  const nameWidth = Math.max(NAME_WIDTH_MIN, Math.min(longest, roomFor(shown)));
  const line = (name: string, cells: readonly string[]) =>
    [
      clipped(name, nameWidth).padEnd(nameWidth),
      ...cells.slice(0, shown).map((c, i) => c.padStart(WIDTHS[i])),
    ].join(" ");
  const body = rows.map(({ cells }, index) => line(names[index], cells));
  if (body.length === 0) body.push("no worker serves anything yet");
  return [line("SERVICE", TITLES), ...shortened(body, room - 1)];
}

/** Which requests ended without a reply, of which service: most of them first. */
function failureLines(rows: readonly Row[]): string[] {
  const sum = ({ failures }: Row) => failures.reduce((total, [, rate]) => total + rate, 0);
  const failing = rows.filter(({ failures }) => failures.length > 0);
  failing.sort((one, other) => sum(other) - sum(one));
  return failing.map(({ name, failures }) => {
    const most = failures.toSorted(([, one], [, other]) => other - one);
    const each = most.map(([status, rate]) => `${status} ${count(rate)}/s`);
    return `no reply from ${name}: ${each.join(", ")}`;
  });
}

/** At most `room` lines; the last says how many there are more. */
function shortened(lines: readonly string[], room: number): string[] {
  if (lines.length <= room) return [...lines];
  const kept = Math.max(0, room - 1);
  return [...lines.slice(0, kept), `and ${lines.length - kept} more`];
}

function clipped(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join("")}~`;
}

/** A number in 5 characters: 0.25, 7.5, 312, 12.3k, 4.5M. */
export function count(value: number): string {
  if (value >= 999_950_000) return `${short(value / 1e9)}G`;
  if (value >= 999_950) return `${short(value / 1e6)}M`;
  if (value >= 9_999.5) return `${short(value / 1000)}k`;
  if (value >= 99.5 || Number.isInteger(value)) return String(Math.round(value));
  return value >= 9.95 ? String(Math.round(value)) : value.toFixed(value < 0.995 ? 2 : 1);
}

function short(value: number): string {
  return value.toFixed(value < 99.95 ? 1 : 0);
}

function bytes(value: number): string {
  if (value < 1024) return `${value}B`;
  if (value < 1024 ** 2) return `${short(value / 1024)}K`;
  return value < 1024 ** 3 ? `${short(value / 1024 ** 2)}M` : `${short(value / 1024 ** 3)}G`;
}

/** A time in 5 characters: 16us, 1.2ms, 250ms, 9.5s, 67s, 12m. */
export function span3(ms: number): string {
  if (ms < 0.9995) return `${Math.round(ms * 1000)}us`;
  if (ms < 999.5) return `${ms < 9.95 ? ms.toFixed(1) : Math.round(ms)}ms`;
  if (ms < 119_500) return `${ms < 9_950 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)}s`;
  return `${Math.round(ms / 60_000)}m`;
}

function uptime(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.floor(ms / 1000)}s`;
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h${minutes % 60}m` : `${Math.floor(hours / 24)}d${hours % 24}h`;
}
