import type { Access } from "../base/access.js";
import type { StatusCode } from "../base/status.js";
import { Outbox } from "./outbox.js";
import type { PlainWorker } from "./plain-worker.js";
import type { Port } from "./port.js";

export type PeerRole =
  | "client"
  | "worker"
  | "plain-client"
  | "plain-worker"
  | "mdp-client"
  | "mdp-worker"
  | "inner";

/**
 * A part of the broker that asks for work as clients do. Told within a step of the core, into which
 * it must not call back.
 */
export interface InnerClient {
  onReply(sequence: number): void;
  /** `attempts`: how often a worker began on it. */
  onFail(
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void;
  /** What a worker knows the request by that it asked for under this number. */
  idOf(sequence: number): { sessionLow: number; sessionHigh: number; sequence: number } | undefined;
}

/** Someone that the broker knows: who said hello, or a plain socket that asked or serves. */
export class Peer {
  readonly outbox: Outbox;
  /** Of an inner one: who it is. */
  inner: InnerClient | undefined;
  /** Of a client that says no HELLO: the number of its latest request. */
  sequence = 0;
  /** Of a plain worker: the attempt that it works on. */
  slot = 0;
  generation = 0;

  constructor(
    /** What the core knows it by. */
    readonly index: number,
    readonly role: PeerRole,
    readonly sessionLow: number,
    readonly sessionHigh: number,
    readonly port: Port | undefined,
    readonly routingId: Buffer,
    readonly plainWorker: PlainWorker | undefined,
    /** What its key may do; undefined where everything is allowed, since nobody shows a key. */
    readonly access: Access | undefined,
  ) {
    this.outbox = new Outbox(index);
  }

  /** Its outbox has something that is to be sent. */
  due(): void {
    this.port?.due(this.outbox, this.routingId);
  }

  /** The same, of what was written; a batch that is large goes at once. */
  wrote(): void {
    const isLarge = this.outbox.closeLargeBatch();
    this.due();
    if (isLarge) this.port?.flush();
  }
}

const NO_ROUTING_ID = Buffer.alloc(0);
const NO_PEERS: Peer[] = [];

/** The peers by index and by where their messages come from. Indexes are reused. */
export class Peers {
  count = 0;
  /** Of these, parts of the broker. */
  innerCount = 0;
  readonly #byIndex: (Peer | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #byRoute = new Map<Port, Map<string, Peer>>();
  readonly #byPlainWorker = new Map<PlainWorker, Peer>();
  /** Native workers by their session: more than one where it has several connections, or an old one is not ended yet. */
  readonly #workers = new Map<Port, Map<string, Peer[]>>();

  at(index: number): Peer | undefined {
    return this.#byIndex[index];
  }

  ofRoute(port: Port, routingId: Buffer): Peer | undefined {
    return this.#byRoute.get(port)?.get(routingId.toString("latin1"));
  }

  ofPlainWorker(plainWorker: PlainWorker): Peer | undefined {
    return this.#byPlainWorker.get(plainWorker);
  }

  addRoute(
    port: Port,
    routingId: Buffer,
    role: PeerRole,
    sessionLow: number,
    sessionHigh: number,
  ): Peer {
    const index = this.#takeIndex();
    const access = port.accessOf(routingId);
    const peer = new Peer(index, role, sessionLow, sessionHigh, port, routingId, undefined, access);
    let routes = this.#byRoute.get(port);
    if (routes === undefined) {
      routes = new Map();
      this.#byRoute.set(port, routes);
    }
    routes.set(routingId.toString("latin1"), peer);
    this.#byIndex[index] = peer;
    if (role === "worker") this.#addWorker(peer, port);
    return peer;
  }

  #addWorker(peer: Peer, port: Port): void {
    let workers = this.#workers.get(port);
    if (workers === undefined) {
      workers = new Map();
      this.#workers.set(port, workers);
    }
    const key = sessionKey(peer.sessionLow, peer.sessionHigh);
    workers.set(key, [...(workers.get(key) ?? []), peer]);
  }

  /** The connections of the worker of this session that came by `port`, the latest last. */
  workersOf(port: Port, sessionLow: number, sessionHigh: number): readonly Peer[] {
    return this.#workers.get(port)?.get(sessionKey(sessionLow, sessionHigh)) ?? NO_PEERS;
  }

  addPlainWorker(plainWorker: PlainWorker): Peer {
    const index = this.#takeIndex();
    const { access } = plainWorker;
    const peer = new Peer(
      index,
      "plain-worker",
      0,
      0,
      undefined,
      NO_ROUTING_ID,
      plainWorker,
      access,
    );
    this.#byPlainWorker.set(plainWorker, peer);
    this.#byIndex[index] = peer;
    return peer;
  }

  addInner(inner: InnerClient): Peer {
    const index = this.#takeIndex();
    const none = NO_ROUTING_ID;
    this.innerCount++;
    const peer = new Peer(index, "inner", 0, 0, undefined, none, undefined, undefined);
    peer.inner = inner;
    this.#byIndex[index] = peer;
    return peer;
  }

  delete(peer: Peer): void {
    if (this.#byIndex[peer.index] !== peer) return;
    this.#byIndex[peer.index] = undefined;
    this.#free.push(peer.index);
    this.count--;
    if (peer.plainWorker !== undefined) this.#byPlainWorker.delete(peer.plainWorker);
    if (peer.port === undefined) return;
    this.#byRoute.get(peer.port)?.delete(peer.routingId.toString("latin1"));
    if (peer.role === "worker") this.#deleteWorker(peer, peer.port);
    peer.port.drop(peer.outbox);
  }

  #deleteWorker(peer: Peer, port: Port): void {
    const key = sessionKey(peer.sessionLow, peer.sessionHigh);
    const workers = this.#workers.get(port);
    const others = workers?.get(key)?.filter((other) => other !== peer) ?? NO_PEERS;
    if (others.length > 0) workers?.set(key, others);
    else workers?.delete(key);
  }

  *[Symbol.iterator](): Iterator<Peer> {
    for (const peer of this.#byIndex) if (peer !== undefined) yield peer;
  }

  #takeIndex(): number {
    this.count++;
    return this.#free.pop() ?? this.#byIndex.push(undefined) - 1;
  }
}

function sessionKey(low: number, high: number): string {
  return `${high}.${low}`;
}
