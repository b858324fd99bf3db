import { Dealer } from "zeromq";
import { addBallast } from "./ballast.js";
import { type CurveKeys, curveOptions, handshakeFailure } from "./curve.js";
import type { LinkOptions } from "./link.js";
import type { Transport, TransportEvents } from "./transport.js";

/** Messages in a row after which other sockets and timers get a turn. */
const MESSAGES_PER_TURN = 64;
const BATCHES_QUEUED_MAX = 64;

/** By a socket of ZeroMQ's, which does all of CURVE. */
export class ZmqTransport implements Transport {
  readonly #curve: CurveKeys;
  readonly #isReadToEnd: boolean;
  readonly #events: TransportEvents;
  readonly #socket: Dealer;
  #isOver = false;
  /** The peer is gone, and something of it is left to read. */
  #isEnding = false;

  constructor(options: LinkOptions, curve: CurveKeys, events: TransportEvents) {
    this.#curve = curve;
    this.#isReadToEnd = options.isReadToEnd === true;
    this.#events = events;
    this.#socket = new Dealer({
      linger: 0,
      // Reconnecting is the link's. Not -1: libzmq then drops what has come in at a disconnect.
      reconnectInterval: 3_600_000,
      sendHighWaterMark: BATCHES_QUEUED_MAX,
      // None: what comes is bounded by what was asked for, or by the credits given. At a mark libzmq
      // 4.3.5 stops to read, and if the broker is gone then, a heartbeat makes it abort the process.
      receiveHighWaterMark: 0,
      heartbeatInterval: options.heartbeatIntervalMs,
      heartbeatTimeout: options.heartbeatTimeoutMs,
      heartbeatTimeToLive: options.heartbeatTimeoutMs,
      handshakeInterval: options.handshakeTimeoutMs,
      ...curveOptions(curve),
    });
    void this.#watch();
    try {
      this.#socket.connect(options.endpoint);
    } catch (error) {
      // Later: whoever makes a transport does not have it yet.
      queueMicrotask(() => this.#lost((error as Error).message));
      return;
    }
    void this.#receive();
  }

  send(message: Uint8Array[]): Promise<void> {
    return this.#socket.send(message as Buffer[]);
  }

  close(lingerMs: number): void {
    this.#isOver = true;
    if (this.#socket.closed) return;
    this.#socket.linger = lingerMs;
    this.#socket.close();
  }

  /** Follows the life of the connection through the socket's monitor. */
  async #watch(): Promise<void> {
    try {
      for await (const event of this.#socket.events) {
        if (this.#isOver) return;
        switch (event.type) {
          case "handshake":
            this.#events.onOpen();
            break;
          case "disconnect":
            // The notice overtakes the messages: a broker that drains sends its last replies and
            // closes.
            this.#isEnding = this.#isReadToEnd && this.#socket.readable;
            if (!this.#isEnding) this.#lost(event.type);
            return;
          case "close":
            return this.#lost("connection refused");
          case "handshake:error:protocol":
          case "handshake:error:auth":
          case "handshake:error:other":
            return this.#lost(handshakeFailure(event, this.#curve));
          default:
        }
      }
    } catch {
      // The monitor ends with its socket.
    }
  }

  async #receive(): Promise<void> {
    let messageCount = 0;
    try {
      while (!this.#isOver) {
        const frames = await this.#socket.receive();
        if (this.#isOver) return;
        addBallast(frames);
        this.#events.onMessage(frames);
        if (this.#isEnding && !this.#socket.readable) return this.#lost("disconnect");
        if (++messageCount % MESSAGES_PER_TURN === 0) {
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
      }
    } catch (error) {
      this.#lost((error as Error).message);
    }
  }

  #lost(reason: string): void {
    if (this.#isOver) return;
    this.close(0);
    this.#events.onLost(reason);
  }
}
