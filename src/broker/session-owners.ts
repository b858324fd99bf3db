/** Of sessions without a connection so many are remembered, and so many of one key. */
const PAST_MAX = 65_536;
const PAST_OF_KEY_MAX = 4096;
/** Longer than workers remember replies, unless they are told to. */
const AGE_MS_MAX = 600_000;

interface Owner {
  readonly key: string;
  /** Connections of this session. */
  count: number;
  /** When the last of them ended. */
  heldMs: number;
}

/**
 * Which key a session belongs to: workers answer what comes again under the same id, so whoever could
 * take another's session would get its replies. It is its key's as long as it has a connection, and for a while
 * after the last; where too many are remembered that have none, the one that ended first is forgotten, and nobody's many
 * push out another's.
 */
export class SessionOwners {
  readonly #owners = new Map<string, Owner>();
  /** Those without a connection, the one that ended first first; and the same by key. */
  readonly #past = new Set<string>();
  readonly #pastOfKey = new Map<string, Set<string>>();

  /** Whether `key` may have this session, of which it has one more connection from now on. */
  claim(sessionLow: number, sessionHigh: number, key: string, nowMs: number): boolean {
    const session = sessionName(sessionLow, sessionHigh);
    const owner = this.#owners.get(session);
    if (owner?.key === key) {
      this.#leavePast(session, owner);
      owner.count++;
      return true;
    }
    if (owner !== undefined) {
      if (owner.count > 0 || nowMs - owner.heldMs < AGE_MS_MAX) return false;
      this.#leavePast(session, owner);
    }
    this.#owners.set(session, { key, count: 1, heldMs: nowMs });
    return true;
  }

  /** A connection that `key` claimed this session for has ended; of others nothing is known. */
  release(sessionLow: number, sessionHigh: number, key: string, nowMs: number): void {
    const session = sessionName(sessionLow, sessionHigh);
    const owner = this.#owners.get(session);
    if (owner?.key !== key || owner.count === 0) return;
    owner.heldMs = nowMs;
    if (--owner.count > 0) return;
    this.#past.add(session);
    const ofKey = this.#pastOfKey.get(key) ?? new Set();
    this.#pastOfKey.set(key, ofKey.add(session));
    if (ofKey.size > PAST_OF_KEY_MAX) this.#forgetFirst(ofKey);
    if (this.#past.size > PAST_MAX) this.#forgetFirst(this.#past);
  }

  #forgetFirst(sessions: ReadonlySet<string>): void {
    const [session] = sessions;
    this.#leavePast(session, this.#owners.get(session) as Owner);
    this.#owners.delete(session);
  }

  #leavePast(session: string, { key }: Owner): void {
    if (!this.#past.delete(session)) return;
    const ofKey = this.#pastOfKey.get(key) as Set<string>;
    ofKey.delete(session);
    if (ofKey.size === 0) this.#pastOfKey.delete(key);
  }
}

function sessionName(low: number, high: number): string {
  return `${low}:${high}`;
}
