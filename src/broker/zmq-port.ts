import type { Dealer, Router } from "zeromq";
import { addBallast } from "../link/ballast.js";
import { Port, type PortEvents } from "./port.js";

/** Messages in a row from one socket before timers and other sockets get a turn. */
const MESSAGES_PER_TURN = 16;

const MESSAGES_QUEUED_MAX = 64;
/**
 * What of one peer may wait to be read: more than one can have sent that keeps to its credit, each message
 * being a request or a cancel at least. At the mark libzmq 4.3.5 stops to read, and if the peer is
 * gone then, a heartbeat, ours or its own, makes libzmq abort the process (`!_io_error`).
 */
const MESSAGES_UNREAD_MAX = 131_072;

export interface PortOptions {
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  handshakeTimeoutMs: number;
  messageBytesMax: number;
}

/** What a ZeroMQ socket bears that the broker has, whatever its kind. */
export function socketLimits(options: PortOptions) {
  return {
    sendTimeout: 0,
    sendHighWaterMark: MESSAGES_QUEUED_MAX,
    receiveHighWaterMark: MESSAGES_UNREAD_MAX,
    heartbeatInterval: options.heartbeatIntervalMs,
    heartbeatTimeout: options.heartbeatTimeoutMs,
    handshakeInterval: options.handshakeTimeoutMs,
    maxMessageSize: options.messageBytesMax,
  };
}

/** A port whose peers are spoken to by sockets of ZeroMQ's. */
export abstract class ZmqPort extends Port {
  readonly #events: PortEvents;

  constructor(events: PortEvents) {
    super(events);
    this.#events = events;
  }

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

  /** Sends through `socket`, as `transmit` has it. */
  protected async sendBy(
    socket: Router | Dealer,
    frames: readonly Uint8Array[],
  ): Promise<boolean | undefined> {
    try {
      await socket.send(frames as Buffer[]);
      return true;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === "EAGAIN" ? false : undefined;
    }
  }
}
