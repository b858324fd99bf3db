import { Dealer } from "zeromq";
import { addBallast } from "./ballast.js";
import { type CurveKeys, curveOptions, handshakeFailure } from "./curve.js";
import type { LinkOptions } from "./link.js";
import { Reading } from "./reading.js";
import type { Transport, TransportEvents } from "./transport.js";

/** Messages in a row after which other sockets and timers get a turn. */
const MESSAGES_PER_TURN = 64;
const BATCHES_QUEUED_MAX = 64;
const SEND_RETRY_MS = 50;

/** By a socket of ZeroMQ's, which does all of CURVE. */
export class ZmqTransport implements Transport {
  readonly #curve: CurveKeys;
  readonly #isReadToEnd: boolean;
  readonly #events: TransportEvents;
  readonly #socket: Dealer;
  #isOver = false;
  readonly #reading = new Reading();

  constructor(options: LinkOptions, curve: CurveKeys, events: TransportEvents) {
    this.#curve = curve;
    this.#isReadToEnd = options.isReadToEnd === true;
    this.#events = events;
    this.#socket = new Dealer({
      linger: 0,
      // A send that waits may miss that there is room again: a receive that begins takes that notice of ZeroMQ's.
      sendTimeout: SEND_RETRY_MS,
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

  async send(message: Uint8Array[]): Promise<void> {
    for (;;) {
      try {
        return await this.#socket.send(message as Buffer[]);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || this.#isOver) throw error;
      }
    }
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
            if (this.#isReadToEnd) this.#reading.onDry(() => this.#lost(event.type));
            else this.#lost(event.type);
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
        this.#reading.begin();
        const frames = await this.#socket.receive();
        this.#reading.end();
        if (this.#isOver) return;
        addBallast(frames);
        this.#events.onMessage(frames);
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
