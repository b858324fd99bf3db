import { randomBytes } from "node:crypto";
import { Status } from "../base/status.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { DEFAULT_SERVICE, NO_RECORD } from "../wire/layout.js";
import { bytesOf } from "../wire/request-record.js";
import { plainFailure } from "./delivery.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainWorker } from "./plain-worker.js";
import type { Port } from "./port.js";
import { bodyFault, rawReply, rawRequest } from "./raw-records.js";
import { failAttempt } from "./request-records.js";

const DEFAULT_SERVICE_BYTES = Buffer.from(DEFAULT_SERVICE);

/** REQ clients and REP workers (PROTOCOL 4): their messages to records and commands. */
export class PlainPeers {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  /** A message of a REQ: `body` is what stands behind the empty frame. */
  onRequest(port: Port, routingId: Buffer, known: Peer | undefined, body: Buffer[]): void {
    if (known !== undefined && known.role !== "plain-client") {
      this.#host.faults.role++;
      const reason = "one that said HELLO sends batches";
      const status = Status.PERMISSION_DENIED;
      this.#host.tell(port, routingId, known, { status, reason, record: NO_RECORD });
      return;
    }
    const why = bodyFault(body, this.#host.limits);
    if (why !== undefined) {
      this.#host.faults.malformed++;
      port.sendOnce(routingId, plainFailure(Status.INVALID_ARGUMENT, `request ${why}`));
      return;
    }
    const access = known === undefined ? port.accessOf(routingId) : known.access;
    const denial = access?.denial("call", DEFAULT_SERVICE);
    if (denial !== undefined) {
      port.sendOnce(routingId, plainFailure(Status.PERMISSION_DENIED, denial));
      return;
    }
    const peer = known ?? this.welcomeClient(port, routingId, "plain-client");
    const sequence = ++peer.sequence;
    const held = rawRequest(peer, sequence, DEFAULT_SERVICE_BYTES, body);
    this.#host.delivery.current = held;
    this.#host.step({
      kind: "request",
      peer: peer.index,
      sequence,
      service: DEFAULT_SERVICE,
      timeoutMs: 0,
      attempts: 0,
      priority: PRIORITY_DEFAULT,
      bytes: bytesOf(held),
    });
  }

  /** A client that says no HELLO, known from its first request on. */
  welcomeClient(port: Port, routingId: Buffer, role: "plain-client" | "mdp-client"): Peer {
    // For the ids that workers see. Nobody may guess it: who asks under another's id gets its replies.
    const session = randomBytes(8);
    const low = session.readUInt32LE(0);
    const peer = this.#host.peers.addRoute(
      port,
      routingId,
      role,
      low,
      session.readUInt32LE(4) || 1,
    );
    this.#host.step({ kind: "join-client", peer: peer.index });
    return peer;
  }

  onWorker(plainWorker: PlainWorker): void {
    this.#host.begin();
    if (plainWorker.access?.denial("serve", DEFAULT_SERVICE) !== undefined) {
      // A REP socket cannot be told.
      plainWorker.close();
      return;
    }
    const { index: peer } = this.#host.peers.addPlainWorker(plainWorker);
    this.#host.step({
      kind: "join-worker",
      peer,
      concurrency: 1,
      services: [DEFAULT_SERVICE],
      lookAhead: false,
    });
    this.#host.onTurn();
  }

  onReply(plainWorker: PlainWorker, body: Buffer[]): void {
    const peer = this.#host.peers.ofPlainWorker(plainWorker);
    if (peer === undefined) return;
    this.#host.begin();
    const { index, slot, generation } = peer;
    if (bodyFault(body, this.#host.limits) !== undefined) {
      this.#host.faults.malformed++;
      const reason = "the worker's reply is larger than the broker takes";
      failAttempt(this.#host, peer, peer, Status.INTERNAL, reason);
    } else {
      this.#host.delivery.current = rawReply(body);
      this.#host.step({ kind: "reply", peer: index, slot, generation });
    }
    this.#host.onTurn();
  }

  onGone(plainWorker: PlainWorker): void {
    const peer = this.#host.peers.ofPlainWorker(plainWorker);
    if (peer === undefined) return;
    this.#host.begin();
    this.#host.leave(peer);
    this.#host.onTurn();
  }
}
