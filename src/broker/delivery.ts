import type { StatusCode } from "../base/status.js";
import { statusName } from "../base/status.js";
import type { Effects } from "../core/command.js";
import type { Requests } from "../core/requests.js";
import { Flag } from "../wire/layout.js";
import {
  type ExchangeId,
  forwardReply,
  forwardRequest,
  type HeldRecord,
  replyBody,
  requestBody,
  requestService,
  writeCancel,
  writeFailure,
} from "../wire/request-record.js";
import { writeBye, writeCredit } from "../wire/session-record.js";
import { writeStreamCredit } from "../wire/stream-record.js";
import { Bodies } from "./bodies.js";
import type { Majordomo } from "./majordomo.js";
import type { Peer, Peers } from "./peers.js";

const EMPTY = Buffer.alloc(0);

/** What a peer asked that it may not, to be told once the message is done. */
export interface Refusal {
  status: StatusCode;
  reason: string;
}

/**
 * Carries out what the core decides: core -> wire -> the peers' outboxes. A small request is copied
 * from the frame it came in straight into the batch of its worker, and into a cell in case it has to
 * go to another; a reply is copied once.
 */
export class Delivery implements Effects {
  readonly bodies = new Bodies();
  /** The core's requests; set once, since the core is made with its effects. */
  requests!: Requests;
  /** Who speaks for Majordomo peers; set once too. */
  majordomo!: Majordomo;
  /** The record whose command the core is stepping. */
  current: HeldRecord | undefined;
  refusal: Refusal | undefined;
  nowMs = 0;
  readonly #peers: Peers;
  readonly #id: ExchangeId = {
    sessionLow: 0,
    sessionHigh: 0,
    sequence: 0,
    slot: 0,
    generation: 0,
  };

  constructor(peers: Peers) {
    this.#peers = peers;
  }

  dispatch(worker: number, slot: number): void {
    const { requests, bodies } = this;
    const peer = this.#peers.at(worker) as Peer;
    const record = bodies.get(slot) ?? (this.current as HeldRecord);
    if (peer.role !== "worker") return this.#dispatchRaw(peer, slot, record);
    const { writer } = peer.outbox;
    const timeoutMs = Math.min(
      Math.max(1, Math.ceil(requests.deadlineMs[slot] - this.nowMs)),
      0xffffffff,
    );
    forwardRequest(
      writer,
      record,
      slot,
      requests.generation[slot],
      requests.attempt[slot],
      timeoutMs,
    );
    bodies.hold(slot, record);
    peer.wrote();
  }

  /** To a worker that knows no records. */
  #dispatchRaw(peer: Peer, slot: number, record: HeldRecord): void {
    // Also so that the bytes sent stay as they are, whatever becomes of the slot.
    const parts = requestBody(record).map((part) => Buffer.from(part));
    const generation = this.requests.generation[slot];
    this.bodies.hold(slot, record);
    if (peer.role === "mdp-worker") {
      peer.outbox.push(this.majordomo.requestTo(peer, slot, generation, parts));
      peer.wrote();
      return;
    }
    peer.slot = slot;
    peer.generation = generation;
    peer.plainWorker?.send(parts);
  }

  hold(slot: number): void {
    this.bodies.hold(slot, this.bodies.get(slot) ?? (this.current as HeldRecord));
  }

  release(slot: number): void {
    this.bodies.release(slot);
  }

  reply(client: number, slot: number): void {
    const peer = this.#peers.at(client) as Peer;
    const record = this.current as HeldRecord;
    if (peer.role !== "client") {
      if (peer.inner !== undefined) return peer.inner.onReply(this.requests.sequence[slot]);
      this.#replyRaw(peer, slot, record);
    } else {
      const { sessionLow, sessionHigh } = peer;
      forwardReply(
        peer.outbox.writer,
        record,
        sessionLow,
        sessionHigh,
        this.requests.sequence[slot],
      );
    }
    peer.wrote();
  }

  /** To a client that knows no records. */
  #replyRaw(peer: Peer, slot: number, record: HeldRecord): void {
    const parts = ownBody(record);
    const isPlain = peer.role === "plain-client";
    peer.outbox.push(
      isPlain ? [EMPTY, ...parts] : this.majordomo.replyTo(peer, this.#serviceOf(slot), parts),
    );
  }

  part(client: number, slot: number): void {
    const peer = this.#peers.at(client) as Peer;
    const worker = this.#peers.at(this.requests.worker[slot]) as Peer;
    const message = this.majordomo.partTo(peer, worker, this.#serviceOf(slot));
    if (message === undefined) return;
    peer.outbox.push(message);
    peer.wrote();
  }

  /** The name that the request in `slot` was sent to, in memory of its own. */
  #serviceOf(slot: number): Uint8Array {
    return Buffer.from(requestService(this.bodies.get(slot) as HeldRecord));
  }

  /** Laid out as a reply is. Beside native clients those of MDP/0.2 may get one. */
  streamPart(client: number, slot: number): void {
    const peer = this.#peers.at(client) as Peer;
    if (peer.role !== "mdp-client") return this.reply(client, slot);
    const parts = ownBody(this.current as HeldRecord);
    peer.outbox.push(this.majordomo.streamPartTo(peer, slot, this.#serviceOf(slot), parts));
    peer.wrote();
  }

  grant(worker: number, slot: number, partsMax: number, bytesMax: number): void {
    const { requests } = this;
    const peer = this.#peers.at(worker) as Peer;
    if (peer.role === "mdp-worker") this.majordomo.onGrant(slot);
    // A REP worker answers once, whatever it is granted.
    if (peer.role !== "worker") return;
    const client = this.#peers.at(requests.client[slot]) as Peer;
    const id = this.#exchangeId(client, requests.sequence[slot], slot, requests.generation[slot]);
    writeStreamCredit(peer.outbox.writer, id, partsMax, bytesMax);
    // It was never asked whether it knows streams, and where it does not, reads nothing behind this kind if frames
    // are left (PROTOCOL 3.1).
    if (client.role === "mdp-client") peer.outbox.endBatch();
    peer.wrote();
  }

  fail(
    client: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void {
    const peer = this.#peers.at(client) as Peer;
    if (peer.inner !== undefined) {
      return peer.inner.onFail(sequence, status, reason, retryAfterMs, attempts);
    }
    if (peer.role === "mdp-client") {
      return this.majordomo.onFail(peer, sequence, status, retryAfterMs);
    }
    if (peer.role === "plain-client") {
      peer.outbox.push(plainFailure(status, reason));
    } else {
      const id = this.#exchangeId(peer, sequence, 0, 0);
      const flags = attempts === 0 ? Flag.UNTOUCHED : 0;
      writeFailure(peer.outbox.writer, id, flags, status, reason, retryAfterMs, attempts);
    }
    peer.wrote();
  }

  abort(worker: number, slot: number, status: StatusCode): void {
    const { requests } = this;
    const peer = this.#peers.at(worker) as Peer;
    // A REP or Majordomo worker cannot be told; what it answers is dropped.
    if (peer.role === "mdp-worker") this.majordomo.onAbort(peer, slot);
    peer.plainWorker?.onAbort?.();
    if (peer.role !== "worker") return;
    const client = this.#peers.at(requests.client[slot]) as Peer;
    const sequence = requests.sequence[slot];
    const asked = client.inner === undefined ? undefined : client.inner.idOf(sequence);
    const id = this.#exchangeId(client, sequence, slot, requests.generation[slot]);
    writeCancel(peer.outbox.writer, { ...id, ...asked }, status);
    peer.wrote();
  }

  credit(client: number, inFlightMax: number): void {
    const peer = this.#peers.at(client) as Peer;
    // A REQ client has one in flight, or does as it likes.
    if (peer.role === "plain-client" || peer.inner !== undefined) return;
    if (peer.role === "mdp-client") return this.majordomo.onCredit(peer, inFlightMax);
    writeCredit(peer.outbox.writer, inFlightMax);
    peer.wrote();
  }

  drained(worker: number): void {
    const peer = this.#peers.at(worker) as Peer;
    if (peer.role !== "worker") return;
    writeBye(peer.outbox.writer);
    peer.wrote();
  }

  refuse(_peer: number, status: StatusCode, reason: string): void {
    this.refusal = { status, reason };
  }

  #exchangeId(client: Peer, sequence: number, slot: number, generation: number): ExchangeId {
    const id = this.#id;
    id.sessionLow = client.sessionLow;
    id.sessionHigh = client.sessionHigh;
    id.sequence = sequence;
    id.slot = slot;
    id.generation = generation;
    return id;
  }
}

/** The frames of a reply, or of a part, in memory of their own. */
function ownBody(record: HeldRecord): Uint8Array[] {
  return replyBody(record).map((part) => Buffer.from(part));
}

/** What a plain client gets in place of a reply (PROTOCOL 4). */
export function plainFailure(status: StatusCode, reason: string): Uint8Array[] {
  return [EMPTY, EMPTY, Buffer.from(statusName(status)), Buffer.from(reason)];
}
