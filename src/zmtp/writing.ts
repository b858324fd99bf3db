// What one connection writes: messages and commands, in clear or under CURVE, as far as the system takes them.
import type { Socket } from "node:net";
import { assert } from "../base/assert.js";
import { outgoing } from "../base/blocks.js";
import type { CurveSession } from "./curve-session.js";
import { encodeCommand, encodeMessage } from "./encode.js";

/** What a Socket has beside its public face: bytes that the system has not taken yet. */
interface Handled {
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

const NO_BYTES = Buffer.alloc(0);
const NONE: readonly Uint8Array[] = [];

export class SocketWriter {
  readonly #socket: Socket;
  readonly #curve: CurveSession | undefined;
  readonly #onDrained: () => void;
  #wasBlocked = false;
  /** Parts that the system had not taken at once. */
  readonly #unsent: Uint8Array[] = [];

  /** `onDrained`: after `isBlocked`, the system has taken all. */
  constructor(socket: Socket, curve: CurveSession | undefined, onDrained: () => void) {
    this.#socket = socket;
    this.#curve = curve;
    this.#onDrained = onDrained;
  }

  get isBlocked(): boolean {
    return this.#socket.writableLength > 0;
  }

  get unsentBytes(): number {
    return (this.#socket as Handled)._handle?.writeQueueSize ?? this.#socket.writableLength;
  }

  /**
   * A message. Parts in `outgoing` are given back when that is done; others, unless small, are not
   * copied and must not be changed afterwards.
   */
  send(parts: readonly Uint8Array[]): void {
    const curve = this.#curve;
    if (curve === undefined) return this.#write(encodeMessage(parts), parts);
    // Sealed it is in memory of the session's, and what was to be sent is not needed any more.
    const pieces = [curve.sealMessage(parts)];
    for (const part of parts) outgoing.giveBack(part);
    this.#write(pieces, pieces);
  }

  /** Messages of which no part lies in `outgoing`, in one go. */
  sendAll(messages: readonly (readonly Uint8Array[])[]): void {
    const pieces = this.#curve?.sealMessages(messages);
    if (pieces !== undefined) this.#write(pieces, pieces);
    else this.#write(messages.flatMap(encodeMessage), NONE);
  }

  /** What `encodeMessage` made, or the same: it may be written to many. Not under CURVE. */
  sendEncoded(pieces: readonly Uint8Array[]): void {
    assert(this.#curve === undefined, "under CURVE nothing is sent in clear");
    this.#write(pieces, NONE);
  }

  sendCommand(name: string, data: Uint8Array): void {
    const command = encodeCommand(name, data);
    // In a box goes what stands behind the frame's head.
    this.#write([this.#curve?.sealCommand(command.subarray(2)) ?? command], NONE);
  }

  /** `held`: what is to be given back once all is taken. */
  #write(pieces: readonly Uint8Array[], held: readonly Uint8Array[]): void {
    const socket = this.#socket;
    const last = pieces.length - 1;
    if (last > 0) {
      socket.cork();
      for (let i = 0; i < last; i++) socket.write(pieces[i]);
    }
    socket.write(pieces[last]);
    if (last > 0) socket.uncork();
    if (socket.writableLength === 0) {
      for (const part of held) outgoing.giveBack(part);
      return;
    }
    this.#wasBlocked = true;
    this.#unsent.push(...held);
    // Behind it, since most is taken at once: a callback for each message would be a turn of its own.
    socket.write(NO_BYTES, this.#onWritten);
  }

  #onWritten = (error: Error | null | undefined): void => {
    // Of one that was closed Node.js says that all is written.
    if (!this.#wasBlocked || error || this.#socket.destroyed || this.isBlocked) return;
    this.#wasBlocked = false;
    for (const part of this.#unsent) outgoing.giveBack(part);
    this.#unsent.length = 0;
    this.#onDrained();
  };
}
