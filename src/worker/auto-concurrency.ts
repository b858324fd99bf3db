/** A window ends after this long, with at least so many handlers done in it; fewer if few run. */
const WINDOW_MS = 200;
const SAMPLES_MIN = 10;
const ROUNDS_MIN = 4;
/** So much longer than without load a handler may take before the limit falls. */
const TOLERANCE = 1.5;
/** The limit falls at most to this share of itself in a window, whatever one of them took. */
const GRADIENT_MIN = 0.5;
/** The share of the way to its new value that the limit goes in a window. */
const SMOOTHING = 0.5;
/** After so many windows, and up to as many more by chance, the time without load is measured anew. */
const PROBE_WINDOWS = 40;
/** The first time it is soon: nothing is known yet but how long they take at the first limit. */
const PROBE_WINDOWS_FIRST = 4;
/** A time that falls by more than this factor when half as many run had some queueing in it. */
const FALL_MIN = 1.2;
const FIRST = 8;

/** The time without load being measured: at half the limit, and half of that while the time falls. */
interface Probe {
  limit: number;
  /** Since when no more than that run; undefined while more still do. */
  sinceMs: number | undefined;
  /** The mean at twice this limit. */
  meanMs: number;
}

/**
 * How many handlers that wait for something else to run at once, found out by how long they take: the
 * gradient method of Netflix's concurrency-limits (Gradient2Limit) in the form of Envoy's adaptive
 * concurrency filter. For each window,
 *
 * ```
 * gradient = TOLERANCE * time without load / mean time now, 0.5..1
 * limit    = limit * gradient + sqrt(limit)
 * ```
 *
 * so it grows while the handlers take no longer for it, and comes to rest at about TOLERANCE times where
 * what they wait for begins to queue, at twice where that is few, of which sqrt(limit) is much. The time
 * without load is the least mean seen, measured anew now and then with half as many and fewer: an average
 * over long, as Gradient2 takes, follows a limit that creeps up, and never brings it down again.
 *
 * Pure: time and chance are passed in.
 */
export class AutoConcurrency {
  readonly #most: number;
  readonly #random: () => number;
  #limit: number;
  /** The least mean time of a handler, milliseconds. */
  #unloadedMs = Infinity;
  #windowStartMs: number;
  #sumMs = 0;
  #count = 0;
  /** The most that ran at once in this window. */
  #peak = 0;
  #windowsLeft: number;
  #probe: Probe | undefined;

  /** 1..`most` at once. `random`: numbers from 0 to below 1. */
  constructor(most: number, nowMs: number, random: () => number = Math.random) {
    this.#most = most;
    this.#random = random;
    this.#limit = Math.min(FIRST, most);
    this.#windowStartMs = nowMs;
    this.#windowsLeft = PROBE_WINDOWS_FIRST;
  }

  /** How many may run at once now. */
  get limit(): number {
    return this.#probe?.limit ?? Math.floor(this.#limit);
  }

  /** A handler begins; `runningCount` run now. */
  onBegin(runningCount: number): void {
    if (runningCount > this.#peak) this.#peak = runningCount;
  }

  /** A handler that began at `beganMs` has ended; `runningCount` still run. `limit` may be another now. */
  onEnd(beganMs: number, nowMs: number, runningCount: number): void {
    const probe = this.#probe;
    if (probe !== undefined && !this.#isOfProbe(probe, beganMs, nowMs, runningCount)) return;
    this.#sumMs += nowMs - beganMs;
    this.#count++;
    const countMin = Math.min(SAMPLES_MIN, ROUNDS_MIN * this.limit);
    if (this.#count < countMin || nowMs - this.#windowStartMs < WINDOW_MS) return;
    this.#closeWindow(this.#sumMs / this.#count);
    this.#sumMs = 0;
    this.#count = 0;
    this.#peak = runningCount;
    this.#windowStartMs = nowMs;
  }

  /** Whether a handler ran beside no more than the probe allows; what began before it did not. */
  #isOfProbe(probe: Probe, beganMs: number, nowMs: number, runningCount: number): boolean {
    if (probe.sinceMs === undefined && runningCount <= probe.limit) {
      probe.sinceMs = nowMs;
      this.#windowStartMs = nowMs;
    }
    return probe.sinceMs !== undefined && beganMs >= probe.sinceMs;
  }

  #closeWindow(meanMs: number): void {
    const probe = this.#probe;
    if (probe === undefined) {
      this.#unloadedMs = Math.min(this.#unloadedMs, meanMs);
      if (--this.#windowsLeft > 0) this.#adapt(meanMs);
      else this.#probeAt(this.#limit / 2, Infinity);
    } else if (probe.limit > 1 && meanMs * FALL_MIN < probe.meanMs) {
      this.#probeAt(probe.limit / 2, meanMs);
    } else {
      this.#probe = undefined;
      this.#unloadedMs = Math.min(probe.meanMs, meanMs);
      this.#windowsLeft = PROBE_WINDOWS + Math.floor(this.#random() * PROBE_WINDOWS);
    }
  }

  #probeAt(limit: number, meanMs: number): void {
    this.#probe = { limit: Math.max(1, Math.floor(limit)), sinceMs: undefined, meanMs };
  }

  #adapt(meanMs: number): void {
    const limit = this.#limit;
    // With little to do, the time says nothing of the limit.
    if (this.#peak < limit / 2) return;
    const ratio = meanMs === 0 ? 1 : (TOLERANCE * this.#unloadedMs) / meanMs;
    const gradient = Math.min(Math.max(ratio, GRADIENT_MIN), 1);
    let next = limit + SMOOTHING * (limit * gradient + Math.sqrt(limit) - limit);
    // What was not reached need not grow.
    if (this.#peak < Math.floor(limit)) next = Math.min(next, limit);
    this.#limit = Math.min(Math.max(next, 1), this.#most);
  }
}
