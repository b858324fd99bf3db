import { Push } from "zeromq";
import type { Access } from "../base/access.js";
import { Status } from "../base/status.js";
import { DEFAULT_QUEUE } from "../wire/layout.js";
import { queueService } from "../wire/text.js";
import type { CurveChannel } from "./curve-channel.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainWorker } from "./plain-worker.js";
import type { TaskPattern } from "./task-pattern.js";

/** Messages that ZeroMQ may hold for each PULL, beside what the network does. */
const SEND_AHEAD = 1;
/** A task that no PULL took for so long goes to whom it can. */
const SEND_TIMEOUT_MS = 1000;
/** How often a PULL that took nothing for so long is looked at again. */
const STUCK_MS = 1000;

export const outletOptions = { sendHighWaterMark: SEND_AHEAD, sendTimeout: SEND_TIMEOUT_MS };

/**
 * PULL sockets as a worker of the queue `default` that has one task at a time: until ZeroMQ has taken it,
 * since a PULL cannot say that it is done.
 */
abstract class TaskOutlet implements PlainWorker {
  readonly id = 0;
  abstract readonly access: Access | undefined;
  readonly #socket: Push;
  protected readonly host: Host;
  readonly #pattern: TaskPattern;
  #peer: Peer | undefined;
  #isSending = false;
  protected isClosed = false;

  protected constructor(socket: Push, host: Host, pattern: TaskPattern) {
    this.#socket = socket;
    this.host = host;
    this.#pattern = pattern;
  }

  /** Whether there is anyone to take a task. */
  protected abstract get isThere(): boolean;

  /** What was sent was not taken, in time or because nobody is there any more. */
  protected abstract giveBack(peer: Peer, attempt: { slot: number; generation: number }): void;

  protected enterOrLeave(): void {
    const isThere = this.isThere && !this.isClosed;
    if (isThere === (this.#peer !== undefined)) return;
    // What is being sent may still be taken: it is waited for.
    if (!isThere && this.#isSending) return;
    this.host.begin();
    if (this.#peer !== undefined) {
      const peer = this.#peer;
      this.#peer = undefined;
      this.host.leave(peer);
    } else {
      this.#peer = this.host.peers.addPlainWorker(this);
      const services = [queueService(DEFAULT_QUEUE)];
      const { index: peer } = this.#peer;
      const rest = { concurrency: 1, services, lookAhead: false };
      this.host.step({ kind: "join-worker", peer, ...rest });
      this.#pattern.onWorker();
    }
    this.host.onTurn();
  }

  send(parts: Uint8Array[]): void {
    this.#isSending = true;
    void this.#send(parts, this.#peer as Peer);
  }

  async #send(parts: Uint8Array[], peer: Peer): Promise<void> {
    const { slot, generation } = peer;
    let isTaken = true;
    try {
      await this.#socket.send(parts);
    } catch {
      isTaken = false;
    }
    this.#isSending = false;
    if (this.isClosed) return;
    this.host.begin();
    if (isTaken) this.host.step({ kind: "reply", peer: peer.index, slot, generation });
    else this.giveBack(peer, { slot, generation });
    this.enterOrLeave();
    this.host.onTurn();
  }

  protected fail({ index: peer }: Peer, attempt: { slot: number; generation: number }): void {
    const status = Status.UNAVAILABLE;
    const rest = { status, reason: "no PULL socket took it", retryAfterMs: 0, untouched: true };
    this.host.step({ kind: "failure", peer, ...attempt, ...rest });
  }

  abstract close(): void;
}

/** Without CURVE: all PULL sockets on one of ours, which deals tasks out to those with room. */
export class SharedOutlet extends TaskOutlet {
  readonly access = undefined;
  readonly socket: Push;
  /** Connections, and those of them that are of PULL sockets: at least so many of them as there are. */
  #openCount = 0;
  #pullCount = 0;

  constructor(host: Host, pattern: TaskPattern) {
    const socket = new Push({ linger: 500, ...outletOptions });
    super(socket, host, pattern);
    this.socket = socket;
  }

  async watch(): Promise<void> {
    try {
      for await (const event of this.socket.events) {
        // A disconnect does not say whose: of those that never said what they are, as port scans, there is one too.
        // So as many are PULL sockets as said so, or as are left.
        if (event.type === "accept") this.#openCount++;
        else if (event.type === "handshake") this.#pullCount++;
        else if (event.type === "disconnect") this.#openCount--;
        else continue;
        this.#pullCount = Math.min(this.#pullCount, this.#openCount);
        this.enterOrLeave();
      }
    } catch {
      // The monitor ends with its socket.
    }
  }

  protected get isThere(): boolean {
    return this.#pullCount > 0;
  }

  protected giveBack(peer: Peer, attempt: { slot: number; generation: number }): void {
    this.fail(peer, attempt);
  }

  close(): void {
    this.isClosed = true;
    this.socket.close();
  }
}

/**
 * Under CURVE: one PULL, a worker of its own. One that takes nothing is none until it does: what it was handed
 * goes to another at once.
 */
export class PullOutlet extends TaskOutlet {
  readonly access: Access | undefined;
  readonly #channel: CurveChannel<Push>;
  #isGone = false;
  #isStuck = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(channel: CurveChannel<Push>, host: Host, pattern: TaskPattern) {
    super(channel.socket, host, pattern);
    this.#channel = channel;
    this.access = channel.access;
    this.enterOrLeave();
  }

  protected get isThere(): boolean {
    return !this.#isGone && !this.#isStuck;
  }

  protected giveBack(peer: Peer, attempt: { slot: number; generation: number }): void {
    // One that is about to leave gives back what another is to have at once.
    this.host.step({ kind: "drain", peer: peer.index });
    this.fail(peer, attempt);
    this.#isStuck = true;
    this.#lookAgain();
  }

  /** Nothing is being sent meanwhile, whose wake-up it would take to ask. */
  #lookAgain(): void {
    if (this.#isGone) return;
    this.#timer = setTimeout(() => {
      const { socket } = this.#channel;
      if (socket.closed) return;
      this.#isStuck = !socket.writable;
      if (this.#isStuck) this.#lookAgain();
      else this.enterOrLeave();
    }, STUCK_MS);
  }

  /** Its connection has ended, or is to. */
  close(): void {
    this.#isGone = true;
    clearTimeout(this.#timer);
    // With it ends what is being sent, which then is another's.
    this.#channel.close();
    this.enterOrLeave();
  }

  /** The broker ends. What was written still goes out: who made the channel closes it. */
  end(): void {
    this.isClosed = true;
    clearTimeout(this.#timer);
  }
}
