/** How much may be looked at in one turn of the event loop, in nodes. */
export interface WalkPaceMax {
  /** For all subscribers together. */
  readonly turnMax: number;
  readonly subscriberMax: number;
}

/** A node is looked at in 10 ns or so: for all of them less than a millisecond, what is sent included. */
export const walkPaceMax: WalkPaceMax = { turnMax: 4096, subscriberMax: 1024 };

/** What it costs to send a value, in nodes that could be looked at instead. */
export const SEND_COST = 4;

/** How much was looked at for somebody, and in which turn. */
export interface Walker {
  walkTurn: number;
  walkSpent: number;
}

/**
 * Shares out, turn by turn, the search for last values: whatever is asked for, and by however many, a turn
 * does so much of it and leaves the rest to the next. Who waits for that is served in turn.
 */
export class WalkPace<W extends Walker> {
  /** Nodes that were looked at or paid for, ever. */
  spentCount = 0;
  readonly #max: WalkPaceMax;
  readonly #waiting = new Set<W>();
  #turn = 1;
  #spent = 0;

  constructor(max: WalkPaceMax) {
    this.#max = max;
  }

  /** Whether the next turn has anything to do, if it is only to count anew. */
  get needsTurn(): boolean {
    return this.#spent > 0 || this.#waiting.size > 0;
  }

  /** What is left for `walker` in this turn; less than nothing perhaps. */
  left(walker: W): number {
    const spent = walker.walkTurn === this.#turn ? walker.walkSpent : 0;
    return Math.min(this.#max.turnMax - this.#spent, this.#max.subscriberMax - spent);
  }

  spend(walker: W, count: number): void {
    if (walker.walkTurn !== this.#turn) {
      walker.walkTurn = this.#turn;
      walker.walkSpent = 0;
    }
    walker.walkSpent += count;
    this.#spent += count;
    this.spentCount += count;
  }

  /** `walker` has more to look at than is left for it. */
  wait(walker: W): void {
    this.#waiting.add(walker);
  }

  forget(walker: W): void {
    this.#waiting.delete(walker);
  }

  /** A new turn: `goOn` with each of those that wait, as far as it reaches. */
  begin(goOn: (walker: W) => void): void {
    this.#turn++;
    this.#spent = 0;
    // Each once: who has to wait again stands behind those whose turn is still to come.
    for (let count = this.#waiting.size; count > 0 && this.#spent < this.#max.turnMax; count--) {
      const next = this.#waiting.values().next().value as W;
      this.#waiting.delete(next);
      goOn(next);
    }
  }
}
