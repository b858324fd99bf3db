import { Router } from "zeromq";
import { Port, type PortEvents } from "./port.js";

/** ZMQ_ROUTER_NOTIFY, a draft option of libzmq, and its value for disconnections alone. */
const ZMQ_ROUTER_NOTIFY = 97;
const ZMQ_NOTIFY_DISCONNECT = 2;

const MESSAGES_QUEUED_MAX = 64;
/**
 * What of one peer may wait to be read: more than one can have sent that keeps to its credit, each message
 * being a request or a cancel at least. At the mark libzmq 4.3.5 stops to read, and if the peer is
 * gone then, a heartbeat, ours or its own, makes libzmq abort the process (`!_io_error`).
 */
const MESSAGES_UNREAD_MAX = 131_072;

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

/** What a socket bears that the broker has, whatever its kind. */
export function socketLimits(options: RouterPortOptions) {
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

/** One ROUTER socket for all its peers. */
export class RouterPort extends Port {
  readonly #socket: NotifyingRouter;
  readonly #events: PortEvents;

  constructor(options: RouterPortOptions, events: PortEvents) {
    super(events);
    this.#events = events;
    this.#socket = new NotifyingRouter({
      ...socketLimits(options),
      // A peer that is unknown or full is an error at once, not a silent loss or a wait.
      mandatory: true,
      linger: 0,
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
    void this.read(this.#socket, (frames) => this.#events.onMessage(frames));
  }

  override close(lingerMs: number): void {
    super.close(lingerMs);
    this.#socket.linger = lingerMs;
    this.#socket.close();
  }

  /** Nobody shows a key here: who may connect may do everything. */
  accessOf(): undefined {}

  protected transmit(routingId: Buffer, message: readonly Uint8Array[]): Promise<void> {
    return this.#socket.send([routingId, ...message]);
  }
}
