// Overload, for real: five times what the worker can do, by many clients of which one offers half.
import { figure } from "../lib/table.mjs";

const MODULE = new URL("./overload-party.mjs", import.meta.url);
const CLIENTS = 50;
const CONCURRENCY = 40;
const SERVICE_MS = 10;
const OVERLOAD = 5;
const SAMPLE_MS = 100;
/** Until overload is known, and what had piled up by then is gone. */
const ONSET_MS = 2_000;

/**
 * @param {import("../lib/options.mjs").Options} options
 * @param {{ parties: import("../lib/parties.mjs").Parties, progress(text: string): void }} run
 */
export async function runOverloadSuite(options, { parties, progress }) {
  const [burstSeconds, restSeconds, calmSeconds] = options.isQuick ? [1, 0.5, 0.5] : [30, 10, 3];
  const { profileFolder } = options;
  const start = (/** @type {string} */ role) =>
    parties.start(`overload ${role}`, { module: MODULE, profileFolder });
  const [broker, worker, client] = ["broker", "worker", "clients"].map(start);
  const ends = await broker.ask("broker");
  await worker.ask("worker", { ...ends, concurrency: CONCURRENCY, serviceMs: SERVICE_MS });
  await client.ask("client", { ...ends, clients: CLIENTS });

  progress("overload: what the worker can do");
  const depth = CONCURRENCY * 2;
  const capacity = await client.ask("closedLoop", { depth, seconds: calmSeconds });
  const load = (/** @type {number} */ total) => {
    const honest = total / 2 / (CLIENTS - 1);
    return [total / 2, ...new Array(CLIENTS - 1).fill(honest)];
  };
  const offer = (/** @type {number} */ part, /** @type {number} */ seconds) =>
    client.ask("openLoop", { perSecond: load(capacity * part), seconds }, seconds * 1000 + 30_000);
  const calm = await offer(0.5, calmSeconds);
  const before = await broker.ask("counts");

  progress(`overload: ${OVERLOAD} times ${Math.round(capacity)}/s for ${burstSeconds} s`);
  const samples = [];
  let isBursting = true;
  const bursting = offer(OVERLOAD, burstSeconds).finally(() => {
    isBursting = false;
  });
  const startMs = performance.now();
  while (isBursting) {
    samples.push({ atMs: performance.now() - startMs, ...(await broker.ask("counts")) });
    await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
  }
  const burst = await bursting;
  await new Promise((resolve) => setTimeout(resolve, restSeconds * 1000));
  const after = await offer(0.5, calmSeconds);
  const end = await broker.ask("counts");
  for (const party of [client, worker, broker]) await parties.end(party);

  const steady = samples.filter(({ atMs }) => options.isQuick || atMs > ONSET_MS);
  const queued = steady.map((sample) => sample.queued).sort((a, b) => a - b);
  const share = (capacity * burstSeconds) / CLIENTS;
  const shares = burst.figures.map((/** @type {any} */ each) => each.repliedInTime / share);
  const count = (/** @type {any} */ { figures }, /** @type {string[]} */ ...names) =>
    figures.reduce((sum, each) => sum + names.reduce((own, name) => own + each[name], 0), 0);
  const all = [calm, burst, after];
  return [
    {
      suite: "overload",
      scenario: `${CLIENTS} clients, ${OVERLOAD}x for ${burstSeconds} s`,
      contender: "wasmq",
      capacityPerSecond: capacity,
      goodput: count(burst, "repliedInTime") / (capacity * burstSeconds),
      floodShare: shares[0],
      honestShareLeast: Math.min(...shares.slice(1)),
      honestShareMost: Math.max(...shares.slice(1)),
      brokerWaitP99Ms: ((queued[Math.floor(queued.length * 0.99)] ?? 0) / capacity) * 1000,
      latencyP99Ms: burst.p99Ms,
      rssMiB: [before, ...samples, end].map(({ rssBytes }) => rssBytes / 2 ** 20),
      calmP99Ms: calm.p99Ms,
      afterP99Ms: after.p99Ms,
      afterFailed: count(after, "failed"),
      held: end.held,
      sent: all.reduce((sum, each) => sum + count(each, "asked"), 0),
      answered: all.reduce((sum, each) => sum + count(each, "replied", "failed"), 0),
    },
  ];
}

const percent = (/** @type {number} */ part) => `${(part * 100).toFixed(1)}%`;

/** @type {import("../lib/table.mjs").Column[]} */
export const overloadColumns = [
  { title: "scenario", value: (row) => row.scenario, isText: true },
  { title: "capacity/s", value: (row) => figure(Math.round(row.capacityPerSecond)) },
  { title: "goodput", value: (row) => percent(row.goodput) },
  { title: "flooding client, of its share", value: (row) => percent(row.floodShare) },
  {
    title: "honest ones",
    value: (row) => `${percent(row.honestShareLeast)} to ${percent(row.honestShareMost)}`,
  },
  { title: "p99 wait in broker, ms", value: (row) => figure(row.brokerWaitP99Ms) },
  { title: "p99 for callers, ms", value: (row) => figure(row.latencyP99Ms) },
  {
    title: "broker MiB before, most, after",
    value: ({ rssMiB }) =>
      [rssMiB[0], Math.max(...rssMiB), rssMiB.at(-1)].map((each) => Math.round(each)).join(", "),
  },
  {
    title: "p99 before, after, ms",
    value: (row) => `${figure(row.calmP99Ms)}, ${figure(row.afterP99Ms)}`,
  },
  { title: "failed after", value: (row) => figure(row.afterFailed) },
];
