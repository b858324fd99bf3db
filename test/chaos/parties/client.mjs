// A client of the chaos. argv: { name, peers, brokers, taskBrokers, keys, record, patternRecord,
// patterns, rate, seed }. Its record has, in order:
//   S <request> <attempts>           it is about to be sent
//   O <request> <outcome> <ms late>  how it ended; how far past its deadline
//   D                                a connection to a broker was lost
// That of the patterns beside requests is in patterns.mjs.
// Told: { flood: count }, "stop" (it answers { settled } once none is pending), "probe", "call" (it calls out, and answers
// { heard } once it has heard all), "dead" (it answers { dead }, the ids of the dead letters).
import { openSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import { parseKey } from "../../../build/codec/index.js";
import { Client } from "../../../build/index.js";
import { Random } from "../../random.mjs";
import { QUEUES } from "../queues.mjs";
import { makePatterns } from "./patterns.mjs";

const { name, peers, brokers, taskBrokers, curve, keys, rate, seed, ...told } = JSON.parse(
  process.argv[2],
);
const { record, patternRecord, patterns } = told;
const TICK_MS = 5;
const PENDING_MAX = 12_000;
/** Requests a second of one client that the patterns' rates stand beside. */
const USUAL_RATE = 400;
/** A gap between two looks at the clock beyond this means that this process was stopped, or starved. */
const STALL_MS = 100;

const file = openSync(record, "a");
const patternFile = openSync(patternRecord, "a");
const random = new Random(seed);
let lines = "";
let count = 0;
let pendingCount = 0;
let isStopping = false;
let stalledMs = 0;
let seenMs = performance.now();

const parsedKeys = keys && (await Promise.all(keys.map(parseKey)));
const client = await Client.connect({
  brokers,
  curve,
  keys: parsedKeys,
  connectTimeoutMs: 0,
  onConnection: ({ state }) => {
    if (state !== "down") return;
    lines += "D\n";
    write();
  },
});

/** Notices that this process stood still: asked at each tick, and before a time is judged. */
function notice() {
  const nowMs = performance.now();
  if (nowMs - seenMs > STALL_MS) stalledMs += nowMs - seenMs;
  seenMs = nowMs;
}

function write() {
  if (lines === "") return;
  writeSync(file, lines);
  lines = "";
}

/** How far past its deadline something is that begins now, the time left out that this process stood still. */
function clock(timeoutMs) {
  const deadlineMs = performance.now() + timeoutMs;
  const stalledBefore = stalledMs;
  return () => {
    notice();
    const lateMs = Math.round(performance.now() - deadlineMs - (stalledMs - stalledBefore));
    return Math.max(0, lateMs);
  };
}

const note = (line) => writeSync(patternFile, `${line}\n`);
const beside = await makePatterns(
  patterns,
  {
    name,
    peers,
    client,
    taskBrokers,
    connect: (some) =>
      Client.connect({ brokers: some, curve, keys: parsedKeys, connectTimeoutMs: 0 }),
    random: new Random(seed + 1000),
    note,
    violation: (what) => note(`V ${what.replaceAll("\n", " ")}`),
    tell: (message) => process.send(message),
  },
  clock,
  () => whenIdle(),
);

/** What to ask next: most requests are small and quick, some are not. */
function next() {
  const size = random.chance(98) ? random.below(400) : random.below(60_000);
  return {
    id: `${name}#${++count}`,
    text: String.fromCharCode(97 + random.below(26)).repeat(size),
    delayMs: random.chance(95) ? random.below(4) : random.below(150),
    isThrown: random.chance(2),
    attempts: random.pick([1, 2, 3, 3]),
    timeoutMs: random.chance(10) ? 50 + random.below(400) : 8000,
    cancelMs: random.chance(2) ? random.below(50) : -1,
  };
}

async function ask({ id, text, delayMs, isThrown, attempts, timeoutMs, cancelMs }) {
  const late = clock(timeoutMs);
  const abortion = cancelMs < 0 ? undefined : new AbortController();
  if (abortion !== undefined) setTimeout(() => abortion.abort(), cancelMs);
  let outcome;
  try {
    const options = { attempts, timeoutMs, signal: abortion?.signal };
    const reply = await client.request("echo", { id, text, delayMs, isThrown }, options);
    const isRight = reply.id === id && reply.text === text && reply.sum === crc32(text);
    outcome = isRight && !isThrown ? "OK" : "WRONG";
  } catch (error) {
    outcome = error.code ?? "UNKNOWN";
    // Asked for: they are told apart from those that nothing explains.
    if (outcome === "INTERNAL" && isThrown) outcome = "THROWN";
    if (outcome === "CANCELLED" && abortion === undefined) outcome = "UNASKED-CANCEL";
  }
  lines += `O ${id} ${outcome} ${late()}\n`;
  return outcome;
}

function askMany(wanted) {
  const asked = [];
  for (let i = Math.min(wanted, PENDING_MAX - pendingCount); i > 0; i--) {
    const request = next();
    lines += `S ${request.id} ${request.attempts}\n`;
    asked.push(request);
  }
  // Written before the first is sent: what runs was asked for by someone.
  write();
  pendingCount += asked.length;
  for (const request of asked) {
    ask(request).then(() => {
      pendingCount--;
      whenIdle();
    });
  }
}

function whenIdle() {
  if (!isStopping || pendingCount + beside.pendingCount > 0) return;
  write();
  process.send({ settled: client.stats });
}

/** Whether things are well again: `total` requests at once, each of which must be answered. */
async function probe(total) {
  const plain = { text: "probe", delayMs: 0, isThrown: false, attempts: 3, timeoutMs: 5000 };
  const requests = Array.from({ length: total }, () => ({
    ...plain,
    id: `${name}#${++count}`,
    cancelMs: -1,
  }));
  for (const { id, attempts } of requests) lines += `S ${id} ${attempts}\n`;
  write();
  const outcomes = await Promise.all(requests.map(ask));
  write();
  process.send({ probed: outcomes.filter((outcome) => outcome !== "OK") });
}

/** The dead letters of all brokers, which it connects to for that. */
async function tellDead() {
  const all = await Promise.all(
    taskBrokers.map((broker) => {
      return Client.connect({ brokers: [broker], curve, connectTimeoutMs: 5000 });
    }),
  );
  const lists = await Promise.all(
    all.flatMap((one) => QUEUES.map((queue) => one.deadLetters(queue))),
  );
  await Promise.all(all.map((one) => one.close()));
  process.send({ dead: lists.flat().map(({ taskId }) => taskId) });
}

let tickedMs = performance.now();
let owed = 0;
const ticking = setInterval(() => {
  const nowMs = performance.now();
  const passedMs = nowMs - tickedMs;
  tickedMs = nowMs;
  notice();
  if (!isStopping) {
    owed += (Math.min(passedMs, STALL_MS) * rate) / 1000;
    if (owed >= 1) askMany(Math.floor(owed));
    owed %= 1;
    beside.tick(Math.min(passedMs, STALL_MS), rate / USUAL_RATE);
  }
  write();
}, TICK_MS);

process.on("message", (message) => {
  if (message === "stop") {
    isStopping = true;
    whenIdle();
  } else if (message === "probe") {
    void probe(100);
  } else if (message === "call") {
    beside.call();
  } else if (message === "dead") {
    void tellDead();
  } else {
    askMany(message.flood);
  }
});
process.on("disconnect", () => process.exit(1));
process.on("SIGTERM", async () => {
  await beside.close();
  await client.close();
  clearInterval(ticking);
  write();
  process.exit(0);
});
process.send({ ready: true });
