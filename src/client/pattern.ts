import type { BatchReader } from "../wire/batch.js";
import type { Broker } from "./brokers.js";

/** What a client does beside asking and being answered: the kinds of records it takes, and its share of a connection's life. */
export interface ClientPattern {
  /** The kinds of records that are for it. */
  readonly kinds: readonly number[];
  onRecord(broker: Broker, reader: BatchReader): void;
  /** `broker` has taken us on, anew perhaps: it knows nothing of what was said before. */
  onWelcome?(broker: Broker): void;
  /** The connection is lost, and all that was under way on it. */
  onDown(broker: Broker, reason: string): void;
  /** Whether nothing waits that `close` would have to give up; true where it is not said. */
  readonly isIdle?: boolean;
  /** The client closes: whatever waits ends as CANCELLED. */
  close(): void;
}

/** The patterns of one client, by kind. */
export class PatternTable {
  readonly #all: ClientPattern[] = [];
  readonly #byKind: (ClientPattern | undefined)[] = [];

  add<Pattern extends ClientPattern>(pattern: Pattern): Pattern {
    this.#all.push(pattern);
    for (const kind of pattern.kinds) this.#byKind[kind] = pattern;
    return pattern;
  }

  onRecord(broker: Broker, reader: BatchReader): void {
    const pattern = this.#byKind[reader.kind];
    // A kind of a later version, which this client did not ask for.
    if (pattern === undefined) reader.skip();
    else pattern.onRecord(broker, reader);
  }

  get areIdle(): boolean {
    return this.#all.every(({ isIdle }) => isIdle !== false);
  }

  onWelcome(broker: Broker): void {
    for (const pattern of this.#all) pattern.onWelcome?.(broker);
  }

  onDown(broker: Broker, reason: string): void {
    for (const pattern of this.#all) pattern.onDown(broker, reason);
  }

  close(): void {
    for (const pattern of this.#all) pattern.close();
  }
}
