import { randomInt } from "node:crypto";
import type { StatusCode } from "../base/status.js";
import { Status } from "../base/status.js";
import { timerMs } from "../base/timer.js";
import { Core } from "../core/core.js";
import type { Limits } from "../core/limits.js";
import type { ServiceRules } from "../core/service-rules.js";
import { BatchReader, BatchWriter } from "../wire/batch.js";
import { Kind, NO_RECORD } from "../wire/layout.js";
import { readMajordomo } from "../wire/majordomo.js";
import { readCredit, writeDrain, writeError } from "../wire/session-record.js";
import { Delivery } from "./delivery.js";
import { FaultCounts } from "./fault-counts.js";
import { Greetings } from "./greetings.js";
import type { Fault, Host, Pattern } from "./host.js";
import { Majordomo, majordomoTimes } from "./majordomo.js";
import type { Outbox } from "./outbox.js";
import { type Peer, Peers } from "./peers.js";
import { PlainPeers } from "./plain-peers.js";
import type { Port } from "./port.js";
import { PubSub } from "./pubsub.js";
import { RequestRecords } from "./request-records.js";
import { StreamRecords } from "./stream-records.js";

/** How long clients that heed DRAIN may take to leave a broker that has nothing of theirs left. */
const LEAVE_MS_MAX = 500;
/** How often deadlines are looked at while there are any. */
const TICK_MS = 5;

/** Which end of the broker a port is. */
export type Side = "frontend" | "backend";

/**
 * Where bytes become commands and decisions become bytes: message -> records -> core -> effects
 * (delivery.ts) -> outboxes -> messages. Knows no socket but through its ports.
 */
export class Exchange implements Host {
  readonly core: Core;
  readonly faults = new FaultCounts();
  readonly peers = new Peers();
  readonly limits: Limits;
  readonly delivery = new Delivery(this.peers);
  /** REQ clients and REP workers. */
  readonly plain = new PlainPeers(this);
  readonly pubsub: PubSub;
  readonly majordomo: Majordomo;
  readonly #ports: Port[] = [];
  /** Those that addPattern was given. */
  readonly patterns: Pattern[] = [];
  readonly #patternOf: ({ pattern: Pattern; from: Peer["role"] } | undefined)[] = [];
  readonly brokerId: { brokerLow: number; brokerHigh: number };
  readonly #reader = new BatchReader();
  readonly #greetings = new Greetings(this, (peer) => {
    for (const pattern of this.patterns) pattern.onWorker?.(peer);
  });
  readonly #records = new RequestRecords(this);
  /** Peers found to be gone while the core was stepping. */
  #gone: Peer[] = [];
  #isSettling = false;
  /** Who was told in this turn that it is not known. */
  #told: Buffer | undefined;
  #tick: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isShuttingDown = false;
  /** Asked after each turn of a shutdown. */
  #onShutdownTurn: (() => void) | undefined;

  constructor(
    limits: Limits,
    rules: ServiceRules,
    brokerId: { brokerLow: number; brokerHigh: number },
    times = majordomoTimes,
  ) {
    this.limits = limits;
    this.brokerId = brokerId;
    this.core = new Core(this.delivery, limits, performance.now(), randomInt(2 ** 32), rules);
    this.delivery.requests = this.core.requests;
    this.pubsub = new PubSub(this);
    this.addPattern(this.pubsub);
    this.majordomo = new Majordomo(this, this.plain, times);
    this.delivery.majordomo = this.majordomo;
    this.addPattern(this.majordomo);
    this.addPattern(new StreamRecords(this));
  }

  /** Takes its kinds of records to `pattern`. */
  addPattern(pattern: Pattern): void {
    this.patterns.push(pattern);
    for (const [kind, from] of pattern.kinds) this.#patternOf[kind] = { pattern, from };
  }

  addPort(port: Port): void {
    this.#ports.push(port);
  }

  /** Bytes of memory taken for requests that wait. */
  get cellBytes(): number {
    return this.delivery.bodies.cellBytes;
  }

  /**
   * Takes no more requests; resolves with true when those held have ended, false after `timeoutMs`.
   * Clients that heed DRAIN are waited for a while too: what they sent before they heard of it is
   * still refused then, and not lost with its connection.
   */
  async shutdown(timeoutMs: number): Promise<boolean> {
    this.#isShuttingDown = true;
    this.majordomo.shutdown();
    this.core.step({ kind: "shutdown" }, this.#now());
    for (const peer of this.peers) {
      if (peer.role !== "client" && peer.role !== "worker") continue;
      writeDrain(peer.outbox.writer);
      peer.due();
    }
    this.onTurn();
    const isEmpty = () => this.core.requests.count === 0;
    await this.#untilTurn(isEmpty, timeoutMs);
    const areClientsGone = () => ![...this.peers].some(({ role }) => role === "client");
    await this.#untilTurn(() => isEmpty() && areClientsGone(), Math.min(timeoutMs, LEAVE_MS_MAX));
    this.majordomo.dismiss();
    this.onTurn();
    return isEmpty();
  }

  /** Resolves after the turn that makes `isDone` true, or after `timeoutMs`. */
  async #untilTurn(isDone: () => boolean, timeoutMs: number): Promise<void> {
    if (isDone() || timeoutMs === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onShutdownTurn = () => {
        if (isDone()) resolve();
      };
      timer = setTimeout(resolve, timerMs(timeoutMs));
    });
    this.#onShutdownTurn = undefined;
    clearTimeout(timer);
  }

  get isShuttingDown(): boolean {
    return this.#isShuttingDown;
  }

  close(): void {
    this.#isClosed = true;
    for (const pattern of this.patterns) pattern.close();
    clearTimeout(this.#tick);
  }

  // --- in: a message of a ROUTER ---

  onMessage(side: Side, port: Port, frames: Buffer[]): void {
    const [routingId, first] = frames;
    const peer = this.peers.ofRoute(port, routingId);
    this.delivery.nowMs = this.#now();
    if (frames.length === 2 && first.length === 0) {
      // The ROUTER's notice of a disconnection.
      if (peer !== undefined) this.leave(peer);
    } else if (frames.length > 2 && first.length === 0) {
      this.#onDelimited(side, port, routingId, peer, frames);
    } else if (first !== undefined) {
      this.#onBatch(side, port, routingId, peer, frames);
    }
  }

  /** A message behind an empty frame: of Majordomo, or of a REQ. */
  #onDelimited(
    side: Side,
    port: Port,
    routingId: Buffer,
    peer: Peer | undefined,
    frames: Buffer[],
  ): void {
    // A REQ that was plain before stays so, whatever its body begins with.
    const said = peer?.role === "plain-client" ? undefined : readMajordomo(frames, 1);
    if (said !== undefined) this.majordomo.onMessage(side, port, routingId, peer, said);
    else if (side === "backend" || peer?.role === "mdp-client") this.faults.alien++;
    else this.plain.onRequest(port, routingId, peer, frames.slice(2));
  }

  #onBatch(
    side: Side,
    port: Port,
    routingId: Buffer,
    known: Peer | undefined,
    frames: Buffer[],
  ): void {
    const reader = this.#reader;
    let peer = known;
    let error: Fault | undefined;
    reader.open(frames, 1);
    this.#greetings.begin();
    while (reader.next()) {
      this.delivery.refusal = undefined;
      if (reader.kind === Kind.HELLO)
        peer = this.#greetings.onHello(reader, side, port, routingId, peer);
      else if (peer === undefined) this.#onStranger();
      else if (reader.kind === Kind.BYE) peer = this.leave(peer);
      else this.#onRecord(peer);
      const refusal = this.delivery.refusal as Refusal;
      if (refusal !== undefined) error ??= { ...refusal, record: reader.index };
    }
    reader.close();
    if (reader.fault !== undefined) {
      const said = reader.fault === "alien" ? readMajordomo(frames, 1) : undefined;
      if (said !== undefined) return this.majordomo.onMessage(side, port, routingId, peer, said);
      this.faults[reader.fault]++;
      // What is no batch may be anything, and is better not answered.
      if (reader.fault === "alien") return;
      error ??= { status: Status.INVALID_ARGUMENT, reason: reader.reason, record: NO_RECORD };
    }
    if (error !== undefined) this.tell(port, routingId, peer, error);
  }

  #onStranger(): void {
    this.faults.stranger++;
    this.#reader.skip();
    this.refuse(Status.UNAUTHENTICATED, "say HELLO first");
  }

  tell(port: Port, routingId: Buffer, peer: Peer | undefined, error: Fault): void {
    if (peer !== undefined) {
      writeError(peer.outbox.writer, error);
      port.due(peer.outbox, routingId);
      return;
    }
    // A stranger is told once a turn: to answer costs more than to ask.
    if (this.#told?.equals(routingId)) return;
    this.#told = routingId;
    const writer = new BatchWriter();
    writeError(writer, error);
    port.sendOnce(routingId, writer.finish());
  }

  refuse(status: StatusCode, reason: string): void {
    this.delivery.refusal = { status, reason };
  }

  malformed(reason: string): void {
    this.countMalformed();
    this.refuse(Status.INVALID_ARGUMENT, reason);
  }

  /** Frames that are not there are the fault of the message, which counts when it ends. */
  countMalformed(): void {
    if (this.#reader.fault === undefined) this.faults.malformed++;
  }

  // --- records -> commands ---

  #onRecord(peer: Peer): void {
    const { kind } = this.#reader;
    const isClient = peer.role === "client";
    const isWorker = peer.role === "worker";
    switch (kind) {
      case Kind.REQUEST:
        return isClient ? this.#records.onRequest(peer, this.#reader) : this.#onForbidden();
      case Kind.CANCEL:
        return isClient ? this.#records.onCancel(peer, this.#reader) : this.#onForbidden();
      case Kind.REPLY:
        return isWorker ? this.#records.onReply(peer, this.#reader) : this.#onForbidden();
      case Kind.FAILURE:
        return isWorker ? this.#records.onFailure(peer, this.#reader) : this.#onForbidden();
      case Kind.CREDIT:
        return isWorker ? this.#onCredit(peer) : this.#onForbidden();
      case Kind.DRAIN:
        return isWorker ? this.step({ kind: "drain", peer: peer.index }) : this.#onForbidden();
      case Kind.WELCOME:
      case Kind.ERROR:
      case Kind.PING:
      case Kind.PUSHED:
      case Kind.TASK:
      case Kind.SURVEY_END:
        return this.#onForbidden();
      default:
        this.#onOther(peer, kind);
    }
  }

  #onOther(peer: Peer, kind: number): void {
    const taker = this.#patternOf[kind];
    if (taker !== undefined) {
      return peer.role === taker.from
        ? taker.pattern.onRecord(peer, this.#reader)
        : this.#onForbidden();
    }
    this.faults.unknown++;
    this.#reader.skip();
    this.refuse(Status.INVALID_ARGUMENT, `kind ${kind} is not known here`);
  }

  #onForbidden(): void {
    this.faults.role++;
    this.#reader.skip();
    this.refuse(Status.PERMISSION_DENIED, `kind ${this.#reader.kind} is not for this role`);
  }

  #onCredit(peer: Peer): void {
    const credit = readCredit(this.#reader);
    if (typeof credit === "string") return this.malformed(credit);
    this.step({ kind: "credit", peer: peer.index, concurrency: credit });
  }

  step(command: Parameters<Core["step"]>[0]): void {
    this.delivery.refusal = undefined;
    this.core.step(command, this.delivery.nowMs);
    // What the core refuses as out of range is as malformed as what the wire does.
    const refusal = this.delivery.refusal as Refusal;
    if (refusal?.status === Status.INVALID_ARGUMENT) this.faults.malformed++;
  }

  leave(peer: Peer): undefined {
    this.step({ kind: "leave", peer: peer.index });
    for (const pattern of this.patterns) pattern.onLeave(peer);
    this.#greetings.onLeave(peer);
    this.peers.delete(peer);
    return undefined;
  }

  // --- turns, time and departures ---

  /** All that came in is handled: sends what it brought about. */
  onTurn(): void {
    this.#told = undefined;
    while (this.#gone.length > 0) {
      const gone = this.#gone;
      this.#gone = [];
      for (const peer of gone) if (this.peers.at(peer.index) === peer) this.leave(peer);
    }
    if (this.majordomo.isDue) this.majordomo.feed();
    for (const port of this.#ports) port.flush();
    this.#onShutdownTurn?.();
    if (this.#needsTick() && !this.#isClosed) this.#tick ??= setTimeout(this.#onTick, TICK_MS);
  }

  /** A peer cannot be reached or does not read; perhaps in the middle of a step. */
  onUnreachable(outbox: Outbox, isUnread: boolean): void {
    const peer = this.peers.at(outbox.peer);
    if (peer?.outbox !== outbox) return;
    if (isUnread) this.faults.unread++;
    this.#gone.push(peer);
    if (this.#isSettling) return;
    this.#isSettling = true;
    queueMicrotask(() => {
      this.#isSettling = false;
      this.delivery.nowMs = this.#now();
      this.onTurn();
    });
  }

  #onTick = (): void => {
    this.#tick = undefined;
    this.delivery.nowMs = this.#now();
    this.core.tick(this.delivery.nowMs);
    for (const pattern of this.patterns) {
      if (pattern.needsTick) pattern.onTick(this.delivery.nowMs);
    }
    this.onTurn();
  };

  #needsTick(): boolean {
    return this.core.needsTick || this.patterns.some(({ needsTick }) => needsTick);
  }

  begin(): void {
    this.delivery.nowMs = this.#now();
  }

  #now(): number {
    return performance.now();
  }
}

type Refusal = { status: StatusCode; reason: string } | undefined;
