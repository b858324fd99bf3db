import { Status, type StatusCode } from "../base/status.js";
import type { Limits } from "../core/limits.js";
import { ownFrames } from "./bodies.js";
import type { Peer } from "./peers.js";
import { bodyFault } from "./raw-records.js";

/** What a frame counts for beside its bytes. */
const FRAME_COST = 128;
const NO_FRAMES: readonly Uint8Array[] = [];

interface Gathered {
  frames: Uint8Array[];
  cost: number;
}

/** Why a reply ends before its worker has ended it. */
export interface PartFault {
  readonly status: StatusCode;
  readonly reason: string;
}

export const REPLY_TOO_LARGE: PartFault = {
  status: Status.INTERNAL,
  reason: "the worker's reply is larger than the broker takes",
};
const NO_ROOM: PartFault = {
  status: Status.RESOURCE_EXHAUSTED,
  reason: "the broker has no room for the parts of the reply",
};

/**
 * Parts of replies for clients that take a reply in one piece, by the worker that sends them. No more
 * of one than a reply may be, and of all together no more than `requestBytesMax`, frames included.
 */
export class GatheredParts {
  readonly #limits: Limits;
  readonly #gathered = new Map<Peer, Gathered>();
  #cost = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Why `body` cannot be added to what `worker` sent before. */
  faultOf(worker: Peer, body: readonly Uint8Array[]): PartFault | undefined {
    if (bodyFault(this.withLast(worker, body), this.#limits) !== undefined) return REPLY_TOO_LARGE;
    return this.#cost + costOf(body) > this.#limits.requestBytesMax ? NO_ROOM : undefined;
  }

  add(worker: Peer, body: readonly Uint8Array[]): void {
    let gathered = this.#gathered.get(worker);
    if (gathered === undefined) {
      gathered = { frames: [], cost: 0 };
      this.#gathered.set(worker, gathered);
    }
    for (const frame of ownFrames(body)) gathered.frames.push(frame);
    const cost = costOf(body);
    gathered.cost += cost;
    this.#cost += cost;
  }

  /** The frames of what `worker` sent before, and of `body`. */
  withLast(worker: Peer, body: readonly Uint8Array[]): readonly Uint8Array[] {
    const before = this.#gathered.get(worker)?.frames ?? NO_FRAMES;
    return before.length === 0 ? body : before.concat(body);
  }

  forget(worker: Peer): void {
    const gathered = this.#gathered.get(worker);
    if (gathered === undefined) return;
    this.#gathered.delete(worker);
    this.#cost -= gathered.cost;
  }
}

function costOf(body: readonly Uint8Array[]): number {
  let cost = body.length * FRAME_COST;
  for (const { length } of body) cost += length;
  return cost;
}
