import { Dealer } from "zeromq";
import { BatchWriter } from "../wire/batch.js";
import { Role } from "../wire/layout.js";
import { writeHello } from "../wire/session-record.js";
import { curveOptions } from "./curve.js";
import type { LinkOptions } from "./link.js";
import type { Session } from "./session.js";

/**
 * A second connection of a worker to its broker, over which nothing is said but that it is one (PROTOCOL
 * 2.5). The thread of libzmq's that it has answers the broker's PING, so that a worker whose handler
 * computes for a minute is not taken for dead, and a stopped one is.
 */
export class Pulse {
  readonly #socket: Dealer;
  readonly #session: Session;

  /** `endpoint`: where the worker's own connection went, for libzmq tries one address of a name only. */
  constructor(endpoint: string, options: LinkOptions, session: Session) {
    this.#session = session;
    this.#socket = new Dealer({
      ipv6: endpoint.startsWith("tcp://["),
      ...(options.curve === undefined ? {} : curveOptions(options.curve)),
      linger: 0,
      // Never told anything: what comes all the same is not read, and not kept either.
      receiveHighWaterMark: 1,
      heartbeatInterval: options.heartbeatIntervalMs,
      heartbeatTimeout: options.heartbeatTimeoutMs,
      heartbeatTimeToLive: options.heartbeatTimeoutMs,
    });
    void this.#watch();
    this.#socket.connect(endpoint);
    // At once, for libzmq's thread to send when it is connected: this one may have a request to compute by then.
    this.#say();
  }

  close(): void {
    this.#socket.close();
  }

  /** Says whose it is on each connection that libzmq makes behind the first. */
  async #watch(): Promise<void> {
    let count = 0;
    try {
      for await (const event of this.#socket.events) {
        if (event.type === "handshake" && count++ > 0) this.#say();
      }
    } catch {
      // Closed.
    }
  }

  #say(): void {
    const writer = new BatchWriter();
    const nothing = { concurrency: 0, services: [], isOneThread: false };
    writeHello(writer, { role: Role.PULSE, ...this.#session, ...nothing });
    // Rejects when it is closed, or has not sent the one before.
    this.#socket.send(writer.finish() as Buffer[]).catch(() => {});
  }
}
