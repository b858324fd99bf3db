// One connection under CURVE and the ZeroMQ socket that is its only correspondent. ZeroMQ does the
// handshake and all the encryption; the key that it asks about can be no other connection's.
import type { Socket as NetSocket } from "node:net";
import type { Context, Socket } from "zeromq";
import type { Access } from "../base/access.js";
import { connectOptions, parseEndpoint } from "../zmtp/endpoint.js";
import { BytePipe } from "./byte-pipe.js";
import type { PlainFault } from "./plain-dialogue.js";
import type { Verdict, Zap } from "./zap.js";

/** What a socket must be made with so that it takes this connection alone. */
export interface ChannelSocketOptions {
  context: Context;
  linger: number;
  curveServer: true;
  curveSecretKey: string;
  zapDomain: string;
  zapEnforceDomain: true;
}

export interface ChannelOptions<S extends Socket> {
  peer: NetSocket;
  remote: string;
  /** All that was read of the peer so far. */
  bytes: Buffer;
  /** Private: where the socket is bound. */
  endpoint: string;
  secretKey: string;
  zap: Zap;
  handshakeTimeoutMs: number;
  stallTimeoutMs: number;
  makeSocket(options: ChannelSocketOptions): S;
  /** Who has this key; undefined where it may not come in. Asked once. */
  admit(key: string): Access | undefined;
  /** Whether one that is known may come in here, and what for; else it may come again. */
  mayEnter(access: Access): boolean;
  /** The key is proven and known: messages may be read and sent. */
  onOpen(): void;
  /** The peer is gone. What it had sent can still be read; then the channel is to be closed. */
  onPeerGone(): void;
  /** Exactly once; `why` where it never opened. */
  onClosed(why: NeverOpened | undefined): void;
  /** Counts why it is being dropped. */
  onRefused(why: "revoked" | "denied" | PlainFault): void;
}

/**
 * How long one that may not come in yet is held before it is cut off: ZeroMQ's sockets come again at once, ten
 * times a second, each time with a handshake to be done.
 */
const LATER_MS = 1000;

export type NeverOpened = "handshake-timeout" | "hello-refused" | "unauthenticated" | "denied";

export class CurveChannel<S extends Socket> {
  readonly socket: S;
  readonly remote: string;
  /** What its key may do; undefined until it is proven. */
  access: Access | undefined;
  readonly #options: ChannelOptions<S>;
  readonly #domain: string;
  #timer: NodeJS.Timeout;
  readonly #pipe: BytePipe;
  #why: NeverOpened = "hello-refused";

  /** Throws what ZeroMQ throws when there is no socket to be had. */
  constructor(options: ChannelOptions<S>) {
    this.#options = options;
    this.remote = options.remote;
    this.#domain = options.zap.addDomain((key) => this.#onKey(key));
    try {
      this.socket = options.makeSocket({
        context: options.zap.context,
        linger: 0,
        curveServer: true,
        curveSecretKey: options.secretKey,
        zapDomain: this.#domain,
        zapEnforceDomain: true,
      });
    } catch (error) {
      options.zap.forgetDomain(this.#domain);
      throw error;
    }
    try {
      this.socket.bindSync(options.endpoint);
    } catch (error) {
      this.socket.close();
      options.zap.forgetDomain(this.#domain);
      throw error;
    }
    this.#timer = setTimeout(() => {
      this.#why = "handshake-timeout";
      this.close();
    }, options.handshakeTimeoutMs);
    this.#pipe = new BytePipe({
      peer: options.peer,
      upstream: connectOptions(parseEndpoint("private endpoint", this.#endpoint)),
      replay: options.bytes,
      mechanism: "CURVE",
      openTimeoutMs: options.handshakeTimeoutMs,
      stallTimeoutMs: options.stallTimeoutMs,
      onOpen: () => {},
      onUpstreamClosed: () => (this.access === undefined ? this.close() : options.onPeerGone()),
      onClosed: () => this.#onPipeClosed(),
    });
  }

  get #endpoint(): string {
    return this.socket.lastEndpoint as string;
  }

  /** Closes; what is written still goes out, for at most `lingerMs`. */
  close(lingerMs = 0): void {
    if (!this.socket.closed) {
      this.socket.linger = lingerMs;
      this.socket.close();
    }
    // Else ZeroMQ closes its end when all is out, and the pipe follows.
    if (lingerMs === 0) this.#pipe.destroy();
  }

  /** Counts and tells that it is about to be dropped, and why. */
  refuse(why: "revoked" | "denied" | PlainFault): void {
    this.#options.onRefused(why);
  }

  #onKey(key: string): Verdict {
    this.#options.zap.forgetDomain(this.#domain);
    const access = this.#options.admit(key);
    if (access === undefined) {
      this.#why = "unauthenticated";
      return "refused";
    }
    if (!this.#options.mayEnter(access)) {
      this.#why = "denied";
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.close(), LATER_MS);
      return "later";
    }
    this.access = access;
    clearTimeout(this.#timer);
    this.#options.onOpen();
    return "in";
  }

  #onPipeClosed(): void {
    clearTimeout(this.#timer);
    this.#options.zap.forgetDomain(this.#domain);
    if (this.access === undefined) this.close();
    else if (!this.socket.closed) this.#options.onPeerGone();
    this.#options.onClosed(this.access === undefined ? this.#why : undefined);
  }
}
