// ZMTP behind the handshake, NULL mechanism: frames to messages and commands, and back. Pure: bytes
// in, values out, never throws, and no memory for what was only announced.
// RFC 23 (ZMTP 3.0) https://rfc.zeromq.org/spec/23, RFC 37 (ZMTP 3.1) https://rfc.zeromq.org/spec/37

/** Why bytes are no traffic that can be served. Stable names: counters are keyed by them. */
export type FrameFault = "frame-malformed" | "reply-too-large";

export interface FrameSink {
  /** The parts of a whole message, most of them views of what was read. */
  onMessage(parts: Buffer[]): void;
  /** A command's name and what stands behind it. */
  onCommand(name: string, body: Buffer): void;
}

const flagMore = 0x01;
const flagLong = 0x02;
const flagCommand = 0x04;

/** Parts of one message. A record has 255; a message of a few more is told so instead of cut off. */
const partsMax = 1024;
/** READY is the largest command, and is refused above this size by the handshake. */
const commandSizeMax = 8192;
/** Where no size is set: what a Buffer holds on every Node.js that the package runs on. */
const messageSizeCeiling = 0x7fffffff;
const headerSizeMax = 9;

/** Memory for a body that comes in pieces: so much at first, then this multiple of what has come. */
const bodySizeFirst = 4096;
const bodyGrowth = 4;

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
  #parts: Buffer[] = [];
  #messageSize = 0;
  #isStopped = false;

  /** `messageSizeMax`: bytes of all parts of a message together; -1 for no limit of one's own. */
  constructor(messageSizeMax: number, sink: FrameSink) {
    this.#messageSizeMax = messageSizeMax === -1 ? messageSizeCeiling : messageSizeMax;
    this.#sink = sink;
  }

  /** Nothing more is told: for a sink that has seen enough. */
  stop(): void {
    this.#isStopped = true;
    this.#body = undefined;
    this.#parts = [];
  }

  /** Takes what comes next. After a fault it has stopped. */
  read(chunk: Buffer): FrameFault | undefined {
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
      const isWhole = this.#body === undefined;
      if (!isWhole) this.#keep(chunk, at, end);
      const body = isWhole ? chunk.subarray(at, end) : (this.#body as Buffer);
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
    if (this.#parts.length === partsMax) return "reply-too-large";
    this.#messageSize += this.#size;
    return this.#messageSize > this.#messageSizeMax ? "reply-too-large" : undefined;
  }

  /** Copies what has come of a body that is not whole in one chunk. */
  #keep(chunk: Buffer, start: number, end = chunk.length): void {
    const bodySize = this.#bodySize + end - start;
    const isFirst = this.#body === undefined;
    if (isFirst || bodySize > (this.#body as Buffer).length) {
      // At the fourth of a body all of it: so it is moved once or twice, and memory is not had for the
      // asking.
      const room = Math.min(this.#size, Math.max(bodySizeFirst, bodyGrowth * bodySize));
      const body = Buffer.allocUnsafeSlow(room);
      if (!isFirst) (this.#body as Buffer).copy(body, 0, 0, this.#bodySize);
      this.#body = body;
    }
    chunk.copy(this.#body as Buffer, this.#bodySize, start, end);
    this.#bodySize = bodySize;
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
    this.#parts = [];
    this.#messageSize = 0;
    this.#sink.onMessage(parts);
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
