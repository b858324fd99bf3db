import { Fifo } from "../base/fifo.js";

/**
 * What takes long, one thing each turn of the event loop: others are read and answered in between. Such a thing
 * returns whether it did anything; where it did not, the next has its turn at once.
 */
export class Turns {
  readonly #waiting = new Fifo<() => boolean>();
  #isDue = false;

  add(thing: () => boolean): void {
    this.#waiting.push(thing);
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(this.#next);
  }

  #next = (): void => {
    let hasRun = false;
    while (!hasRun && this.#waiting.count > 0) hasRun = this.#waiting.shift()?.() === true;
    this.#isDue = this.#waiting.count > 0;
    if (this.#isDue) setImmediate(this.#next);
  };
}
