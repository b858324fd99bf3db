import { connect, type Socket } from "node:net";
import { Connection, type ConnectionEnd } from "../zmtp/connection.js";
import { encodeReady } from "../zmtp/encode.js";
import { connectOptions, parseEndpoint } from "../zmtp/endpoint.js";
import { encodeGreeting, greetingSize, knowsPing, readHandshake } from "../zmtp/greeting.js";
import { Heartbeat } from "../zmtp/heartbeat.js";
import { readingInto } from "../zmtp/reading.js";
import type { LinkOptions } from "./link.js";
import type { Transport, TransportEvents } from "./transport.js";

const greeting = Buffer.concat([encodeGreeting("NULL"), encodeReady("DEALER")]);

const endings: Readonly<Record<ConnectionEnd, string>> = {
  closed: "disconnect",
  silent: "the broker was silent for too long",
  "peer-error": "the broker refuses this connection",
  "frame-malformed": "broker sent nonsense: a frame of ZMTP that is none",
  "message-too-large": "broker sent a message of too many parts",
};

/** By ourselves over node:net, as a DEALER, with the NULL mechanism. */
export class NetTransport implements Transport {
  readonly #options: LinkOptions;
  readonly #events: TransportEvents;
  readonly #socket: Socket;
  #connection: Connection | undefined;
  /** What of the broker's handshake was read. */
  #read: Buffer = Buffer.alloc(0);
  #error = "";
  #isOver = false;
  #onDrained: (() => void) | undefined;

  constructor(options: LinkOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    const to = connectOptions(parseEndpoint("endpoint", options.endpoint));
    this.#socket = connect({ ...to, onread: readingInto((bytes) => this.#take(bytes)) });
    this.#socket.on("error", this.#onError);
    this.#socket.on("close", this.#onClose);
    this.#socket.write(greeting);
  }

  send(message: Uint8Array[]): Promise<void> | undefined {
    const connection = this.#connection as Connection;
    connection.send(message);
    if (!connection.isBlocked) return undefined;
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  close(lingerMs: number): void {
    this.#isOver = true;
    if (this.#connection === undefined) this.#socket.destroy();
    else this.#connection.finish(lingerMs);
    this.#onDrained?.();
  }

  #take(bytes: Buffer): boolean {
    if (this.#connection !== undefined) return this.#connection.take(bytes);
    if (!this.#isOver) this.#greet(bytes);
    return true;
  }

  #greet(bytes: Buffer): void {
    this.#read = Buffer.concat([this.#read, bytes]);
    const handshake = readHandshake(this.#read, "NULL");
    if (handshake.state === "partial") return;
    if (handshake.state === "faulty") {
      const isCurve = handshake.fault === "mechanism";
      return this.#lost(
        isCurve
          ? "UNAUTHENTICATED: the broker wants CURVE, and no keys are given"
          : `no broker is there: ${handshake.detail}`,
      );
    }
    if (handshake.version !== 3 || handshake.socketType !== "ROUTER") {
      return this.#lost(`no broker is there, but a ${handshake.socketType} socket`);
    }
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = this.#options;
    const rest = this.#read;
    this.#read = Buffer.alloc(0);
    this.#connection = new Connection(
      {
        version: 3,
        knowsPing: knowsPing(rest),
        messageBytesMax: -1,
        heartbeat: new Heartbeat(heartbeatIntervalMs, heartbeatTimeoutMs),
      },
      {
        onMessage: (frames) => {
          if (!this.#isOver) this.#events.onMessage(frames);
        },
        onDrained: () => this.#onDrained?.(),
        onEnd: (why) => this.#lost(endings[why]),
      },
    );
    this.#socket.off("close", this.#onClose);
    this.#connection.attach(this.#socket);
    this.#events.onOpen();
    // READY again, which is passed over, and what came behind it.
    if (!this.#isOver) this.#connection.take(rest.subarray(greetingSize));
  }

  #onError = (error: NodeJS.ErrnoException): void => {
    this.#error = error.code === "ECONNREFUSED" ? "connection refused" : error.message;
  };

  #onClose = (): void => {
    this.#lost(
      this.#error === "" ? "the broker closed the connection in the handshake" : this.#error,
    );
  };

  #lost(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.destroy();
    this.#events.onLost(reason);
    this.#onDrained?.();
  }
}
