// The backend's front door: REP and DEALER workers on one port.
//
// ROUTER refuses REP (the ZMTP socket-type check), so the port is listened on by node:net. Each
// connection's socket type is read from its handshake, then it is joined to a ZeroMQ socket that
// suits it, byte for byte, and ZeroMQ does all the protocol, heartbeats included:
//
//   DEALER, ROUTER, REQ --+                +--> the shared ROUTER
//                         +-- acceptor ----+
//   REP ------------------+                +--> a DEALER of its own: a PlainWorker
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer, type NetConnectOpts, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BytePipe } from "./byte-pipe.js";
import {
  connectOptions,
  listenError,
  listenOn,
  parseEndpoint,
  unixPathSizeMax,
} from "./listen-endpoint.js";
import { PeerHandshake, refusePeer } from "./peer-handshake.js";
import { PlainDealer, type PlainFault, type PlainWorker } from "./plain-worker.js";
import type { HandshakeFault, ZmtpVersion } from "./zmtp.js";

export type { PlainWorker } from "./plain-worker.js";

/** Why a connection was refused or dropped. Stable names: counters are keyed by them. */
export type RefusalReason =
  | HandshakeFault
  | PlainFault
  | "handshake-timeout"
  | "closed-early" // Closed by the peer before its READY: a port scan, a health check.
  | "socket-type"
  | "connections-max"
  | "handshakes-max" // The oldest unfinished handshake gave way to a newer connection.
  | "upstream" // Our own private socket could not be had or did not answer.
  | "accept"; // The system could not accept: out of file descriptors.

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
  maxMessageSize: number; // Bytes of one part of a plain reply; -1 for no limit.
  events: AcceptorEvents;
}

/** A connection whose handshake told what it is. */
interface Connection {
  peer: Socket;
  remote: string;
  bytes: Buffer; // All that was read of it.
  version: ZmtpVersion;
}

// Above the length of the system's accept queue that node:net drains in one turn (511 and up),
// so that a burst of honest workers does not push out its own.
const handshakesMaxDefault = 1024;

const mechanism = "NULL";

export class Acceptor {
  readonly endpoint: string;
  readonly refusalCounts: ReadonlyMap<RefusalReason, number>;
  #options: AcceptorOptions;
  #server: Server;
  #folder: string;
  #router: NetConnectOpts;
  #refusals: Map<RefusalReason, number>;
  #handshakes = new Map<PeerHandshake, string>(); // To the remote address. Oldest first.
  #pipes = new Set<BytePipe>();
  #workers = new Set<PlainDealer>();
  #lastId = 0;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  /** Rejects with a RangeError for a bad option, else an Error with the system's `code`. */
  static async listen(options: AcceptorOptions): Promise<Acceptor> {
    const endpoint = parseEndpoint("endpoint", options.endpoint);
    const router = connectOptions(parseEndpoint("routerEndpoint", options.routerEndpoint));
    for (const name of ["heartbeatIntervalMs", "heartbeatTimeoutMs", "handshakeTimeoutMs"] as const)
      requireCount(name, options[name]);
    requireCount("connectionsMax", options.connectionsMax);
    if (options.handshakesMax !== undefined) requireCount("handshakesMax", options.handshakesMax);
    if (options.maxMessageSize !== -1) requireCount("maxMessageSize", options.maxMessageSize);

    const server = createServer({ noDelay: true });
    try {
      const resolved = await listenOn(server, endpoint);
      return new Acceptor(options, resolved, router, server, makeFolder());
    } catch (error) {
      server.close();
      throw listenError(options.endpoint, error);
    }
  }

  private constructor(
    options: AcceptorOptions,
    endpoint: string,
    router: NetConnectOpts,
    server: Server,
    folder: string,
  ) {
    this.#options = options;
    this.endpoint = endpoint;
    this.#router = router;
    this.#server = server;
    this.#folder = folder;
    this.refusalCounts = this.#refusals = new Map();
    server.on("connection", (peer) => this.#onConnection(peer));
    server.on("error", () => this.#refuse("accept", "unknown"));
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    return this.#handshakes.size + this.#pipes.size;
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
    const listenerClosed = new Promise((resolve) => this.#server.close(resolve));
    for (const handshake of this.#handshakes.keys()) handshake.abort();
    this.#handshakes.clear();
    for (const worker of this.#workers) worker.close();
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
        if (this.#pipes.size + this.#workers.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onIdle();
    });
  }

  #onConnection(peer: Socket): void {
    const remote = peer.remoteAddress ? `${peer.remoteAddress}:${peer.remotePort}` : "ipc";
    if (this.#closing !== null) {
      peer.destroy();
      return;
    }
    if (this.connectionCount >= this.#options.connectionsMax) {
      peer.on("error", () => {});
      peer.destroy();
      this.#refuse("connections-max", remote);
      return;
    }
    const handshakesMax = this.#options.handshakesMax ?? handshakesMaxDefault;
    if (this.#handshakes.size >= handshakesMax) {
      // The oldest goes: refusing the newest would let idle connections lock out every worker.
      const [[oldest, oldestRemote]] = this.#handshakes;
      oldest.abort();
      this.#handshakes.delete(oldest);
      this.#refuse("handshakes-max", oldestRemote);
    }
    const handshake = new PeerHandshake({
      peer,
      mechanism,
      timeoutMs: this.#options.handshakeTimeoutMs,
      onReady: (socketType, bytes, version) => {
        this.#handshakes.delete(handshake);
        this.#onReady(socketType, { peer, remote, bytes, version });
      },
      onRefused: (reason) => {
        this.#handshakes.delete(handshake);
        this.#refuse(reason, remote);
      },
    });
    this.#handshakes.set(handshake, remote);
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
        this.#addPlainWorker(connection);
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

  #addPlainWorker(connection: Connection): void {
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

function requireCount(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1 || value > 0x7fffffff) {
    throw new RangeError(`${name} must be 1..${0x7fffffff}, got ${value}`);
  }
}

/** A folder that only this user may enter (mode 0700), its name short enough for sockets in it. */
function makeFolder(): string {
  if (process.platform === "win32") return mkdtempSync(join(tmpdir(), "wq-"));
  const fits = Buffer.byteLength(tmpdir()) + "/wq-XXXXXX/4294967296".length <= unixPathSizeMax;
  return mkdtempSync(join(fits ? tmpdir() : "/tmp", "wq-"));
}

function privateEndpoint(folder: string, id: number): string {
  return process.platform === "win32" ? "tcp://127.0.0.1:*" : `ipc://${folder}/${id}`;
}
