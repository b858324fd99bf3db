/** Of so many taken, one is of a priority that the highest would starve: of each in turn. */
const RESCUE_EVERY = 16;

/** Whose turn it is of the priorities at which something waits: the highest, 0, as a rule. */
export class PriorityTurns {
  #taken = 0;
  #rescued = 0;

  /** `occupied`: a bit for each priority at which something waits, one at least. */
  next(occupied: number): number {
    const highest = 31 - Math.clz32(occupied & -occupied);
    return ++this.#taken % RESCUE_EVERY === 0 ? this.#rescue(occupied, highest) : highest;
  }

  /** What was next is not served: it was nobody's turn. */
  undo(): void {
    this.#taken--;
  }

  /** The next priority in rotation that waits below the highest. */
  #rescue(occupied: number, highest: number): number {
    const below = occupied & ~((2 << highest) - 1);
    if (below === 0) return highest;
    const later = below & ~((2 << this.#rescued) - 1);
    const candidates = later === 0 ? below : later;
    this.#rescued = 31 - Math.clz32(candidates & -candidates);
    return this.#rescued;
  }
}
