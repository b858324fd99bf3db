import type { Dealer, Router } from "zeromq";
import type { Access } from "../base/access.js";
import { addBallast } from "../link/ballast.js";
import type { Outbox } from "./outbox.js";

/** Messages in a row from one socket before timers and other sockets get a turn. */
const MESSAGES_PER_TURN = 16;
/** How soon to try a peer again whose pipe was full; later and later while it stays so. */
const RETRY_MS = 5;
const RETRY_TURNS_MAX = 16;

export interface PortEvents {
  /** A message of a peer: its frames, the routing id first. */
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
  /** Outboxes of which something is not sent yet, and their routing ids. */
  readonly #routingIds = new Map<Outbox, Buffer>();
  /** Outboxes whose pipe was full. */
  readonly #blocked = new Set<Outbox>();
  #retry: NodeJS.Timeout | undefined;
  protected isClosed = false;
  #sentCount = 0;
  #onSettled: (() => void) | undefined;

  constructor(events: PortEvents) {
    this.#events = events;
  }

  /**
   * Sends one message, one at a time for each peer. Rejects with EAGAIN when the peer takes nothing
   * now, with another code when it is gone; at once in both cases.
   */
  protected abstract transmit(routingId: Buffer, message: readonly Uint8Array[]): Promise<void>;

  /** Hands on what `socket` receives until it or the port is closed, or until `isLast` says so behind a message. */
  protected async read(
    socket: Router | Dealer,
    onMessage: (frames: Buffer[]) => void,
    isLast?: () => boolean,
  ): Promise<void> {
    let messageCount = 0;
    for (;;) {
      let frames: Buffer[];
      try {
        frames = await socket.receive();
      } catch (error) {
        if (this.isClosed || socket.closed) return;
        throw error;
      }
      if (this.isClosed) return;
      addBallast(frames);
      onMessage(frames);
      if (++messageCount % MESSAGES_PER_TURN === 0) {
        this.#events.onTurn();
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (this.isClosed) return;
      } else if (!socket.closed && !socket.readable) {
        this.#events.onTurn();
      }
      if (isLast?.()) return;
    }
  }

  /** What the peer may do; undefined where everything is allowed, since nobody shows a key. */
  abstract accessOf(routingId: Buffer): Access | undefined;

  /** Ends the connection of this peer, which hears what was sent to it before. Not all ports can. */
  cut(_routingId: Buffer): void {}

  close(_lingerMs: number): void {
    this.isClosed = true;
    clearTimeout(this.#retry);
  }

  /** Resolves when all that is due is sent, or when nothing has moved for `stallMs`. */
  async settle(stallMs: number): Promise<void> {
    for (let before = -1; this.#routingIds.size > 0 && before !== this.#sentCount; ) {
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
    this.#routingIds.set(outbox, routingId);
    if (outbox.isDue) return;
    if (outbox.isOverdue) {
      outbox.isGivenUp = true;
      this.#routingIds.delete(outbox);
      this.#events.onUnreachable(outbox, true);
      return;
    }
    outbox.isDue = true;
    this.#due.push(outbox);
  }

  /** Sends one message that nobody will miss if it cannot be sent at once. */
  sendOnce(routingId: Buffer, message: readonly Uint8Array[]): void {
    if (this.isClosed) return;
    this.transmit(routingId, message).catch(() => {});
  }

  /** Forgets `outbox` and what it holds. */
  drop(outbox: Outbox): void {
    this.#routingIds.delete(outbox);
    this.#blocked.delete(outbox);
    if (this.#routingIds.size === 0) this.#onSettled?.();
  }

  /** Sends what is due, as far as the peers' pipes take it. */
  flush(): void {
    if (this.#due.length === 0) return;
    const due = this.#due;
    this.#due = [];
    for (const outbox of due) {
      outbox.isDue = false;
      if (!this.#blocked.has(outbox)) this.#send(outbox);
    }
  }

  /** Sends the next message of `outbox`, one at a time, so that they arrive in order. */
  #send(outbox: Outbox): void {
    if (outbox.isSending || outbox.isGivenUp || this.isClosed) return;
    const routingId = this.#routingIds.get(outbox);
    const message = routingId === undefined ? undefined : outbox.peek();
    if (message === undefined) {
      this.#routingIds.delete(outbox);
      if (this.#routingIds.size === 0) this.#onSettled?.();
      return;
    }
    outbox.isSending = true;
    this.transmit(routingId as Buffer, message).then(
      () => {
        outbox.isSending = false;
        this.#sentCount++;
        outbox.shift();
        this.#send(outbox);
      },
      (error: NodeJS.ErrnoException) => {
        outbox.isSending = false;
        if (this.isClosed || !this.#routingIds.has(outbox)) return;
        if (error.code === "EAGAIN") this.#block(outbox);
        else this.#events.onUnreachable(outbox, false);
      },
    );
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
