import type { Access } from "../base/access.js";
import { Status } from "../base/status.js";
import { DEFAULT_QUEUE } from "../wire/layout.js";
import { queueService } from "../wire/text.js";
import type { Connection } from "../zmtp/connection.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainWorker } from "./plain-worker.js";
import type { TaskPattern } from "./task-pattern.js";

/** How long a PULL may take nothing of what it is sent, and be a worker. */
const STUCK_MS = 1000;

interface Attempt {
  readonly slot: number;
  readonly generation: number;
}

/** What becomes of a task that a PULL was handed. */
type Fate = "sent" | "unsent";

/** The outlets that know what became of their task: told to the core all together, not within its step. */
export class Settling {
  readonly #host: Host;
  #due: PullOutlet[] = [];
  #turn: NodeJS.Immediate | undefined;
  #isClosed = false;

  constructor(host: Host) {
    this.#host = host;
  }

  add(outlet: PullOutlet): void {
    if (this.#isClosed) return;
    this.#due.push(outlet);
    this.#turn ??= setImmediate(this.#onTurn);
  }

  /** The broker ends: nothing more is told to the core. */
  close(): void {
    this.#isClosed = true;
    clearImmediate(this.#turn);
  }

  #onTurn = (): void => {
    this.#turn = undefined;
    const due = this.#due;
    this.#due = [];
    this.#host.begin();
    for (const outlet of due) outlet.settle();
    this.#host.onTurn();
  };
}

/**
 * One PULL, as a worker of the queue `default` that has one task at a time: until the system has taken it, since a PULL
 * cannot say that it is done. What was not taken as a whole when its connection ended, it cannot have: that is
 * another's. One that takes nothing for a while is given no more until it does, and keeps the one that it has in part
 * until the attempt is over: then its connection ends, or it and another would have it both.
 */
export class PullOutlet implements PlainWorker {
  readonly id = 0;
  readonly access: Access | undefined;
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  readonly #settling: Settling;
  #connection!: Connection;
  #peer: Peer | undefined;
  /** What it was handed, until that is settled. */
  #attempt: Attempt | undefined;
  #fate: Fate | undefined;
  /** The attempt's time was over before the system had taken all of it. */
  #isLate = false;
  #isGone = false;
  #isStuck = false;
  /** To the core it drains: what it has in part is still its own. */
  #isDraining = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(access: Access | undefined, host: Host, pattern: TaskPattern, settling: Settling) {
    this.access = access;
    this.#host = host;
    this.#pattern = pattern;
    this.#settling = settling;
  }

  get isEnded(): boolean {
    return this.#connection.isEnded;
  }

  /** It is a worker from now on. */
  attach(connection: Connection): void {
    this.#connection = connection;
    this.#settling.add(this);
  }

  send(parts: Uint8Array[]): void {
    const { slot, generation } = this.#peer as Peer;
    this.#attempt = { slot, generation };
    if (this.#connection.isEnded) return this.#settle("unsent");
    this.#connection.send(parts);
    if (!this.#connection.isBlocked) return this.#settle("sent");
    this.#watch(this.#connection.unsentBytes);
  }

  onDrained(): void {
    clearTimeout(this.#timer);
    this.#isStuck = false;
    this.#settle("sent");
  }

  onGone(): void {
    clearTimeout(this.#timer);
    this.#isGone = true;
    this.#settle("unsent");
  }

  onAbort(): void {
    if (this.#attempt === undefined || this.#fate !== undefined) return;
    this.#isLate = true;
    this.close();
  }

  close(): void {
    this.#connection.close();
  }

  /** The broker ends. */
  end(): void {
    clearTimeout(this.#timer);
  }

  #settle(fate: Fate): void {
    // The first word counts: what was sent as a whole is not unsent when the connection ends.
    if (this.#attempt !== undefined) this.#fate ??= fate;
    this.#settling.add(this);
  }

  /** Looks whether any of it is taken. */
  #watch(unsentBytes: number): void {
    this.#timer = setTimeout(() => {
      const left = this.#connection.unsentBytes;
      if (left < unsentBytes) return this.#watch(left);
      this.#isStuck = true;
      this.#settling.add(this);
    }, STUCK_MS);
  }

  /** Tells the core, between its steps, what became of the task and whether there is one to take more. */
  settle(): void {
    const isThere = !this.#isGone && !this.#isStuck;
    const peer = this.#peer;
    // First: else it would be given another task for the one that it is rid of, and that would be tried at
    // another later and not at once.
    if (!isThere && peer !== undefined) this.#drain(peer);
    if (this.#fate !== undefined) this.#answer(peer as Peer, this.#fate);
    if (this.#isDraining && this.#attempt === undefined) this.#leave(peer as Peer);
    if (isThere && this.#peer === undefined) this.#enter();
  }

  #drain({ index: peer }: Peer): void {
    this.#isDraining = true;
    this.#host.step({ kind: "drain", peer });
  }

  #answer({ index: peer }: Peer, fate: Fate): void {
    const attempt = this.#attempt as Attempt;
    const untouched = !this.#isLate;
    this.#attempt = undefined;
    this.#fate = undefined;
    this.#isLate = false;
    if (fate === "sent") return this.#host.step({ kind: "reply", peer, ...attempt });
    const status = Status.UNAVAILABLE;
    const rest = { status, reason: "no PULL socket took it", retryAfterMs: 0, untouched };
    this.#host.step({ kind: "failure", peer, ...attempt, ...rest });
  }

  #enter(): void {
    this.#peer = this.#host.peers.addPlainWorker(this);
    const { index: peer } = this.#peer;
    const services = [queueService(DEFAULT_QUEUE)];
    const rest = { concurrency: 1, services, lookAhead: false };
    this.#host.step({ kind: "join-worker", peer, ...rest });
    this.#pattern.onWorker();
  }

  #leave(peer: Peer): void {
    this.#peer = undefined;
    this.#isDraining = false;
    this.#host.leave(peer);
  }
}
