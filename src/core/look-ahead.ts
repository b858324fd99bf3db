import type { Limits } from "./limits.js";
import type { Worker } from "./workers.js";

/**
 * A rate is measured over at least this long, and over half the time that the request took:
 * slow ones that were begun together end together, and are not fast for that.
 */
const WINDOW_MS = 1;

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
