// ZMTP behind the handshake, NULL mechanism: frames to messages and commands, and back. Pure: bytes
// in, values out, never throws, and no memory for what was only announced. ZMTP 2.0 has the same frames,
// but no commands.
// RFC 23 (ZMTP 3.0) https://rfc.zeromq.org/spec/23, RFC 37 (ZMTP 3.1) https://rfc.zeromq.org/spec/37

import { socketTypes2 } from "./greeting.js";

/** Why bytes are no traffic that can be served. Stable names: counters are keyed by them. */
export type FrameFault = "frame-malformed" | "message-too-large";

export interface FrameSink {
  /**
   * The parts of a whole message, behind those of `head`. The first of them may lie where the next read is
   * written to: it is good until this returns. The others have memory of their own.
   */
  onMessage(parts: Buffer[]): void;
  /** A command's name and what stands behind it. */
  onCommand(name: string, body: Buffer): void;
}

const flagMore = 0x01;
const flagLong = 0x02;
const flagCommand = 0x04;

/** Parts of one message: a batch is closed long before (wire/batch.ts). */
const partsMax = 1024;
/** READY is the largest command, and is refused above this size by the handshake. */
const commandSizeMax = 8192;
/** Where no size is set: what a Buffer holds on every Node.js that the package runs on. */
const messageSizeCeiling = 0x7fffffff;
const headerSizeMax = 9;

/** Memory for a body that comes in pieces: so much at first, then this multiple of what has come. */
const bodySizeFirst = 4096;
const bodyGrowth = 4;

/** First parts that came in pieces were put together here; used again, since nobody keeps them. */
const spares: Buffer[] = [];
const spareSize = 128 * 1024;
const spareCountMax = 16;
const noBytes = Buffer.alloc(0);

/**
 * Reads frames from a stream that may be cut anywhere:
 *
 * | flags u8: 1 more, 2 long, 4 command | body size u8, or u64 if long | body |
 *
 * Commands may stand between the parts of a message: libzmq puts its heartbeats there.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #messageSizeMax: number;
  readonly #header = Buffer.alloc(headerSizeMax);
  #headerSize = 0;
  /** Of the frame at hand; the sizes of its body, whole and so far. */
  #flags = 0;
  #size = 0;
  #bodySize = 0;
  /** A body that did not come at once; undefined between frames and within a header. */
  #body: Buffer | undefined;
  /** The memory of the first part, if it is one of the spares. */
  #spare: Buffer | undefined;
  /** The message at hand is not whole yet, and its first part lies in what was read. */
  #isFirstView = false;
  readonly #head: readonly Buffer[];
  #parts: Buffer[];
  #messageSize = 0;
  #isStopped = false;

  /**
   * `messageSizeMax`: bytes of all parts of a message together; -1 for no limit of one's own.
   * `head`: what each message is handed on behind.
   */
  constructor(messageSizeMax: number, sink: FrameSink, head: readonly Buffer[] = []) {
    this.#messageSizeMax = messageSizeMax === -1 ? messageSizeCeiling : messageSizeMax;
    this.#sink = sink;
    this.#head = head;
    this.#parts = [...head];
  }

  /** Nothing more is told: for a sink that has seen enough. */
  stop(): void {
    this.#isStopped = true;
    this.#body = undefined;
    this.#dropSpare();
    this.#parts = [];
  }

  /** Takes what comes next, which may be written over afterwards. After a fault it has stopped. */
  read(chunk: Buffer): FrameFault | undefined {
    const fault = this.#read(chunk);
    if (this.#isFirstView) this.#keepFirst();
    return fault;
  }

  #read(chunk: Buffer): FrameFault | undefined {
    let at = 0;
    while (!this.#isStopped) {
      if (this.#body === undefined) {
        at = this.#readHeader(chunk, at);
        if (at < 0) return undefined;
        const fault = this.#check();
        if (fault !== undefined) {
          this.stop();
          return fault;
        }
      }
      const end = at + this.#size - this.#bodySize;
      if (end > chunk.length) {
        this.#keep(chunk, at);
        return undefined;
      }
      if (this.#body !== undefined) this.#keep(chunk, at, end);
      const body = this.#body ?? this.#view(chunk, at, end);
      at = end;
      const fault = this.#endFrame(body);
      if (fault !== undefined) {
        this.stop();
        return fault;
      }
    }
    return undefined;
  }

  /** Returns where the body begins, or -1 if the header is not whole yet. */
  #readHeader(chunk: Buffer, start: number): number {
    let at = start;
    if (this.#headerSize === 0 && chunk.length - at >= 2 && (chunk[at] & flagLong) === 0) {
      this.#flags = chunk[at];
      this.#size = chunk[at + 1];
      return at + 2;
    }
    const header = this.#header;
    for (;;) {
      if (this.#headerSize > 0) {
        const wanted = (header[0] & flagLong) === 0 ? 2 : headerSizeMax;
        if (this.#headerSize === wanted) break;
      }
      if (at === chunk.length) return -1;
      header[this.#headerSize++] = chunk[at++];
    }
    this.#flags = header[0];
    this.#size = header[1];
    if (this.#headerSize > 2) {
      // Above 2^53 it is not exact, and too large all the same.
      this.#size = header.readUInt32BE(1) * 2 ** 32 + header.readUInt32BE(5);
    }
    this.#headerSize = 0;
    return at;
  }

  /** Judges a frame by its header: nothing is kept for one that will not be taken. */
  #check(): FrameFault | undefined {
    const flags = this.#flags;
    if ((flags & ~(flagMore | flagLong | flagCommand)) !== 0) return "frame-malformed";
    if ((flags & flagCommand) !== 0) {
      const isMalformed = (flags & flagMore) !== 0 || this.#size > commandSizeMax;
      return isMalformed ? "frame-malformed" : undefined;
    }
    if (this.#parts.length === partsMax) return "message-too-large";
    this.#messageSize += this.#size;
    return this.#messageSize > this.#messageSizeMax ? "message-too-large" : undefined;
  }

  /** Whether the frame at hand is a message's first. */
  get #isFirst(): boolean {
    return this.#parts.length === this.#head.length && (this.#flags & flagCommand) === 0;
  }

  /** A body that came at once: a view where nobody keeps it, else a copy. */
  #view(chunk: Buffer, start: number, end: number): Buffer {
    if (start === end) return noBytes;
    if ((this.#flags & flagCommand) !== 0) return chunk.subarray(start, end);
    if (this.#isFirst) {
      this.#isFirstView = (this.#flags & flagMore) !== 0;
      return chunk.subarray(start, end);
    }
    const body = Buffer.allocUnsafeSlow(end - start);
    chunk.copy(body, 0, start, end);
    return body;
  }

  /** Copies what has come of a body that is not whole in one chunk. */
  #keep(chunk: Buffer, start: number, end = chunk.length): void {
    const bodySize = this.#bodySize + end - start;
    const old = this.#body;
    if (old === undefined || bodySize > old.length) {
      this.#body = this.#memoryFor(bodySize);
      old?.copy(this.#body, 0, 0, this.#bodySize);
    }
    chunk.copy(this.#body as Buffer, this.#bodySize, start, end);
    this.#bodySize = bodySize;
  }

  /**
   * For a body of which `bodySize` bytes have come: at the fourth of it all of it, so that it is moved once
   * or twice, and memory is not had for the asking.
   */
  #memoryFor(bodySize: number): Buffer {
    if (bodySize >= bodySizeFirst && this.#size <= spareSize && this.#isFirst) {
      this.#spare = spares.pop() ?? Buffer.allocUnsafeSlow(spareSize);
      return this.#spare.subarray(0, this.#size);
    }
    const room = Math.max(bodySizeFirst, bodyGrowth * bodySize);
    return Buffer.allocUnsafeSlow(Math.min(this.#size, room));
  }

  /** The rest of its message comes with a later read, which would write over it. */
  #keepFirst(): void {
    this.#isFirstView = false;
    const index = this.#head.length;
    const first = this.#parts[index];
    if (first === undefined) return;
    if (first.length < bodySizeFirst || first.length > spareSize) {
      this.#parts[index] = Buffer.from(first);
      return;
    }
    this.#spare = spares.pop() ?? Buffer.allocUnsafeSlow(spareSize);
    first.copy(this.#spare);
    this.#parts[index] = this.#spare.subarray(0, first.length);
  }

  /** Nobody looks at the first part any more. */
  #dropSpare(): void {
    if (this.#spare === undefined) return;
    if (spares.length < spareCountMax) spares.push(this.#spare);
    this.#spare = undefined;
  }

  #endFrame(body: Buffer): FrameFault | undefined {
    this.#body = undefined;
    this.#bodySize = 0;
    if ((this.#flags & flagCommand) !== 0) {
      // | name size u8 | name | data |
      const nameEnd = 1 + body[0];
      if (body.length === 0 || body[0] === 0 || nameEnd > body.length) return "frame-malformed";
      this.#sink.onCommand(body.toString("latin1", 1, nameEnd), body.subarray(nameEnd));
      return undefined;
    }
    this.#parts.push(body);
    if ((this.#flags & flagMore) !== 0) return undefined;
    const parts = this.#parts;
    this.#parts = [...this.#head];
    this.#messageSize = 0;
    this.#isFirstView = false;
    this.#sink.onMessage(parts);
    this.#dropSpare();
    return undefined;
  }
}

/** Bytes of a message up to which it is copied into one piece: a copy costs less than a second piece. */
const pieceSizeMax = 16_384;

/**
 * A message as what is to be written, in order: one piece, or where it is large, its large parts as they are
 * between pieces that hold all the rest.
 */
export function encodeMessage(parts: readonly Uint8Array[]): Uint8Array[] {
  let size = 0;
  let copiedSize = 0;
  for (const { length } of parts) {
    const headSize = length > 255 ? headerSizeMax : 2;
    size += headSize + length;
    copiedSize += length > pieceSizeMax ? headSize : headSize + length;
  }
  const isOnePiece = size <= pieceSizeMax;
  const piece = Buffer.allocUnsafe(isOnePiece ? size : copiedSize);
  const pieces: Uint8Array[] = [];
  let start = 0;
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const more = i < parts.length - 1 ? flagMore : 0;
    if (part.length > 255) {
      piece[at] = more | flagLong;
      piece.writeUInt32BE(Math.floor(part.length / 2 ** 32), at + 1);
      piece.writeUInt32BE(part.length % 2 ** 32, at + 5);
      at += headerSizeMax;
    } else {
      piece[at] = more;
      piece[at + 1] = part.length;
      at += 2;
    }
    if (part.length <= pieceSizeMax) {
      piece.set(part, at);
      at += part.length;
    } else {
      pieces.push(piece.subarray(start, at), part);
      start = at;
    }
  }
  if (at > start) pieces.push(piece.subarray(start, at));
  return pieces;
}

/** | 04 | size u8 | name size u8 | name | data |; all of it at most 255 bytes. */
export function encodeCommand(name: string, data: Uint8Array): Buffer {
  const command = Buffer.allocUnsafe(3 + name.length + data.length);
  command[0] = flagCommand;
  command[1] = 1 + name.length + data.length;
  command[2] = name.length;
  command.write(name, 3, "latin1");
  command.set(data, 3 + name.length);
  return command;
}

/** What a peer of ZMTP 2.0 is sent behind the greeting's head: our socket type, and an identity of no bytes. */
export function encodeReady2(socketType: string): Buffer {
  return Buffer.from([socketTypes2.indexOf(socketType), 0, 0]);
}

/** READY's properties, each | name size u8 | name | value size u32 | value |. */
export function encodeReady(socketType: string): Buffer {
  const value = (text: string) =>
    Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text, "latin1")]);
  const data = ["Socket-Type", socketType, "Identity", ""].map((text, index) =>
    index % 2 === 0 ? Buffer.from([text.length, ...Buffer.from(text, "latin1")]) : value(text),
  );
  return encodeCommand("READY", Buffer.concat(data));
}

/** What PING carries: | time to live u16, tenths of a second | context, up to 16 bytes |. */
export function readPing(data: Buffer): { ttlMs: number; context: Buffer } | undefined {
  if (data.length < 2) return undefined;
  return { ttlMs: data.readUInt16BE(0) * 100, context: data.subarray(2, 18) };
}
