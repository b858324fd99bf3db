// The peers of a side, each over the connection that it made: REQ, DEALER and ROUTER at both ports,
// REP at the backend beside them. ROUTER and REP refuse each other (the ZMTP socket-type check), so whether
// we are a ROUTER or a DEALER is said once the peer has said what it is; under CURVE, who it is too.
import type { Access } from "../base/access.js";
import type { Connection, ConnectionEnd } from "../zmtp/connection.js";
import { Acceptor, type AcceptorOptions, type PortRefusal } from "./acceptor.js";
import type { Arrival } from "./arrival.js";
import type { Outbox } from "./outbox.js";
import { PlainDialogue } from "./plain-dialogue.js";
import type { PlainWorker } from "./plain-worker.js";
import { Port, type PortEvents, type PortOptions } from "./port.js";

/** What becomes of REP sockets, where they are served. */
export interface RepEvents {
  /** Ready for a request. */
  onPlainWorker(worker: PlainWorker): void;
  /** The parts of its reply's body. */
  onPlainReply(worker: PlainWorker, parts: Buffer[]): void;
  /** Exactly once for each onPlainWorker. */
  onPlainGone(worker: PlainWorker): void;
}

export interface NetPortOptions extends PortOptions, AcceptorOptions {}

const NO_BYTES = Buffer.alloc(0);
/** What we are to whom. */
const ROUTER = { DEALER: "ROUTER", ROUTER: "ROUTER", REQ: "ROUTER" };
const FRONTEND = { roles: ROUTER, advice: "REQ or DEALER" };
const BACKEND = { roles: { ...ROUTER, REP: "DEALER" }, advice: "DEALER or REP" };
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
    readonly arrival: Arrival,
    connect: (routingId: Buffer) => Connection,
  ) {
    this.routingId = Buffer.alloc(4);
    this.routingId.writeUInt32LE(id);
    this.connection = connect(this.routingId);
  }

  /** What its key may do, where it has shown one. */
  get access(): Access | undefined {
    return this.arrival.access;
  }
}

/** A connection to a REP. */
interface Rep {
  readonly worker: PlainWorker;
  readonly arrival: Arrival;
}

export class NetPort extends Port {
  protected override readonly refusalsMin = REFUSALS_MIN;
  readonly refusalCounts: ReadonlyMap<PortRefusal, number>;
  readonly #acceptor: Acceptor;
  readonly #events: PortEvents;
  readonly #rep: RepEvents | undefined;
  readonly #lines = new Map<number, Line>();
  readonly #reps = new Map<Connection, Rep>();
  #lastId = 0;

  /** `rep`: where REP sockets are served. */
  constructor(options: NetPortOptions, events: PortEvents, rep?: RepEvents) {
    super(events);
    this.#events = events;
    this.#rep = rep;
    this.#acceptor = new Acceptor(rep === undefined ? FRONTEND : BACKEND, options, {
      onArrival: (arrival) => this.#onArrival(arrival),
      onTurn: () => events.onTurn(),
    });
    this.refusalCounts = this.#acceptor.refusalCounts;
  }

  /** Starts to listen and resolves with the endpoint, the real port in it; rejects with a one-line Error. */
  listen(endpoint: string): Promise<string> {
    return this.#acceptor.listen(endpoint);
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    return this.#acceptor.connectionCount;
  }

  accessOf(routingId: Buffer): Access | undefined {
    const line = this.#lines.get(routingId.readUInt32LE());
    return line === undefined ? this.#acceptor.nobody : line.access;
  }

  /** Cuts off whoever has a key that is not known any more, told by `tell` before; returns how many. */
  revokeUnknown(tell: (routingId: Buffer) => void): number {
    let count = 0;
    for (const line of [...this.#lines.values()]) {
      if (line.isCut || this.#acceptor.isKnown(line.arrival)) continue;
      tell(line.routingId);
      this.cut(line.routingId);
      // A pulse is its worker's, who is counted.
      if (line.pulseOf !== undefined) continue;
      count++;
      this.#acceptor.refuse("revoked", line.arrival);
    }
    for (const { worker, arrival } of [...this.#reps.values()]) {
      if (this.#acceptor.isKnown(arrival)) continue;
      worker.close();
      count++;
      this.#acceptor.refuse("revoked", arrival);
    }
    return count;
  }

  cut(routingId: Buffer, lingerMs = CUT_MS): void {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined || line.isCut) return;
    line.isCut = true;
    line.connection.finish(lingerMs);
  }

  onOneThread(routingId: Buffer, hasPulse: boolean): void {
    const line = this.#lines.get(routingId.readUInt32LE());
    if (line === undefined) return;
    line.connection.patience = hasPulse ? NO_PULSE_PATIENCE : ONE_THREAD_PATIENCE;
  }

  onPulse(pulseId: Buffer, workerId: Buffer): boolean {
    const pulse = this.#lines.get(pulseId.readUInt32LE());
    const worker = this.#lines.get(workerId.readUInt32LE());
    if (pulse === undefined || worker === undefined || pulse === worker) return false;
    // A session is no secret: another key's connection must not say how this one's worker is.
    if (pulse.access !== worker.access) return false;
    if (worker.pulse === pulse) return true;
    // Of one that stood for another too, nobody would know when to ask that one again; and two that stood for each
    // other nobody would ask at all.
    if (pulse.pulseOf !== undefined || pulse.pulse !== undefined) return false;
    if (worker.pulseOf !== undefined) return false;
    // One that libzmq makes anew finds the old one not ended yet.
    worker.pulse?.connection.close();
    pulse.pulseOf = worker;
    worker.pulse = pulse;
    worker.connection.patience = Infinity;
    return true;
  }

  hasPulse(workerId: Buffer): boolean {
    return this.#lines.get(workerId.readUInt32LE())?.pulse !== undefined;
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
    super.close();
    this.#acceptor.close();
  }

  /**
   * Stops listening and ends every connection; what was sent before still goes out, for at most `lingerMs`.
   * Resolves when none is left.
   */
  async end(lingerMs: number): Promise<void> {
    this.close();
    for (const connection of this.#reps.keys()) connection.close();
    await this.#acceptor.end(lingerMs);
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
      if (unsentBytes < line.unsentBytes || line.connection.isSealing) outbox.refusedCount = 0;
      line.unsentBytes = unsentBytes;
      line.blocked = outbox;
      return false;
    }
    line.connection.send(message);
    return true;
  }

  #onArrival(arrival: Arrival): void {
    if (arrival.socketType === "REP") this.#addRep(arrival, this.#rep as RepEvents);
    else this.#addLine(arrival);
  }

  #addLine(arrival: Arrival): void {
    do this.#lastId = (this.#lastId + 1) >>> 0;
    while (this.#lines.has(this.#lastId));
    const id = this.#lastId;
    const line: Line = new Line(id, arrival, (routingId) =>
      arrival.connect(
        {
          onMessage: (parts) => {
            if (this.isClosed) return;
            if (line.pulseOf === undefined) return this.#events.onMessage(parts);
            // It is no worker or client beside: nothing is known of it here that could be cut off or asked.
            this.#acceptor.refuse("pulse-spoke", arrival);
            line.connection.close();
          },
          onDrained: () => {
            const { blocked } = line;
            line.blocked = undefined;
            if (blocked !== undefined) this.unblock(blocked);
          },
          onGone: (why) => {
            this.#lines.delete(id);
            this.#onPulseEnd(line, why);
            // As a ROUTER tells of a disconnection.
            if (!this.isClosed) this.#events.onMessage([line.routingId, NO_BYTES]);
          },
        },
        [routingId],
      ),
    );
    this.#lines.set(id, line);
    arrival.begin();
  }

  #addRep(arrival: Arrival, events: RepEvents): void {
    this.#lastId = (this.#lastId + 1) >>> 0;
    const dialogue = new PlainDialogue(this.#lastId);
    const connection = arrival.connect({
      onMessage: (parts) => {
        const reply = dialogue.read(parts);
        if (reply === "stale") return;
        if (typeof reply !== "string") return events.onPlainReply(worker, reply);
        this.#acceptor.refuse(reply, arrival);
        connection.close();
      },
      onGone: () => {
        this.#reps.delete(connection);
        events.onPlainGone(worker);
      },
    });
    const worker: PlainWorker = {
      id: this.#lastId,
      access: arrival.access,
      get isEnded() {
        return connection.isEnded;
      },
      send: (parts) => {
        if (!connection.isEnded) connection.send(dialogue.begin(parts));
      },
      close: () => connection.close(),
    };
    this.#reps.set(connection, { worker, arrival });
    arrival.begin();
    events.onPlainWorker(worker);
  }
}
