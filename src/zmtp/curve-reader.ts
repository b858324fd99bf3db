import { Blocks, OWN_FRAME_BYTES_MIN } from "../base/blocks.js";
import { boxedCommand, boxedMore, type CurveSession, messageOverhead } from "./curve-session.js";
import { type FrameFault, type FrameSink, partsMax, readCommand } from "./frames.js";

const blocks = new Blocks();

export interface CurveSink extends FrameSink {
  /** Nothing more is told afterwards. */
  onFault(fault: FrameFault): void;
}

/** Frames under CURVE to the messages and commands in them: what a FrameReader reads goes through here. */
export class CurveReader implements FrameSink {
  readonly #session: CurveSession;
  #messageSizeMax: number;
  readonly #sink: CurveSink;
  readonly #head: readonly Buffer[];
  #parts: Buffer[];
  #size = 0;
  #isStopped = false;

  /** As of a FrameReader. */
  constructor(
    session: CurveSession,
    messageSizeMax: number,
    sink: CurveSink,
    head: readonly Buffer[] = [],
  ) {
    this.#session = session;
    this.#messageSizeMax = messageSizeMax;
    this.#sink = sink;
    this.#head = head;
    this.#parts = [...head];
  }

  /** From now on so many bytes of one message; -1 for no limit. */
  limit(messageSizeMax: number): void {
    this.#messageSizeMax = messageSizeMax;
  }

  /** What a frame may have at most, for the FrameReader in front. */
  static frameSizeMax(messageSizeMax: number): number {
    return messageSizeMax === -1 ? -1 : messageSizeMax + messageOverhead;
  }

  /** One frame, in which a box is. */
  onMessage(frames: Buffer[]): void {
    if (this.#isStopped) return;
    this.#onBoxed(frames.length === 1 ? this.#session.open(frames[0]) : undefined);
  }

  /** What a box had in it; undefined where it did not open. */
  #onBoxed(boxed: Uint8Array | undefined): void {
    if (boxed === undefined) return this.#fail("message-refused");
    const flags = boxed[0];
    const plain = boxed.subarray(1);
    if ((flags & boxedCommand) !== 0) return this.#onCommand(plain);
    const hasMore = (flags & boxedMore) !== 0;
    this.#size += plain.length;
    const isTooLarge = this.#messageSizeMax !== -1 && this.#size > this.#messageSizeMax;
    if (isTooLarge || this.#parts.length - this.#head.length === partsMax) {
      return this.#fail("message-too-large");
    }
    const part = copied(plain, hasMore);
    this.#parts.push(part);
    if (hasMore) return;
    const parts = this.#parts;
    this.#parts = [...this.#head];
    this.#size = 0;
    this.#sink.onMessage(parts);
    blocks.giveBack(part);
  }

  /** In clear: RFC 26 has MESSAGE as a command; any other may be anybody's, and is nothing that a peer says. */
  onCommand(name: string, data: Buffer): void {
    if (this.#isStopped) return;
    this.#onBoxed(name === "MESSAGE" ? this.#session.openData(data) : undefined);
  }

  /** Nothing more is told. */
  stop(): void {
    this.#isStopped = true;
    this.#parts = [];
  }

  #onCommand(body: Uint8Array): void {
    // A copy: what it causes may be sealed in the same memory.
    const command = readCommand(Buffer.from(body));
    if (command === undefined) return this.#fail("frame-malformed");
    this.#sink.onCommand(command.name, command.data);
  }

  #fail(fault: FrameFault): void {
    this.stop();
    this.#sink.onFault(fault);
  }
}

/** A part in memory that nobody else writes to: a block, which is given back, where its message is whole with it. */
function copied(plain: Uint8Array, hasMore: boolean): Buffer {
  const { length } = plain;
  // One that waits for the rest of its message takes no more than it has.
  const isOwn = length >= OWN_FRAME_BYTES_MIN || hasMore;
  const memory = isOwn ? Buffer.allocUnsafeSlow(length) : blocks.take(Math.max(1, length));
  memory.set(plain);
  return memory.subarray(0, length);
}
