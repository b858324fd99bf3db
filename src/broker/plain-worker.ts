import type { Access } from "../base/access.js";

/** An unmodified REP or PULL socket: one request at a time, its reply before the next. */
export interface PlainWorker {
  readonly id: number;
  /** What its key may do; undefined where everything is allowed, since nobody shows a key. */
  readonly access: Access | undefined;
  /** Its connection is over; `onPlainGone` may still be to come. */
  readonly isEnded: boolean;
  /**
   * Sends one request; asserts that none is outstanding. Parts above 128 bytes are not copied and
   * must not be changed afterwards. Does nothing once the worker is going: `onPlainGone` follows.
   */
  send(parts: Uint8Array[]): void;
  /** Nobody waits any more for what it was sent; a REP socket cannot be told. */
  onAbort?(): void;
  /** Drops the worker; `onPlainGone` follows. A reply still on its way is not delivered. */
  close(): void;
}
