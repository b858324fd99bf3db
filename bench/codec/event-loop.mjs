// How long large bodies hold the event loop of whoever sends and receives them, with the codec's
// thread and without. Alone: node bench/codec/event-loop.mjs [--seconds N] [--bytes N]
//
// Each measurement is made in processes of its own, which are this file with a role. The delay is
// monitorEventLoopDelay's at a resolution of 1 ms: an idle loop shows a little over 1. Where other
// programs want the processor too, it shows their turns as well: the row "idle" says how much.
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as after } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createCodec, importKey } from "../../build/codec/index.js";
import { Broker, Client, Worker } from "../../build/index.js";
import { median } from "../lib/rounds.mjs";
import { figure, formatTable } from "../lib/table.mjs";

const SERVICE = "echo";
const WARM_COUNT = 10;
const CONTEXT = /** @type {const} */ ({ service: SERVICE, direction: "reply" });

/**
 * @typedef {object} Row
 * @property {string} operation where the loop is: codec, client or worker; idle has nothing to do,
 *   and so shows what the machine adds to every row
 * @property {string} body
 * @property {string} contender "in a thread" or "in the loop"
 * @property {number} messages
 * @property {number} p99Ms
 * @property {number} maxMs
 * @property {number} over5Ms delays of more than 5 ms
 *
 * @typedef {object} StepRow
 * @property {string} body
 * @property {number} bytes packed
 * @property {number} packMs
 * @property {number} unpackMs
 * @property {number} sealMs packing, compressing and encrypting
 * @property {number} openMs
 * @property {number} cloneMs structuredClone, which is what a value costs to get to a thread
 */

/** @type {Record<string, (bytes: number) => unknown>} */
const BODIES = {
  orders: (bytes) =>
    Array.from({ length: Math.round(bytes / 106) }, (_, index) => ({
      orderId: 1_000_000 + index,
      customer: `C-${(index * 7919) % 1_000_003}`,
      sku: `bolt-${(index * 104_729) % 9973}`,
      quantity: (index % 9) + 1,
      price: ((index * 31) % 100_000) / 100,
      currency: "EUR",
      isExpress: index % 3 === 0,
      note: null,
    })),
  blob: (bytes) => Uint8Array.from(randomBytes(bytes)),
  text: (bytes) => {
    const words = Array.from({ length: 512 }, (_, at) => (at * 2_654_435_761).toString(36));
    const parts = [];
    for (let size = 0, at = 1; size < bytes; at = (at * 1_103_515_245 + 12_345) % 2 ** 31) {
      parts.push(words[at % 512]);
      size += words[at % 512].length + 1;
    }
    return parts.join(" ").slice(0, bytes);
  },
};

const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * Runs one message after the other and watches the loop meanwhile.
 * @param {() => Promise<unknown>} message
 * @param {number} seconds
 */
async function watch(message, seconds) {
  for (let index = 0; index < WARM_COUNT; index++) await message();
  const stop = observe();
  const endMs = performance.now() + seconds * 1000;
  let messages = 0;
  for (; performance.now() < endMs; messages++) {
    await message();
    await turn();
  }
  return { messages, ...stop() };
}

/** Watches the loop until what it returns is called. */
function observe() {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  return () => {
    delays.disable();
    return report(delays);
  };
}

/** @param {import("node:perf_hooks").IntervalHistogram} delays */
function report(delays) {
  let over5Ms = 0;
  // Percentiles come in steps that hold ever fewer: the share beyond 5 ms, as near as they say.
  for (const [percent, ns] of delays.percentiles) {
    if (ns > 5e6) {
      over5Ms = Math.max(over5Ms, Math.round((delays.count * (100 - percent)) / 100), 1);
    }
  }
  return { p99Ms: delays.percentile(99) / 1e6, maxMs: delays.max / 1e6, over5Ms };
}

/** @param {number[]} times @param {() => unknown} work */
async function clock(times, work) {
  const startMs = performance.now();
  const value = work();
  times.push(performance.now() - startMs);
  await turn();
  return value;
}

/** What a process does in each role. @type {Record<string, Function>} */
const ROLES = {
  async codec({ body, bytes, seconds, threadFrom, secret }) {
    const keys = [await importKey(Buffer.from(secret, "base64"))];
    const codec = await createCodec({ keys, threadFrom });
    const context = { ...CONTEXT, requestId: new Uint8Array(16) };
    const value = BODIES[body](bytes);
    return watch(async () => {
      const sealed = await codec.sealAsync(value, context);
      await turn();
      await codec.openAsync(sealed, context);
    }, seconds);
  },

  async idle({ seconds }) {
    return watch(() => after(1), seconds);
  },

  async steps({ body, bytes, secret }) {
    const codec = await createCodec({ keys: [await importKey(Buffer.from(secret, "base64"))] });
    const context = { ...CONTEXT, requestId: new Uint8Array(16) };
    const value = BODIES[body](bytes);
    /** @type {Record<string, number[]>} */
    const times = { pack: [], unpack: [], seal: [], open: [], clone: [] };
    let size = 0;
    for (let round = 0; round < 40; round++) {
      const packed = await clock(times.pack, () => codec.pack(value));
      await clock(times.unpack, () => codec.unpack(packed));
      const sealed = await clock(times.seal, () => codec.seal(value, context));
      await clock(times.open, () => codec.open(sealed, context));
      await clock(times.clone, () => structuredClone(value));
      size = packed.length;
    }
    const [packMs, unpackMs, sealMs, openMs, cloneMs] = Object.values(times).map(median);
    return { bytes: size, packMs, unpackMs, sealMs, openMs, cloneMs };
  },

  async broker() {
    const broker = await Broker.start({
      frontend: "tcp://127.0.0.1:0",
      backend: "tcp://127.0.0.1:0",
    });
    return { frontend: broker.frontend, backend: broker.backend };
  },

  async worker({ brokers, threadFrom, secret }) {
    const keys = [await importKey(Buffer.from(secret, "base64"))];
    const codec = await createCodec({ keys, threadFrom });
    /** @type {(() => object) | undefined} */
    let stop;
    let count = 0;
    const handler = (/** @type {unknown} */ value) => {
      if (count++ === WARM_COUNT) stop = observe();
      return value;
    };
    await Worker.start({ brokers, codec, services: { [SERVICE]: /** @type {any} */ (handler) } });
    onReport = () => ({ messages: count - WARM_COUNT, ...stop?.() });
  },

  async client({ brokers, body, bytes, seconds, threadFrom, secret }) {
    const keys = [await importKey(Buffer.from(secret, "base64"))];
    const client = await Client.connect({
      brokers,
      codec: await createCodec({ keys, threadFrom }),
    });
    const value = BODIES[body](bytes);
    return watch(() => client.request(SERVICE, value), seconds);
  },
};

/** What a process says when it is asked at the end. @type {() => unknown} */
let onReport = () => undefined;

/**
 * A process of this file in a role, and its first answer.
 * @param {string} role
 * @param {object} options
 */
async function start(role, options) {
  const child = fork(fileURLToPath(import.meta.url), [role, JSON.stringify(options)]);
  const next = () =>
    new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", (code) => reject(new Error(`${role} ended with code ${code}`)));
    });
  const value = await next();
  return {
    value,
    ask: () => {
      child.send("report");
      return next();
    },
    end: () => child.kill(),
  };
}

/**
 * @param {{ seconds?: number, bytes?: number, progress?(text: string): void }} options
 * @returns {Promise<{ rows: Row[], steps: StepRow[] }>}
 */
export async function measureEventLoop({ seconds = 3, bytes = 2 ** 20, progress = () => {} } = {}) {
  const secret = randomBytes(32).toString("base64");
  const rows = [];
  const steps = [];
  const idle = await start("idle", { seconds });
  rows.push({ operation: "idle", body: "", contender: "", .../** @type {any} */ (idle.value) });
  idle.end();
  for (const body of Object.keys(BODIES)) {
    progress(`event loop: ${body}`);
    const step = await start("steps", { body, bytes, secret });
    steps.push({ body, .../** @type {any} */ (step.value) });
    step.end();
    for (const contender of ["in a thread", "in the loop"]) {
      // JSON has no Infinity.
      const threadFrom = contender === "in a thread" ? 65_536 : undefined;
      const options = { body, bytes, seconds, threadFrom, secret };
      const alone = await start("codec", options);
      rows.push({ operation: "codec", body, contender, .../** @type {any} */ (alone.value) });
      alone.end();
      const broker = await start("broker", {});
      const { frontend, backend } = broker.value;
      const worker = await start("worker", { ...options, brokers: backend });
      const client = await start("client", { ...options, brokers: frontend });
      const atWorker = await worker.ask();
      rows.push({ operation: "client", body, contender, .../** @type {any} */ (client.value) });
      rows.push({ operation: "worker", body, contender, .../** @type {any} */ (atWorker) });
      for (const party of [client, worker, broker]) party.end();
    }
  }
  return { rows, steps };
}

const ms = (/** @type {string} */ title, /** @type {string} */ field) => ({
  title,
  value: (/** @type {any} */ row) => figure(row[field]),
});

/** @param {{ rows: Row[], steps: StepRow[] }} result */
export function formatEventLoop({ rows, steps }) {
  return [
    formatTable(
      [
        { title: "body", value: (row) => row.body, isText: true },
        { title: "where", value: (row) => row.operation, isText: true },
        { title: "work", value: (row) => row.contender, isText: true },
        ms("messages", "messages"),
        ms("p99 ms", "p99Ms"),
        ms("max ms", "maxMs"),
        ms("over 5 ms", "over5Ms"),
      ],
      rows,
    ),
    "",
    formatTable(
      [
        { title: "body", value: (row) => row.body, isText: true },
        ms("bytes", "bytes"),
        ms("pack ms", "packMs"),
        ms("unpack ms", "unpackMs"),
        ms("seal ms", "sealMs"),
        ms("open ms", "openMs"),
        ms("clone ms", "cloneMs"),
      ],
      steps,
    ),
  ].join("\n");
}

/**
 * As a suite: one list of rows, in which `steps` are told apart by their time to pack.
 * @param {import("../lib/options.mjs").Options} options
 * @param {{ progress(text: string): void }} run
 */
export async function runEventLoopSuite({ seconds, isQuick }, { progress }) {
  const bytes = isQuick ? 2 ** 17 : 2 ** 20;
  const { rows, steps } = await measureEventLoop({ seconds, bytes, progress });
  return [...rows, ...steps].map((row) => ({ suite: "event-loop", ...row }));
}

/** @param {any[]} rows */
export function eventLoopText(rows) {
  return formatEventLoop({
    rows: rows.filter(({ packMs }) => packMs === undefined),
    steps: rows.filter(({ packMs }) => packMs !== undefined),
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const role = process.argv[2];
  if (process.send !== undefined && role in ROLES) {
    process.on("disconnect", () => process.exit());
    process.on("message", () => process.send?.(onReport() ?? null));
    const options = JSON.parse(process.argv[3]);
    const value = await ROLES[role]({ ...options, threadFrom: options.threadFrom ?? Infinity });
    process.send(value ?? null);
  } else {
    const { values } = parseArgs({
      options: { seconds: { type: "string" }, bytes: { type: "string" } },
    });
    const result = await measureEventLoop({
      seconds: Number(values.seconds ?? 3),
      bytes: Number(values.bytes ?? 2 ** 20),
      progress: (text) => console.error(text),
    });
    console.log(formatEventLoop(result));
  }
}
