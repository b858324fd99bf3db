// What one connection writes: messages and commands, in clear or under CURVE, as far as the system takes them.
import type { Socket } from "node:net";
import { assert } from "../base/assert.js";
import { outgoing } from "../base/blocks.js";
import { type CurveSession, sealedSizeMax } from "./curve-session.js";
import { encodeCommand, encodeMessage } from "./encode.js";
import { AHEAD_BYTES_MAX, LargeParts } from "./large-parts.js";

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
  /** Under CURVE: what is sealed as the system takes it. Most have nothing that is so large. */
  #large: LargeParts | undefined;
  #isEnding = false;

  /** `onDrained`: after `isBlocked`, the system has taken all. */
  constructor(socket: Socket, curve: CurveSession | undefined, onDrained: () => void) {
    this.#socket = socket;
    this.#curve = curve;
    this.#onDrained = onDrained;
  }

  get isBlocked(): boolean {
    return this.#socket.writableLength > 0 || this.#large?.isEmpty === false;
  }

  /** It waits for its turn to be sealed, not for the peer. */
  get isSealing(): boolean {
    return this.#large?.isAsking === true;
  }

  get unsentBytes(): number {
    const socket = this.#socket;
    const written = (socket as Handled)._handle?.writeQueueSize ?? socket.writableLength;
    return written + (this.#large?.unsentBytes ?? 0);
  }

  /**
   * A message. Under CURVE what is large is sealed as the peer takes it. Parts in `outgoing` are given back when that is done; others, unless small, are not
   * copied and must not be changed afterwards.
   */
  send(parts: readonly Uint8Array[]): void {
    const curve = this.#curve;
    if (curve === undefined) return this.#write(encodeMessage(parts), parts);
    // Sealed it is in memory of the session's, and what was to be sent is not needed any more.
    if (this.#large?.isEmpty === false || sealedSizeMax(parts) > AHEAD_BYTES_MAX) {
      return this.#sendLarge(curve, parts);
    }
    const pieces = [curve.sealMessage(parts)];
    for (const part of parts) outgoing.giveBack(part);
    this.#write(pieces, pieces);
  }

  /** Messages of which no part lies in `outgoing`, in one go. */
  sendAll(messages: readonly (readonly Uint8Array[])[]): void {
    assert(this.#large?.isEmpty !== false, "nothing is sealed before what came first");
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
    assert(this.#large?.isEmpty !== false, "no command stands within a message");
    const command = encodeCommand(name, data);
    // In a box goes what stands behind the frame's head.
    this.#write([this.#curve?.sealCommand(command.subarray(2)) ?? command], NONE);
  }

  /** Sends nothing more, and ends when all is sent. */
  end(): void {
    this.#isEnding = true;
    if (this.#large?.isEmpty !== false) this.#socket.end();
  }

  /** The connection has ended. */
  close(): void {
    this.#large?.close();
  }

  #sendLarge(curve: CurveSession, parts: readonly Uint8Array[]): void {
    if (this.#isEnding) return;
    this.#large ??= this.#makeLarge(curve);
    this.#large.push(parts);
  }

  #makeLarge(curve: CurveSession): LargeParts {
    const socket = this.#socket;
    return new LargeParts(curve, {
      get isBlocked() {
        return socket.writableLength > 0;
      },
      get isEnded() {
        return socket.destroyed;
      },
      write: (piece) => this.#write([piece], [piece]),
      onWritten: () => {
        if (this.#isEnding) socket.end();
        else if (!this.isBlocked) this.#onDrained();
      },
      onChanged: () => socket.destroy(),
    });
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
    const { destroyed, writableLength } = this.#socket;
    if (!this.#wasBlocked || error || destroyed || writableLength > 0) return;
    this.#wasBlocked = false;
    for (const part of this.#unsent) outgoing.giveBack(part);
    this.#unsent.length = 0;
    if (this.#large?.isEmpty === false) this.#large.goOn();
    else this.#onDrained();
  };
}
