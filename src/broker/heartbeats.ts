import { type Dialect, heartbeatToWorker } from "../wire/majordomo.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";

export interface MajordomoTimes {
  /** How often workers are sent a heartbeat, and expected to send one. */
  heartbeatMs: number;
  /** After so many intervals of silence a worker is taken for dead. */
  liveness: number;
  /** The same for one that works and never sent a heartbeat while it did; 0: it may be silent. */
  busyLiveness: number;
}

/** A worker of the Majordomo protocol, and what is known of how alive it is. */
export class MajordomoWorker {
  /** When it last said anything. */
  heardMs: number;
  /** Whether it works on a request whose client still waits. */
  isBusy = false;
  busySinceMs = 0;
  slot = 0;
  generation = 0;
  /** Whether it was heard in the middle of its work. The Guide's workers are mute until they have done. */
  beatsAtWork = false;

  constructor(
    readonly peer: Peer,
    readonly dialect: Dialect,
    nowMs: number,
  ) {
    this.heardMs = nowMs;
  }
}

/** Tells Majordomo workers that the broker is there, and finds out which of them are not. */
export class Heartbeats {
  #beatAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly host: Host,
    private readonly times: MajordomoTimes,
    private readonly workers: ReadonlyMap<Peer, MajordomoWorker>,
  ) {}

  /** There is a worker. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#beatAtMs = this.host.delivery.nowMs;
    this.#timer = setTimeout(this.#onBeat, this.times.heartbeatMs);
  }

  #onBeat = (): void => {
    this.#timer = undefined;
    this.host.begin();
    const { nowMs } = this.host.delivery;
    // After a long turn of the event loop, what they said may wait unread.
    const isLate = nowMs - this.#beatAtMs > 2 * this.times.heartbeatMs;
    for (const worker of this.workers.values()) {
      const { peer, dialect } = worker;
      if (!isLate && this.#isSilent(worker, nowMs)) {
        this.host.leave(peer);
      } else if (peer.outbox.isEmpty) {
        peer.outbox.push(heartbeatToWorker(dialect));
        peer.due();
      }
    }
    if (this.workers.size > 0) this.start();
    this.host.onTurn();
  };

  #isSilent({ heardMs, isBusy, beatsAtWork }: MajordomoWorker, nowMs: number): boolean {
    const { heartbeatMs, liveness, busyLiveness } = this.times;
    const intervals = (nowMs - heardMs) / heartbeatMs;
    if (!isBusy || beatsAtWork) return intervals >= liveness;
    return busyLiveness > 0 && intervals >= busyLiveness;
  }

  /** There is no worker any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
