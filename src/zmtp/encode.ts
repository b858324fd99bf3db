// Messages and commands to what is written, the other half of frames.ts. Pure.
import { FRAME_HEAD_BYTES, outgoing } from "../base/blocks.js";
import { flagCommand, flagLong, flagMore, headerSizeMax } from "./frames.js";
import { socketTypes2 } from "./greeting.js";

/** Bytes of a message up to which it is copied into one piece: a copy costs less than a second piece. */
export const pieceSizeMax = 16_384;
/** The same of one that stands before those that need none. */
const copiedSizeMax = 4096;

/**
 * A message as what is to be written, in order. Parts in `outgoing` get their headers where they lie; the rest
 * is copied into one piece, or where it is large, between its large parts, which are not.
 */
export function encodeMessage(parts: readonly Uint8Array[]): Uint8Array[] {
  const isInPlace = outgoing.has(parts[0]) || (parts.length > 1 && outgoing.has(parts[1]));
  return isInPlace ? encodeInPlace(parts) : encodeCopied(parts);
}

function encodeInPlace(parts: readonly Uint8Array[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const more = i < parts.length - 1 ? flagMore : 0;
    if (!outgoing.has(part)) {
      const isCopied = part.length <= copiedSizeMax;
      const piece = Buffer.allocUnsafe(FRAME_HEAD_BYTES + (isCopied ? part.length : 0));
      writeLongHead(piece, 0, more, part.length);
      pieces.push(piece);
      if (isCopied) piece.set(part, FRAME_HEAD_BYTES);
      else pieces.push(part);
      continue;
    }
    const { buffer, byteOffset, length } = part;
    const start = byteOffset - FRAME_HEAD_BYTES;
    const last = pieces[pieces.length - 1];
    const isBehind = last?.buffer === buffer && last.byteOffset + last.length === start;
    const piece = isBehind
      ? Buffer.from(buffer, last.byteOffset, last.length + FRAME_HEAD_BYTES + length)
      : Buffer.from(buffer, start, FRAME_HEAD_BYTES + length);
    writeLongHead(piece, piece.length - length - FRAME_HEAD_BYTES, more, length);
    if (isBehind) pieces[pieces.length - 1] = piece;
    else pieces.push(piece);
  }
  return pieces;
}

function writeLongHead(piece: Buffer, at: number, flags: number, size: number): void {
  piece[at] = flags | flagLong;
  piece.writeUInt32BE(Math.floor(size / 2 ** 32), at + 1);
  piece.writeUInt32BE(size % 2 ** 32, at + 5);
}

/** What a frame's head takes whose body has so many bytes. */
export function headSize(size: number): number {
  return size > 255 ? headerSizeMax : 2;
}

/** Writes a frame's head in the form that is due; returns where its body is to stand. */
export function writeHead(piece: Buffer, at: number, flags: number, size: number): number {
  if (size > 255) {
    writeLongHead(piece, at, flags, size);
    return at + headerSizeMax;
  }
  piece[at] = flags;
  piece[at + 1] = size;
  return at + 2;
}

function encodeCopied(parts: readonly Uint8Array[]): Uint8Array[] {
  let size = 0;
  let copiedSize = 0;
  for (const { length } of parts) {
    const head = headSize(length);
    size += head + length;
    copiedSize += length > pieceSizeMax ? head : head + length;
  }
  const isOnePiece = size <= pieceSizeMax;
  const piece = Buffer.allocUnsafe(isOnePiece ? size : copiedSize);
  const pieces: Uint8Array[] = [];
  let start = 0;
  let at = 0;
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const more = i < parts.length - 1 ? flagMore : 0;
    at = writeHead(piece, at, more, part.length);
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

/** | 04 or 06 | size u8 or u64 | body |: a command that may be longer than that. */
export function encodeCommandFrame(body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headSize(body.length) + body.length);
  frame.set(body, writeHead(frame, 0, flagCommand, body.length));
  return frame;
}

export function encodeReady(socketType: string): Buffer {
  return encodeCommand("READY", encodeProperties(socketType));
}

/** What READY says, each | name size u8 | name | value size u32 | value |. */
export function encodeProperties(socketType: string): Buffer {
  const value = (text: string) =>
    Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text, "latin1")]);
  const data = ["Socket-Type", socketType, "Identity", ""].map((text, index) =>
    index % 2 === 0 ? Buffer.from([text.length, ...Buffer.from(text, "latin1")]) : value(text),
  );
  return Buffer.concat(data);
}
