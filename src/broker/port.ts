import type { Access } from "../base/access.js";
import type { Outbox } from "./outbox.js";

/** How soon to try a peer again that took nothing; later and later while it stays so. */
const RETRY_MS = 5;
const RETRY_TURNS_MAX = 16;

export interface PortOptions {
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  handshakeTimeoutMs: number;
  messageBytesMax: number;
}

export interface PortEvents {
  /** A message of a peer, the routing id first. Frames of less than OWN_FRAME_BYTES_MIN are good until this returns. */
  onMessage(frames: Buffer[]): void;
  /** All that had come in is handled: what it brought about is to be sent. */
  onTurn(): void;
  /** The peer behind this outbox is gone, or reads no more. May come while the core steps. */
  onUnreachable(outbox: Outbox, isUnread: boolean): void;
}

/**
 * Where the messages of some peers come from and go to, each peer known by a routing id: one writer
 * for each, which no stuck peer holds up.
 */
export abstract class Port {
  readonly #events: PortEvents;
  /** Outboxes that the next flush looks at. */
  #due: Outbox[] = [];
  /** Outboxes of which something is not sent yet: those that have a routing id. */
  #unsentCount = 0;
  /** Outboxes whose peer took nothing. */
  readonly #blocked = new Set<Outbox>();
  #retry: NodeJS.Timeout | undefined;
  protected isClosed = false;
  /** After so many tries a peer does not read. */
  protected readonly refusalsMin: number = 1;
  #sentCount = 0;
  #onSettled: (() => void) | undefined;

  constructor(events: PortEvents) {
    this.#events = events;
  }

  /**
   * Sends one message, one at a time for each peer: true when it is taken, false when the peer takes nothing
   * now, which `unblock` or a later try ends, undefined when it is gone.
   */
  protected abstract transmit(
    routingId: Buffer,
    message: readonly Uint8Array[],
    outbox?: Outbox,
  ): boolean | undefined;

  /** What the peer may do; undefined where everything is allowed, since nobody shows a key. */
  abstract accessOf(routingId: Buffer): Access | undefined;

  /** The peer says that the thread which runs its application also answers heartbeats, or that a pulse will. */
  abstract onOneThread(routingId: Buffer, hasPulse: boolean): void;

  /** The peer at `pulseId` answers heartbeats for the one at `workerId`. Returns whether that is so. */
  abstract onPulse(pulseId: Buffer, workerId: Buffer): boolean;

  /** Whether another peer answers heartbeats for this one. */
  abstract hasPulse(workerId: Buffer): boolean;

  /** Takes nothing more from this peer and ends its connection, at the latest after `lingerMs`: it may read its last word. */
  abstract cut(routingId: Buffer, lingerMs?: number): void;

  close(): void {
    this.isClosed = true;
    clearTimeout(this.#retry);
  }

  /** Resolves when all that is due is sent, or when nothing has moved for `stallMs`. */
  async settle(stallMs: number): Promise<void> {
    for (let before = -1; this.#unsentCount > 0 && before !== this.#sentCount; ) {
      before = this.#sentCount;
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#onSettled = resolve;
        timer = setTimeout(resolve, stallMs);
      });
      clearTimeout(timer);
    }
  }

  /** Says that `outbox` has something for the peer of this routing id. */
  due(outbox: Outbox, routingId: Buffer): void {
    if (outbox.isGivenUp) return;
    // Even when it is due already: all that it was due for may have gone since, behind a message that
    // was under way.
    if (outbox.routingId === undefined) {
      outbox.routingId = routingId;
      this.#unsentCount++;
    }
    if (outbox.isDue) return;
    if (outbox.isOverdue(this.refusalsMin)) {
      outbox.isGivenUp = true;
      this.#forget(outbox);
      // Or it would wait for ever for what nobody here knows any more, on a connection that is well.
      this.cut(routingId, 0);
      this.#events.onUnreachable(outbox, true);
      return;
    }
    outbox.isDue = true;
    this.#due.push(outbox);
  }

  /** Sends one message that nobody will miss if it cannot be sent at once. */
  sendOnce(routingId: Buffer, message: readonly Uint8Array[]): void {
    if (!this.isClosed) this.transmit(routingId, message);
  }

  /** Forgets `outbox` and what it holds. */
  drop(outbox: Outbox): void {
    outbox.discard();
    this.#forget(outbox);
    this.#blocked.delete(outbox);
    if (this.#unsentCount === 0) this.#onSettled?.();
  }

  #forget(outbox: Outbox): void {
    if (outbox.routingId === undefined) return;
    outbox.routingId = undefined;
    this.#unsentCount--;
  }

  /** Sends what is due, as far as the peers take it. */
  flush(): void {
    if (this.#due.length === 0) return;
    const due = this.#due;
    this.#due = [];
    for (const outbox of due) {
      outbox.isDue = false;
      if (!this.#blocked.has(outbox)) this.#send(outbox);
    }
  }

  /** The peer of `outbox`, which took nothing, does again. */
  protected unblock(outbox: Outbox): void {
    if (this.#blocked.delete(outbox)) this.#send(outbox);
  }

  /** Sends the messages of `outbox`, one after the other, so that they arrive in order. */
  #send(outbox: Outbox): void {
    while (!outbox.isGivenUp && !this.isClosed) {
      const { routingId } = outbox;
      const message = routingId === undefined ? undefined : outbox.peek();
      if (message === undefined) {
        this.#forget(outbox);
        if (this.#unsentCount === 0) this.#onSettled?.();
        return;
      }
      const isTaken = this.transmit(routingId as Buffer, message, outbox);
      if (!this.#onTransmitted(outbox, isTaken)) return;
    }
  }

  /** Returns whether the next message may follow. */
  #onTransmitted(outbox: Outbox, isTaken: boolean | undefined): boolean {
    if (isTaken) {
      this.#sentCount++;
      outbox.shift();
    } else if (!this.isClosed && outbox.routingId !== undefined) {
      if (isTaken === false) this.#block(outbox);
      else this.#events.onUnreachable(outbox, false);
    }
    return isTaken === true;
  }

  #block(outbox: Outbox): void {
    outbox.retryTurns = Math.min(2 ** outbox.refusedCount++, RETRY_TURNS_MAX);
    this.#blocked.add(outbox);
    this.#retry ??= setTimeout(this.#onRetry, RETRY_MS);
  }

  #onRetry = (): void => {
    this.#retry = undefined;
    for (const outbox of this.#blocked) {
      if (--outbox.retryTurns > 0) continue;
      this.#blocked.delete(outbox);
      this.#send(outbox);
    }
    if (this.#blocked.size > 0) this.#retry ??= setTimeout(this.#onRetry, RETRY_MS);
  };
}
