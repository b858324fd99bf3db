import { Status, type StatusCode } from "../base/status.js";
import { NO_RECORD } from "../wire/layout.js";
import type { MajordomoMessage } from "../wire/majordomo.js";
import { ownFrames } from "./bodies.js";
import type { Side } from "./exchange.js";
import type { MajordomoTimes } from "./heartbeats.js";
import type { Host, Pattern } from "./host.js";
import { MajordomoClients } from "./majordomo-clients.js";
import { MajordomoWorkers } from "./majordomo-workers.js";
import { PartRoom } from "./part-room.js";
import type { Peer } from "./peers.js";
import type { PlainPeers } from "./plain-peers.js";
import type { Port } from "./port.js";

export const majordomoTimes: MajordomoTimes = { heartbeatMs: 2500, liveness: 3, busyLiveness: 0 };

/**
 * Clients and workers of the Majordomo protocol, versions 0.1 and 0.2 (PROTOCOL 4.2). Asked only about
 * messages that are no batch: native peers pass it by. A peer is what its first message says.
 */
export class Majordomo implements Pattern {
  readonly kinds = new Map();
  /** What waits in the broker of its workers' replies. */
  readonly partRoom: PartRoom;
  readonly #host: Host;
  readonly #clients: MajordomoClients;
  readonly #workers: MajordomoWorkers;

  constructor(host: Host, plain: PlainPeers, times: MajordomoTimes) {
    this.#host = host;
    this.#clients = new MajordomoClients(host, plain);
    this.partRoom = new PartRoom(host.limits);
    const takesParts = (peer: Peer | undefined) => this.#clients.takesParts(peer);
    this.#workers = new MajordomoWorkers(host, times, this.partRoom, takesParts);
  }

  /** Requests of its clients that ended without a reply, of which nobody was told. */
  get unanswered(): number {
    return this.#clients.unanswered;
  }

  onMessage(
    side: Side,
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
    { from, dialect, command }: MajordomoMessage,
  ): void {
    const { faults } = this.#host;
    if (known?.role === "client" || known?.role === "worker") {
      faults.role++;
      const reason = "one that said HELLO sends batches";
      const status = Status.PERMISSION_DENIED;
      return this.#host.tell(port, routingId, known, { status, reason, record: NO_RECORD });
    }
    // A worker at the frontend is not told: it would come again at once, and again.
    if ((from === "worker") !== (side === "backend")) {
      faults.role++;
      return;
    }
    const those = from === "client" ? this.#clients : this.#workers;
    those.onMessage(port, routingId, known, dialect, command);
  }

  // --- for Delivery, while the core steps ---

  requestTo(peer: Peer, slot: number, generation: number, body: readonly Uint8Array[]) {
    return this.#workers.requestTo(peer, slot, generation, body);
  }

  replyTo(peer: Peer, service: Uint8Array, body: readonly Uint8Array[]): Uint8Array[] {
    return this.#clients.replyTo(peer, service, body, false);
  }

  /** The message that takes a part of the native stream in `slot` to `client`. */
  streamPartTo(client: Peer, slot: number, service: Uint8Array, body: readonly Uint8Array[]) {
    return this.#clients.streamPartTo(client, slot, service, body);
  }

  /** The message that takes the part at hand to `client`; undefined where it is gathered at `worker`. */
  partTo(client: Peer, worker: Peer, service: Uint8Array): Uint8Array[] | undefined {
    if (this.#clients.takesParts(client)) {
      // It is sent when the message that it came in is gone.
      return this.#clients.replyTo(client, service, ownFrames(this.#workers.part), true);
    }
    this.#workers.gatherPart(worker);
    return undefined;
  }

  onFail(peer: Peer, sequence: number, status: StatusCode, retryAfterMs: number): void {
    this.#clients.onFail(peer, sequence, status, retryAfterMs);
  }

  onCredit(peer: Peer, inFlightMax: number): void {
    this.#clients.onCredit(peer, inFlightMax);
  }

  onAbort(peer: Peer, slot: number): void {
    this.#workers.onAbort(peer, slot);
  }

  onGrant(slot: number): void {
    this.#workers.onGrant(slot);
  }

  // --- turns, time and departures ---

  /** Whether `feed` has something to do. */
  get isDue(): boolean {
    return this.#clients.isDue || this.#workers.isDue;
  }

  /** Passes on parts that were granted, and asks what was kept back of its clients and has room now. */
  feed(): void {
    // First: what ends makes room.
    this.#workers.feed();
    this.#clients.feed();
  }

  onRecord(): void {}

  onLeave(peer: Peer): void {
    if (peer.role === "mdp-client") this.#clients.onLeave(peer);
    else if (peer.role === "mdp-worker") this.#workers.onLeave(peer);
  }

  get needsTick(): boolean {
    return this.#clients.needsTick;
  }

  onTick(nowMs: number): void {
    this.#clients.onTick(nowMs);
  }

  /** The broker is about to stop. */
  shutdown(): void {
    this.#workers.shutdown();
  }

  /** What its workers had to do is done: they are sent away. */
  dismiss(): void {
    this.#workers.dismiss();
  }

  close(): void {
    this.#workers.close();
  }
}
