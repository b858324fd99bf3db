import type { StatusCode } from "../base/status.js";
import type { Core } from "../core/core.js";
import type { Limits } from "../core/limits.js";
import type { BatchReader } from "../wire/batch.js";
import type { Delivery } from "./delivery.js";
import type { FaultCounts } from "./fault-counts.js";
import type { Peer, Peers } from "./peers.js";
import type { Port } from "./port.js";

/** What a peer is told of a message that was not taken, or of one record of it. */
export interface Fault {
  status: StatusCode;
  reason: string;
  /** The index of the record, or NO_RECORD for the message as a whole. */
  record: number;
}

/** The exchange, as those see it who share its peers and its core. */
export interface Host {
  readonly core: Core;
  readonly peers: Peers;
  readonly delivery: Delivery;
  readonly faults: FaultCounts;
  readonly limits: Limits;
  /** Whether the broker is about to end, and takes nothing new. */
  readonly isShuttingDown: boolean;
  readonly brokerId: { readonly brokerLow: number; readonly brokerHigh: number };
  /** Reads the clock, for what comes from elsewhere than a message of a port. */
  begin(): void;
  step(command: Parameters<Core["step"]>[0]): void;
  /** `peer` is gone. */
  leave(peer: Peer): void;
  /** Sends what was brought about. Not within a message of a port: its turn does it. */
  onTurn(): void;
  /** The record at hand is not taken: its sender is told, once the message is done. */
  refuse(status: StatusCode, reason: string): void;
  /** The same, as INVALID_ARGUMENT, and counted. */
  malformed(reason: string): void;
  /** Counts a record as malformed whose sender is told otherwise. */
  countMalformed(): void;
  /** Tells whoever is at `routingId`, whether it is known or not. */
  tell(port: Port, routingId: Buffer, peer: Peer | undefined, fault: Fault): void;
}

/** A pattern beside request and reply: the kinds of records that it takes from peers that said HELLO. */
export interface Pattern {
  /** Each with the role of those who may send it. */
  readonly kinds: ReadonlyMap<number, "client" | "worker">;
  /** A record of one of these kinds, of one that may send it. */
  onRecord(peer: Peer, reader: BatchReader): void;
  /** `peer` has joined as a worker. */
  onWorker?(peer: Peer): void;
  /** `peer`, of any role, is gone; it is still in `Host.peers`. */
  onLeave(peer: Peer): void;
  /** What `peer` may do has changed: what it holds and may not have any more is to end. */
  recheck?(peer: Peer): void;
  /** Whether `onTick` is to be called, every few milliseconds. */
  readonly needsTick: boolean;
  onTick(nowMs: number): void;
  close(): void;
}
