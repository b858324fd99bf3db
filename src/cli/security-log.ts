import type { SecurityEvent } from "../broker/curve-gate.js";
import type { Log } from "./log.js";

/** Lines a second; whoever is refused by the thousand must not fill a disk. */
const LINES_MAX = 20;
const WINDOW_MS = 1000;

/** Logs what was refused, with the key; what is too much in a second is counted, and told after it. */
export class SecurityLog {
  readonly #log: Log;
  #windowEndMs = 0;
  #lineCount = 0;
  #unsaidCount = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  add({ status, what, reason, key, name, remote }: SecurityEvent): void {
    const nowMs = performance.now();
    if (nowMs >= this.#windowEndMs) {
      this.#windowEndMs = nowMs + WINDOW_MS;
      this.#lineCount = 0;
    }
    if (++this.#lineCount > LINES_MAX) {
      this.#unsaidCount++;
      this.#timer ??= setTimeout(this.#tellUnsaid, WINDOW_MS).unref();
      return;
    }
    const shown = Object.entries({ key, name, remote }).filter(([, value]) => value !== "");
    this.#log.warn({ status, what, ...Object.fromEntries(shown) }, `refused: ${reason}`);
  }

  #tellUnsaid = (): void => {
    this.#timer = undefined;
    this.#log.warn({ count: this.#unsaidCount }, "refused: more than are logged");
    this.#unsaidCount = 0;
  };
}
