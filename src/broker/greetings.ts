import type { Access } from "../base/access.js";
import { Status } from "../base/status.js";
import type { BatchReader } from "../wire/batch.js";
import { Role } from "../wire/layout.js";
import { type ReadHello, readHello, writeWelcome } from "../wire/session-record.js";
import { queueService } from "../wire/text.js";
import type { Side } from "./exchange.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { Port } from "./port.js";
import { SessionOwners } from "./session-owners.js";

/** HELLO and WELCOME (PROTOCOL 2): who is at a connection, and whether it may be. */
export class Greetings {
  readonly #host: Host;
  readonly #owners = new SessionOwners();
  readonly #onWorker: (peer: Peer) => void;
  /** The message at hand had its HELLO. */
  #isSaid = false;

  /** `onWorker`: a worker has joined. */
  constructor(host: Host, onWorker: (peer: Peer) => void) {
    this.#host = host;
    this.#onWorker = onWorker;
  }

  /** A message begins. */
  begin(): void {
    this.#isSaid = false;
  }

  /** HELLO at `reader`; returns who it is of from now on. */
  onHello(
    reader: BatchReader,
    side: Side,
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
  ): Peer | undefined {
    if (this.#isSaid) {
      // To come and to go is the dearest of all that a few bytes can ask for.
      this.#host.faults.role++;
      this.#host.refuse(Status.PERMISSION_DENIED, "one HELLO a message");
      return known;
    }
    this.#isSaid = true;
    const hello = readHello(reader);
    if (typeof hello === "string") {
      this.#host.malformed(hello);
      return known;
    }
    if (hello.role === Role.PULSE) return this.#onPulse(port, routingId, known, hello);
    const role = hello.role === Role.WORKER ? "worker" : "client";
    if ((role === "worker") !== (side === "backend")) {
      this.#host.faults.role++;
      const end = role === "worker" ? "backend" : "frontend";
      this.#host.refuse(Status.PERMISSION_DENIED, `a ${role} belongs at the ${end}`);
      return known;
    }
    const { sessionLow, sessionHigh } = hello;
    if (known?.sessionLow === sessionLow && known.sessionHigh === sessionHigh) {
      this.#welcome(known);
      return known;
    }
    if (known !== undefined) this.#host.leave(known);
    if (role === "client" && this.#host.isShuttingDown) {
      this.#host.refuse(Status.UNAVAILABLE, "broker is shutting down");
      return undefined;
    }
    const access = port.accessOf(routingId);
    if (access !== undefined) {
      const reason =
        (role === "worker" ? deniedWork(access, hello) : undefined) ?? this.#claim(access, hello);
      if (reason !== undefined) {
        this.#host.refuse(Status.PERMISSION_DENIED, reason);
        return undefined;
      }
    }
    if (hello.isOneThread) port.onOneThread(routingId, role === "worker");
    const peer = this.#host.peers.addRoute(port, routingId, role, sessionLow, sessionHigh);
    this.#welcome(peer);
    const { index } = peer;
    if (role === "client") {
      this.#host.step({ kind: "join-client", peer: index });
    } else {
      const { concurrency } = hello;
      const services = [...hello.services, ...hello.queues.map(queueService)];
      this.#host.step({ kind: "join-worker", peer: index, concurrency, services, lookAhead: true });
    }
    if (this.#host.delivery.refusal !== undefined) {
      this.onLeave(peer);
      this.#host.peers.delete(peer);
      return undefined;
    }
    if (role === "worker") this.#onWorker(peer);
    return peer;
  }

  /** Its connection stands for that of a worker; nothing else is known of it. */
  #onPulse(
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
    { sessionLow, sessionHigh }: ReadHello,
  ): Peer | undefined {
    const workers = this.#host.peers.workersOf(port, sessionLow, sessionHigh);
    // Connected to several endpoints of ours it has a connection and a pulse by each.
    const worker = workers.findLast(({ routingId }) => !port.hasPulse(routingId)) ?? workers.at(-1);
    if (known !== undefined || worker === undefined || !port.onPulse(routingId, worker.routingId)) {
      this.#host.faults.role++;
      this.#host.refuse(
        Status.PERMISSION_DENIED,
        "no worker of this session is here to be the pulse of",
      );
    }
    return known;
  }

  /** Takes the session of `hello` for the key of `access`; why not, where it is another's. */
  #claim({ key }: Access, { sessionLow, sessionHigh }: ReadHello): string | undefined {
    const isOurs = this.#owners.claim(sessionLow, sessionHigh, key, this.#host.delivery.nowMs);
    if (isOurs) return undefined;
    this.#host.faults.denied++;
    return "this session is that of another key";
  }

  #welcome(peer: Peer): void {
    // To a client that is known already, what it was told last.
    const inFlightMax =
      this.#host.core.client(peer.index)?.credit ?? this.#host.limits.clientInFlightMax;
    const recordMax = this.#host.limits.recordBytesMax;
    writeWelcome(peer.outbox.writer, { ...this.#host.brokerId, inFlightMax, recordMax });
    peer.due();
  }

  /** The session of `peer`, which is gone, is its key's for a while yet. */
  onLeave({ access, sessionLow, sessionHigh }: Peer): void {
    if (access === undefined) return;
    this.#owners.release(sessionLow, sessionHigh, access.key, this.#host.delivery.nowMs);
  }
}

/** Why a worker may not do what it says it does; undefined where it may. */
function deniedWork(access: Access, { services, queues }: ReadHello): string | undefined {
  for (const service of services) {
    const reason = access.denial("serve", service);
    if (reason !== undefined) return reason;
  }
  for (const queue of queues) {
    const reason = access.denial("pull", queue);
    if (reason !== undefined) return reason;
  }
  return undefined;
}
