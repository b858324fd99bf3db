const SESSIONS_MAX = 65_536;
/** Longer than workers remember replies, unless they are told to. */
const AGE_MS_MAX = 600_000;

interface Owner {
  readonly key: string;
  heldMs: number;
}

/**
 * Which key a session belongs to: workers answer what comes again under the same id, so whoever could
 * take another's session would get its replies. Remembered for a while after its last connection; the
 * latest only, where there are too many.
 */
export class SessionOwners {
  /** Longest held first. */
  readonly #owners = new Map<string, Owner>();

  /** Whether `key` may have this session, which it holds from now on. */
  claim(sessionLow: number, sessionHigh: number, key: string, nowMs: number): boolean {
    const session = `${sessionLow}:${sessionHigh}`;
    const owner = this.#owners.get(session);
    if (owner !== undefined && owner.key !== key && nowMs - owner.heldMs < AGE_MS_MAX) return false;
    this.#owners.delete(session);
    this.#owners.set(session, { key, heldMs: nowMs });
    if (this.#owners.size > SESSIONS_MAX) {
      const [oldest] = this.#owners.keys();
      this.#owners.delete(oldest);
    }
    return true;
  }

  /** A connection of this session ends: it is its key's for a while longer. */
  release(sessionLow: number, sessionHigh: number, key: string, nowMs: number): void {
    const session = `${sessionLow}:${sessionHigh}`;
    if (this.#owners.get(session)?.key !== key) return;
    this.#owners.delete(session);
    this.#owners.set(session, { key, heldMs: nowMs });
  }
}
