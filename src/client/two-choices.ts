/**
 * How many more requests than another the broker may have that the present batch goes to: some
 * 64 records make a message worth its while, and that many fewer do not make a broker idle.
 */
export const STICKY_MAX = 64;

/** What is to be known of a broker to choose it. */
export interface Choosable {
  /** Our requests that it has. */
  readonly inFlight: number;
  /** Whether it may have another. */
  readonly hasRoom: boolean;
  /** Whether something is written for it that has not been sent yet. */
  readonly isWriting: boolean;
}

/**
 * Which broker gets the next request: of two chosen by chance the one with fewer of ours in flight
 * (the power of two choices, Mitzenmacher 2001: clients that all sought the best one would all
 * find the same). What is written in one turn of the event loop stays together, as long as that
 * broker has not `STICKY_MAX` more than another: a batch costs as much as several requests.
 */
export class TwoChoices<Broker extends Choosable> {
  readonly #brokers: readonly Broker[];
  readonly #random: () => number;
  #latest: Broker | undefined;

  /** `random`: numbers from 0 to below 1. */
  constructor(brokers: readonly Broker[], random: () => number = Math.random) {
    this.#brokers = brokers;
    this.#random = random;
  }

  /** Undefined while none may have one. */
  pick(): Broker | undefined {
    const latest = this.#latest;
    if (latest?.isWriting && latest.hasRoom) {
      const other = this.#anyBut(latest);
      if (other !== undefined && latest.inFlight - other.inFlight >= STICKY_MAX) {
        this.#latest = other;
      }
      return this.#latest;
    }
    const one = this.#anyBut(undefined);
    if (one === undefined) return undefined;
    const other = this.#anyBut(one);
    this.#latest = other !== undefined && other.inFlight < one.inFlight ? other : one;
    return this.#latest;
  }

  /** One with room, by chance; not `excluded`. */
  #anyBut(excluded: Broker | undefined): Broker | undefined {
    const brokers = this.#brokers;
    let at = brokers.length === 1 ? 0 : Math.floor(this.#random() * brokers.length);
    for (let tried = 0; tried < brokers.length; tried++) {
      const broker = brokers[at];
      if (broker !== excluded && broker.hasRoom) return broker;
      at = at + 1 === brokers.length ? 0 : at + 1;
    }
    return undefined;
  }
}
