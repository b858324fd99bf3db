// In which order `wasmq top` shows the services. Pure.

/** How much of the last interval's rate is taken over: a rate as a number of the last few. */
const NEW_SHARE = 0.3;
/** Who goes before another must be so many times as busy, and by so many a second. */
const FACTOR = 1.25;
const PER_SECOND = 0.5;

interface Ranked {
  readonly name: string;
  /** Ends a second. */
  readonly rate: number;
}

/**
 * The busiest first; but rates that are nearly equal change places each second, and nobody can read
 * that: a row stays where it is until another is clearly busier for a while.
 */
export class TopOrder {
  /** Smoothed rates, in the order of the last table. */
  #rates = new Map<string, number>();
  #latest: unknown;

  /** Sorts `rows`. `of`: what they are of; the same again, as for another size, changes nothing. */
  sort(rows: Ranked[], of: unknown): void {
    if (of !== this.#latest) this.#move(rows);
    this.#latest = of;
    const places = new Map([...this.#rates.keys()].map((name, place) => [name, place]));
    rows.sort((one, other) => (places.get(one.name) ?? 0) - (places.get(other.name) ?? 0));
  }

  #move(rows: readonly Ranked[]): void {
    const rates = new Map(rows.map(({ name, rate }) => [name, rate]));
    for (const [name, before] of this.#rates) {
      const rate = rates.get(name);
      if (rate !== undefined) rates.set(name, before + NEW_SHARE * (rate - before));
    }
    const known = [...this.#rates.keys()].filter((name) => rates.has(name));
    const fresh = rows.filter(({ name }) => !this.#rates.has(name)).toSorted(byRate);
    const places: string[] = [];
    for (const name of [...known, ...fresh.map(({ name }) => name)]) {
      const least = (rates.get(name) as number) - PER_SECOND;
      let at = places.length;
      while (at > 0 && least > (rates.get(places[at - 1]) as number) * FACTOR) at--;
      places.splice(at, 0, name);
    }
    this.#rates = new Map(places.map((name) => [name, rates.get(name) as number]));
  }
}

/** The busiest first, else by name. */
export function byRate(one: Ranked, other: Ranked): number {
  return other.rate - one.rate || (one.name < other.name ? -1 : 1);
}
