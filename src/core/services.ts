import type { Request } from "./command.js";
import { PRIORITY_DEFAULT, type ServiceLimits } from "./limits.js";
import { OTHER_ROW } from "./meters.js";
import type { Pool } from "./pool.js";
import { Queue } from "./queue.js";
import type { Requests } from "./requests.js";

/** Waits of so many targets are still in time: between overload and stale, see wait-control.ts. */
const IN_TIME_TARGETS = 1.5;

const RATE_WINDOW_MS = 100;
const RETRY_AFTER_MS_MIN = 10;
const RETRY_AFTER_MS_MAX = 5000;

/** Why a request has no worker, where none serves `name`. */
export function nobodyServes(name: string): string {
  return `no worker serves ${JSON.stringify(name)}`;
}

/** One service: what waits for it, and who can serve it. */
export class Service {
  readonly queue: Queue;
  /** Pools with workers that serve it. Usually one: workers of one kind are alike. */
  readonly pools: Pool[] = [];
  /** Whether any worker ever served it, so that its absence is an outage, not a typo. */
  wasServed = false;
  /** Requests of it that workers have. */
  inFlight = 0;
  /** Where it is counted (meters.ts): among the others until a worker serves it. */
  row = OTHER_ROW;
  /** Replies ever; and answers of any kind. */
  replyCount = 0;
  answerCount = 0;
  /** How many that were at `rateSinceMs`, for retry-after. */
  rateSinceCount = 0;
  rateSinceMs = 0;
  /** Answers per millisecond over the last full window; 0 before the first. */
  ratePerMs = 0;

  constructor(
    readonly index: number,
    readonly name: string,
    requests: Requests,
    readonly limits: ServiceLimits,
  ) {
    this.queue = new Queue(requests, limits);
  }

  /**
   * How many of its requests one client may have waiting at this priority. As a rule all that the
   * dynamic threshold of `queueShare` allows. While requests wait for too long, an equal part of what
   * is done in time: so the rest is refused at once, and who has little waiting is not refused for those
   * who have much.
   */
  clientCountMax(priority: number): number {
    const { queue, ratePerMs } = this;
    const { queueCountMax, queueShare, queueShortCount, codelTargetMs } = this.limits;
    const share = queueShare * (queueCountMax - queue.count);
    if (priority < PRIORITY_DEFAULT || ratePerMs === 0 || !queue.isOverloaded(priority)) {
      return share;
    }
    const inTimeCount = Math.max(ratePerMs * codelTargetMs * IN_TIME_TARGETS, queueShortCount);
    return Math.min(Math.ceil(inTimeCount / queue.waiters.size), share);
  }

  /** Whether its queue, which is not empty, has no room for `request`. */
  isFullFor(request: Request): boolean {
    const { queue, limits } = this;
    return (
      queue.count >= limits.queueCountMax ||
      queue.bytes + request.bytes > limits.queueBytesMax ||
      queue.clientBytes(request.peer) >= limits.queueShare * (limits.queueBytesMax - queue.bytes) ||
      queue.clientCount(request.peer) >= this.clientCountMax(request.priority)
    );
  }

  /** One was answered, whatever the answer is. */
  countAnswer(nowMs: number): void {
    this.answerCount++;
    const elapsedMs = nowMs - this.rateSinceMs;
    if (elapsedMs < RATE_WINDOW_MS) return;
    // A window with a long idle stretch in it says nothing of the rate: it begins anew.
    const count = this.answerCount - this.rateSinceCount;
    if (elapsedMs < RATE_WINDOW_MS * 10) this.ratePerMs = count / elapsedMs;
    this.rateSinceCount = this.answerCount;
    this.rateSinceMs = nowMs;
  }

  /** When half of what waits for it should be done, by its recent rate. */
  get retryAfterMs(): number {
    if (this.ratePerMs === 0) return RETRY_AFTER_MS_MAX / 10;
    const halfMs = Math.ceil(this.queue.count / 2 / this.ratePerMs);
    return Math.min(Math.max(halfMs, RETRY_AFTER_MS_MIN), RETRY_AFTER_MS_MAX);
  }

  get isServed(): boolean {
    return this.pools.length > 0;
  }

  /** Whether nothing would be lost by forgetting it. */
  get isForgettable(): boolean {
    return !this.isServed && this.queue.count === 0 && this.inFlight === 0;
  }
}
