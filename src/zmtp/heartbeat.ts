/** Something that is to be heard from. */
export interface Beating {
  beat(): void;
}

/** Beats in the time after which a silent peer is asked. */
const BEATS_TO_PING = 3;

/**
 * One timer for all connections of a port. Time is counted in its beats and not by the clock: a process
 * that was stopped, or busy, for a minute has not waited for its peers meanwhile.
 */
export class Heartbeat {
  /** A peer silent for so many beats is sent a PING. */
  readonly beatsToPing = BEATS_TO_PING;
  /** One that must answer, and was silent for so many, is gone. */
  readonly beatsToEnd: number;
  readonly beatMs: number;
  readonly #members = new Set<Beating>();
  #timer: NodeJS.Timeout | undefined;

  constructor(intervalMs: number, timeoutMs: number) {
    this.beatMs = Math.max(1, Math.round(intervalMs / BEATS_TO_PING));
    this.beatsToEnd = Math.max(BEATS_TO_PING + 1, Math.ceil(timeoutMs / this.beatMs));
  }

  add(member: Beating): void {
    this.#members.add(member);
    this.#timer ??= setInterval(() => {
      for (const each of this.#members) each.beat();
    }, this.beatMs);
  }

  delete(member: Beating): void {
    this.#members.delete(member);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
