import type { SecurityEvent } from "../broker/curve-gate.js";
import type { Log } from "./log.js";

/** Lines a second; whoever is refused by the thousand must not fill a disk. */
const LINES_MAX = 20;
const WINDOW_MS = 1000;
/** Nor whoever tries again each second: the same is told once in so long, with how often it was. */
const REPEAT_MS = 10_000;
/** So many are told apart; what comes beyond is told each time. */
const KNOWN_MAX = 1024;

/** What is counted as the same, since it was told last. */
interface Known {
  event: SecurityEvent;
  repeats: number;
}

/**
 * Logs what was refused, with the key. What comes again from the same address for the same reason is counted,
 * and told each ten seconds; so is what is too much in a second, after it.
 */
export class SecurityLog {
  readonly #log: Log;
  readonly #known = new Map<string, Known>();
  #windowEndMs = 0;
  #lineCount = 0;
  #unsaidCount = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  add(event: SecurityEvent): void {
    const { what, reason, key, name, remote } = event;
    const same = JSON.stringify([what, reason, key, name, addressOf(remote)]);
    const known = this.#known.get(same);
    if (known !== undefined) {
      known.event = event;
      known.repeats++;
      return;
    }
    if (this.#known.size < KNOWN_MAX) {
      this.#known.set(same, { event, repeats: 0 });
      this.#watch(same);
    }
    this.#tell(event);
  }

  #watch(same: string): void {
    setTimeout(() => this.#tellRepeats(same), REPEAT_MS).unref();
  }

  #tellRepeats(same: string): void {
    const known = this.#known.get(same) as Known;
    if (known.repeats === 0) {
      this.#known.delete(same);
      return;
    }
    this.#tell(known.event, known.repeats);
    known.repeats = 0;
    this.#watch(same);
  }

  /** `count`: how often it was since the line before, where that is not once. */
  #tell({ status, what, reason, key, name, remote }: SecurityEvent, count = 1): void {
    const nowMs = performance.now();
    if (nowMs >= this.#windowEndMs) {
      this.#windowEndMs = nowMs + WINDOW_MS;
      this.#lineCount = 0;
    }
    if (++this.#lineCount > LINES_MAX) {
      this.#unsaidCount += count;
      this.#timer ??= setTimeout(this.#tellUnsaid, WINDOW_MS).unref();
      return;
    }
    const shown = Object.entries({ key, name, remote }).filter(([, value]) => value !== "");
    const often = count === 1 ? {} : { count };
    this.#log.warn({ status, what, ...Object.fromEntries(shown), ...often }, `refused: ${reason}`);
  }

  #tellUnsaid = (): void => {
    this.#timer = undefined;
    this.#log.warn({ count: this.#unsaidCount }, "refused: more than are logged");
    this.#unsaidCount = 0;
  };
}

/** A connection's address without its port, of which each try has another. */
function addressOf(remote: string): string {
  return remote.replace(/:\d+$/, "");
}
