// The peers of a side, each over the connection that it made: REQ, DEALER and ROUTER at both ports,
// REP at the backend beside them. ROUTER and REP refuse each other (the ZMTP socket-type check), so whether
// we are a ROUTER or a DEALER is said once the peer has said what it is; under CURVE, who it is too.
import type { Access } from "../base/access.js";
import { encodeZ85 } from "../base/z85.js";
import { Connection, type ConnectionEnd } from "../zmtp/connection.js";
import type { CurveSession } from "../zmtp/curve-session.js";
import { encodeProperties, encodeReady, encodeReady2 } from "../zmtp/encode.js";
import { greetingSize, knowsPing } from "../zmtp/greeting.js";
import { type CurveListening, refusePeer } from "../zmtp/handshake.js";
import { Heartbeat } from "../zmtp/heartbeat.js";
import { type Accepted, Listener, type ListenerRefusal } from "../zmtp/listener.js";
import type { Outbox } from "./outbox.js";
import { PlainDialogue, type PlainFault } from "./plain-dialogue.js";
import type { PlainWorker } from "./plain-worker.js";
import { Port, type PortEvents, type PortOptions } from "./port.js";

/** Why a connection was refused or dropped. Stable names: counters are keyed by them. */
export type NetRefusal =
  | ListenerRefusal
  | "socket-type"
  | "unauthenticated" // The key is not in the access file.
  | "revoked" // The key is no longer in the access file.
  | PlainFault
  | Exclude<ConnectionEnd, "closed">;

/** What becomes of REP sockets, where they are served. */
export interface RepEvents {
  /** Ready for a request. */
  onPlainWorker(worker: PlainWorker): void;
  /** The parts of its reply's body. */
  onPlainReply(worker: PlainWorker, parts: Buffer[]): void;
  /** Exactly once for each onPlainWorker. */
  onPlainGone(worker: PlainWorker): void;
}

/** Who comes in under CURVE. */
export interface PortCurve extends CurveListening {
  /** Who has this key, Z85; undefined where it may not come in. */
  find(key: string): Access | undefined;
  /** `key` where one was shown, `name` where that is known. */
  onRefused(reason: NetRefusal, remote: string, key?: string, name?: string): void;
}

export interface NetPortOptions extends PortOptions {
  /** Connections at each endpoint. */
  connectionsMax: number;
  /** Unfinished handshakes, of connectionsMax. Default 1024. */
  handshakesMax?: number;
  /** Nobody comes in without a key that is known. */
  curve?: PortCurve;
}

const NO_BYTES = Buffer.alloc(0);
/**
 * The system holds little for a peer, so one that is busy for a moment refuses at once. With the port's
 * waits between, so many refusals are 0.4 s in which nothing was read.
 */
const REFUSALS_MIN = 8;
/** How many times as long as others a peer may be silent whose one thread may be busy with its own. */
const ONE_THREAD_PATIENCE = 30;
/** The same of a worker whose pulse is not here yet, or not any more, while it may be busy with what it has. */
const NO_PULSE_PATIENCE = 5;
/** To one that is cut off: how long it may take to read why. */
const CUT_MS = 500;
/** RFC 27 (ZAP): the status of who may not come in, which libzmq takes for the reason of an ERROR. */
const NOT_LET_IN = "400";
/** Where a peer of ZMTP 2.0 has its identity, a frame, and its messages behind that. */
const IDENTITY_2_OFFSET = 12;

/** One connection: what stands for it in messages to and from the exchange, and how it is spoken to. */
class Line {
  readonly routingId: Buffer;
  readonly connection: Connection;
  /** Its last word is said, nothing is taken from it any more. */
  isCut = false;
  /** What is to be sent once it takes something again, and what it had not taken yet when it last refused. */
  blocked: Outbox | undefined;
  unsentBytes = 0;
  /** The connection whose heartbeats stand for this one's, or the one that its own stand for. */
  pulse: Line | undefined;
  pulseOf: Line | undefined;

  constructor(
    id: number,
    readonly remote: string,
    /** What its key may do, where it has shown one. */
    readonly access: Access | undefined,
    connect: (routingId: Buffer) => Connection,
  ) {
    this.routingId = Buffer.alloc(4);
    this.routingId.writeUInt32LE(id);
    this.connection = connect(this.routingId);
  }
}

/** A connection to a REP. */
interface Rep {
  readonly worker: PlainWorker;
  readonly remote: string;
  readonly access: Access | undefined;
  readonly isCut: false;
}

export class NetPort extends Port {
  protected override readonly refusalsMin = REFUSALS_MIN;
  readonly refusalCounts: ReadonlyMap<NetRefusal, number>;
  readonly #options: NetPortOptions;
  readonly #events: PortEvents;
  readonly #rep: RepEvents | undefined;
  readonly #heartbeat: Heartbeat;
  readonly #listeners: Listener[] = [];
  readonly #refusals = new Map<NetRefusal, number>();
  readonly #lines = new Map<number, Line>();
  readonly #reps = new Map<Connection, Rep>();
  #lastId = 0;
  #isTurnDue = false;
  #onEmpty: (() => void) | undefined;

  /** `rep`: where REP sockets are served. */
  constructor(options: NetPortOptions, events: PortEvents, rep?: RepEvents) {
    super(events);
    this.#options = options;
    this.#events = events;
    this.#rep = rep;
    this.#heartbeat = new Heartbeat(options.heartbeatIntervalMs, options.heartbeatTimeoutMs);
    this.refusalCounts = this.#refusals;
  }

  /** Starts to listen and resolves with the endpoint, the real port in it; rejects with a one-line Error. */
  async listen(endpoint: string): Promise<string> {
    const { handshakeTimeoutMs, connectionsMax, handshakesMax, curve } = this.#options;
    const mechanism = curve === undefined ? "NULL" : "CURVE";
    let readyCount = 0;
    const listener = await Listener.listen(
      { endpoint, mechanism, curve, handshakeTimeoutMs, connectionsMax, handshakesMax },
      {
        onReady: (accepted) => {
          const isTaken = this.#onReady(accepted, () => readyCount--);
          if (isTaken) readyCount++;
        },
        onRefused: (reason, remote) => this.#refuse(reason, remote),
        readyCount: () => readyCount,
      },
    );
    this.#listeners.push(listener);
    return listener.endpoint;
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    const handshakeCount = this.#listeners.reduce((sum, each) => sum + each.handshakeCount, 0);
    return handshakeCount + this.#lines.size + this.#reps.size;
  }

  accessOf(routingId: Buffer): Access | undefined {
    return this.#lines.get(routingId.readUInt32LE())?.access;
  }

  /** Cuts off whoever has a key that is not known any more, told by `tell` before; returns how many. */
  revokeUnknown(tell: (routingId: Buffer) => void): number {
    const { curve } = this.#options;
    const isUnknown = ({ isCut, access }: Pick<Line, "isCut" | "access">) =>
      !isCut && access !== undefined && curve?.find(access.key) !== access;
    // A pulse goes with its worker.
    const lines = [...this.#lines.values()].filter(({ pulseOf }) => pulseOf === undefined);
    const cut = lines.filter(isUnknown);
    for (const line of cut) {
      this.#refuse("revoked", line.remote, line.access);
      tell(line.routingId);
      this.cut(line.routingId);
    }
    const reps = [...this.#reps.values()].filter(isUnknown);
    for (const { worker, remote, access } of reps) {
      this.#refuse("revoked", remote, access);
      worker.close();
    }
    return cut.length + reps.length;
  }

  override cut(routingId: Buffer): void {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined || line.isCut) return;
    line.isCut = true;
    line.connection.finish(CUT_MS);
  }

  override onOneThread(routingId: Buffer, hasPulse: boolean): void {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined) return;
    line.connection.patience = hasPulse ? NO_PULSE_PATIENCE : ONE_THREAD_PATIENCE;
  }

  override onPulse(pulseId: Buffer, workerId: Buffer): boolean {
    const pulse = this.#lines.get(pulseId.readUInt32LE());
    const worker = this.#lines.get(workerId.readUInt32LE());
    if (pulse === undefined || worker === undefined || pulse === worker) return false;
    // A session is no secret: another key's connection must not say how this one's worker is.
    if (pulse.access !== worker.access) return false;
    if (worker.pulse === pulse) return true;
    // Of one that stood for another too, nobody would know when to ask that one again.
    if (pulse.pulseOf !== undefined) return false;
    // One that libzmq makes anew finds the old one not ended yet.
    worker.pulse?.connection.close();
    pulse.pulseOf = worker;
    worker.pulse = pulse;
    worker.connection.patience = Infinity;
    return true;
  }

  /** A connection that others stand for, or that stands for another, has ended. */
  #onPulseEnd(line: Line, why: ConnectionEnd): void {
    const { pulse, pulseOf } = line;
    pulse?.connection.close();
    if (pulseOf?.pulse !== line) return;
    pulseOf.pulse = undefined;
    if (why === "silent") pulseOf.connection.endAs(why);
    else pulseOf.connection.patience = NO_PULSE_PATIENCE;
  }

  override close(): void {
    super.close(0);
  }

  /**
   * Stops listening and ends every connection; what was sent before still goes out, for at most `lingerMs`.
   * Resolves when none is left.
   */
  async end(lingerMs: number): Promise<void> {
    this.close();
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const { connection } of this.#lines.values()) connection.finish(lingerMs);
    for (const connection of this.#reps.keys()) connection.close();
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      this.#tellEmpty();
    });
    await closed;
  }

  protected transmit(
    routingId: Buffer,
    message: readonly Uint8Array[],
    outbox?: Outbox,
  ): boolean | undefined {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined || line.isCut || line.connection.isEnded) return undefined;
    if (line.connection.isBlocked) {
      // What is sent once is not tried again, and is no reason to forget what is.
      if (outbox === undefined) return false;
      const { unsentBytes } = line.connection;
      if (unsentBytes < line.unsentBytes) outbox.refusedCount = 0;
      line.unsentBytes = unsentBytes;
      line.blocked = outbox;
      return false;
    }
    line.connection.send(message);
    return true;
  }

  /** Returns whether it is served; `onGone` is called when it is no more. */
  #onReady(accepted: Accepted, onGone: () => void): boolean {
    const { peer, socketType, version, remote } = accepted;
    const access = this.#admit(accepted);
    if (access === null) return false;
    switch (socketType) {
      case "DEALER":
      case "ROUTER":
      case "REQ":
        this.#addLine(accepted, access, onGone);
        return true;
      case "REP":
        if (this.#rep === undefined) break;
        this.#addRep(accepted, access, this.#rep, onGone);
        return true;
      default:
    }
    // ZMTP 2.0 has no words for it.
    if (version === 2) peer.destroy();
    else {
      const served = this.#rep === undefined ? "REQ or DEALER" : "DEALER or REP";
      refusePeer(peer, `${socketType} sockets are not served here, use ${served}`);
    }
    this.#refuse("socket-type", remote, access);
    return false;
  }

  /** What it may do, undefined where nobody shows a key; null for one that may not come in, and is told. */
  #admit({ peer, remote, curve }: Accepted): Access | undefined | null {
    if (curve === undefined) return undefined;
    const key = encodeZ85(curve.key);
    const access = this.#options.curve?.find(key);
    if (access !== undefined) return access;
    refusePeer(peer, NOT_LET_IN);
    this.#refuse("unauthenticated", remote, { key, name: "" });
    return null;
  }

  #addLine(accepted: Accepted, access: Access | undefined, onGone: () => void): void {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#lines.has(this.#lastId));
    const id = this.#lastId;
    const { peer, remote } = accepted;
    const { ready, bytes, session } = openingOf(accepted, "ROUTER");
    const line: Line = new Line(id, remote, access, (routingId) =>
      this.#connect(accepted, session, [routingId], {
        onMessage: (parts) => {
          if (!this.isClosed) this.#events.onMessage(parts);
        },
        onDrained: () => {
          const { blocked } = line;
          line.blocked = undefined;
          if (blocked !== undefined) this.unblock(blocked);
        },
        onGone: (why) => {
          this.#lines.delete(id);
          onGone();
          this.#onPulseEnd(line, why);
          // As a ROUTER tells of a disconnection.
          if (!this.isClosed) this.#events.onMessage([line.routingId, NO_BYTES]);
        },
      }),
    );
    this.#lines.set(id, line);
    line.connection.accept(peer, ready, bytes);
  }

  #addRep(
    accepted: Accepted,
    access: Access | undefined,
    events: RepEvents,
    onGone: () => void,
  ): void {
    this.#lastId = (this.#lastId + 1) >>> 0;
    const dialogue = new PlainDialogue(this.#lastId);
    const { peer, remote } = accepted;
    const { ready, bytes, session } = openingOf(accepted, "DEALER");
    const connection = this.#connect(accepted, session, [], {
      onMessage: (parts) => {
        const reply = dialogue.read(parts);
        if (reply === "stale") return;
        if (typeof reply !== "string") return events.onPlainReply(worker, reply);
        this.#refuse(reply, remote, access);
        connection.close();
      },
      onGone: () => {
        this.#reps.delete(connection);
        onGone();
        events.onPlainGone(worker);
      },
    });
    const worker: PlainWorker = {
      id: this.#lastId,
      access,
      send: (parts) => {
        if (!connection.isEnded) connection.send(dialogue.begin(parts));
      },
      close: () => connection.close(),
    };
    this.#reps.set(connection, { worker, remote, access, isCut: false });
    connection.accept(peer, ready, bytes);
    events.onPlainWorker(worker);
  }

  #connect(
    { bytes, version, remote }: Accepted,
    curve: CurveSession | undefined,
    head: readonly Buffer[],
    on: { onMessage(parts: Buffer[]): void; onDrained?(): void; onGone(why: ConnectionEnd): void },
  ): Connection {
    // Of ZMTP 2.0 the identity comes first, and looks like a message.
    let isIdentity = version === 2;
    return new Connection(
      {
        version,
        knowsPing: knowsPing(bytes),
        messageBytesMax: this.#options.messageBytesMax,
        heartbeat: this.#heartbeat,
        head,
        curve,
      },
      {
        onMessage: (parts) => {
          if (isIdentity) isIdentity = false;
          else on.onMessage(parts);
        },
        onRead: this.#onRead,
        onDrained: on.onDrained,
        onEnd: (why) => {
          if (why !== "closed" && !this.isClosed) this.#refuse(why, remote);
          on.onGone(why);
          this.#onRead();
          this.#tellEmpty();
        },
      },
    );
  }

  /**
   * What a turn of the event loop has read, of all connections, is answered once it has read all: each peer
   * gets one batch then, not one for each who caused something.
   */
  #onRead = (): void => {
    if (this.#isTurnDue || this.isClosed) return;
    this.#isTurnDue = true;
    setImmediate(this.#onTurn);
  };

  #onTurn = (): void => {
    this.#isTurnDue = false;
    if (!this.isClosed) this.#events.onTurn();
  };

  #tellEmpty(): void {
    if (this.#lines.size + this.#reps.size === 0) this.#onEmpty?.();
  }

  /** Counts it and, where whoever comes in has a key, tells it. */
  #refuse(reason: NetRefusal, remote: string, peer?: Pick<Access, "key" | "name">): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    this.#options.curve?.onRefused(reason, remote, peer?.key, peer?.name);
  }
}

/** How a connection is taken over: what we say first, what came behind the handshake, and what it is under. */
interface Opening {
  ready: Buffer;
  bytes: Buffer;
  session: CurveSession | undefined;
}

/** For one that we are a socket of type `as` for. */
function openingOf({ bytes, rest, version, curve }: Accepted, as: string): Opening {
  if (curve !== undefined) {
    return { ...curve.server.ready(encodeProperties(as)), bytes: rest };
  }
  // READY is read once more, and passed over.
  const [ready, start] =
    version === 2 ? [encodeReady2(as), IDENTITY_2_OFFSET] : [encodeReady(as), greetingSize];
  return { ready, bytes: bytes.subarray(start), session: undefined };
}
