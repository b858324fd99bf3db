import type { Limits } from "./limits.js";
import type { Worker } from "./workers.js";

/**
 * A rate is measured over at least this long, and over half the time that the request took:
 * slow ones that were begun together end together, and are not fast for that.
 */
const WINDOW_MS = 1;

/**
 * What is handed to one worker in a row, beside others that are idle, takes it so long at most, and comes within
 * so long: to wake another process for it would take as long, and a batch dealt out to all of them is as many
 * messages more, each way.
 */
export const RUN_MS = 0.2;
/**
 * Should a handler that is usually fast be slow for once, no more than so many wait for it; and where much is
 * under way, no more than a fair share of that.
 */
const RUN_MAX = 64;
const RUN_SHARE_MAX = 256;
/** One answer is worth so little where it says that the handlers have become faster. */
const FASTER_PARTS = 16;

/** A worker with nothing in flight is about to be handed something: time runs from here. */
export function beginBusy(worker: Worker, nowMs: number): void {
  // Handed the next with its answer, it was never idle: one of concurrency 1 always is.
  if (worker.answeredMs === nowMs) return;
  worker.windowStartMs = nowMs;
  worker.windowCount = 0;
}

/**
 * How many requests beyond its concurrency `worker`, which just answered one it had for
 * `tookMs`, may hold: what it does in `lookAheadMs`, at the rate of its last busy stretch
 * (Little's law). A worker that is kept waiting by the round trip grows its rate with each,
 * until the work on its way lasts as long as the round trip; one that takes longer than
 * `lookAheadMs` for a request gets none.
 */
export function lookAheadAfterReply(
  worker: Worker,
  limits: Limits,
  nowMs: number,
  tookMs: number,
): number {
  if (!worker.takesLookAhead) return 0;
  worker.answeredMs = nowMs;
  worker.windowCount++;
  const elapsedMs = nowMs - worker.windowStartMs;
  if (elapsedMs < WINDOW_MS || elapsedMs < tookMs / 2) return worker.lookAhead;
  const rate = worker.windowCount / elapsedMs;
  worker.windowStartMs = nowMs;
  worker.windowCount = 0;
  const target = Math.min(Math.floor(rate * limits.lookAheadMs), limits.lookAheadMax);
  // Down at once: work handed out too early waits behind a slow handler. Up by doubling.
  return Math.min(target, worker.lookAhead * 2 + 1);
}

/**
 * How many requests of `service` `worker`, whose handler took `tookUs` for its latest of them, may be handed in a row:
 * what it does in RUN_MS by its own word. One of which that is not known is handed one, as is one whose handlers take longer.
 */
export function runAfterReply(
  worker: Worker,
  limits: Limits,
  service: number,
  tookUs: number,
): number {
  if (!worker.takesLookAhead || tookUs === 0) return 1;
  const beforeUs = worker.runService === service ? worker.handlerUs : 0;
  worker.runService = service;
  // Up at once, down slowly: of handlers that are fast and slow by turns the slow ones count.
  worker.handlerUs =
    beforeUs === 0 || tookUs >= beforeUs ? tookUs : beforeUs + (tookUs - beforeUs) / FASTER_PARTS;
  const runUs = Math.min(RUN_MS, limits.lookAheadMs) * 1000;
  const runMax = Math.min(RUN_SHARE_MAX, limits.lookAheadMax + 1);
  return Math.max(1, Math.min(Math.floor(runUs / worker.handlerUs), runMax));
}

/** The most of a run at a moment when so many requests are under way for so many workers. */
export function runMaxOf(requestCount: number, workerCount: number): number {
  return Math.max(RUN_MAX, Math.floor(requestCount / workerCount));
}
