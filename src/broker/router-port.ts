import { Router } from "zeromq";
import type { Outbox } from "./outbox.js";

/** ZMQ_ROUTER_NOTIFY, a draft option of libzmq, and its value for disconnections alone. */
const ZMQ_ROUTER_NOTIFY = 97;
const ZMQ_NOTIFY_DISCONNECT = 2;

/** Messages in a row from one socket before timers and other sockets get a turn. */
const MESSAGES_PER_TURN = 16;
const MESSAGES_QUEUED_MAX = 64;
/**
 * What of one peer may wait to be read: more than one can have sent that keeps to its credit, each message
 * being a request or a cancel at least. At the mark libzmq 4.3.5 stops to read, and if the peer is
 * gone then, a heartbeat, ours or its own, makes libzmq abort the process (`!_io_error`).
 */
const MESSAGES_UNREAD_MAX = 131_072;
/** How soon to try a peer again whose pipe was full; later and later while it stays so. */
const RETRY_MS = 5;
const RETRY_TURNS_MAX = 16;

class NotifyingRouter extends Router {
  /** Asks for a notice, `[routingId, ""]`, when a peer is gone. */
  notifyDisconnects(): void {
    try {
      this.setInt32Option(ZMQ_ROUTER_NOTIFY, ZMQ_NOTIFY_DISCONNECT);
    } catch {
      // Without it a death would go unseen, and what the dead had be lost: better not to start.
      this.close();
      throw new Error(
        "this build of libzmq lacks ZMQ_ROUTER_NOTIFY; the one in the package has it",
      );
    }
  }
}

export interface RouterPortOptions {
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  handshakeTimeoutMs: number;
  messageBytesMax: number;
}

export interface RouterPortEvents {
  /** A message of a peer: its frames, the routing id first. */
  onMessage(frames: Buffer[]): void;
  /** All that had come in is handled: what it brought about is to be sent. */
  onTurn(): void;
  /** The peer behind this outbox is gone, or reads no more. May come while the core steps. */
  onUnreachable(outbox: Outbox, isUnread: boolean): void;
}

/** One ROUTER socket: its reader, and its one writer, which no stuck peer holds up. */
export class RouterPort {
  readonly #socket: NotifyingRouter;
  readonly #events: RouterPortEvents;
  /** Outboxes that the next flush looks at. */
  #due: Outbox[] = [];
  /** Outboxes of which something is not sent yet, and their routing ids. */
  readonly #routingIds = new Map<Outbox, Buffer>();
  /** Outboxes whose pipe was full. */
  readonly #blocked = new Set<Outbox>();
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  #sentCount = 0;
  #onSettled: (() => void) | undefined;

  constructor(options: RouterPortOptions, events: RouterPortEvents) {
    this.#events = events;
    this.#socket = new NotifyingRouter({
      // A peer that is unknown or full is an error at once, not a silent loss or a wait.
      mandatory: true,
      sendTimeout: 0,
      linger: 0,
      sendHighWaterMark: MESSAGES_QUEUED_MAX,
      receiveHighWaterMark: MESSAGES_UNREAD_MAX,
      heartbeatInterval: options.heartbeatIntervalMs,
      heartbeatTimeout: options.heartbeatTimeoutMs,
      handshakeInterval: options.handshakeTimeoutMs,
      maxMessageSize: options.messageBytesMax,
      backlog: 1024,
    });
    this.#socket.notifyDisconnects();
  }

  async bind(endpoint: string): Promise<string> {
    await this.#socket.bind(endpoint);
    return this.#socket.lastEndpoint as string;
  }

  /** Starts reading. */
  open(): void {
    void this.#receive();
  }

  close(lingerMs: number): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#socket.linger = lingerMs;
    this.#socket.close();
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

  async #receive(): Promise<void> {
    let messageCount = 0;
    const socket = this.#socket;
    for (;;) {
      let frames: Buffer[];
      try {
        frames = await socket.receive();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
      if (this.#isClosed) return;
      this.#events.onMessage(frames);
      messageCount++;
      if (messageCount % MESSAGES_PER_TURN === 0) {
        this.#events.onTurn();
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (this.#isClosed) return;
      } else if (!socket.readable) {
        this.#events.onTurn();
      }
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
    if (this.#isClosed) return;
    this.#socket.send([routingId, ...message]).catch(() => {});
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
    if (outbox.isSending || outbox.isGivenUp || this.#isClosed) return;
    const routingId = this.#routingIds.get(outbox);
    const message = routingId === undefined ? undefined : outbox.peek();
    if (message === undefined) {
      this.#routingIds.delete(outbox);
      if (this.#routingIds.size === 0) this.#onSettled?.();
      return;
    }
    outbox.isSending = true;
    this.#socket.send([routingId as Buffer, ...message]).then(
      () => {
        outbox.isSending = false;
        this.#sentCount++;
        outbox.shift();
        this.#send(outbox);
      },
      (error: NodeJS.ErrnoException) => {
        outbox.isSending = false;
        if (this.#isClosed || !this.#routingIds.has(outbox)) return;
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
