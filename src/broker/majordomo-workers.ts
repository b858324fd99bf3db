import {
  addressOf,
  attemptOf,
  type Dialect,
  disconnectToWorker,
  type MajordomoCommand,
  requestToWorker,
} from "../wire/majordomo.js";
import { NameCache } from "../wire/text.js";
import { GatheredParts } from "./gathered-parts.js";
import { Heartbeats, type MajordomoTimes, MajordomoWorker } from "./heartbeats.js";
import { HeldParts, type HeldStream } from "./held-parts.js";
import type { Host } from "./host.js";
import { MANAGEMENT_PREFIX } from "./majordomo-clients.js";
import { type PartFault, type PartRoom, REPLY_TOO_LARGE } from "./part-room.js";
import type { Peer } from "./peers.js";
import type { Port } from "./port.js";
import { bodyFault, rawReply } from "./raw-records.js";
import { failAttempt } from "./request-records.js";

/** Workers of the Majordomo protocol: each serves one service, one request at a time. */
export class MajordomoWorkers {
  /** What came with the command being stepped. */
  #part: readonly Uint8Array[] = [];
  #isShuttingDown = false;
  readonly #names = new NameCache();
  readonly #workers = new Map<Peer, MajordomoWorker>();
  readonly #gathered: GatheredParts;
  readonly #held: HeldParts;
  readonly #heartbeats: Heartbeats;

  constructor(
    private readonly host: Host,
    private readonly times: MajordomoTimes,
    room: PartRoom,
    private readonly takesParts: (client: Peer | undefined) => boolean,
  ) {
    this.#gathered = new GatheredParts(host.limits, room);
    this.#held = new HeldParts(host, room);
    this.#heartbeats = new Heartbeats(host, times, this.#workers);
  }

  // --- in ---

  /** A message of `known`, or of a stranger at the backend. */
  onMessage(
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
    dialect: Dialect,
    command: MajordomoCommand,
  ): void {
    const worker = known === undefined ? undefined : this.#workers.get(known);
    if (worker === undefined) return this.#onStranger(port, routingId, dialect, command);
    const { faults, delivery } = this.host;
    worker.heardMs = delivery.nowMs;
    switch (command.kind) {
      case "reply":
        return this.#onReply(worker, command.address, command.body);
      case "part":
        return this.#onPart(worker, command.address, command.body);
      case "heartbeat": {
        const { heartbeatMs } = this.times;
        // Not one that crossed with the request on its way.
        if (worker.isBusy && delivery.nowMs - worker.busySinceMs > heartbeatMs) {
          worker.beatsAtWork = true;
        }
        return;
      }
      case "disconnect":
        return this.host.leave(worker.peer);
      case "ready":
        faults.role++;
        return this.#expel(worker);
      case "malformed":
      case "request":
        // Its request goes to another, or nobody would ever answer it.
        faults.malformed++;
        return this.#expel(worker);
      default:
        command satisfies never;
    }
  }

  #onStranger(port: Port, routingId: Buffer, dialect: Dialect, command: MajordomoCommand): void {
    const { faults } = this.host;
    switch (command.kind) {
      case "ready":
        return this.#onReady(port, routingId, dialect, command.service);
      case "malformed":
        faults.malformed++;
        return;
      case "disconnect":
        return;
      default:
        // Of before the broker restarted, or of one that was given up: it is to begin anew.
        faults.stranger++;
        port.sendOnce(routingId, disconnectToWorker(dialect));
    }
  }

  #onReady(port: Port, routingId: Buffer, dialect: Dialect, service: Uint8Array): void {
    const { faults, peers, delivery } = this.host;
    // It takes silence for the end of the broker, and comes to the next one: to be told would bring
    // it back at once.
    if (this.#isShuttingDown) return;
    const name = this.#names.read(service, 0, service.length);
    if (name === undefined) {
      faults.malformed++;
      return;
    }
    if (name.startsWith(MANAGEMENT_PREFIX)) {
      faults.role++;
      port.sendOnce(routingId, disconnectToWorker(dialect));
      return;
    }
    // Not told either, for the same reason.
    if (port.accessOf(routingId)?.denial("serve", name) !== undefined) return;
    const peer = peers.addRoute(port, routingId, "mdp-worker", 0, 0);
    this.#workers.set(peer, new MajordomoWorker(peer, dialect, delivery.nowMs));
    this.host.step({
      kind: "join-worker",
      peer: peer.index,
      concurrency: 1,
      services: [name],
      lookAhead: false,
    });
    if (delivery.refusal !== undefined) {
      this.#workers.delete(peer);
      peers.delete(peer);
      return;
    }
    this.#heartbeats.start();
  }

  #onReply(worker: MajordomoWorker, address: Uint8Array, body: readonly Uint8Array[]): void {
    const { host } = this;
    const { slot, generation } = attemptOf(address);
    const stream = this.#held.of(worker.peer, slot, generation);
    if (stream?.hasBegun === true) return this.#onFinal(worker, stream, body);
    if (stream !== undefined) this.#held.forget(stream);
    const isMine = slot === worker.slot && generation === worker.generation;
    const whole = isMine ? this.#gathered.withLast(worker.peer, body) : body;
    // Before the step, which may hand it the next.
    if (isMine) this.#rest(worker);
    if (bodyFault(whole, host.limits) !== undefined) {
      return this.#fail(worker, slot, generation, REPLY_TOO_LARGE);
    }
    host.delivery.current = rawReply(whole);
    host.step({ kind: "reply", peer: worker.peer.index, slot, generation });
  }

  /** The end of a stream, parts of which came before. */
  #onFinal(worker: MajordomoWorker, stream: HeldStream, body: readonly Uint8Array[]): void {
    if (this.#isStale(stream)) return;
    this.#rest(worker);
    this.#held.onFinal(stream, body);
  }

  /** Whether its FINAL has come before: for the core it is under way still. */
  #isStale({ isEnded }: HeldStream): boolean {
    if (isEnded) this.host.core.counts.stale++;
    return isEnded;
  }

  /**
   * A part of a reply goes on at once to a client of MDP/0.2, and no other worker may begin anew from there on.
   * A native client that asked for a stream gets it as it grants. For any other client the parts are gathered:
   * their frames and those of FINAL are its reply.
   */
  #onPart(worker: MajordomoWorker, address: Uint8Array, body: readonly Uint8Array[]): void {
    const { core, peers } = this.host;
    const { slot, generation } = attemptOf(address);
    const stream = this.#held.of(worker.peer, slot, generation);
    if (stream !== undefined) {
      if (!this.#isStale(stream)) this.#held.onPartial(stream, body);
      return;
    }
    const isPassedOn = this.takesParts(peers.at(core.requests.client[slot]));
    // Of what nobody waits for any more nothing is kept: it ends with its FINAL, as small or large as it is.
    const fault = worker.isBusy ? this.#partFault(worker, body, isPassedOn) : undefined;
    if (fault !== undefined) {
      const isMine = slot === worker.slot && generation === worker.generation;
      if (isMine) this.#rest(worker);
      return this.#fail(worker, slot, generation, fault);
    }
    this.#part = body;
    this.host.step({ kind: "part", peer: worker.peer.index, slot, generation, isPassedOn });
    this.#part = [];
  }

  #partFault({ peer }: MajordomoWorker, body: readonly Uint8Array[], isPassedOn: boolean) {
    // By itself first: only what is as small as a reply is worth a further look.
    if (bodyFault(body, this.host.limits) !== undefined) return REPLY_TOO_LARGE;
    return isPassedOn ? undefined : this.#gathered.faultOf(peer, body);
  }

  #fail({ peer }: MajordomoWorker, slot: number, generation: number, fault: PartFault): void {
    if (fault === REPLY_TOO_LARGE) this.host.faults.malformed++;
    failAttempt(this.host, peer, { slot, generation }, fault.status, fault.reason);
  }

  #rest(worker: MajordomoWorker): void {
    worker.isBusy = false;
    this.#gathered.forget(worker.peer);
  }

  /** Gives up a worker that did what it may not: it is told to begin anew. */
  #expel({ peer, dialect }: MajordomoWorker): void {
    const { port, routingId } = peer;
    this.host.leave(peer);
    port?.sendOnce(routingId, disconnectToWorker(dialect));
  }

  // --- out: called while the core steps ---

  /** The message that takes a request to `peer`. */
  requestTo(peer: Peer, slot: number, generation: number, body: readonly Uint8Array[]) {
    const worker = this.#workers.get(peer) as MajordomoWorker;
    worker.isBusy = true;
    worker.busySinceMs = this.host.delivery.nowMs;
    worker.slot = slot;
    worker.generation = generation;
    this.#gathered.forget(peer);
    if (worker.dialect.version === 2 && this.#isNativeStream(slot)) {
      this.#held.begin(peer, slot, generation);
    }
    return requestToWorker(worker.dialect, addressOf(slot, generation), body);
  }

  #isNativeStream(slot: number): boolean {
    const { core, peers } = this.host;
    if (core.streams.at(slot) === undefined) return false;
    return peers.at(core.requests.client[slot])?.role === "client";
  }

  /** The reader of the stream in `slot` takes more. */
  onGrant(slot: number): void {
    this.#held.onGrant(slot);
  }

  /** Nobody waits for what `peer` has in `slot`. It cannot be told, but has no more claim to be silent. */
  onAbort(peer: Peer, slot: number): void {
    this.#held.onAbort(slot);
    const worker = this.#workers.get(peer) as MajordomoWorker;
    // It may have done with that, and be at work on another.
    if (worker.slot !== slot) return;
    this.#rest(worker);
    worker.heardMs = this.host.delivery.nowMs;
  }

  /** The part being stepped, for a client that takes none: kept with the worker that sent it. */
  gatherPart(peer: Peer): void {
    this.#gathered.add(peer, this.#part);
  }

  get part(): readonly Uint8Array[] {
    return this.#part;
  }

  /** Whether `feed` has something to do. */
  get isDue(): boolean {
    return this.#held.isDue;
  }

  /** Passes on what the readers of streams have granted. */
  feed(): void {
    this.#held.feed();
  }

  // --- departures ---

  onLeave(peer: Peer): void {
    this.#gathered.forget(peer);
    this.#held.onLeave(peer);
    if (this.#workers.delete(peer) && this.#workers.size === 0) this.#heartbeats.close();
  }

  /** The broker is about to stop: no more workers are taken. */
  shutdown(): void {
    this.#isShuttingDown = true;
  }

  /** Sends all of them away; they come again, to the next broker. */
  dismiss(): void {
    for (const { peer, dialect } of this.#workers.values()) {
      peer.outbox.push(disconnectToWorker(dialect));
      peer.due();
    }
  }

  close(): void {
    this.#heartbeats.close();
  }
}
