// Under CURVE: messages that are sealed only as far as the peer takes them, part by part.
import { BLOCK_BYTES_MAX, outgoing } from "../base/blocks.js";
import { Fifo } from "../base/fifo.js";
import { boxedMore, type CurveSession, FRAME_OVERHEAD, TAG_END } from "./curve-session.js";
import { pieceSizeMax } from "./encode.js";
import { type Sealer, type SealRoom, sealRoom } from "./seal-room.js";

/** So much may be sealed for a peer that has not taken what was sealed before, whatever others have. */
export const AHEAD_BYTES_MAX = 256 * 1024;

const NONE: readonly Uint8Array[] = [];

/** Where it goes. */
export interface SealedSink {
  readonly isBlocked: boolean;
  readonly isEnded: boolean;
  /** `piece` may lie in `outgoing`. */
  write(piece: Buffer): void;
  /** All is written, behind the call that it was pushed with. */
  onWritten(): void;
  /** What was to be sealed once more is not the same any more. */
  onChanged(): void;
}

interface Part {
  readonly flags: number;
  readonly bytes: Uint8Array;
  /** To be given back behind it: several parts of one message may lie in one of `outgoing`. */
  readonly held: readonly Uint8Array[];
}

/**
 * What is to be sealed for one peer. A part is one box, whose tag stands in front, so it is sealed as a whole; then it
 * goes out in blocks, the next when the system has taken the one before. Between two of them it may be forgotten.
 */
export class LargeParts implements Sealer {
  readonly #curve: CurveSession;
  readonly #sink: SealedSink;
  readonly #room: SealRoom;
  readonly #parts = new Fifo<Part>();
  #bytes = 0;
  /** The first of them, sealed; how much of it is written, and what it began with when it was sealed first. */
  #piece: Buffer | undefined;
  #at = 0;
  #start: Buffer | undefined;
  /** It waits for its turn, or for room: for us, not for its peer. */
  isAsking = false;

  constructor(curve: CurveSession, sink: SealedSink, room = sealRoom) {
    this.#curve = curve;
    this.#sink = sink;
    this.#room = room;
  }

  get isEmpty(): boolean {
    return this.#parts.count === 0;
  }

  get isOver(): boolean {
    return this.#sink.isEnded;
  }

  /** Not written yet. */
  get unsentBytes(): number {
    return this.#bytes - this.#at;
  }

  get nextBytes(): number {
    const part = this.#parts.peek();
    const bytes = part === undefined ? 0 : sealedSize(part.bytes);
    return bytes > AHEAD_BYTES_MAX ? bytes : 0;
  }

  /** A message, of which parts that are small and not in `outgoing` are copied. */
  push(parts: readonly Uint8Array[]): void {
    const wasEmpty = this.isEmpty;
    const last = parts.length - 1;
    for (let i = 0; i <= last; i++) {
      const part = parts[i];
      const isCopied = part.length <= pieceSizeMax && !outgoing.has(part);
      const bytes = isCopied ? Buffer.from(part) : part;
      this.#parts.push({ flags: i < last ? boxedMore : 0, bytes, held: i < last ? NONE : parts });
      this.#bytes += sealedSize(bytes);
    }
    if (wasEmpty) this.#write();
  }

  goOn(): void {
    if (this.#write()) this.#sink.onWritten();
  }

  /** As far as it may; returns whether that is all. */
  #write(): boolean {
    while (!this.isEmpty) {
      if (this.isAsking || this.isOver || this.#sink.isBlocked) return false;
      if (this.#piece !== undefined) this.#writeBlock(this.#piece);
      else if (!this.#room.ask(this, this.#start !== undefined)) this.isAsking = true;
    }
    return true;
  }

  seal(): void {
    this.isAsking = false;
    const { flags, bytes } = this.#parts.peek() as Part;
    const piece = this.#curve.sealPart(bytes, flags, this.#start !== undefined);
    if (this.nextBytes === 0) {
      this.#shift();
      return this.#sink.write(piece);
    }
    // Two texts under one nonce would tell of both: the tag says that they are one.
    const start = piece.subarray(0, TAG_END);
    if (this.#start?.equals(start) === false) return this.#sink.onChanged();
    this.#start ??= Buffer.from(start);
    this.#piece = piece;
  }

  forget(): void {
    this.#piece = undefined;
    this.#room.release(this);
  }

  /** Copied: what the system has not taken holds no more than itself. */
  #writeBlock(piece: Buffer): void {
    const end = Math.min(this.#at + BLOCK_BYTES_MAX, piece.length);
    const size = end - this.#at;
    const block = outgoing.take(size);
    piece.copy(block, 0, this.#at, end);
    this.#at = end;
    if (end < piece.length) this.#room.moved(this);
    else this.#shift();
    this.#sink.write(block.subarray(0, size));
  }

  #shift(): void {
    const { bytes, held } = this.#parts.shift() as Part;
    for (const part of held) outgoing.giveBack(part);
    this.#bytes -= sealedSize(bytes);
    this.#at = 0;
    this.#start = undefined;
    this.forget();
  }

  /** Nothing is written any more. */
  close(): void {
    this.forget();
    for (let next = this.#parts.shift(); next !== undefined; next = this.#parts.shift()) {
      for (const part of next.held) outgoing.giveBack(part);
    }
    this.#bytes = 0;
    this.#at = 0;
  }
}

function sealedSize({ length }: Uint8Array): number {
  return FRAME_OVERHEAD + length;
}
