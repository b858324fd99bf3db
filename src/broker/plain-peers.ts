import { Status } from "../base/status.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { BatchWriter } from "../wire/batch.js";
import { BATCH_HEADER_SIZE, DEFAULT_SERVICE, Flag, NO_RECORD } from "../wire/layout.js";
import {
  bytesOf,
  type ExchangeId,
  type HeldRecord,
  writeReply,
  writeRequest,
} from "../wire/request-record.js";
import { plainFailure } from "./delivery.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainWorker } from "./plain-worker.js";
import type { Port } from "./port.js";

const PLAIN_FRAMES_MAX = 255;
const NO_BYTES = new Uint8Array(0);
const DEFAULT_SERVICE_BYTES = Buffer.from(DEFAULT_SERVICE);
const NO_ID: ExchangeId = { sessionLow: 0, sessionHigh: 0, sequence: 1, slot: 0, generation: 0 };

/** REQ clients and REP workers (PROTOCOL 4): their messages to records and commands. */
export class PlainPeers {
  readonly #host: Host;
  #sessionCount = 0;

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
    const size = body.reduce((sum, part) => sum + part.length, 0);
    if (body.length > PLAIN_FRAMES_MAX || size > this.#host.limits.recordBytesMax) {
      this.#host.faults.malformed++;
      const why =
        body.length > PLAIN_FRAMES_MAX ? "too many frames" : "larger than the broker takes";
      port.sendOnce(routingId, plainFailure(Status.INVALID_ARGUMENT, `request ${why}`));
      return;
    }
    const access = known === undefined ? port.accessOf(routingId) : known.access;
    const denial = access?.denial("call", DEFAULT_SERVICE);
    if (denial !== undefined) {
      port.sendOnce(routingId, plainFailure(Status.PERMISSION_DENIED, denial));
      return;
    }
    const peer = known ?? this.#welcomeClient(port, routingId);
    const sequence = ++peer.sequence;
    const writer = new BatchWriter();
    const fields = {
      priority: PRIORITY_DEFAULT,
      attempts: 0,
      timeoutMs: 0,
      flags: Flag.RAW,
      service: DEFAULT_SERVICE_BYTES,
      headers: NO_BYTES,
    };
    const { sessionLow, sessionHigh } = peer;
    writeRequest(
      writer,
      { sessionLow, sessionHigh, sequence, slot: 0, generation: 0 },
      fields,
      body,
    );
    const held = heldIn(writer, body);
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

  #welcomeClient(port: Port, routingId: Buffer): Peer {
    // A session for the ids that workers see: this broker's own, told apart by the peer.
    const { brokerLow, brokerHigh } = this.#host.brokerId;
    const session = (brokerLow + ++this.#sessionCount) >>> 0;
    const peer = this.#host.peers.addRoute(port, routingId, "plain-client", session, brokerHigh);
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
    const size = body.reduce((sum, part) => sum + part.length, 0);
    if (body.length > PLAIN_FRAMES_MAX || size > this.#host.limits.recordBytesMax) {
      this.#host.faults.malformed++;
      this.#host.step({
        kind: "failure",
        peer: index,
        slot,
        generation,
        status: Status.INTERNAL,
        reason: "the worker's reply is larger than the broker takes",
        retryAfterMs: 0,
        untouched: false,
      });
    } else {
      const writer = new BatchWriter();
      writeReply(writer, NO_ID, Flag.RAW, 0, body);
      this.#host.delivery.current = heldIn(writer, body);
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

/** The one record that `writer` holds. */
function heldIn(writer: BatchWriter, body: readonly Uint8Array[]): HeldRecord {
  const frames = writer.frameBytes > 0 || body.length > 1 ? body : [];
  const { bytes, size } = writer;
  return { bytes, at: BATCH_HEADER_SIZE, size: size - BATCH_HEADER_SIZE, frames };
}
