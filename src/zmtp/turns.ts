import { Fifo } from "../base/fifo.js";

/** Of each turn of the event loop so much: the rest is for those who work. */
const TURN_MS = 2;

type Step = () => void;

/**
 * What takes long, a few steps each turn of the event loop: others are read and answered in between. Steps that
 * cannot be had for nothing come first; the others by turns of who they are for, so that nobody's many hold up
 * another's one.
 */
export class Turns {
  readonly #first = new Fifo<Step>();
  /** By whom they are for. */
  readonly #others = new Map<string, Fifo<Step>>();
  #turn: NodeJS.Immediate | undefined;

  /** A step of one who has done something for it. */
  addFirst(step: Step): void {
    this.#first.push(step);
    this.#schedule();
  }

  add(whom: string, step: Step): void {
    let steps = this.#others.get(whom);
    if (steps === undefined) {
      steps = new Fifo();
      this.#others.set(whom, steps);
    }
    steps.push(step);
    this.#schedule();
  }

  #schedule(): void {
    this.#turn ??= setImmediate(this.#onTurn);
  }

  #onTurn = (): void => {
    this.#turn = undefined;
    const endMs = performance.now() + TURN_MS;
    try {
      do {
        const step = this.#first.shift() ?? this.#next();
        if (step === undefined) return;
        step();
      } while (performance.now() < endMs);
    } finally {
      if (this.#first.count > 0 || this.#others.size > 0) this.#schedule();
    }
  };

  /** Of the one whose turn it is; the next time it is another's. */
  #next(): Step | undefined {
    for (const [whom, steps] of this.#others) {
      const step = steps.shift();
      this.#others.delete(whom);
      if (steps.count > 0) this.#others.set(whom, steps);
      return step;
    }
    return undefined;
  }
}
