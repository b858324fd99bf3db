import { randomBytes } from "node:crypto";
import { bytesOf } from "../wire/request-record.js";
import { placeBytes, type Run } from "../wire/stream-record.js";
import { ownFrames } from "./bodies.js";
import type { Host } from "./host.js";
import { costOf, NO_ROOM, type PartFault, type PartRoom, REPLY_TOO_LARGE } from "./part-room.js";
import type { Peer } from "./peers.js";
import { bodyFault, rawPart } from "./raw-records.js";
import { failAttempt } from "./request-records.js";

const RUN_SIZE = 8;
const NO_BODY: readonly Uint8Array[] = [new Uint8Array(0)];

type Body = readonly Uint8Array[];

/** A part that its reader has not granted yet. */
interface HeldPart {
  readonly body: Body;
  readonly cost: number;
  next: HeldPart | undefined;
}

/** A stream of a native client's that a worker of MDP/0.2 answers, from when it is handed to it. */
export class HeldStream {
  readonly run: Run = randomBytes(RUN_SIZE);
  /** The place of the next part that is passed on. */
  index = 0;
  /** What is held, oldest first. */
  first: HeldPart | undefined;
  last: HeldPart | undefined;
  count = 0;
  cost = 0;
  /** FINAL came: its worker has done, though its reader has not. */
  isEnded = false;
  isDue = false;

  constructor(
    readonly worker: Peer,
    readonly slot: number,
    readonly generation: number,
  ) {}

  /** Whether a PARTIAL has come. */
  get hasBegun(): boolean {
    return this.index > 0 || this.first !== undefined;
  }
}

/**
 * Native streams that workers of MDP/0.2 answer: PARTIAL is a part, FINAL the last one and the end. Such a worker
 * knows no credit, so what is more than the reader granted is held here, as far as there is room. One that
 * has sent its FINAL is free for another request, as fast as it was: what is held is no concern of its.
 */
export class HeldParts {
  readonly #host: Host;
  readonly #room: PartRoom;
  readonly #bySlot = new Map<number, HeldStream>();
  /** How many streams of a worker's are held whose FINAL came: so many requests more may it be handed. */
  readonly #ended = new Map<Peer, number>();
  #due: HeldStream[] = [];

  constructor(host: Host, room: PartRoom) {
    this.#host = host;
    this.#room = room;
  }

  /** The stream that this attempt is of. */
  of(worker: Peer, slot: number, generation: number): HeldStream | undefined {
    const stream = this.#bySlot.get(slot);
    return stream?.worker === worker && stream.generation === generation ? stream : undefined;
  }

  // --- in ---

  onPartial(stream: HeldStream, body: Body): void {
    const fault = this.#faultOf(stream, body);
    if (fault === undefined) return this.#add(stream, body);
    // It sends on, and is free when its FINAL comes.
    const { worker, slot, generation } = stream;
    const rest = { index: 0, isLast: false, bytes: 0 };
    this.#host.step({
      kind: "stream-part",
      peer: worker.index,
      slot,
      generation,
      ...rest,
      fault: fault.reason,
      faultStatus: fault.status,
    });
  }

  /** Behind PARTIALs. Spec 18 asks for a FINAL in any case: one that is empty says no more than that. */
  onFinal(stream: HeldStream, body: Body): void {
    const isEmpty = body.length === 1 && body[0].length === 0;
    const fault = isEmpty ? undefined : this.#faultOf(stream, body);
    if (fault !== undefined) {
      this.forget(stream);
      return failAttempt(this.#host, stream.worker, stream, fault.status, fault.reason);
    }
    if (!isEmpty) this.#add(stream, body);
    if (stream.first === undefined) return this.#end(stream);
    stream.isEnded = true;
    this.#countEnded(stream.worker, 1);
  }

  #faultOf(stream: HeldStream, body: Body): PartFault | undefined {
    if (bodyFault(body, this.#host.limits) !== undefined) {
      this.#host.faults.malformed++;
      return REPLY_TOO_LARGE;
    }
    if (this.#isGranted(stream)) return undefined;
    return this.#room.hasFor(stream.count, stream.cost, costOf(body)) ? undefined : NO_ROOM;
  }

  /** Whether the next part may go on at once. */
  #isGranted({ slot, first }: HeldStream): boolean {
    return first === undefined && this.#host.core.streams.at(slot)?.hasRoom === true;
  }

  #add(stream: HeldStream, body: Body): void {
    if (this.#isGranted(stream)) return this.#passOn(stream, body);
    const cost = costOf(body);
    const part: HeldPart = { body: ownFrames(body), cost, next: undefined };
    if (stream.last === undefined) stream.first = part;
    else stream.last.next = part;
    stream.last = part;
    stream.count++;
    stream.cost += cost;
    this.#room.take(1, cost);
  }

  // --- out ---

  #passOn(stream: HeldStream, body: Body, isLast = false): void {
    const { slot, generation, index } = stream;
    const record = rawPart(body, placeBytes(index, isLast, stream.run));
    if (!isLast) stream.index++;
    this.#host.delivery.current = record;
    const bytes = bytesOf(record);
    const peer = stream.worker.index;
    this.#host.step({ kind: "stream-part", peer, slot, generation, index, isLast, bytes });
  }

  #end(stream: HeldStream): void {
    this.forget(stream);
    this.#passOn(stream, NO_BODY, true);
  }

  /** Whether `feed` has something to do. */
  get isDue(): boolean {
    return this.#due.length > 0;
  }

  /** Passes on what has been granted since. */
  feed(): void {
    for (let stream = this.#due.pop(); stream !== undefined; stream = this.#due.pop()) {
      stream.isDue = false;
      if (this.#bySlot.get(stream.slot) === stream) this.#feed(stream);
    }
  }

  #feed(stream: HeldStream): void {
    const { streams } = this.#host.core;
    while (stream.first !== undefined && streams.at(stream.slot)?.hasRoom === true) {
      const { body, cost, next } = stream.first;
      stream.first = next;
      if (next === undefined) stream.last = undefined;
      stream.count--;
      stream.cost -= cost;
      this.#room.giveBack(1, cost);
      this.#passOn(stream, body);
    }
    if (stream.first === undefined && stream.isEnded) this.#end(stream);
  }

  #markDue(stream: HeldStream): void {
    if (stream.isDue) return;
    stream.isDue = true;
    this.#due.push(stream);
  }

  /** A worker that is not at work on its streams any more may be handed as many requests beside them. */
  #countEnded(worker: Peer, change: number): void {
    const count = (this.#ended.get(worker) ?? 0) + change;
    if (count === 0) this.#ended.delete(worker);
    else this.#ended.set(worker, count);
    const concurrency = Math.min(1 + count, this.#host.limits.concurrencyMax);
    this.#host.step({ kind: "credit", peer: worker.index, concurrency });
  }

  // --- called while the core steps ---

  begin(worker: Peer, slot: number, generation: number): void {
    // Of a worker that is about to leave: this is the next attempt.
    const before = this.#bySlot.get(slot);
    if (before !== undefined) this.#drop(before);
    this.#bySlot.set(slot, new HeldStream(worker, slot, generation));
  }

  /** There is more credit for the stream in `slot`. */
  onGrant(slot: number): void {
    const stream = this.#bySlot.get(slot);
    if (stream?.first !== undefined) this.#markDue(stream);
  }

  /** Nobody waits for what is in `slot`. */
  onAbort(slot: number): void {
    const stream = this.#bySlot.get(slot);
    if (stream === undefined) return;
    if (!stream.isEnded) return this.forget(stream);
    // No more comes of its worker: it is ended here, when the core is through with this.
    this.#drop(stream);
    this.#markDue(stream);
  }

  // --- ends ---

  /** Its worker's answer, or the want of one, is no concern of this any more. */
  forget(stream: HeldStream): void {
    this.#bySlot.delete(stream.slot);
    this.#drop(stream);
    // Before it ends, or more than one request would be handed out for it.
    if (stream.isEnded) this.#countEnded(stream.worker, -1);
  }

  #drop(stream: HeldStream): void {
    this.#room.giveBack(stream.count, stream.cost);
    stream.first = undefined;
    stream.last = undefined;
    stream.count = 0;
    stream.cost = 0;
  }

  /** `worker` is gone, and with it, for the core, all that it had. */
  onLeave(worker: Peer): void {
    this.#ended.delete(worker);
    for (const stream of this.#bySlot.values()) {
      if (stream.worker !== worker) continue;
      this.#bySlot.delete(stream.slot);
      this.#drop(stream);
    }
  }
}
