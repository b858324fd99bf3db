import type { PushedTask } from "./task.js";

/** What one of those who push has here, dead letters not among it. */
export interface Holder {
  readonly name: string;
  count: number;
  bytes: number;
  /** Queues in use that it was the first to push to. */
  queueCount: number;
}

/** Who is told from others: by the key, or, where none are shown, by the session. */
export function holderName(pushed: Pick<PushedTask, "owner" | "sessionLow" | "sessionHigh">) {
  return pushed.owner || `${pushed.sessionHigh}:${pushed.sessionLow}`;
}

/** Those who have anything here. */
export class Holders {
  readonly #byName = new Map<string, Holder>();

  find(name: string): Readonly<Holder> | undefined {
    return this.#byName.get(name);
  }

  require(name: string): Holder {
    let holder = this.#byName.get(name);
    if (holder === undefined) {
      holder = { name, count: 0, bytes: 0, queueCount: 0 };
      this.#byName.set(name, holder);
    }
    return holder;
  }

  forgetIfEmpty({ name, count, queueCount }: Holder): void {
    if (count === 0 && queueCount === 0) this.#byName.delete(name);
  }
}
