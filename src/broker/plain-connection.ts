// A REP socket over the connection that it made, with no ZeroMQ socket on our side: what is said there,
// one request and its reply at a time, is little enough of ZMTP to be said by ourselves, and with a
// DEALER behind a pipe the broker spent twice the CPU on a request.
import type { Socket } from "node:net";
import {
  encodeCommand,
  encodeMessage,
  encodeReady,
  type FrameFault,
  FrameReader,
  readPing,
} from "../zmtp/frames.js";
import { greetingSize } from "../zmtp/greeting.js";
import { PlainDialogue, type PlainFault } from "./plain-dialogue.js";
import type { PlainWorker } from "./plain-worker.js";

export type ConnectionFault = PlainFault | FrameFault | "peer-error";

export interface PlainConnectionOptions {
  id: number;
  peer: Socket; // Paused, its greeting answered; of ZMTP 3, NULL.
  bytes: Buffer; // All that was read of it: its greeting, its READY, and maybe more.
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  maxMessageSize: number;
  onReply(parts: Buffer[]): void;
  onFault(fault: ConnectionFault): void; // The worker is being closed.
  onClosed(): void; // Exactly once, after the last reply; not within the constructor.
}

const ready = encodeReady("DEALER");
/** It says no time to live: how long a REP waits for us is its own choice. */
const ping = encodeCommand("PING", Buffer.alloc(2));
const noPong = Buffer.alloc(0);
const minorOffset = 11;

function ignoreError(): void {
  // Every error is followed by 'close', which is acted upon.
}

export class PlainConnection implements PlainWorker {
  readonly id: number;
  readonly access = undefined;
  readonly #options: PlainConnectionOptions;
  readonly #peer: Socket;
  readonly #dialogue: PlainDialogue;
  readonly #reader: FrameReader;
  readonly #beat: NodeJS.Timeout;
  /** Ends a connection whose PING is not answered; started anew with each. */
  #deadline: NodeJS.Timeout | undefined;
  /** Ends it when the peer said that it would be heard from and is not. */
  #ttl: NodeJS.Timeout | undefined;
  readonly #patienceMs: number;
  /** A PING is out and nothing was heard since. */
  #isAsked = false;
  /** Reads so far. */
  #heardCount = 0;
  /** ZMTP 3.0 knows no PING: one that speaks it must answer only if it did once. */
  #mustAnswer: boolean;
  /** An answer to a PING that found the way blocked; of several, the last. */
  #pong: Buffer = noPong;

  constructor(options: PlainConnectionOptions) {
    const { id, peer, bytes, heartbeatIntervalMs, heartbeatTimeoutMs } = options;
    this.id = id;
    this.#options = options;
    this.#peer = peer;
    this.#dialogue = new PlainDialogue(id);
    this.#reader = new FrameReader(options.maxMessageSize, {
      onMessage: (parts) => this.#onMessage(parts),
      onCommand: (name, data) => this.#onCommand(name, data),
    });
    this.#mustAnswer = bytes[minorOffset] > 0;
    // So that one that stops just after an answer is gone heartbeatTimeoutMs later.
    this.#patienceMs = Math.max(heartbeatTimeoutMs - heartbeatIntervalMs, heartbeatTimeoutMs / 2);
    this.#beat = setInterval(() => this.#onBeat(), heartbeatIntervalMs);
    peer.on("error", ignoreError);
    peer.on("close", () => this.#onClose());
    // Whoever has ended reads no more either: a REP that goes, goes.
    peer.on("end", () => this.close());
    peer.on("drain", () => this.#onDrain());
    // Set only while bytes of ours wait and none are taken.
    peer.on("timeout", () => this.close());
    peer.on("data", (chunk) => this.#onData(chunk));
    peer.write(ready);
  }

  /** Begins to read, after what was read before. */
  open(): void {
    this.#onData(this.#options.bytes.subarray(greetingSize));
    this.#options.bytes = noPong;
    this.#peer.resume();
  }

  send(parts: Uint8Array[]): void {
    const peer = this.#peer;
    if (peer.destroyed) return;
    const pieces = encodeMessage(this.#dialogue.begin(parts));
    if (pieces.length === 1) {
      this.#write(pieces[0]);
      return;
    }
    peer.cork();
    for (const piece of pieces) this.#write(piece);
    peer.uncork();
  }

  close(): void {
    this.#reader.stop();
    this.#peer.destroy();
  }

  #write(bytes: Uint8Array): void {
    // At most one request, one PING and one PONG can wait: the peer is not asked again before.
    if (!this.#peer.write(bytes)) this.#startStall();
  }

  /** Half of the time: what has been taken since the write is seen at its first end only. */
  #startStall(): void {
    this.#peer.setTimeout(Math.ceil(this.#options.heartbeatTimeoutMs / 2));
  }

  #onDrain(): void {
    this.#peer.setTimeout(0);
    if (this.#pong.length > 0) this.#write(this.#pong);
    this.#pong = noPong;
  }

  #onData(chunk: Buffer): void {
    this.#isAsked = false;
    this.#heardCount++;
    if (this.#ttl !== undefined) {
      clearTimeout(this.#ttl);
      this.#ttl = undefined;
    }
    const fault = this.#reader.read(chunk);
    if (fault !== undefined) this.#refuse(fault);
  }

  #refuse(fault: ConnectionFault): void {
    this.close();
    this.#options.onFault(fault);
  }

  #onMessage(parts: Buffer[]): void {
    const reply = this.#dialogue.read(parts);
    if (reply === "stale") return;
    if (typeof reply === "string") this.#refuse(reply);
    else this.#options.onReply(reply);
  }

  #onCommand(name: string, data: Buffer): void {
    switch (name) {
      case "PING":
        return this.#onPing(data);
      case "PONG":
        this.#mustAnswer = true;
        return;
      case "ERROR":
        return this.#refuse("peer-error");
      default: // READY, which the handshake has read, or of a later ZMTP.
    }
  }

  #onPing(data: Buffer): void {
    const said = readPing(data);
    if (said === undefined) return this.#refuse("frame-malformed");
    if (said.ttlMs > 0) {
      clearTimeout(this.#ttl);
      this.#ttl = setTimeout(() => this.#endUnlessHeard(), said.ttlMs);
    }
    const pong = encodeCommand("PONG", said.context);
    if (this.#peer.writableNeedDrain) this.#pong = pong;
    else this.#write(pong);
  }

  #onBeat(): void {
    if (this.#peer.writableLength > 0) {
      // It would wait behind what the peer does not take: whether it takes any is the question then.
      if (!this.#peer.writableNeedDrain) this.#startStall();
      return;
    }
    if (!this.#peer.writableNeedDrain) this.#peer.setTimeout(0);
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.#write(ping);
    if (!this.#mustAnswer) return;
    if (this.#deadline === undefined) {
      this.#deadline = setTimeout(() => {
        if (this.#isAsked) this.#endUnlessHeard();
      }, this.#patienceMs);
    } else {
      this.#deadline.refresh();
    }
  }

  /** After a turn: this process may have been busy for so long itself, and not have read. */
  #endUnlessHeard(): void {
    const heardCount = this.#heardCount;
    setImmediate(() => {
      if (heardCount === this.#heardCount) this.close();
    });
  }

  #onClose(): void {
    clearInterval(this.#beat);
    clearTimeout(this.#deadline);
    clearTimeout(this.#ttl);
    this.#reader.stop();
    this.#options.onClosed();
  }
}
