import { Fifo } from "../base/fifo.js";
import type { Connection } from "../zmtp/connection.js";
import type { Arrival } from "./arrival.js";
import {
  type FanOut,
  joined,
  type Kept,
  type KeptRoom,
  type Listening,
  type Told,
} from "./fan-out.js";

/** Messages that wait for one, as libzmq has it: beyond, the newest is lost to it. */
const QUEUED_COUNT_MAX = 1000;
/** Of what waited, what is written in one go; under CURVE a message of more is sealed as the peer takes it. */
const WRITTEN_BYTES_MAX = 256 * 1024;

/** What plain SUBs share. */
export interface SubRoom {
  readonly fanOut: FanOut;
  readonly kept: KeptRoom;
  /** Of what may wait for one. */
  readonly queuedBytesMax: number;
  readonly isSealed: boolean;
  /** A message was lost to one that does not read in time. */
  onDropped(): void;
}

/** One plain SUB: what it asked for, and what it is told, as far as it reads. */
export class SubLine implements Listening {
  /** Prefixes that it asked for, and of these those that it may hear: bytes in latin1. */
  readonly asked = new Set<string>();
  readonly heard = new Set<string>();
  readonly #room: SubRoom;
  #connection!: Connection;
  /** Of the turn at hand. */
  #turn: Told[] = [];
  /** What it had no room for, and of that what is written and not taken. */
  readonly #queue = new Fifo<Kept>();
  #queuedBytes = 0;
  #written: Kept[] = [];

  constructor(
    readonly arrival: Arrival,
    room: SubRoom,
  ) {
    this.#room = room;
  }

  attach(connection: Connection): void {
    this.#connection = connection;
  }

  /** It is told this at the end of the turn. */
  tell(message: Told): void {
    if (this.#turn.length === 0) this.#room.fanOut.due(this);
    this.#turn.push(message);
  }

  flush(): boolean {
    const turn = this.#turn;
    this.#turn = [];
    if (this.#connection.isEnded) return true;
    if (this.#isBehind || (this.#room.isSealed && turn.some(isLarge))) {
      for (const message of turn) this.#enqueue(message);
      this.#sendQueued();
      return true;
    }
    this.#send(turn);
    return this.#room.isSealed || !this.#connection.isBlocked;
  }

  /** It takes something again. */
  onDrained(): void {
    this.#sendQueued();
  }

  get #isBehind(): boolean {
    return this.#connection.isBlocked || this.#queue.count > 0;
  }

  #sendQueued(): void {
    while (!this.#connection.isBlocked) {
      this.#releaseWritten();
      if (this.#queue.count === 0) return;
      this.#written = this.#nextQueued();
      this.#send(this.#written);
    }
  }

  /** As many as are written in one go: a large one by itself. */
  #nextQueued(): Kept[] {
    const messages: Kept[] = [];
    let bytes = 0;
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      bytes += next.bytes;
      if (messages.length > 0 && bytes > WRITTEN_BYTES_MAX) break;
      this.#queue.shift();
      this.#queuedBytes -= next.bytes;
      messages.push(next);
    }
    return messages;
  }

  onGone(): void {
    this.#releaseWritten();
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.#room.kept.release(next);
    }
    this.#queuedBytes = 0;
  }

  #enqueue(message: Told): void {
    const { kept, queuedBytesMax, onDropped } = this.#room;
    // One that is not behind takes a message however large it is.
    const isFull =
      this.#isBehind &&
      (this.#queue.count >= QUEUED_COUNT_MAX || this.#queuedBytes + message.bytes > queuedBytesMax);
    const held = isFull ? undefined : kept.hold(message);
    if (held === undefined) return onDropped();
    this.#queue.push(held);
    this.#queuedBytes += held.bytes;
  }

  #send(messages: readonly Pick<Kept, "pieces" | "bytes">[]): void {
    // It is kept, or memory of its own: it may be sealed later.
    if (this.#room.isSealed && isLarge(messages[0])) this.#connection.send(messages[0].pieces);
    else if (this.#room.isSealed) this.#connection.sendAll(messages.map(({ pieces }) => pieces));
    else this.#connection.sendEncoded(joined(messages));
  }

  #releaseWritten(): void {
    for (const message of this.#written) this.#room.kept.release(message);
    this.#written = [];
  }
}

function isLarge({ bytes }: { readonly bytes: number }): boolean {
  return bytes > WRITTEN_BYTES_MAX;
}
