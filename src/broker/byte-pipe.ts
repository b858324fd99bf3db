// One accepted connection joined to its private ZeroMQ socket, byte for byte.
//
//   peer  <-- our greeting (sent at accept) --  listener
//   peer  --- greeting, READY, ... ---------->  upstream    replayed once it is connected
//   peer  <-- READY, messages, PING ---------  upstream    after its 64-byte greeting, swallowed
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { checkGreeting, greetingSize, type Mechanism } from "../zmtp/greeting.js";

export interface BytePipeOptions {
  peer: Socket; // Paused, its 'data' listener taken off.
  upstream: NetConnectOpts;
  replay: Buffer; // All that was read from the peer so far.
  mechanism: Mechanism;
  openTimeoutMs: number;
  stallTimeoutMs: number; // How long an end may hold up the other's close, or take no bytes.
  onOpen(): void; // ZeroMQ has answered: its READY, or WELCOME, is on the way to the peer.
  onUpstreamClosed(): void; // At most once, and only after onOpen.
  onClosed(opened: boolean): void; // Exactly once, when both ends are closed.
}

const retryDelayMs = 10;

// Twice what node:net reads at once by itself: a 64 KiB message and its header in one read.
const readBufferSize = 131_072;

function ignoreError(): void {
  // Every error is followed by 'close', which is acted upon.
}

export class BytePipe {
  #options: BytePipeOptions;
  #peer: Socket;
  #upstream: Socket | null = null;
  #greeting: Buffer = Buffer.alloc(0);
  #readBuffer = Buffer.allocUnsafeSlow(readBufferSize);
  #isOpen = false;
  #isClosing = false;
  #isSettled = false;
  #peerClosed = false;
  #openTimer: NodeJS.Timeout;
  #retryTimer: NodeJS.Timeout | undefined;
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(options: BytePipeOptions) {
    this.#options = options;
    this.#peer = options.peer;
    this.#openTimer = setTimeout(() => this.destroy(), options.openTimeoutMs);
    this.#peer.on("error", ignoreError);
    this.#peer.on("end", () => this.#onPeerEnd());
    this.#peer.on("close", () => {
      this.#peerClosed = true;
      this.#onPeerEnd();
      this.#settle();
    });
    // Set only while ZeroMQ's side is held back: a peer that takes nothing and
    // says nothing. ZeroMQ's own close could not be seen then, as it lies behind unread bytes.
    this.#peer.on("timeout", () => this.destroy());
    this.#connect();
  }

  /** Cuts both ends at once. */
  destroy(): void {
    this.#isClosing = true;
    clearTimeout(this.#openTimer);
    clearTimeout(this.#retryTimer);
    this.#upstream?.destroy();
    this.#peer.destroy();
    this.#settle();
  }

  #connect(): void {
    const upstream = connect({
      ...this.#options.upstream,
      // One buffer read into again and again. It costs a third less than 'data' for large
      // messages; an accepted socket cannot have it, so the other direction does without.
      onread: {
        buffer: () => this.#nextReadBuffer(),
        callback: (size, buffer) => this.#onUpstreamBytes(buffer as Buffer, size),
      },
    });
    this.#upstream = upstream;
    upstream.on("error", (error: NodeJS.ErrnoException) => {
      // The private listener's backlog is full: many workers have come in one turn.
      if (error.code === "EAGAIN" && !this.#isClosing) {
        this.#retryTimer = setTimeout(() => this.#connect(), retryDelayMs);
        this.#upstream = null;
      }
    });
    upstream.on("connect", () => {
      upstream.write(this.#options.replay);
      this.#options.replay = Buffer.alloc(0);
      this.#peer.on("data", (chunk) => {
        if (!upstream.write(chunk) && upstream.writableLength > 0) this.#peer.pause();
      });
      this.#peer.resume();
    });
    upstream.on("drain", () => this.#peer.resume());
    upstream.on("close", () => {
      if (upstream === this.#upstream) this.#onUpstreamClose();
    });
  }

  /** The same buffer, unless a write that the kernel did not take at once still holds it. */
  #nextReadBuffer(): Buffer {
    if (this.#peer.writableLength > 0) this.#readBuffer = Buffer.allocUnsafeSlow(readBufferSize);
    return this.#readBuffer;
  }

  /** Returns whether to read on. */
  #onUpstreamBytes(buffer: Buffer, size: number): boolean {
    if (this.#isClosing) return true; // Nobody to take them; the close lies behind.
    const bytes = buffer.subarray(0, size);
    if (!this.#isOpen) {
      this.#onUpstreamGreeting(bytes);
      return true;
    }
    // `write` says no to all that is large, whether the system took it or not.
    if (this.#peer.write(bytes) || this.#peer.writableLength === 0) return true;
    this.#peer.setTimeout(this.#options.stallTimeoutMs);
    return false;
  }

  #onUpstreamGreeting(bytes: Buffer): void {
    this.#greeting = Buffer.concat([this.#greeting, bytes]);
    const { mechanism } = this.#options;
    const check = checkGreeting(this.#greeting.subarray(0, greetingSize), mechanism);
    if (check.state === "faulty") return this.destroy();
    // What follows tells that ZeroMQ has taken the peer's greeting: wait for it.
    if (this.#greeting.length <= greetingSize) return;
    clearTimeout(this.#openTimer);
    this.#isOpen = true;
    this.#peer.write(this.#greeting.subarray(greetingSize));
    this.#greeting = Buffer.alloc(0);
    this.#peer.on("drain", () => {
      this.#peer.setTimeout(0);
      this.#upstream!.resume();
    });
    this.#options.onOpen();
  }

  /** The peer is gone or wants to be: let ZeroMQ read what it has sent, then see the end. */
  #onPeerEnd(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    clearTimeout(this.#openTimer);
    clearTimeout(this.#retryTimer);
    const upstream = this.#upstream;
    if (upstream === null || upstream.connecting) {
      this.destroy();
      return;
    }
    this.#startCloseTimer();
    // Whatever ZeroMQ still says has no reader; it must be read for its close to be seen.
    upstream.resume();
    upstream.end();
  }

  #onUpstreamClose(): void {
    const wasOpen = this.#isOpen;
    this.#isClosing = true;
    clearTimeout(this.#openTimer);
    if (!this.#peer.destroyed) {
      this.#startCloseTimer();
      this.#peer.removeAllListeners("data");
      this.#peer.resume();
      this.#peer.destroySoon();
    }
    if (wasOpen) this.#options.onUpstreamClosed();
    this.#settle();
  }

  #startCloseTimer(): void {
    this.#closeTimer ??= setTimeout(() => this.destroy(), this.#options.stallTimeoutMs);
  }

  #settle(): void {
    if (this.#isSettled || !this.#peerClosed) return;
    if (this.#upstream !== null && !this.#upstream.closed) return;
    this.#isSettled = true;
    clearTimeout(this.#closeTimer);
    this.#options.onClosed(this.#isOpen);
  }
}
