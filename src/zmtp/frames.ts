// ZMTP behind the handshake, NULL mechanism: frames to messages and commands, and back. Pure: bytes
// in, values out, never throws, and no memory for what was only announced. ZMTP 2.0 has the same frames,
// but no commands.
// RFC 23 (ZMTP 3.0) https://rfc.zeromq.org/spec/23, RFC 37 (ZMTP 3.1) https://rfc.zeromq.org/spec/37

import { BLOCK_BYTES_MAX, Blocks, OWN_FRAME_BYTES_MIN } from "../base/blocks.js";

/** Why bytes are no traffic that can be served. Stable names: counters are keyed by them. */
export type FrameFault =
  | "frame-malformed"
  | "message-too-large"
  /** Under CURVE: not sealed for this connection, changed on its way, or come before. */
  | "message-refused";

export interface FrameSink {
  /**
   * The parts of a whole message, behind those of `head`. Those of less than OWN_FRAME_BYTES_MIN are good until
   * this returns.
   */
  onMessage(parts: Buffer[]): void;
  /** A command's name and what stands behind it. */
  onCommand(name: string, body: Buffer): void;
}

export const flagMore = 0x01;
export const flagLong = 0x02;
export const flagCommand = 0x04;

/** Parts of one message (PROTOCOL 1): a batch is closed long before (wire/batch.ts). */
export const partsMax = 1024;
/** READY is the largest command, and is refused above this size by the handshake. */
const commandSizeMax = 8192;
/** Where no size is set: what a Buffer holds on every Node.js that the package runs on. */
const messageSizeCeiling = 0x7fffffff;
export const headerSizeMax = 9;

/** Memory for a body that comes in pieces: so much at first, then this multiple of what has come. */
const bodySizeFirst = 4096;
const bodyGrowth = 4;

/** Parts that came in pieces are put together here. */
const blocks = new Blocks();
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
  #messageSizeMax: number;
  readonly #header = Buffer.alloc(headerSizeMax);
  #headerSize = 0;
  /** Of the frame at hand; the sizes of its body, whole and so far. */
  #flags = 0;
  #size = 0;
  #bodySize = 0;
  /** A body that did not come at once; undefined between frames and within a header. */
  #body: Buffer | undefined;
  /** Those that parts of the message at hand lie in. */
  #blocks: Buffer[] = [];
  /** Parts of the message at hand lie in what was read. */
  #hasViews = false;
  readonly #head: readonly Buffer[];
  #parts: Buffer[];
  #messageSize = 0;
  #isStopped = false;
  #isPaused = false;
  /** What was read while it holds still. */
  #rest: Buffer = noBytes;

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

  /** From now on so many bytes of one message, as in the constructor. */
  limit(messageSizeMax: number): void {
    this.#messageSizeMax = messageSizeMax === -1 ? messageSizeCeiling : messageSizeMax;
  }

  /** Nothing more is told: for a sink that has seen enough. */
  stop(): void {
    this.#isStopped = true;
    this.#body = undefined;
    this.#rest = noBytes;
    this.#dropBlocks();
    this.#parts = [];
  }

  /** Holds still behind the message that is being told, until `resume`; the rest of what was read with it is copied. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Goes on with what is left, as `read` does. */
  resume(): FrameFault | undefined {
    this.#isPaused = false;
    const rest = this.#rest;
    this.#rest = noBytes;
    return this.read(rest);
  }

  /** Takes what comes next, which may be written over afterwards. After a fault it has stopped. */
  read(chunk: Buffer): FrameFault | undefined {
    const fault = this.#read(chunk);
    // The rest of their message comes with a later read, which would write over them.
    if (this.#hasViews) this.#keepViews(chunk);
    return fault;
  }

  #read(chunk: Buffer): FrameFault | undefined {
    let at = 0;
    while (!this.#isStopped) {
      if (this.#isPaused) {
        this.#rest = Buffer.concat([this.#rest, chunk.subarray(at)]);
        return undefined;
      }
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
    if (this.#parts.length - this.#head.length === partsMax) return "message-too-large";
    this.#messageSize += this.#size;
    return this.#messageSize > this.#messageSizeMax ? "message-too-large" : undefined;
  }

  /** A body that came at once: a view, but where it is large enough to be kept by others. */
  #view(chunk: Buffer, start: number, end: number): Buffer {
    if (start === end) return noBytes;
    const isCommand = (this.#flags & flagCommand) !== 0;
    if (isCommand || end - start < OWN_FRAME_BYTES_MIN) {
      if (!isCommand) this.#hasViews = true;
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
    // A command's would be kept until a message ends, and there may be commands without end.
    const isPart = (this.#flags & flagCommand) === 0;
    if (isPart && bodySize >= bodySizeFirst && this.#size < OWN_FRAME_BYTES_MIN) {
      return this.#block(this.#size).subarray(0, this.#size);
    }
    const room = Math.max(bodySizeFirst, bodyGrowth * bodySize);
    return Buffer.allocUnsafeSlow(Math.min(this.#size, room));
  }

  #keepViews(chunk: Buffer): void {
    this.#hasViews = false;
    const parts = this.#parts;
    let size = 0;
    for (const part of parts) if (part.buffer === chunk.buffer) size += part.length;
    const isSmall = size < bodySizeFirst || size > BLOCK_BYTES_MAX;
    const memory = isSmall ? Buffer.allocUnsafeSlow(size) : this.#block(size);
    let at = 0;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i];
      if (part.buffer !== chunk.buffer) continue;
      part.copy(memory, at);
      parts[i] = memory.subarray(at, at + part.length);
      at += part.length;
    }
  }

  #block(size: number): Buffer {
    const block = blocks.take(size);
    this.#blocks.push(block);
    return block;
  }

  /** Nobody looks at the message any more. */
  #dropBlocks(): void {
    if (this.#blocks.length === 0) return;
    for (const block of this.#blocks) blocks.giveBack(block);
    this.#blocks = [];
  }

  #endFrame(body: Buffer): FrameFault | undefined {
    this.#body = undefined;
    this.#bodySize = 0;
    if ((this.#flags & flagCommand) !== 0) {
      const command = readCommand(body);
      if (command === undefined) return "frame-malformed";
      this.#sink.onCommand(command.name, command.data);
      return undefined;
    }
    this.#parts.push(body);
    if ((this.#flags & flagMore) !== 0) return undefined;
    const parts = this.#parts;
    this.#parts = [...this.#head];
    this.#messageSize = 0;
    this.#hasViews = false;
    this.#sink.onMessage(parts);
    this.#dropBlocks();
    return undefined;
  }
}

/** A command's body, | name size u8 | name | data |; undefined where it is none. */
export function readCommand(body: Buffer): { name: string; data: Buffer } | undefined {
  const nameEnd = 1 + body[0];
  if (body.length === 0 || body[0] === 0 || nameEnd > body.length) return undefined;
  return { name: body.toString("latin1", 1, nameEnd), data: body.subarray(nameEnd) };
}

/** What PING carries: | time to live u16, tenths of a second | context, up to 16 bytes |. */
export function readPing(data: Buffer): { ttlMs: number; context: Buffer } | undefined {
  if (data.length < 2) return undefined;
  return { ttlMs: data.readUInt16BE(0) * 100, context: data.subarray(2, 18) };
}
