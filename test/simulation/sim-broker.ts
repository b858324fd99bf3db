// The edge of a broker, modelled: connections become peers, messages become commands, effects become
// messages. In its middle runs the production core, under the eyes of its model.

import type { StatusCode } from "../../build/base/status.js";
import type { Effects } from "../../build/core/command.js";
import type { Limits } from "../../build/core/limits.js";
import { type Log, must } from "./log.ts";
import { type CoreClass, Model } from "./model.ts";
import type { Connection, Place, Question, Upward } from "./network.ts";

/** What a peer may be owed before it is given up as one that does not read. */
const OWED_MAX = 8;

interface Peer {
  readonly index: number;
  readonly identity: string;
  connection: Connection;
}

export class SimBroker implements Effects {
  readonly model: Model;
  readonly peers = new Map<number, Peer>();
  isStopped = false;
  /** The bytes of requests, by slot; kept until their release. */
  readonly bodies = new Map<number, Question>();
  readonly #byIdentity = new Map<string, Peer>();
  readonly #freeIndexes: number[] = [];
  #indexCount = 0;
  #unread: Peer[] = [];
  /** What the message being handled brought. */
  #question: Question | undefined;
  #replyId = "";
  #place: Place | undefined;
  #bytes = 0;

  constructor(
    CoreUnderTest: CoreClass,
    readonly number: number,
    limits: Limits,
    services: readonly string[],
    nowMs: number,
    log: Log,
  ) {
    this.model = new Model(CoreUnderTest, limits, services, nowMs, `b${number}`, log, this);
  }

  /** The next message of a connection's pipe. */
  onMessage(connection: Connection, message: Upward, nowMs: number): void {
    const peer = this.#byIdentity.get(connection.identity);
    if (message.kind === "hello-client" || message.kind === "hello-worker") {
      this.#onHello(connection, peer, message, nowMs);
    } else if (message.kind === "gone") {
      // Of an older connection of the same identity it says nothing new.
      if (peer?.connection === connection) this.#leave(peer, nowMs);
    } else if (peer !== undefined) {
      // By its identity, as a ROUTER has it: what an older connection brought is taken for this one's.
      this.#onRecord(peer, message, nowMs);
    }
    this.#dropUnread(nowMs);
  }

  #onHello(
    connection: Connection,
    known: Peer | undefined,
    message: Upward & { kind: "hello-client" | "hello-worker" },
    nowMs: number,
  ): void {
    if (known?.connection === connection) return;
    if (known !== undefined) this.#leave(known, nowMs);
    const { identity } = connection;
    const index = this.#freeIndexes.pop() ?? ++this.#indexCount;
    const peer: Peer = { index, identity, connection };
    this.peers.set(index, peer);
    this.#byIdentity.set(identity, peer);
    const { limits } = this.model;
    connection.down({ kind: "welcome", inFlightMax: limits.clientInFlightMax });
    if (message.kind === "hello-client")
      this.model.step({ kind: "join-client", peer: index }, nowMs);
    else this.model.step({ ...message, kind: "join-worker", peer: index }, nowMs);
    // Turned away: what it says is not heard, and it may try again.
    const isIn = this.model.books.clients.has(index) || this.model.books.workers.has(index);
    if (!isIn) this.#forget(peer);
  }

  #onRecord(peer: Peer, message: Upward, nowMs: number): void {
    const { index } = peer;
    // A guess that has come true is the worker's own answer, about which it may say what it likes.
    if ("isForged" in message && this.isTrue(index, message)) return;
    switch (message.kind) {
      case "request":
        this.#question = message;
        break;
      case "reply":
        this.#replyId = message.id;
        break;
      case "stream-part":
        this.#replyId = message.id;
        this.#place = { run: message.run, index: message.index };
        this.#bytes = message.bytes;
        break;
      default:
    }
    if (message.kind === "failure") {
      this.model.step({ ...message, peer: index, reason: "no" }, nowMs);
    } else if (message.kind !== "gone" && message.kind !== "hello-client") {
      if (message.kind !== "hello-worker") this.model.step({ ...message, peer: index }, nowMs);
    }
    this.#question = undefined;
    this.#place = undefined;
  }

  /** Whether an answer is that of an attempt which this peer has now. */
  isTrue(index: number, { slot, generation }: { slot: number; generation: number }): boolean {
    const attempt = this.model.books.workers.get(index)?.held.get(slot);
    return attempt?.generation === generation;
  }

  #leave(peer: Peer, nowMs: number): void {
    this.model.step({ kind: "leave", peer: peer.index }, nowMs);
    this.#forget(peer);
  }

  #forget(peer: Peer): void {
    this.peers.delete(peer.index);
    this.#byIdentity.delete(peer.identity);
    this.#freeIndexes.push(peer.index);
    if (!peer.connection.isCut) peer.connection.isNoticed = true;
    this.onForgotten?.(peer.connection);
  }

  /** Told of a connection that the broker gives up. */
  onForgotten: ((connection: Connection) => void) | undefined;

  #dropUnread(nowMs: number): void {
    while (this.#unread.length > 0) {
      const unread = this.#unread;
      this.#unread = [];
      for (const peer of unread) {
        if (this.peers.get(peer.index) === peer) {
          this.model.log.meet("unread");
          this.#leave(peer, nowMs);
        }
      }
    }
  }

  tick(nowMs: number): void {
    this.model.tick(nowMs);
    this.#dropUnread(nowMs);
  }

  /** Takes no more; tells its peers. */
  shutdown(nowMs: number): void {
    this.model.step({ kind: "shutdown" }, nowMs);
    for (const { connection } of this.peers.values()) connection.down({ kind: "drain" });
  }

  /** Looks for peers whose end it was not told of. */
  probe(): void {
    for (const { connection } of this.peers.values()) if (connection.isCut) connection.notice();
  }

  // --- effects ---

  dispatch(worker: number, slot: number): void {
    const { requests } = this.model.core;
    const question = this.#body(slot);
    this.bodies.set(slot, question);
    const deadlineMs = requests.deadlineMs[slot];
    const generation = requests.generation[slot];
    this.#send(worker, { kind: "dispatch", question, slot, generation, deadlineMs });
  }

  hold(slot: number): void {
    this.bodies.set(slot, this.#body(slot));
  }

  release(slot: number): void {
    must(this.bodies.delete(slot), `slot ${slot} released and not held`);
  }

  reply(client: number, slot: number): void {
    const sequence = this.model.core.requests.sequence[slot];
    this.#send(client, { kind: "reply", sequence, id: this.#replyId, end: this.#place });
  }

  streamPart(client: number, slot: number): void {
    const sequence = this.model.core.requests.sequence[slot];
    const place = this.#place as Place;
    const part = { id: this.#replyId, place, bytes: this.#bytes };
    this.#send(client, { kind: "stream-part", sequence, ...part });
  }

  grant(worker: number, slot: number, partsMax: number, bytesMax: number): void {
    const generation = this.model.core.requests.generation[slot];
    this.#send(worker, { kind: "grant", slot, generation, partsMax, bytesMax });
  }

  /** These clients have no use for parts: what the core makes of them is all that counts. */
  part(): void {}

  fail(client: number, sequence: number, status: StatusCode): void {
    this.#send(client, { kind: "fail", sequence, status });
  }

  abort(worker: number, slot: number): void {
    const generation = this.model.core.requests.generation[slot];
    this.#send(worker, { kind: "abort", slot, generation });
  }

  /** Told, and not heeded: these clients ask for more than they may, so that limits are met. */
  credit(): void {}

  drained(worker: number): void {
    this.#send(worker, { kind: "bye" });
  }

  refuse(): void {}

  #body(slot: number): Question {
    const question = this.bodies.get(slot) ?? this.#question;
    must(question !== undefined, `slot ${slot}: its bytes are gone`);
    return question;
  }

  #send(index: number, message: Parameters<Connection["down"]>[0]): void {
    const peer = this.peers.get(index);
    // Peers that the simulation made up have no connection.
    if (peer === undefined) return;
    peer.connection.down(message);
    if (peer.connection.toEnd.length > OWED_MAX) this.#unread.push(peer);
  }
}
