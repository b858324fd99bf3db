import type { Broker, Brokers } from "./brokers.js";

/** What of one pattern waits to be sent, first come first. */
export interface WaitingLine {
  readonly isEmpty: boolean;
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
  /** Whose turn it is. */
  #turn = 0;
  #sending: NodeJS.Immediate | undefined;

  constructor(brokers: Brokers) {
    this.#brokers = brokers;
  }

  add(line: WaitingLine): void {
    this.#lines.push(line);
  }

  /** The broker for what is new; undefined where it has to wait, behind those that do already. */
  pick(): Broker | undefined {
    return this.#areEmpty ? this.#brokers.pick() : undefined;
  }

  /** Sends what waits, as far as the brokers take it. */
  sendWaiting(): void {
    while (!this.#areEmpty) {
      const broker = this.#brokers.pick();
      if (broker === undefined) return;
      this.#next().sendFirst(broker);
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
    for (const line of this.#lines) if (!line.isEmpty) return false;
    return true;
  }

  /** The line that is to send, one that is not empty. */
  #next(): WaitingLine {
    const lines = this.#lines;
    for (;;) {
      const line = lines[this.#turn];
      this.#turn = (this.#turn + 1) % lines.length;
      if (!line.isEmpty) return line;
    }
  }
}
