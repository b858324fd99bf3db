import type { Limits } from "../core/limits.js";
import { ownFrames } from "./bodies.js";
import { costOf, NO_ROOM, type PartFault, type PartRoom, REPLY_TOO_LARGE } from "./part-room.js";
import type { Peer } from "./peers.js";
import { bodyFault } from "./raw-records.js";

const NO_FRAMES: readonly Uint8Array[] = [];

interface Gathered {
  frames: Uint8Array[];
  cost: number;
}

/**
 * Parts of replies for clients that take a reply in one piece, by the worker that sends them. No more
 * of one than a reply may be.
 */
export class GatheredParts {
  readonly #limits: Limits;
  readonly #room: PartRoom;
  readonly #gathered = new Map<Peer, Gathered>();

  constructor(limits: Limits, room: PartRoom) {
    this.#limits = limits;
    this.#room = room;
  }

  /** Why `body` cannot be added to what `worker` sent before. */
  faultOf(worker: Peer, body: readonly Uint8Array[]): PartFault | undefined {
    if (bodyFault(this.withLast(worker, body), this.#limits) !== undefined) return REPLY_TOO_LARGE;
    return this.#room.has(costOf(body)) ? undefined : NO_ROOM;
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
    this.#room.take(0, cost);
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
    this.#room.giveBack(0, gathered.cost);
  }
}
