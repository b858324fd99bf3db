import { OTHER_ROW } from "./meters.js";
import type { Pool } from "./pool.js";
import { Queue } from "./queue.js";
import type { Requests } from "./requests.js";

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
  /** Replies ever. */
  replyCount = 0;
  /** How many that were at `rateSinceMs`, for retry-after. */
  rateSinceCount = 0;
  rateSinceMs = 0;
  /** Replies per millisecond over the last full window; 0 before the first. */
  ratePerMs = 0;

  constructor(
    readonly index: number,
    readonly name: string,
    requests: Requests,
  ) {
    this.queue = new Queue(requests);
  }

  get isServed(): boolean {
    return this.pools.length > 0;
  }

  /** Whether nothing would be lost by forgetting it. */
  get isForgettable(): boolean {
    return !this.isServed && this.queue.count === 0 && this.inFlight === 0;
  }
}
