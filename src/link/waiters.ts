import { timerMs } from "../base/timer.js";

/** Those who wait for something to become true, asked again at each step that may have made it so. */
export class Waiters {
  readonly #checks = new Set<() => void>();

  /** Resolves with true once `isDone`, or with whether it is after `timeoutMs`. */
  async until(isDone: () => boolean, timeoutMs: number): Promise<boolean> {
    if (isDone()) return true;
    let timer: NodeJS.Timeout | undefined;
    let check = () => {};
    await new Promise<void>((resolve) => {
      check = () => {
        if (isDone()) resolve();
      };
      this.#checks.add(check);
      timer = setTimeout(resolve, timerMs(timeoutMs));
    });
    clearTimeout(timer);
    this.#checks.delete(check);
    return isDone();
  }

  /** Something happened. */
  notify(): void {
    // Most often nobody waits, and an iterator costs.
    if (this.#checks.size === 0) return;
    for (const check of this.#checks) check();
  }
}
