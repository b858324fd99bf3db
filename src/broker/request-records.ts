import { Status, type StatusCode } from "../base/status.js";
import type { BatchReader } from "../wire/batch.js";
import { CancelRecord, FailureRecord, ReplyRecord, RequestRecord } from "../wire/request-record.js";
import { NameCache } from "../wire/text.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";

/**
 * The records of requests and answers (PROTOCOL 3.2 to 3.5), of peers that may send them: each is checked
 * and becomes a command of the core, which it is itself.
 */
export class RequestRecords {
  readonly #host: Host;
  readonly #names = new NameCache();
  readonly #request = new RequestRecord();
  readonly #reply = new ReplyRecord();
  readonly #failure = new FailureRecord();
  readonly #cancel = new CancelRecord();

  constructor(host: Host) {
    this.#host = host;
  }

  onRequest(peer: Peer, reader: BatchReader): void {
    const host = this.#host;
    const record = this.#request;
    const fault = record.read(reader, this.#names);
    if (!record.hasId) return host.malformed(fault as string);
    if (!isOwn(host, peer, record)) return;
    if (fault !== undefined) {
      host.countMalformed();
      host.delivery.fail(peer.index, record.sequence, Status.INVALID_ARGUMENT, fault, 0, 0);
      return;
    }
    if (peer.access !== undefined) {
      const reason = peer.access.denial("call", record.service);
      if (reason !== undefined) {
        host.delivery.fail(peer.index, record.sequence, Status.PERMISSION_DENIED, reason, 0, 0);
        return;
      }
    }
    record.peer = peer.index;
    host.delivery.current = record.held;
    host.step(record);
  }

  onCancel(peer: Peer, reader: BatchReader): void {
    const record = this.#cancel;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#host.malformed(fault);
    if (!isOwn(this.#host, peer, record)) return;
    record.peer = peer.index;
    this.#host.step(record);
  }

  onReply(peer: Peer, reader: BatchReader): void {
    const host = this.#host;
    const record = this.#reply;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#onBadAnswer(peer, record, fault);
    if (record.bytes > host.limits.recordBytesMax) {
      return this.#onBadAnswer(peer, record, "REPLY larger than the broker takes");
    }
    record.peer = peer.index;
    host.delivery.current = record.held;
    host.step(record);
  }

  onFailure(peer: Peer, reader: BatchReader): void {
    const record = this.#failure;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#onBadAnswer(peer, record, fault);
    record.peer = peer.index;
    this.#host.step(record);
  }

  #onBadAnswer(peer: Peer, record: ReplyRecord | FailureRecord, why: string): void {
    const reason = `the worker's answer cannot be passed on: ${why}`;
    if (record.hasId) failAttempt(this.#host, peer, record, Status.INTERNAL, reason);
    this.#host.malformed(why);
  }
}

/** Whether a record that says so is of the session of `peer`; refused where it is not. */
export function isOwn(
  host: Host,
  peer: Peer,
  record: { readonly sessionLow: number; readonly sessionHigh: number },
): boolean {
  if (record.sessionLow === peer.sessionLow && record.sessionHigh === peer.sessionHigh) return true;
  host.faults.role++;
  host.refuse(Status.PERMISSION_DENIED, "the session is not that of its HELLO");
  return false;
}

/** Ends an attempt that has no answer of its worker's that could be passed on, or its credit would never come back. */
export function failAttempt(
  host: Host,
  { index: peer }: Peer,
  { slot, generation }: { readonly slot: number; readonly generation: number },
  status: StatusCode,
  reason: string,
): void {
  const rest = { status, reason, retryAfterMs: 0, untouched: false };
  host.step({ kind: "failure", peer, slot, generation, ...rest });
}
