import { Status, type StatusCode } from "../base/status.js";
import type { Limits } from "../core/limits.js";

/** What a frame counts for beside its bytes. */
const FRAME_COST = 128;

/** Why a part, or a reply, of a worker goes no further. */
export interface PartFault {
  readonly status: StatusCode;
  readonly reason: string;
}

export const REPLY_TOO_LARGE: PartFault = {
  status: Status.INTERNAL,
  reason: "the worker's reply is larger than the broker takes",
};
export const NO_ROOM: PartFault = {
  status: Status.RESOURCE_EXHAUSTED,
  reason: "the broker has no room for the parts of the reply",
};

/**
 * What parts of Majordomo workers' replies take that wait in the broker: those that are gathered, and those
 * whose reader has not granted them yet. All together no more than `requestBytesMax`, frames included.
 */
export class PartRoom {
  readonly #limits: Limits;
  #count = 0;
  #cost = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get cost(): number {
    return this.#cost;
  }

  has(cost: number): boolean {
    return this.#cost + cost <= this.#limits.requestBytesMax;
  }

  /**
   * Whether there is room for one part more of a reader that has not read `count` of them: one may have up to
   * `queueShare` times what is still free, as in a queue, and all together no more than `requestsMax`.
   */
  hasFor(count: number, costBefore: number, cost: number): boolean {
    const { requestsMax, requestBytesMax, queueShare } = this.#limits;
    const countFree = requestsMax - this.#count;
    const costFree = requestBytesMax - this.#cost;
    return (
      count < countFree * queueShare && costBefore + cost <= costFree * queueShare && this.has(cost)
    );
  }

  take(count: number, cost: number): void {
    this.#count += count;
    this.#cost += cost;
  }

  giveBack(count: number, cost: number): void {
    this.#count -= count;
    this.#cost -= cost;
  }
}

export function costOf(body: readonly Uint8Array[]): number {
  let cost = body.length * FRAME_COST;
  for (const { length } of body) cost += length;
  return cost;
}
