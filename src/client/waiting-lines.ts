import type { Broker, Brokers } from "./brokers.js";

/** What of one pattern waits to be sent, first come first. */
export interface WaitingLine {
  readonly unsent: { readonly head: unknown };
  /** Takes the first out of the line: sends it to `broker`, which has room, or ends it. */
  sendFirst(broker: Broker): void;
}

/**
 * The lines of one client for the room that its brokers have. They go by turns: whoever is answered asks anew at
 * once, and the others would never have their place.
 */
export class WaitingLines {
  readonly #brokers: Brokers;
  readonly #lines: WaitingLine[] = [];
  /** Of each line: all of one class, they are looked at with each request. */
  readonly #unsent: WaitingLine["unsent"][] = [];
  /** Whose turn it is. */
  #turn = 0;
  #sending: NodeJS.Immediate | undefined;

  constructor(brokers: Brokers) {
    this.#brokers = brokers;
  }

  add(line: WaitingLine): void {
    this.#lines.push(line);
    this.#unsent.push(line.unsent);
  }

  /** The broker for what is new; undefined where it has to wait, behind those that do already. */
  pick(): Broker | undefined {
    return this.#areEmpty ? this.#brokers.pick() : undefined;
  }

  /** Sends what waits, as far as the brokers take it. */
  sendWaiting(): void {
    for (let at = this.#next(); at >= 0; at = this.#next()) {
      const broker = this.#brokers.pick();
      if (broker === undefined) return;
      this.#turn = at + 1;
      this.#lines[at].sendFirst(broker);
    }
  }

  /**
   * The same in the next turn of the event loop, for who made room outside of a broker's: with one more to give up
   * behind it, that one must not be sent first.
   */
  sendSoon(): void {
    if (!this.#areEmpty) this.#sending ??= setImmediate(this.#sendDue);
  }

  #sendDue = (): void => {
    this.#sending = undefined;
    this.sendWaiting();
  };

  get #areEmpty(): boolean {
    for (const { head } of this.#unsent) if (head !== undefined) return false;
    return true;
  }

  /** Which line is to send, from the one on whose turn it is; -1 where nothing waits. */
  #next(): number {
    const unsent = this.#unsent;
    for (let at = this.#turn; at < unsent.length; at++)
      if (unsent[at].head !== undefined) return at;
    for (let at = 0; at < this.#turn; at++) if (unsent[at].head !== undefined) return at;
    return -1;
  }
}
