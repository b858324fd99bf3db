/**
 * Beyond this many targets a request is refused while there is overload: what is older was not
 * served when it should have been, and what is served is to be fresh.
 */
const STALE_TARGETS = 2;

/** What the control is set to; both in milliseconds. A target of 0: no control. */
export interface WaitTargets {
  readonly codelTargetMs: number;
  readonly codelIntervalMs: number;
}

/**
 * Tells a standing queue from a burst as CoDel does (Nichols and Jacobson, RFC 8289): overload is when
 * the wait was above the target for a whole interval. Then what waited more than twice the target is
 * refused, until the wait is at the target again.
 *
 * Where RFC 8289 drops one packet after another at a rate that grows with the square root of their
 * count, until the senders slow down, here all that is stale goes, as in Facebook's folly
 * (Maurer, Fail at Scale, ACM Queue 13, 8, 2015): five times the capacity would need a drop rate that the
 * square root takes minutes to reach, and a request gains nothing from waiting for its refusal.
 */
export class WaitControl {
  isOverloaded = false;
  /** Since when the wait is above the target. */
  #aboveSinceMs = Infinity;

  /**
   * Notes that the next to be served has waited for `waitedMs`, where the queue as a whole stands for
   * `standingMs`; true if it is stale.
   */
  judge(waitedMs: number, standingMs: number, nowMs: number, targets: WaitTargets): boolean {
    const { codelTargetMs, codelIntervalMs } = targets;
    if (codelTargetMs === 0 || standingMs <= codelTargetMs) {
      this.rest();
      return false;
    }
    this.#aboveSinceMs = Math.min(this.#aboveSinceMs, nowMs);
    if (nowMs - this.#aboveSinceMs >= codelIntervalMs) this.isOverloaded = true;
    return this.isOverloaded && waitedMs > codelTargetMs * STALE_TARGETS;
  }

  /** Hardly anything waits: whatever there was, it is over. */
  rest(): void {
    this.isOverloaded = false;
    this.#aboveSinceMs = Infinity;
  }
}
