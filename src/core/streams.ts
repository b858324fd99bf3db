import { Status } from "../base/status.js";
import type { Effects, StreamCredit, StreamPart } from "./command.js";
import { RequestState, type Requests } from "./requests.js";

/** One request whose answer is a stream of parts: what its client granted, and what came of it. */
export class Stream {
  /** Granted by the client, and sent to it, over all attempts. */
  partsMax = 0;
  bytesMax = 0;
  parts = 0;
  bytes = 0;
  /** What attempts before the present one had sent. */
  partsBefore = 0;
  bytesBefore = 0;

  constructor(
    /** Whether another worker may begin it anew once a part of it is with the client. */
    readonly canRestart: boolean,
  ) {}

  /** Whether the present attempt has sent a part. */
  get hasBegun(): boolean {
    return this.parts > this.partsBefore;
  }

  /** Whether it ends with the worker that has it. */
  get isBound(): boolean {
    return this.hasBegun && !this.canRestart;
  }

  /** Whether a further part may be sent, of whatever size. */
  get hasRoom(): boolean {
    return this.parts < this.partsMax && this.bytes < this.bytesMax;
  }

  /** Another attempt begins: its parts count from 0. */
  begin(): void {
    this.partsBefore = this.parts;
    this.bytesBefore = this.bytes;
  }

  /** Whether there is more to grant than before. */
  grant(partsMax: number, bytesMax: number): boolean {
    if (partsMax <= this.partsMax && bytesMax <= this.bytesMax) return false;
    this.partsMax = Math.max(this.partsMax, partsMax);
    this.bytesMax = Math.max(this.bytesMax, bytesMax);
    return true;
  }

  /** What is wrong with a part, or undefined. One part may be larger than the bytes that are left. */
  faultOf({ index, isLast, fault }: StreamPart): string | undefined {
    if (fault !== undefined) return fault;
    const next = this.parts - this.partsBefore;
    if (index !== next) return `part ${next} was next, and part ${index} came`;
    if (isLast) return undefined;
    if (this.parts >= this.partsMax) return "more parts than were granted";
    if (this.bytes >= this.bytesMax) return "more bytes than were granted";
    return undefined;
  }

  add(bytes: number): void {
    this.parts++;
    this.bytes += bytes;
  }
}

/** The streams among the requests, by slot, and what their workers are told that they may send. */
export class Streams {
  count = 0;
  readonly #bySlot: (Stream | undefined)[] = [];
  readonly #requests: Requests;
  readonly #effects: Effects;

  constructor(requests: Requests, effects: Effects) {
    this.#requests = requests;
    this.#effects = effects;
  }

  at(slot: number): Stream | undefined {
    return this.#bySlot[slot];
  }

  /** The slots of all streams, for inspection. */
  *slots(): Iterable<number> {
    if (this.count === 0) return;
    for (const [slot, stream] of this.#bySlot.entries()) if (stream !== undefined) yield slot;
  }

  add(slot: number, canRestart: boolean): void {
    this.#bySlot[slot] = new Stream(canRestart);
    this.count++;
  }

  /** What is in `slot` was handed to a worker. Whether it is a stream. */
  begin(slot: number): boolean {
    const stream = this.#bySlot[slot];
    if (stream === undefined) return false;
    stream.begin();
    if (stream.partsMax > stream.partsBefore) this.#grant(slot, stream);
    return true;
  }

  /** The client of what is in `slot` grants more of it. */
  onCredit(slot: number, { peer, partsMax, bytesMax }: StreamCredit): void {
    const stream = this.#bySlot[slot];
    if (stream === undefined) {
      this.#effects.refuse(peer, Status.INVALID_ARGUMENT, "credit for what is no stream");
      return;
    }
    const isMore = stream.grant(partsMax, bytesMax);
    // Else the worker that it goes to will be told.
    const isDispatched = this.#requests.state[slot] === RequestState.DISPATCHED;
    if (isMore && isDispatched) this.#grant(slot, stream);
  }

  #grant(slot: number, { partsMax, partsBefore, bytesMax, bytesBefore }: Stream): void {
    const worker = this.#requests.worker[slot];
    // A part may be larger than what was left, so that an attempt before this one had more than was granted.
    const bytes = Math.max(bytesMax - bytesBefore, 0);
    this.#effects.grant(worker, slot, partsMax - partsBefore, bytes);
  }

  /** Forgets the stream in `slot`, if there is one. */
  delete(slot: number): void {
    if (this.#bySlot[slot] === undefined) return;
    this.#bySlot[slot] = undefined;
    this.count--;
  }
}
