import { collectAllGarbage, collectYoungGarbage } from "../lib/garbage.mjs";
import { comparison } from "../lib/promises.mjs";
import { interleave, median } from "../lib/rounds.mjs";

/**
 * One who does what is measured. `time` runs it for about so long and tells us a call.
 * @typedef {object} Contender
 * @property {string} name
 * @property {(durationMs: number, round: number) => number} time
 * @property {number} [bytes] mean size of what it makes
 *
 * The first contender is ours; the others are compared with it.
 * @typedef {object} Operation
 * @property {string} name
 * @property {Contender[]} contenders
 * @property {Record<string, number>} [targets] by contender: how many times as fast we should be
 * @property {Record<string, string>} [absent] by contender: why it does not take part
 *
 * All operations on values of one kind.
 * @typedef {object} Case
 * @property {string} [scenario] what the values are, where the section's name says more
 * @property {number} values
 * @property {number} valueBytes
 * @property {Operation[]} operations
 * @property {() => void} [close]
 *
 * @typedef {{ rounds: number, durationMs: number, tick(): Promise<void> }} Plan
 */

const CHUNK_MS = 0.5;
/** Of one measurement: what JIT compilers need to settle. */
const WARM_UP_SHARE = 3;

/** How many inputs are made first, before it is known how many it takes. */
const BATCH_FIRST = 16;

/** Results are put here, so that no compiler finds out that nobody wants them. @type {any} */
export let sink;

/**
 * Calls with the values in turn. Every round begins at another of them.
 * @param {number} count
 * @param {(index: number) => any} run
 * @returns {Contender["time"]}
 */
export function repeated(count, run) {
  let chunk = 1;
  return (durationMs, round) => {
    let index = (round * 97) % count;
    let calls = 0;
    let spentMs = 0;
    const startMs = performance.now();
    while (spentMs < durationMs) {
      for (let call = 0; call < chunk; call++) {
        sink = run(index);
        index = index + 1 === count ? 0 : index + 1;
      }
      calls += chunk;
      spentMs = performance.now() - startMs;
      // Reading the clock is not to be what is measured.
      chunk = Math.max(1, Math.ceil((calls / spentMs) * CHUNK_MS));
    }
    // Whose garbage it is pays for it.
    collectYoungGarbage();
    return ((performance.now() - startMs) / calls) * 1000;
  };
}

/**
 * The same for inputs that can be used once: they are made afresh, outside the measured time.
 * @template T
 * @param {number} count
 * @param {(index: number) => T} prepare
 * @param {(input: T, index: number) => any} run
 * @returns {Contender["time"]}
 */
export function once(count, prepare, run) {
  let next = 0;
  let batch = Math.min(count, BATCH_FIRST);
  return (durationMs) => {
    let calls = 0;
    let spentMs = 0;
    while (spentMs < durationMs) {
      const indexes = Array.from({ length: batch }, (_, at) => (next + at) % count);
      const inputs = indexes.map((index) => prepare(index));
      collectYoungGarbage();
      const startMs = performance.now();
      for (let at = 0; at < batch; at++) sink = run(inputs[at], indexes[at]);
      collectYoungGarbage();
      spentMs += performance.now() - startMs;
      calls += batch;
      next = (next + batch) % count;
      // Making them may take longer than what is measured: not more than it takes.
      batch = Math.min(count, Math.ceil((calls / spentMs) * durationMs));
    }
    return (spentMs / calls) * 1000;
  };
}

/**
 * Rows of one operation: one for ours, then one for each of the others.
 * @param {Operation} operation
 * @param {Plan} plan
 */
export async function measure(operation, plan) {
  const { name, contenders, targets = {}, absent = {} } = operation;
  const { rounds, durationMs, tick } = plan;
  collectAllGarbage();
  for (const { time } of contenders) time(durationMs * WARM_UP_SHARE, 0);
  const results = await interleave(contenders, rounds, async ({ time }, round) => {
    await tick();
    collectYoungGarbage();
    return time(durationMs, round);
  });
  const ours = results[0];
  const rows = contenders.map(({ name: contender, bytes }, index) => {
    const row = { operation: name, contender, callUs: median(results[index]), bytes };
    if (index === 0) return { ...row, isOurs: true };
    // Of times of the same round, theirs over ours: above 1 we are the faster ones.
    const ratios = results[index].map((callUs, round) => callUs / ours[round]);
    return { ...row, ...comparison(ratios, targets[contender]) };
  });
  const missing = Object.entries(absent).map(([contender, reason]) => ({
    operation: name,
    contender,
    absent: reason,
    target: targets[contender],
  }));
  return [...rows, ...missing];
}
