// A port under CURVE. A ROUTER cannot say which key a message came from, and what kind of socket a
// peer has is encrypted too, so each connection gets a ZeroMQ socket of its own:
//
//   peer --+                   +--> a ROUTER, DEALER, .. of its own: a CurveChannel
//   peer --+-- node:net -------+--> another
//   peer --+   greeting, HELLO
import { rm } from "node:fs/promises";
import type { Socket } from "zeromq";
import type { Access, Action } from "../base/access.js";
import { privateEndpoint } from "../zmtp/endpoint.js";
import { type Accepted, Listener, type ListenerRefusal } from "../zmtp/listener.js";
import { type ChannelSocketOptions, CurveChannel } from "./curve-channel.js";
import type { PlainFault } from "./plain-dialogue.js";
import { makePrivateFolder } from "./private-folder.js";
import type { Zap } from "./zap.js";

/** Why a connection was refused or dropped. Stable names: counters are keyed by them. */
export type CurveRefusal =
  | ListenerRefusal
  | PlainFault
  | "unauthenticated" // The key is not in the access file.
  | "revoked" // The key is no longer in the access file.
  | "denied" // The key is known, and may not do what the port is for.
  | "upstream"; // No socket could be had for it.

export interface CurveDoorOptions<S extends Socket> {
  endpoint: string;
  secretKey: string;
  zap: Zap;
  handshakeTimeoutMs: number;
  /** How long a connection may stall or take to close. 0: as long as it likes; then who is gone is looked for. */
  stallTimeoutMs: number;
  connectionsMax: number;
  handshakesMax?: number;
  /** Connections whose HELLO has come and whose key has not been proven. Default 256. */
  unprovenMax?: number;
  /** What a port is for that is for one thing alone: who may not do that does not come in. */
  right?: { readonly action: Action; readonly what: string };
  /** Who has this key; undefined where it may not come in. */
  find(key: string): Access | undefined;
  makeSocket(options: ChannelSocketOptions): S;
  /** The key of this channel is proven and known; it says what is to be done when the peer goes. */
  onOpen(channel: CurveChannel<S>): { onPeerGone(): void };
  /** `key` where one was shown, `name` where that is known. */
  onRefused(reason: CurveRefusal, remote: string, key?: string, name?: string): void;
}

/** The longest that a timer can be. */
const STALL_MS_MAX = 0x7fffffff;
/** Where nothing else tells that a host is gone, TCP asks after so long a silence, and gives it up some minutes later. */
const KEEP_ALIVE_MS = 60_000;

/** What of a handshake is under way takes sockets of ours: fewer than the listener alone bears. */
const UNPROVEN_MAX = 256;

export class CurveDoor<S extends Socket> {
  readonly refusalCounts: ReadonlyMap<CurveRefusal, number>;
  readonly #options: CurveDoorOptions<S>;
  #listener!: Listener;
  readonly #folder: string;
  readonly #refusals = new Map<CurveRefusal, number>();
  /** All of them, and those whose key is not proven; oldest first. */
  readonly #channels = new Set<CurveChannel<S>>();
  readonly #unproven = new Set<CurveChannel<S>>();
  #lastId = 0;
  #isClosing = false;
  #onEmpty: (() => void) | undefined;

  /** Rejects with a RangeError for a bad option, else an Error with the system's `code`. */
  static async listen<S extends Socket>(options: CurveDoorOptions<S>): Promise<CurveDoor<S>> {
    const door = new CurveDoor(options);
    try {
      door.#listener = await Listener.listen(
        { ...options, mechanism: "CURVE" },
        {
          onReady: (accepted) => door.#onHello(accepted),
          onRefused: (reason, remote) => door.#refuse(reason, remote),
          readyCount: () => door.#channels.size,
        },
      );
    } catch (error) {
      await rm(door.#folder, { recursive: true, force: true });
      throw error;
    }
    return door;
  }

  private constructor(options: CurveDoorOptions<S>) {
    this.#options = options;
    this.#folder = makePrivateFolder();
    this.refusalCounts = this.#refusals;
  }

  get endpoint(): string {
    return this.#listener.endpoint;
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    return this.#listener.handshakeCount + this.#channels.size;
  }

  /** Ends those whose key is gone, or may no longer do what the port is for; returns how many. */
  recheck(): number {
    let count = 0;
    for (const channel of [...this.#channels]) {
      const { access } = channel;
      if (access === undefined || channel.socket.closed) continue;
      const isKnown = this.#options.find(access.key) === access;
      if (isKnown && this.#isRightful(access)) continue;
      channel.refuse(isKnown ? "denied" : "revoked");
      channel.close();
      count++;
    }
    return count;
  }

  #isRightful(access: Access): boolean {
    const { right } = this.#options;
    return right === undefined || access.denial(right.action, right.what) === undefined;
  }

  /**
   * Stops listening and drops every connection; what was written to them before still goes out, for
   * at most `lingerMs`.
   */
  async close({ lingerMs = 0 } = {}): Promise<void> {
    this.#isClosing = true;
    const closed = this.#listener.close();
    for (const channel of this.#channels) channel.close(channel.access && lingerMs);
    if (lingerMs > 0) await this.#empty(lingerMs);
    for (const channel of this.#channels) channel.close();
    await this.#empty(0);
    await closed;
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Waits until nothing is left, at most `timeoutMs` unless that is 0. */
  #empty(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeoutMs > 0 ? setTimeout(resolve, timeoutMs) : undefined;
      this.#onEmpty = () => {
        if (this.#channels.size > 0) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onEmpty();
    });
  }

  #onHello({ peer, remote, bytes }: Accepted): void {
    const { handshakeTimeoutMs, stallTimeoutMs, secretKey, zap, makeSocket } = this.#options;
    if (stallTimeoutMs === 0) peer.setKeepAlive(true, KEEP_ALIVE_MS);
    if (this.#unproven.size >= (this.#options.unprovenMax ?? UNPROVEN_MAX)) {
      // As with the listener's: the oldest gives way.
      const [oldest] = this.#unproven;
      this.#unproven.delete(oldest);
      this.#refuse("handshakes-max", oldest.remote);
      oldest.close();
    }
    let key: string | undefined;
    let on: { onPeerGone(): void } | undefined;
    let channel: CurveChannel<S>;
    try {
      channel = new CurveChannel({
        peer,
        remote,
        bytes,
        endpoint: privateEndpoint(this.#folder, ++this.#lastId),
        secretKey,
        zap,
        handshakeTimeoutMs,
        stallTimeoutMs: stallTimeoutMs || STALL_MS_MAX,
        makeSocket,
        admit: (shown) => {
          key = shown;
          return this.#isClosing ? undefined : this.#options.find(shown);
        },
        mayEnter: (access) => this.#isRightful(access),
        onOpen: () => {
          this.#unproven.delete(channel);
          on = this.#options.onOpen(channel);
        },
        onPeerGone: () => on?.onPeerGone(),
        onClosed: (why) => {
          this.#channels.delete(channel);
          // One that gave way is counted.
          const isCounted = !this.#unproven.delete(channel);
          if (why !== undefined && !isCounted && !this.#isClosing) this.#refuse(why, remote, key);
          this.#onEmpty?.();
        },
        onRefused: (why) => this.#refuse(why, remote, key, channel.access?.name),
      });
    } catch {
      peer.destroy();
      this.#refuse("upstream", remote);
      return;
    }
    this.#channels.add(channel);
    this.#unproven.add(channel);
  }

  #refuse(reason: CurveRefusal, remote: string, key?: string, name?: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    this.#options.onRefused(reason, remote, key, name);
  }
}
