import type { BatchReader } from "../wire/batch.js";
import { Kind } from "../wire/layout.js";
import { PartRecord, StreamCreditRecord } from "../wire/stream-record.js";
import type { Host, Pattern } from "./host.js";
import type { Peer } from "./peers.js";
import { isOwn } from "./request-records.js";

/** The records of streams (PROTOCOL 3.6): a worker's parts and their end, a client's grants. */
export class StreamRecords implements Pattern {
  readonly kinds = new Map([
    [Kind.STREAM_PART, "worker"],
    [Kind.STREAM_CREDIT, "client"],
    [Kind.STREAM_END, "worker"],
  ] as const);
  readonly needsTick = false;
  readonly #host: Host;
  readonly #part = new PartRecord();
  readonly #credit = new StreamCreditRecord();

  constructor(host: Host) {
    this.#host = host;
  }

  onRecord(peer: Peer, reader: BatchReader): void {
    if (reader.kind === Kind.STREAM_CREDIT) this.#onCredit(peer, reader);
    else this.#onPart(peer, reader);
  }

  #onPart(peer: Peer, reader: BatchReader): void {
    const record = this.#part;
    record.fault = record.read(reader);
    if (record.fault === undefined && record.bytes > this.#host.limits.recordBytesMax) {
      record.fault = "a part larger than the broker takes";
    }
    record.peer = peer.index;
    this.#host.delivery.current = record.held;
    if (record.hasId) this.#host.step(record);
    if (record.fault !== undefined) this.#host.malformed(record.fault);
  }

  #onCredit(peer: Peer, reader: BatchReader): void {
    const record = this.#credit;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#host.malformed(fault);
    if (!isOwn(this.#host, peer, record)) return;
    record.peer = peer.index;
    this.#host.step(record);
  }

  onLeave(): void {}
  onTick(): void {}
  close(): void {}
}
