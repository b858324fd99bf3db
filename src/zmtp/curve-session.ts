// Traffic under CURVE, behind the handshake: each part of a message, and each command, in a box of its own.
// RFC 26 (CurveZMQ) https://rfc.zeromq.org/spec/26; as libzmq has it, MESSAGE is in a message's frame.
import { assert } from "../base/assert.js";
import { BLOCK_BYTES_MAX, outgoing } from "../base/blocks.js";
import { type CurveBox, NONCE_SIZE, type SharedKey, TAG_SIZE } from "./curve-box.js";
import { writeHead } from "./encode.js";
import { headerSizeMax } from "./frames.js";

export type CurveSide = "client" | "server";

/** | 07 "MESSAGE" | nonce u64 | box of | flags u8: 1 more, 2 command | bytes | | */
const MESSAGE = Buffer.from("\x07MESSAGE", "latin1");
const COUNTER_SIZE = 8;
/** How much longer a frame's body is than what it carries. */
export const messageOverhead = MESSAGE.length + COUNTER_SIZE + TAG_SIZE + 1;
/** The same of a frame. */
export const FRAME_OVERHEAD = headerSizeMax + messageOverhead;
/** Where the tag ends in the frame of a part that is not small. */
export const TAG_END = headerSizeMax + MESSAGE.length + COUNTER_SIZE + TAG_SIZE;

export const boxedMore = 0x01;
export const boxedCommand = 0x02;

/** A prefix of 16 bytes, and a number that each box has one above the one before. */
export class Nonce {
  readonly bytes = Buffer.alloc(NONCE_SIZE);
  /** The number, as it stands on the wire. */
  readonly counter = this.bytes.subarray(NONCE_SIZE - COUNTER_SIZE);
  #count = -1;

  constructor(prefix: string) {
    this.use(prefix);
  }

  /** The same number goes on behind another prefix: one sender has one sequence. */
  use(prefix: string): this {
    this.bytes.write(prefix, 0, NONCE_SIZE - COUNTER_SIZE, "latin1");
    return this;
  }

  /** The next of our own; throws where there is none left. */
  next(): void {
    if (this.#count === Number.MAX_SAFE_INTEGER) throw new Error("no nonce is left");
    // From 1 on, as libzmq does; a peer may begin with 0.
    this.#write(Math.max(1, this.#count + 1));
  }

  /** Takes the one that stands at `at`; false where it is not above all before it, which says that it was seen. */
  follow(source: Buffer, at: number): boolean {
    const count = source.readUInt32BE(at) * 2 ** 32 + source.readUInt32BE(at + 4);
    if (count <= this.#count || count > Number.MAX_SAFE_INTEGER) return false;
    this.#write(count);
    return true;
  }

  #write(count: number): void {
    this.#count = count;
    this.counter.writeUInt32BE(Math.floor(count / 2 ** 32), 0);
    this.counter.writeUInt32BE(count % 2 ** 32, 4);
  }
}

/** What one connection's traffic is sealed and opened with; the handshake makes it. */
export class CurveSession {
  readonly #box: CurveBox;
  readonly #key: SharedKey;
  readonly #ours: Nonce;
  readonly #theirs: Nonce;
  #isEnded = false;

  /** `key` and the nonces, as far as the handshake has used them, become this one's own. */
  constructor(box: CurveBox, key: SharedKey, side: CurveSide, ours: Nonce, theirs: Nonce) {
    const isClient = side === "client";
    this.#box = box;
    this.#key = key;
    this.#ours = ours.use(isClient ? "CurveZMQMESSAGEC" : "CurveZMQMESSAGES");
    this.#theirs = theirs.use(isClient ? "CurveZMQMESSAGES" : "CurveZMQMESSAGEC");
  }

  /** A message as the one piece that is to be written, in `outgoing` where it is not too large for that. */
  sealMessage(parts: readonly Uint8Array[]): Buffer {
    return this.#sealPiece([parts], 0, 1, sealedSizeMax(parts));
  }

  /**
   * One part of a message; its flags say whether there are more. `isAgain`: the same as before, to the same bytes,
   * which holds only while nothing else is sealed between. The caller sees to it that the part has not changed.
   */
  sealPart(part: Uint8Array, flags: number, isAgain: boolean): Buffer {
    const size = FRAME_OVERHEAD + part.length;
    const piece = size <= BLOCK_BYTES_MAX ? outgoing.take(size) : Buffer.allocUnsafeSlow(size);
    return piece.subarray(0, this.#sealFrame(piece, 0, flags, part, isAgain));
  }

  /** Messages, one behind the other, in as few such pieces as may be. */
  sealMessages(messages: readonly (readonly Uint8Array[])[]): Buffer[] {
    const pieces: Buffer[] = [];
    let first = 0;
    let size = 0;
    for (let i = 0; i < messages.length; i++) {
      const next = sealedSizeMax(messages[i]);
      if (size > 0 && size + next > BLOCK_BYTES_MAX) {
        pieces.push(this.#sealPiece(messages, first, i, size));
        first = i;
        size = 0;
      }
      size += next;
    }
    pieces.push(this.#sealPiece(messages, first, messages.length, size));
    return pieces;
  }

  /** Those from `first` to `end`; `size` is what they may take. */
  #sealPiece(
    messages: readonly (readonly Uint8Array[])[],
    first: number,
    end: number,
    size: number,
  ): Buffer {
    const isBlock = size <= BLOCK_BYTES_MAX;
    const piece = isBlock ? outgoing.take(size) : Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (let i = first; i < end; i++) {
      const parts = messages[i];
      const last = parts.length - 1;
      for (let k = 0; k <= last; k++) {
        at = this.#sealFrame(piece, at, k < last ? boxedMore : 0, parts[k]);
      }
    }
    return piece.subarray(0, at);
  }

  /** `command` is the body of its frame: name and data. */
  sealCommand(command: Uint8Array): Buffer {
    const piece = Buffer.allocUnsafe(FRAME_OVERHEAD + command.length);
    return piece.subarray(0, this.#sealFrame(piece, 0, boxedCommand, command));
  }

  /** Returns where it ends. */
  #sealFrame(
    piece: Buffer,
    start: number,
    flags: number,
    plain: Uint8Array,
    isAgain = false,
  ): number {
    assert(!this.#isEnded, "a session under CURVE that has ended seals nothing");
    const size = messageOverhead + plain.length;
    const at = writeHead(piece, start, 0, size);
    piece.set(MESSAGE, at);
    if (!isAgain) this.#ours.next();
    piece.set(this.#ours.counter, at + MESSAGE.length);
    const boxAt = at + MESSAGE.length + COUNTER_SIZE;
    this.#box.seal(this.#key, this.#ours.bytes, flags, plain, piece, boxAt);
    return at + size;
  }

  /** The same as `openData` of a message's frame, whose body begins with the name. */
  open(frame: Buffer): Uint8Array | undefined {
    for (let i = 0; i < MESSAGE.length; i++) if (frame[i] !== MESSAGE[i]) return undefined;
    return this.openData(frame.subarray(MESSAGE.length));
  }

  /**
   * What stands in a MESSAGE behind its name, the flags first, good until the next call; undefined where it was not
   * sealed for this connection, or has come before.
   */
  openData(data: Buffer): Uint8Array | undefined {
    if (this.#isEnded || data.length < COUNTER_SIZE + TAG_SIZE + 1) return undefined;
    if (!this.#theirs.follow(data, 0)) return undefined;
    return this.#box.open(this.#key, this.#theirs.bytes, data.subarray(COUNTER_SIZE));
  }

  /** Forgets the key: nothing is sealed or opened any more. */
  end(): void {
    this.#isEnded = true;
    this.#key.fill(0);
  }
}

/** What a message may take. */
export function sealedSizeMax(parts: readonly Uint8Array[]): number {
  let size = 0;
  for (const { length } of parts) size += FRAME_OVERHEAD + length;
  return size;
}
