// The start of one accepted connection: our greeting out, the peer's greeting and READY in, or under CURVE
// its HELLO and INITIATE. To a peer of ZMTP 2.0 goes the head of our greeting
// alone: the rest is said by whoever takes it over.
import type { Socket } from "node:net";
import type { CurveBox, KeyPairBytes } from "./curve-box.js";
import { CurveServer } from "./curve-handshake.js";
import {
  encodeError,
  encodeGreeting,
  greetingHeadSize,
  greetingSize,
  type HandshakeFault,
  helloSize,
  type Mechanism,
  readCommandFrame,
  readHandshake,
  readProperties,
  speaksZmtp3,
  type ZmtpVersion,
} from "./greeting.js";
import type { Turns } from "./turns.js";

/** Why a handshake came to nothing. Stable names: counters are keyed by them. */
export type HandshakeRefusal =
  | HandshakeFault
  | "hello-refused" // Under CURVE: HELLO was not made for our key.
  | "initiate-refused" // Under CURVE: INITIATE shows no key, or one that has not vouched for this connection.
  | "handshake-timeout"
  | "closed-early"; // Closed by the peer before its READY: a port scan, a health check.

/** What CURVE takes. */
export interface CurveListening {
  box: CurveBox;
  keys: KeyPairBytes;
  /** For what takes long, an agreement on keys some 0.2 ms. */
  turns: Turns;
}

/** A peer that has shown its key; our half of the handshake has its READY still to say. */
export interface CurveReady {
  server: CurveServer;
  key: Uint8Array;
}

/** What a handshake came to; the peer is paused and nobody listens to it any more. */
export interface Greeted {
  peer: Socket;
  socketType: string;
  version: ZmtpVersion;
  /** All that was read, and of that what stands behind the handshake under CURVE. */
  bytes: Buffer;
  rest: Buffer;
  /** Under CURVE. */
  curve: CurveReady | undefined;
}

export interface PeerHandshakeOptions {
  peer: Socket;
  /** With the mechanism CURVE. */
  curve?: CurveListening;
  timeoutMs: number;
  onReady(greeted: Greeted): void;
  onRefused(reason: HandshakeRefusal): void;
}

/** How long one that comes with another mechanism may take to read that in our greeting, and go. */
const MISMATCH_MS = 500;
/** Behind the greeting and HELLO's frame. */
const INITIATE_AT = greetingSize + 2 + helloSize;

export class PeerHandshake {
  #options: PeerHandshakeOptions;
  readonly #mechanism: Mechanism;
  #bytes: Buffer = Buffer.alloc(0);
  #timer: NodeJS.Timeout;
  #hasGreeted = false;
  #isOver = false;
  #server: CurveServer | undefined;
  /** Under CURVE: it was sent WELCOME, for which it had to know our key. */
  isWelcome = false;
  /** WELCOME is being made, or INITIATE being looked at. */
  #isWaiting = false;
  #onAbort: (() => void) | undefined;

  constructor(options: PeerHandshakeOptions) {
    this.#options = options;
    this.#mechanism = options.curve === undefined ? "NULL" : "CURVE";
    // From the connect on, not since the last byte: a peer that drips bytes gets no longer.
    this.#timer = setTimeout(() => this.#refuse("handshake-timeout"), options.timeoutMs);
    const { peer } = options;
    peer.on("data", this.#onData);
    peer.on("error", this.#onError);
    peer.on("close", this.#onClose);
    peer.write(encodeGreeting(this.#mechanism).subarray(0, greetingHeadSize));
  }

  /** Ends it without a word to onRefused. */
  abort(): void {
    this.#detach();
    this.#options.peer.destroy();
  }

  #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#server !== undefined) return this.#onInitiate();
    const handshake = readHandshake(this.#bytes, this.#mechanism);
    if (handshake.state !== "faulty" || handshake.fault === "mechanism") this.#greet();
    switch (handshake.state) {
      case "partial":
        return;
      case "ready":
        if (this.#options.curve !== undefined) return this.#onHello(this.#options.curve);
        return this.#ready(handshake.socketType, handshake.version);
      case "faulty":
        this.#refuse(handshake.fault, handshake.detail);
        return;
      default:
        handshake satisfies never;
    }
  };

  #ready(
    socketType: string,
    version: ZmtpVersion,
    curve: CurveReady | undefined = undefined,
    restAt = 0,
  ): void {
    const { peer } = this.#options;
    const bytes = this.#bytes;
    peer.pause();
    this.#detach();
    const rest = bytes.subarray(restAt);
    this.#options.onReady({ peer, socketType, version, bytes, rest, curve });
  }

  // --- CURVE ---

  #onHello({ box, keys, turns }: CurveListening): void {
    const server = new CurveServer(box, keys);
    this.#server = server;
    // Anybody may say one, again and again: whoever is at another address does not wait behind.
    const { peer } = this.#options;
    turns.add(
      peer.remoteAddress ?? "",
      this.#step(() => {
        const hello = this.#bytes.subarray(greetingSize + 2, INITIATE_AT);
        const welcome = server.welcome(hello);
        if (welcome === undefined) return this.#refuse("hello-refused");
        this.isWelcome = true;
        peer.write(welcome);
        this.#onInitiate();
      }),
    );
  }

  #onInitiate(): void {
    const { curve } = this.#options;
    if (this.#isWaiting || curve === undefined) return;
    const command = readCommandFrame(this.#bytes, INITIATE_AT);
    if (command.state === "partial") return;
    if (command.state === "faulty") return this.#refuse("initiate-refused");
    const { body, end } = command;
    const server = this.#server as CurveServer;
    if (!server.hasCookie(body)) return this.#refuse("initiate-refused");
    curve.turns.addFirst(
      this.#step(() => {
        const shown = server.initiate(body);
        if (shown === undefined) return this.#refuse("initiate-refused");
        const read = readProperties(shown.properties);
        if (read.state !== "ready") return this.#refuse("initiate-refused");
        this.#server = undefined;
        this.#ready(read.socketType, 3, { server, key: shown.key }, end);
      }),
    );
  }

  /** What is done in a turn to come, unless it is over by then. */
  #step(step: () => void): () => void {
    const { peer } = this.#options;
    this.#isWaiting = true;
    // It has nothing more to say by now, and what it says all the same takes no memory.
    peer.pause();
    return () => {
      if (this.#isOver) return;
      this.#isWaiting = false;
      step();
      if (!this.#isOver && !this.#isWaiting) peer.resume();
    };
  }

  /** Sends the rest of our greeting, once. */
  #greet(): void {
    if (this.#hasGreeted || !speaksZmtp3(this.#bytes)) return;
    const { peer } = this.#options;
    const mechanism = this.#mechanism;
    // Under CURVE when the peer has said its own mechanism: one that comes without would be gone at
    // the sight of ours, and nobody would know why.
    if (mechanism === "CURVE" && this.#bytes.length < greetingSize) return;
    this.#hasGreeted = true;
    peer.write(encodeGreeting(mechanism, mechanism === "CURVE").subarray(greetingHeadSize));
  }

  #onError = (): void => {
    // 'close' follows.
  };

  #onClose = (): void => this.#refuse("closed-early");

  #refuse(reason: HandshakeRefusal, detail?: string): void {
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
    this.#isOver = true;
    this.#server?.end();
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
