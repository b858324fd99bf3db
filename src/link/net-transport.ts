import { connect, isIP, type Socket } from "node:net";
import { RECORD_BYTES_CEILING, RECORD_ROOM_BYTES } from "../base/record-sizes.js";
import { Connection, type ConnectionEnd } from "../zmtp/connection.js";
import { connectOptions, parseEndpoint } from "../zmtp/endpoint.js";
import { Heartbeat } from "../zmtp/heartbeat.js";
import { readingInto } from "../zmtp/reading.js";
import type { LinkOptions } from "./link.js";
import { CurveHandshake, type Met, type NetHandshake, NullHandshake } from "./net-handshake.js";

/** Of a message of the broker's before it has said how much it takes. */
const UNWELCOME_BYTES_MAX = RECORD_BYTES_CEILING + RECORD_ROOM_BYTES;

const endings: Readonly<Record<ConnectionEnd, string>> = {
  closed: "disconnect",
  silent: "the broker was silent for too long",
  "peer-error": "the broker refuses this connection",
  "frame-malformed": "broker sent nonsense: a frame of ZMTP that is none",
  "message-too-large": "broker sent a message that is too large, or has too many parts",
  "message-refused": "a message was not sealed by the broker for this connection",
};

export interface TransportEvents {
  /** The handshake is done: messages go out and come in. */
  onOpen(): void;
  /** Frames of less than OWN_FRAME_BYTES_MIN are good until this returns. */
  onMessage(frames: Buffer[]): void;
  /** It is over, and why. Exactly once, unless it is closed before; what had come in was handed on. */
  onLost(reason: string): void;
}

/**
 * One connection to a broker, once made and never again: as a DEALER over node:net, with the NULL mechanism
 * or with CURVE.
 */
export class NetTransport {
  readonly #options: LinkOptions;
  readonly #events: TransportEvents;
  #handshake: NetHandshake | undefined;
  #socket: Socket | undefined;
  #connection: Connection | undefined;
  #error = "";
  #isOver = false;
  #onDrained: (() => void) | undefined;

  constructor(options: LinkOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    const { curve } = options;
    if (curve === undefined) this.#connect(new NullHandshake());
    else {
      CurveHandshake.begin(curve)
        .then((handshake) => this.#connect(handshake))
        .catch((error) => this.#lost((error as Error).message));
    }
  }

  #connect(handshake: NetHandshake): void {
    if (this.#isOver) return handshake.end();
    this.#handshake = handshake;
    const to = connectOptions(parseEndpoint("endpoint", this.#options.endpoint));
    const socket = connect({ ...to, onread: readingInto((bytes) => this.#take(bytes)) });
    this.#socket = socket;
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
    socket.write(handshake.first);
  }

  /**
   * Sends one message; undefined when the next may follow at once, else a promise that resolves when it may.
   * Not to be called before `onOpen`, nor while the promise is pending.
   */
  send(message: Uint8Array[]): Promise<void> | undefined {
    const connection = this.#connection as Connection;
    connection.send(message);
    if (!connection.isBlocked) return undefined;
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  /** Ends it, without a word to the events; what was sent still goes out, for at most `lingerMs`. */
  close(lingerMs: number): void {
    this.#isOver = true;
    if (this.#connection === undefined) this.#socket?.destroy();
    else this.#connection.finish(lingerMs);
    this.#handshake?.end();
    this.#onDrained?.();
  }

  /** The broker's endpoint as this connection found it: of a host's name, the address that it stood for. */
  get peerEndpoint(): string {
    const { endpoint } = this.#options;
    const parsed = parseEndpoint("endpoint", endpoint);
    const { remoteAddress, remoteFamily } = this.#socket ?? {};
    if (parsed.kind === "ipc" || isIP(parsed.host) !== 0 || remoteAddress === undefined) {
      return endpoint;
    }
    const host = remoteFamily === "IPv6" ? `[${remoteAddress}]` : remoteAddress;
    return `tcp://${host}:${parsed.port}`;
  }

  /** The largest record that the broker takes, which is the largest that it sends. */
  welcomed(recordMax: number): void {
    this.#connection?.limit(recordMax + RECORD_ROOM_BYTES);
  }

  #take(bytes: Buffer): boolean {
    if (this.#connection !== undefined) return this.#connection.take(bytes);
    if (!this.#isOver) this.#onMet((this.#handshake as NetHandshake).take(bytes));
    return true;
  }

  #onMet(met: Met): void {
    switch (met.state) {
      case "partial":
        if (met.answer !== undefined) this.#socket?.write(met.answer);
        return;
      case "lost":
        return this.#lost(met.reason);
      case "open":
        return this.#open(met);
      default:
        met satisfies never;
    }
  }

  #open({ knowsPing, session, rest }: Extract<Met, { state: "open" }>): void {
    const { heartbeatIntervalMs, heartbeatTimeoutMs } = this.#options;
    const socket = this.#socket as Socket;
    this.#connection = new Connection(
      {
        version: 3,
        knowsPing,
        messageBytesMax: UNWELCOME_BYTES_MAX,
        heartbeat: new Heartbeat(heartbeatIntervalMs, heartbeatTimeoutMs),
        curve: session,
      },
      {
        onMessage: (frames) => {
          if (!this.#isOver) this.#events.onMessage(frames);
        },
        onDrained: () => this.#onDrained?.(),
        onEnd: (why) => this.#lost(endings[why]),
      },
    );
    this.#handshake?.end();
    socket.off("close", this.#onClose);
    this.#connection.attach(socket);
    this.#events.onOpen();
    if (!this.#isOver && rest.length > 0) this.#connection.take(rest);
  }

  #onError = (error: NodeJS.ErrnoException): void => {
    this.#error = error.code === "ECONNREFUSED" ? "connection refused" : error.message;
  };

  #onClose = (): void => {
    const { closedReason } = this.#handshake as NetHandshake;
    this.#lost(this.#error === "" ? closedReason : this.#error);
  };

  #lost(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket?.destroy();
    this.#handshake?.end();
    this.#events.onLost(reason);
    this.#onDrained?.();
  }
}
