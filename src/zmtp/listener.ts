// A port that peers connect to: node:net accepts, each handshake is read as far as it goes in clear,
// and what has shown to speak ZMTP is handed on. Neither silence nor a flood takes more than its bounds.
import { createServer, type Server, type Socket } from "node:net";
import { listenError, listenOn, parseEndpoint } from "./endpoint.js";
import {
  type CurveListening,
  type Greeted,
  type HandshakeRefusal,
  PeerHandshake,
} from "./handshake.js";

/** Why a connection did not come to be served. Stable names: counters are keyed by them. */
export type ListenerRefusal =
  | HandshakeRefusal
  | "connections-max"
  | "handshakes-max" // The oldest unfinished handshake gave way to a newer connection.
  | "accept"; // The system could not accept: out of file descriptors.

export interface ListenerOptions {
  endpoint: string; // tcp://host:port, port 0 or * for any; ipc://path
  /** Whoever comes must speak CURVE. */
  curve?: CurveListening;
  handshakeTimeoutMs: number;
  connectionsMax: number;
  handshakesMax?: number; // Unfinished ones, of connectionsMax. Default 1024.
}

/** A connection whose handshake told what it is. */
export interface Accepted extends Greeted {
  remote: string;
}

export interface ListenerEvents {
  onReady(accepted: Accepted): void;
  onRefused(reason: ListenerRefusal, remote: string): void;
  /** Connections that came out of `onReady` and still stand. */
  readyCount(): number;
}

// Above the length of the system's accept queue that node:net drains in one turn (511 and up),
// so that a burst of honest workers does not push out its own.
const handshakesMaxDefault = 1024;

export class Listener {
  readonly endpoint: string;
  readonly #options: ListenerOptions;
  readonly #events: ListenerEvents;
  readonly #server: Server;
  readonly #handshakes = new Map<PeerHandshake, string>(); // To the remote address. Oldest first.
  #isClosed = false;

  /** Rejects with a RangeError for a bad option, else an Error with the system's `code`. */
  static async listen(options: ListenerOptions, events: ListenerEvents): Promise<Listener> {
    const endpoint = parseEndpoint("endpoint", options.endpoint);
    requireCount("handshakeTimeoutMs", options.handshakeTimeoutMs);
    requireCount("connectionsMax", options.connectionsMax);
    if (options.handshakesMax !== undefined) requireCount("handshakesMax", options.handshakesMax);
    const server = createServer({ noDelay: true });
    try {
      const resolved = await listenOn(server, endpoint);
      return new Listener(options, events, resolved, server);
    } catch (error) {
      server.close();
      throw listenError(options.endpoint, error);
    }
  }

  private constructor(
    options: ListenerOptions,
    events: ListenerEvents,
    endpoint: string,
    server: Server,
  ) {
    this.#options = options;
    this.#events = events;
    this.endpoint = endpoint;
    this.#server = server;
    server.on("connection", (peer) => this.#onConnection(peer));
    server.on("error", () => events.onRefused("accept", "unknown"));
  }

  /** Connections in their handshake. */
  get handshakeCount(): number {
    return this.#handshakes.size;
  }

  /** Stops listening and drops what is in its handshake. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const handshake of this.#handshakes.keys()) handshake.abort();
    this.#handshakes.clear();
    await closed;
  }

  /** Of those that have done nothing for it yet, where there are any. */
  #oldest(): [PeerHandshake, string] {
    for (const entry of this.#handshakes) if (!entry[0].isWelcome) return entry;
    const [entry] = this.#handshakes;
    return entry;
  }

  #onConnection(peer: Socket): void {
    const remote = peer.remoteAddress ? `${peer.remoteAddress}:${peer.remotePort}` : "ipc";
    if (this.#isClosed) {
      peer.destroy();
      return;
    }
    if (this.#handshakes.size + this.#events.readyCount() >= this.#options.connectionsMax) {
      peer.on("error", () => {});
      peer.destroy();
      this.#events.onRefused("connections-max", remote);
      return;
    }
    const handshakesMax = this.#options.handshakesMax ?? handshakesMaxDefault;
    if (this.#handshakes.size >= handshakesMax) {
      // The oldest goes: refusing the newest would let idle connections lock out every worker.
      const [oldest, oldestRemote] = this.#oldest();
      oldest.abort();
      this.#handshakes.delete(oldest);
      this.#events.onRefused("handshakes-max", oldestRemote);
    }
    const handshake = new PeerHandshake({
      peer,
      curve: this.#options.curve,
      timeoutMs: this.#options.handshakeTimeoutMs,
      onReady: (greeted) => {
        this.#handshakes.delete(handshake);
        this.#events.onReady({ ...greeted, remote });
      },
      onRefused: (reason) => {
        this.#handshakes.delete(handshake);
        this.#events.onRefused(reason, remote);
      },
    });
    this.#handshakes.set(handshake, remote);
  }
}

export function requireCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > 0x7fffffff) {
    throw new RangeError(`${name} must be 1..${0x7fffffff}, got ${value}`);
  }
}
