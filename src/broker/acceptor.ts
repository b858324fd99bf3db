// Where a port's peers come in: who connects, with which kind of socket and under CURVE with which key; and each
// connection that was let in, until it ends.

import type { Socket } from "node:net";
import { Access, type Action } from "../base/access.js";
import { encodeZ85 } from "../base/z85.js";
import type { ConnectionEnd } from "../zmtp/connection.js";
import { type CurveListening, refusePeer } from "../zmtp/handshake.js";
import { Heartbeat } from "../zmtp/heartbeat.js";
import { type Accepted, Listener, type ListenerRefusal } from "../zmtp/listener.js";
import { Arrival, type ArrivalOptions } from "./arrival.js";
import type { PlainFault } from "./plain-dialogue.js";

/** Why a connection was refused or dropped. Stable names: counters are keyed by them. */
export type PortRefusal =
  | ListenerRefusal
  | "socket-type"
  | "unauthenticated" // The key is not in the access file.
  | "revoked" // The key is no longer in the access file.
  | "pulse-spoke" // A worker's pulse said something else.
  | "denied" // The key is known, and may not do what the port is for.
  | PlainFault
  | Exclude<ConnectionEnd, "closed">;

/** Who comes in under CURVE. */
export interface PortCurve extends CurveListening {
  /** Who has this key, Z85; undefined where it may not come in. */
  find(key: string): Access | undefined;
  /** `key` where one was shown, `name` where that is known. */
  onRefused(reason: PortRefusal, remote: string, key?: string, name?: string): void;
}

export interface AcceptorOptions {
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  handshakeTimeoutMs: number;
  /** Of one message, all parts together. */
  messageBytesMax: number;
  /** Connections at each endpoint. */
  connectionsMax: number;
  /** Unfinished handshakes, of connectionsMax. Default 1024. */
  handshakesMax?: number;
  /** Nobody comes in without a key that is known. */
  curve?: PortCurve;
  /** What a port is for that is for one thing alone: under CURVE who may not do that does not come in. */
  right?: { readonly action: Action; readonly what: string };
  /** A peer may hold still for as long as it likes; TCP finds out whose host is gone. */
  isPatient?: boolean;
  /** PING goes to those alone who said to know it, see ConnectionOptions. */
  isPingForKnowing?: boolean;
}

/** The kinds of sockets that a port serves, and what we are to each; `advice` is what others are told to use. */
export interface Served {
  readonly roles: Readonly<Record<string, string>>;
  readonly advice: string;
}

export interface AcceptorEvents {
  /** One is let in, and waits to be taken over. */
  onArrival(arrival: Arrival): void;
  /** All that a turn of the event loop has read, of all connections, is handed on. */
  onTurn(): void;
}

/** RFC 27 (ZAP): the status of who may not come in, which libzmq takes for the reason of an ERROR. */
const NOT_LET_IN = "400";
const NOBODY = new Access("", { name: "nobody" }, () => {});
/**
 * How long one that may not come in yet is held before it is cut off, without a word: ZeroMQ's sockets come again at
 * once, ten times a second, each time with a handshake to be done; one that is told ERROR does not come again.
 */
const LATER_MS = 1000;

export class Acceptor {
  readonly refusalCounts: ReadonlyMap<PortRefusal, number>;
  readonly #served: Served;
  readonly #options: AcceptorOptions;
  readonly #events: AcceptorEvents;
  readonly #arrivalOptions: ArrivalOptions;
  readonly #listeners: Listener[] = [];
  readonly #refusals = new Map<PortRefusal, number>();
  /** Each with what is called when it is gone. */
  readonly #arrivals = new Map<Arrival, () => void>();
  /** Those that may come later. */
  readonly #heldOff = new Set<Socket>();
  #isTurnDue = false;
  #isClosed = false;
  #onEmpty: (() => void) | undefined;

  constructor(served: Served, options: AcceptorOptions, events: AcceptorEvents) {
    const { messageBytesMax, heartbeatIntervalMs, heartbeatTimeoutMs } = options;
    const { isPatient = false, isPingForKnowing = false } = options;
    this.#served = served;
    this.#options = options;
    this.#events = events;
    this.refusalCounts = this.#refusals;
    this.#arrivalOptions = {
      messageBytesMax,
      isPatient,
      isPingForKnowing,
      heartbeat: new Heartbeat(heartbeatIntervalMs, heartbeatTimeoutMs),
      onRead: () => this.#onRead(),
      onEnd: (arrival, why) => this.#onEnd(arrival, why),
    };
  }

  /** Starts to listen and resolves with the endpoint, the real port in it; rejects with a one-line Error. */
  async listen(endpoint: string): Promise<string> {
    const { handshakeTimeoutMs, connectionsMax, handshakesMax, curve } = this.#options;
    let readyCount = 0;
    const listener = await Listener.listen(
      { endpoint, curve, handshakeTimeoutMs, connectionsMax, handshakesMax },
      {
        onReady: (accepted) => {
          const arrival = this.#admit(accepted);
          if (arrival === undefined) return;
          readyCount++;
          const onGone = () => void readyCount--;
          if (!this.#isRightful(arrival)) return this.#holdOff(arrival, accepted.peer, onGone);
          this.#arrivals.set(arrival, onGone);
          this.#events.onArrival(arrival);
        },
        onRefused: (reason, remote) => this.refuse(reason, { remote, access: undefined }),
        readyCount: () => readyCount,
      },
    );
    this.#listeners.push(listener);
    return listener.endpoint;
  }

  /** Connections served or in their handshake. */
  get connectionCount(): number {
    const handshakeCount = this.#listeners.reduce((sum, each) => sum + each.handshakeCount, 0);
    return handshakeCount + this.#arrivals.size + this.#heldOff.size;
  }

  /** What one that is not there any more may do: nothing where keys are asked for, else everything. */
  get nobody(): Access | undefined {
    return this.#options.curve === undefined ? undefined : NOBODY;
  }

  /** Whether whoever came in so would be let in now. */
  isKnown({ access }: Pick<Arrival, "access">): boolean {
    return access === undefined || this.#options.curve?.find(access.key) === access;
  }

  /** Ends those who would not be let in now; returns how many. */
  recheck(): number {
    let count = 0;
    for (const arrival of this.#arrivals.keys()) {
      if (arrival.isEnded) continue;
      const isKnown = this.isKnown(arrival);
      if (isKnown && this.#isRightful(arrival)) continue;
      this.refuse(isKnown ? "denied" : "revoked", arrival);
      arrival.close();
      count++;
    }
    return count;
  }

  #isRightful({ access }: Arrival): boolean {
    const { right } = this.#options;
    return right === undefined || access?.denial(right.action, right.what) === undefined;
  }

  #holdOff(arrival: Arrival, peer: Socket, onGone: () => void): void {
    this.refuse("denied", arrival);
    this.#heldOff.add(peer);
    const timer = setTimeout(() => peer.destroy(), LATER_MS);
    peer.once("close", () => {
      clearTimeout(timer);
      this.#heldOff.delete(peer);
      onGone();
      this.#tellEmpty();
    });
  }

  /** Counts it and, where whoever comes in has a key, tells it. */
  refuse(
    reason: PortRefusal,
    { remote, access }: { remote: string; access: Pick<Access, "key" | "name"> | undefined },
  ): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    this.#options.curve?.onRefused(reason, remote, access?.key, access?.name);
  }

  /** Nothing that ends from now on is counted, and no turn is told of. */
  close(): void {
    this.#isClosed = true;
  }

  /**
   * Stops listening and ends every connection; what was sent before still goes out, for at most `lingerMs`.
   * Resolves when none is left.
   */
  async end(lingerMs: number): Promise<void> {
    this.close();
    const closed = Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const arrival of this.#arrivals.keys()) arrival.finish(lingerMs);
    for (const peer of this.#heldOff) peer.destroy();
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      this.#tellEmpty();
    });
    await closed;
  }

  /** Undefined for one that may not come in, and is told. */
  #admit(accepted: Accepted): Arrival | undefined {
    const { peer, remote, socketType, version, curve } = accepted;
    let access: Access | undefined;
    if (this.#options.curve !== undefined) {
      const key = curve === undefined ? "" : encodeZ85(curve.key);
      access = this.#options.curve.find(key);
      if (access === undefined) {
        curve?.server.end();
        refusePeer(peer, NOT_LET_IN);
        this.refuse("unauthenticated", { remote, access: { key, name: "" } });
        return undefined;
      }
    }
    const { roles, advice } = this.#served;
    if (Object.hasOwn(roles, socketType)) {
      return new Arrival(accepted, roles[socketType], access, this.#arrivalOptions);
    }
    // ZMTP 2.0 has no words for it.
    if (version === 2) peer.destroy();
    else refusePeer(peer, `${socketType} sockets are not served here, use ${advice}`);
    this.refuse("socket-type", { remote, access });
    return undefined;
  }

  #onEnd(arrival: Arrival, why: ConnectionEnd): void {
    if (why !== "closed" && !this.#isClosed) this.refuse(why, arrival);
    this.#arrivals.get(arrival)?.();
    this.#arrivals.delete(arrival);
    this.#tellEmpty();
  }

  /**
   * What a turn of the event loop has read, of all connections, is answered once it has read all: each peer
   * gets one batch then, not one for each who caused something.
   */
  #onRead(): void {
    if (this.#isTurnDue || this.#isClosed) return;
    this.#isTurnDue = true;
    setImmediate(this.#onTurn);
  }

  #onTurn = (): void => {
    this.#isTurnDue = false;
    if (!this.#isClosed) this.#events.onTurn();
  };

  #tellEmpty(): void {
    if (this.#arrivals.size + this.#heldOff.size === 0) this.#onEmpty?.();
  }
}
