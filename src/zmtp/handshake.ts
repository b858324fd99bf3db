// The start of one accepted connection: our greeting out, the peer's greeting and READY or HELLO in. To a
// peer of ZMTP 2.0 goes the head of our greeting alone: the rest is said by whoever takes it over.
import type { Socket } from "node:net";
import {
  encodeError,
  encodeGreeting,
  greetingHeadSize,
  greetingSize,
  type HandshakeFault,
  type Mechanism,
  readHandshake,
  speaksZmtp3,
  type ZmtpVersion,
} from "./greeting.js";

export interface PeerHandshakeOptions {
  peer: Socket;
  mechanism: Mechanism;
  timeoutMs: number;
  /** `bytes` is all that was read; the peer is paused and nobody listens to it any more. */
  onReady(socketType: string, bytes: Buffer, version: ZmtpVersion): void;
  onRefused(reason: HandshakeFault | "handshake-timeout" | "closed-early"): void;
}

/** How long one that comes with another mechanism may take to read that in our greeting, and go. */
const MISMATCH_MS = 500;

export class PeerHandshake {
  #options: PeerHandshakeOptions;
  #bytes: Buffer = Buffer.alloc(0);
  #timer: NodeJS.Timeout;
  #hasGreeted = false;
  #onAbort: (() => void) | undefined;

  constructor(options: PeerHandshakeOptions) {
    this.#options = options;
    // From the connect on, not since the last byte: a peer that drips bytes gets no longer.
    this.#timer = setTimeout(() => this.#refuse("handshake-timeout"), options.timeoutMs);
    const { peer } = options;
    peer.on("data", this.#onData);
    peer.on("error", this.#onError);
    peer.on("close", this.#onClose);
    peer.write(encodeGreeting(options.mechanism).subarray(0, greetingHeadSize));
  }

  /** Ends it without a word to onRefused. */
  abort(): void {
    this.#detach();
    this.#options.peer.destroy();
  }

  #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const handshake = readHandshake(this.#bytes, this.#options.mechanism);
    if (handshake.state !== "faulty" || handshake.fault === "mechanism") this.#greet();
    switch (handshake.state) {
      case "partial":
        return;
      case "ready":
        this.#options.peer.pause();
        this.#detach();
        this.#options.onReady(handshake.socketType, this.#bytes, handshake.version);
        return;
      case "faulty":
        this.#refuse(handshake.fault, handshake.detail);
        return;
      default:
        handshake satisfies never;
    }
  };

  /** Sends the rest of our greeting, once. */
  #greet(): void {
    if (this.#hasGreeted || !speaksZmtp3(this.#bytes)) return;
    const { mechanism, peer } = this.#options;
    // Under CURVE when the peer has said its own mechanism: one that comes without would be gone at
    // the sight of ours, and nobody would know why.
    if (mechanism === "CURVE" && this.#bytes.length < greetingSize) return;
    this.#hasGreeted = true;
    peer.write(encodeGreeting(mechanism).subarray(greetingHeadSize));
  }

  #onError = (): void => {
    // 'close' follows.
  };

  #onClose = (): void => this.#refuse("closed-early");

  #refuse(reason: HandshakeFault | "handshake-timeout" | "closed-early", detail?: string): void {
    this.#detach();
    if (reason === "mechanism" && !this.#options.peer.destroyed) return this.#awaitMismatch();
    // Only a peer that has shown to speak ZMTP 3 is told why, in its own tongue.
    const isReadyFault = reason === "ready-malformed" || reason === "ready-too-large";
    if (isReadyFault && detail !== undefined) refusePeer(this.#options.peer, detail);
    else this.#options.peer.destroy();
    this.#options.onRefused(reason);
  }

  /**
   * Leaves it time to find the mismatch itself: ZeroMQ names it then, and would report a broken pipe
   * if it had something to write first.
   */
  #awaitMismatch(): void {
    const { peer } = this.#options;
    const onClose = () => {
      clearTimeout(this.#timer);
      this.#options.onRefused("mechanism");
    };
    this.#timer = setTimeout(() => peer.destroy(), MISMATCH_MS);
    peer.once("close", onClose);
    this.#onAbort = () => peer.off("close", onClose);
    peer.resume();
    peer.end();
  }

  #detach(): void {
    this.#onAbort?.();
    clearTimeout(this.#timer);
    this.#options.peer.off("data", this.#onData);
    this.#options.peer.off("close", this.#onClose);
  }
}

/** Closes with a ZMTP ERROR; a few bytes into an empty kernel buffer, so nothing can hold it. */
export function refusePeer(peer: Socket, detail: string): void {
  if (peer.destroyed) return;
  peer.end(encodeError(detail), () => peer.destroy());
}
