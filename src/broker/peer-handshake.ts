// The start of one accepted connection: our greeting out, the peer's greeting and READY in. To a
// peer of ZMTP 2.0 goes the head of our greeting alone: the rest is said by the socket it is joined to.
import type { Socket } from "node:net";
import {
  encodeError,
  encodeGreeting,
  greetingHeadSize,
  type HandshakeFault,
  readHandshake,
  speaksZmtp3,
  type ZmtpVersion,
} from "./zmtp.js";

export interface PeerHandshakeOptions {
  peer: Socket;
  mechanism: string;
  timeoutMs: number;
  /** `bytes` is all that was read; the peer is paused and nobody listens to it any more. */
  onReady(socketType: string, bytes: Buffer, version: ZmtpVersion): void;
  onRefused(reason: HandshakeFault | "handshake-timeout" | "closed-early"): void;
}

export class PeerHandshake {
  #options: PeerHandshakeOptions;
  #bytes: Buffer = Buffer.alloc(0);
  #timer: NodeJS.Timeout;
  #hasGreeted = false;

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
    if (!this.#hasGreeted && handshake.state !== "faulty" && speaksZmtp3(this.#bytes)) {
      this.#hasGreeted = true;
      const greeting = encodeGreeting(this.#options.mechanism);
      this.#options.peer.write(greeting.subarray(greetingHeadSize));
    }
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

  #onError = (): void => {
    // 'close' follows.
  };

  #onClose = (): void => this.#refuse("closed-early");

  #refuse(reason: HandshakeFault | "handshake-timeout" | "closed-early", detail?: string): void {
    this.#detach();
    // Only a peer that has shown to speak ZMTP 3 is told why, in its own tongue.
    const isReadyFault = reason === "ready-malformed" || reason === "ready-too-large";
    if (isReadyFault && detail !== undefined) refusePeer(this.#options.peer, detail);
    else this.#options.peer.destroy();
    this.#options.onRefused(reason);
  }

  #detach(): void {
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
