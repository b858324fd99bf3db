// The backend's front door: REP and DEALER workers on one port.
//
// ROUTER refuses REP (the ZMTP socket-type check), so the port is listened on by node:net. Each
// connection's socket type is read from its handshake. A REP is spoken to by ourselves; the others are
// joined to the ROUTER, byte for byte, and ZeroMQ does all the protocol, heartbeats included:
//
//   DEALER, ROUTER, REQ --+                +--> the shared ROUTER
//   REP ------------------+-- acceptor ----+--> a PlainConnection: a PlainWorker
//   REP of ZMTP 2.0 ------+                +--> a DEALER of its own: a PlainWorker
import { rm } from "node:fs/promises";
import type { NetConnectOpts } from "node:net";
import { connectOptions, listenError, parseEndpoint, privateEndpoint } from "../zmtp/endpoint.js";
import { refusePeer } from "../zmtp/handshake.js";
import { type Connection, Listener, type ListenerRefusal, requireCount } from "../zmtp/listener.js";
import { BytePipe } from "./byte-pipe.js";
import { type ConnectionFault, PlainConnection } from "./plain-connection.js";
import { PlainDealer, type PlainWorker } from "./plain-worker.js";
import { makePrivateFolder } from "./private-folder.js";

export type { PlainWorker } from "./plain-worker.js";

/** Why a connection was refused or dropped. Stable names: counters are keyed by them. */
export type RefusalReason = ListenerRefusal | ConnectionFault | "socket-type" | "upstream"; // Our own private socket could not be had or did not answer.

export interface AcceptorEvents {
  onPlainWorker(worker: PlainWorker): void; // Handshake done, ready for a request.
  onPlainReply(worker: PlainWorker, parts: Buffer[]): void; // Body parts; envelope stripped.
  onPlainGone(worker: PlainWorker): void; // Exactly once for each onPlainWorker.
  onRefused(reason: RefusalReason, remote: string): void;
}

export interface AcceptorOptions {
  endpoint: string; // tcp://host:port, port 0 or * for any; ipc://path
  routerEndpoint: string; // Where the shared ROUTER is bound: private, ipc:// or tcp://
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number; // Also how long a connection may stall or take to close.
  handshakeTimeoutMs: number;
  connectionsMax: number;
  handshakesMax?: number; // Unfinished ones, of connectionsMax. Default 1024.
  maxMessageSize: number; // Bytes of a plain reply, all parts together; -1 for no limit.
  events: AcceptorEvents;
}

const mechanism = "NULL";

export class Acceptor {
  readonly refusalCounts: ReadonlyMap<RefusalReason, number>;
  #options: AcceptorOptions;
  #listener: Listener;
  #folder: string;
  #router: NetConnectOpts;
  #refusals: Map<RefusalReason, number>;
  #pipes = new Set<BytePipe>();
  #workers = new Set<PlainDealer>();
  #connections = new Set<PlainConnection>();
  #lastId = 0;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  /** Rejects with a RangeError for a bad option, else an Error with the system's `code`. */
  static async listen(options: AcceptorOptions): Promise<Acceptor> {
    const router = connectOptions(parseEndpoint("routerEndpoint", options.routerEndpoint));
    requireCount("heartbeatIntervalMs", options.heartbeatIntervalMs);
    requireCount("heartbeatTimeoutMs", options.heartbeatTimeoutMs);
    if (options.maxMessageSize !== -1) requireCount("maxMessageSize", options.maxMessageSize);
    let acceptor: Acceptor;
    const listener = await Listener.listen(
      { ...options, mechanism },
      {
        // Nobody connects before this function has its listener.
        onReady: (...args) => acceptor.#onReady(...args),
        onRefused: (reason, remote) => acceptor.#refuse(reason, remote),
        readyCount: () => acceptor.#pipes.size + acceptor.#connections.size,
      },
    );
    try {
      acceptor = new Acceptor(options, listener, router, makePrivateFolder());
      return acceptor;
    } catch (error) {
      await listener.close();
      throw listenError(options.endpoint, error);
    }
  }

  private constructor(
    options: AcceptorOptions,
    listener: Listener,
    router: NetConnectOpts,
    folder: string,
  ) {
    this.#options = options;
    this.#listener = listener;
    this.#router = router;
    this.#folder = folder;
    this.refusalCounts = this.#refusals = new Map();
  }

  get endpoint(): string {
    return this.#listener.endpoint;
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    return this.#listener.handshakeCount + this.#pipes.size + this.#connections.size;
  }

  /**
   * Stops listening, drops every connection, removes the private folder; idempotent. To let the
   * ROUTER's last messages out, close it first and give them `lingerMs`.
   */
  close({ lingerMs = 0 } = {}): Promise<void> {
    this.#closing ??= this.#close(lingerMs);
    return this.#closing;
  }

  async #close(lingerMs: number): Promise<void> {
    const listenerClosed = this.#listener.close();
    for (const worker of [...this.#workers, ...this.#connections]) worker.close();
    if (lingerMs > 0) await this.#idle(lingerMs);
    for (const pipe of this.#pipes) pipe.destroy();
    await this.#idle(0);
    await listenerClosed;
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Waits until nothing is left, at most `timeoutMs` unless that is 0. */
  #idle(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeoutMs > 0 ? setTimeout(resolve, timeoutMs) : undefined;
      this.#onIdle = () => {
        if (this.#pipes.size + this.#workers.size + this.#connections.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onIdle();
    });
  }

  #onReady(socketType: string, connection: Connection): void {
    const { peer, remote, version } = connection;
    switch (socketType) {
      case "DEALER":
      case "ROUTER":
      case "REQ":
        this.#openPipe(connection, this.#router);
        return;
      case "REP":
        if (version === 2) this.#addPlainDealer(connection);
        else this.#addPlainConnection(connection);
        return;
      default:
        // ZMTP 2.0 has no words for it.
        if (version === 2) peer.destroy();
        else refusePeer(peer, `${socketType} sockets are not served here, use DEALER or REP`);
        this.#refuse("socket-type", remote);
    }
  }

  #openPipe(
    { peer, remote, bytes, version }: Connection,
    upstream: NetConnectOpts,
    on: { open?(): void; upstreamClosed?(): void; failed?(): void } = {},
  ): BytePipe {
    const pipe = new BytePipe({
      peer,
      upstream,
      replay: bytes,
      mechanism,
      version,
      openTimeoutMs: this.#options.handshakeTimeoutMs,
      stallTimeoutMs: this.#options.heartbeatTimeoutMs,
      onOpen: () => on.open?.(),
      onUpstreamClosed: () => on.upstreamClosed?.(),
      onClosed: (opened) => {
        this.#pipes.delete(pipe);
        if (!opened) {
          on.failed?.();
          if (this.#closing === null) this.#refuse("upstream", remote);
        }
        this.#onIdle?.();
      },
    });
    this.#pipes.add(pipe);
    return pipe;
  }

  #addPlainConnection({ peer, remote, bytes }: Connection): void {
    const { events, heartbeatIntervalMs, heartbeatTimeoutMs, maxMessageSize } = this.#options;
    const worker = new PlainConnection({
      id: ++this.#lastId,
      peer,
      bytes,
      heartbeatIntervalMs,
      heartbeatTimeoutMs,
      maxMessageSize,
      onReply: (parts) => events.onPlainReply(worker, parts),
      onFault: (fault) => this.#refuse(fault, remote),
      onClosed: () => {
        this.#connections.delete(worker);
        events.onPlainGone(worker);
        this.#onIdle?.();
      },
    });
    this.#connections.add(worker);
    events.onPlainWorker(worker);
    worker.open();
  }

  #addPlainDealer(connection: Connection): void {
    const { peer, remote } = connection;
    const { events, heartbeatIntervalMs, heartbeatTimeoutMs, maxMessageSize } = this.#options;
    const id = ++this.#lastId;
    let isAnnounced = false;
    let worker: PlainDealer;
    try {
      worker = new PlainDealer({
        id,
        endpoint: privateEndpoint(this.#folder, id),
        heartbeatIntervalMs,
        heartbeatTimeoutMs,
        maxMessageSize,
        onReply: (parts) => events.onPlainReply(worker, parts),
        onFault: (fault) => this.#refuse(fault, remote),
        onClosed: () => {
          this.#workers.delete(worker);
          pipe.destroy();
          if (isAnnounced) events.onPlainGone(worker);
          this.#onIdle?.();
        },
      });
    } catch {
      peer.destroy();
      this.#refuse("upstream", remote);
      return;
    }
    this.#workers.add(worker);
    const upstream = connectOptions(parseEndpoint("private endpoint", worker.endpoint));
    const pipe = this.#openPipe(connection, upstream, {
      open: () => {
        isAnnounced = true;
        events.onPlainWorker(worker);
      },
      // By the peer's close, by a missed heartbeat, by a frame above maxMessageSize.
      upstreamClosed: () => worker.finish(),
      failed: () => worker.close(),
    });
  }

  #refuse(reason: RefusalReason, remote: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    this.#options.events.onRefused(reason, remote);
  }
}
