// Messages that go to many: copied once, as they are written, whoever they go to; and once more for all who take
// them later.
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, Blocks } from "../base/blocks.js";
import { encodeMessage, headSize, writeHead } from "../zmtp/encode.js";
import { flagMore } from "../zmtp/frames.js";
import { ownFrames } from "./bodies.js";

/** A message that is larger has memory of its own. */
const SMALL_BYTES_MAX = BLOCK_BYTES_MIN;
/** Of what is kept, beside its bytes. */
const KEPT_OVERHEAD = 512;
/** What may gather before it is to be sent, though more may come in the same turn. */
const GATHERED_COUNT_MAX = 512;
const GATHERED_BYTES_MAX = 256 * 1024;

const NO_BLOCK = Buffer.alloc(0);

/** Memory of all fan-outs. */
const blocks = new Blocks();

/** A message of the turn at hand. */
export interface Told {
  /** As it is written; under CURVE, where each peer has its own boxes, its parts. Good until the turn is over. */
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
  /** The pieces may be kept as they are. */
  readonly isOwn: boolean;
  kept: Kept | undefined;
}

/** A message that some could not take in its turn. */
export interface Kept {
  readonly pieces: readonly Uint8Array[];
  readonly bytes: number;
  holds: number;
}

/** How much may be kept for all together, each message counted once. */
export class KeptRoom {
  bytes = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Undefined where there is no room. */
  hold(message: Told): Kept | undefined {
    if (message.kept === undefined || message.kept.holds === 0) {
      if (this.bytes + message.bytes + KEPT_OVERHEAD > this.#bytesMax) return undefined;
      this.bytes += message.bytes + KEPT_OVERHEAD;
      const { bytes } = message;
      message.kept = { pieces: ownPieces(message), bytes, holds: 0 };
    }
    message.kept.holds++;
    return message.kept;
  }

  release(kept: Kept): void {
    if (--kept.holds === 0) this.bytes -= kept.bytes + KEPT_OVERHEAD;
  }
}

/** Takes what was told to it at the end of a turn. */
export interface Listening {
  /** Returns whether the bytes of the turn are used no more. */
  flush(): boolean;
}

/** What is told in one turn of the event loop, and to whom. */
export class FanOut {
  readonly #isSealed: boolean;
  /** The last is being written. Each is twice the one before: what a peer that takes nothing holds is as much as it heard. */
  #blocks: Buffer[] = [];
  #block: Buffer = NO_BLOCK;
  #used = 0;
  #count = 0;
  #bytes = 0;
  #due: Listening[] = [];

  /** `isSealed`: under CURVE. */
  constructor(isSealed: boolean) {
    this.#isSealed = isSealed;
  }

  /** So much is gathered that it is to be sent before there is more. */
  get isFull(): boolean {
    return this.#count >= GATHERED_COUNT_MAX || this.#bytes >= GATHERED_BYTES_MAX;
  }

  /** A message, whose parts may change as soon as this returns, but for those that may be kept (base/blocks.ts). */
  add(parts: readonly Uint8Array[]): Told {
    let bytes = 0;
    for (const { length } of parts) bytes += headSize(length) + length;
    this.#count++;
    this.#bytes += bytes;
    const isOwn = bytes > SMALL_BYTES_MAX;
    return {
      pieces: isOwn ? this.#own(parts) : this.#copy(parts, bytes),
      bytes,
      isOwn,
      kept: undefined,
    };
  }

  /** It has something of this turn. */
  due(one: Listening): void {
    this.#due.push(one);
  }

  /** Ends the turn. */
  flush(): void {
    if (this.#due.length === 0) return;
    const due = this.#due;
    this.#due = [];
    let isTaken = true;
    for (const one of due) if (!one.flush()) isTaken = false;
    // What the system has not taken it still reads: those blocks are garbage once it has.
    if (isTaken) for (const block of this.#blocks) blocks.giveBack(block);
    this.#blocks = [];
    this.#block = NO_BLOCK;
    this.#used = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #own(parts: readonly Uint8Array[]): readonly Uint8Array[] {
    const own = ownFrames(parts);
    return this.#isSealed ? own : encodeMessage(own);
  }

  #copy(parts: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
    if (this.#used + bytes > this.#block.length) this.#grow();
    const block = this.#block;
    const start = this.#used;
    const pieces: Uint8Array[] = [];
    let at = start;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i];
      if (!this.#isSealed)
        at = writeHead(block, at, i < parts.length - 1 ? flagMore : 0, part.length);
      block.set(part, at);
      at += part.length;
      if (this.#isSealed) pieces.push(block.subarray(at - part.length, at));
    }
    if (!this.#isSealed) pieces.push(block.subarray(start, at));
    this.#used = at;
    return pieces;
  }

  #grow(): void {
    const size = Math.min(Math.max(BLOCK_BYTES_MIN, 2 * this.#block.length), BLOCK_BYTES_MAX);
    this.#block = blocks.take(size);
    this.#blocks.push(this.#block);
    this.#used = 0;
  }
}

function ownPieces({ pieces, bytes, isOwn }: Told): readonly Uint8Array[] {
  if (isOwn) return pieces;
  const memory = Buffer.allocUnsafeSlow(bytes);
  let at = 0;
  return pieces.map((piece) => {
    memory.set(piece, at);
    at += piece.length;
    return memory.subarray(at - piece.length, at);
  });
}

/** Pieces that lie side by side as one. */
export function joined(
  messages: readonly { readonly pieces: readonly Uint8Array[] }[],
): Uint8Array[] {
  const all: Uint8Array[] = [];
  let buffer: ArrayBufferLike | undefined;
  let start = 0;
  let end = 0;
  for (const { pieces } of messages) {
    for (const piece of pieces) {
      if (piece.buffer === buffer && piece.byteOffset === end) {
        end += piece.length;
        continue;
      }
      if (buffer !== undefined) all.push(new Uint8Array(buffer, start, end - start));
      buffer = piece.buffer;
      start = piece.byteOffset;
      end = start + piece.length;
    }
  }
  if (buffer !== undefined) all.push(new Uint8Array(buffer, start, end - start));
  return all;
}
