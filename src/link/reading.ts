/**
 * How far the one reader of a socket is, and when nothing is left for it.
 *
 * ZeroMQ tells by an edge that something came. Whoever asks whether the socket is `readable` takes that
 * from a receive that waits, which then waits for ever, whatever comes. So nobody asks while one waits:
 * what it has not got once the event loop went round is not there.
 */
export class Reading {
  #receiveCount = 0;
  #isWaiting = false;
  #onDry: (() => void) | undefined;

  /** A receive begins. */
  begin(): void {
    this.#receiveCount++;
    this.#isWaiting = true;
    if (this.#onDry !== undefined) this.#look();
  }

  /** It has got a message. */
  end(): void {
    this.#isWaiting = false;
  }

  /** Calls, once, when all is read of a peer that is gone. */
  onDry(callback: () => void): void {
    this.#onDry = callback;
    if (this.#isWaiting) this.#look();
  }

  #look(): void {
    const seen = this.#receiveCount;
    afterPoll(() => {
      if (!this.#isWaiting || this.#receiveCount !== seen) return;
      const callback = this.#onDry;
      this.#onDry = undefined;
      callback?.();
    });
  }
}

/** Calls when the event loop has polled once more from here on. */
export function afterPoll(callback: () => void): void {
  // The first may come ahead of the poll.
  setImmediate(() => setImmediate(callback));
}
