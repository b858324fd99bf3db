// A modelled worker: several brokers, a few handlers at once, and the production memory of recent replies,
// by which a request that comes again is answered and not run again.
import { Status, type StatusCode } from "../../build/base/status.js";
import { RecentReplies } from "../../build/worker/recent-replies.js";
import type { Ledger } from "./ledger.ts";
import type { Connection, Downward, Question } from "./network.ts";

const FAILED = 0x100;
const NO_BYTES = new Uint8Array(0);

export interface WorkerLink {
  readonly broker: number;
  connection: Connection | undefined;
  isWelcome: boolean;
  isDrained: boolean;
}

/** A request at this worker, until its answer. */
interface Job {
  readonly question: Question;
  link: WorkerLink | undefined;
  slot: number;
  generation: number;
  readonly deadlineMs: number;
  hasBegun: boolean;
  isAborted: boolean;
  /** Its handler does not end by itself: only once it is told to. */
  readonly isStuck: boolean;
  /** Of a stream: what it may send, what it has sent, and which run of the handler this is. */
  partsMax: number;
  bytesMax: number;
  sent: number;
  sentBytes: number;
  readonly run: number;
}

let runCount = 0;

export interface WorkerOptions {
  concurrency: number;
  services: readonly string[];
  lookAhead: boolean;
  memoryBytes: number;
  memoryAgeMs: number;
}

export class SimWorker {
  readonly links: WorkerLink[];
  readonly jobs = new Map<string, Job>();
  isStopped = false;
  isDraining = false;
  readonly #memory: RecentReplies;

  constructor(
    /** Names the process. */
    readonly id: number,
    brokerCount: number,
    readonly options: WorkerOptions,
    readonly ledger: Ledger,
  ) {
    this.#memory = new RecentReplies(options.memoryBytes, options.memoryAgeMs);
    this.links = Array.from({ length: brokerCount }, (_, broker) => ({
      broker,
      connection: undefined,
      isWelcome: false,
      isDrained: false,
    }));
  }

  connected(link: WorkerLink, connection: Connection): void {
    const { concurrency, services, lookAhead } = this.options;
    link.connection = connection;
    connection.up({ kind: "hello-worker", concurrency, services, lookAhead });
  }

  onMessage(link: WorkerLink, message: Downward, isStuck: boolean, nowMs: number): void {
    switch (message.kind) {
      case "welcome":
        link.isWelcome = true;
        return;
      case "dispatch":
        return this.#onRequest(link, message, isStuck, nowMs);
      case "abort":
        for (const job of this.jobs.values()) {
          const isIt = job.slot === message.slot && job.generation === message.generation;
          if (isIt && job.link === link) job.isAborted = true;
        }
        return;
      case "grant":
        for (const job of this.jobs.values()) {
          if (job.link !== link || job.slot !== message.slot) continue;
          if (job.generation !== message.generation) continue;
          job.partsMax = Math.max(job.partsMax, message.partsMax);
          job.bytesMax = Math.max(job.bytesMax, message.bytesMax);
        }
        return;
      case "bye":
        link.isDrained = true;
        return;
      case "drain":
        return;
      case "down":
        return this.#onDown(link);
      default:
        throw new Error(`a worker was sent "${message.kind}"`);
    }
  }

  #onRequest(
    link: WorkerLink,
    { question, slot, generation, deadlineMs }: Downward & { kind: "dispatch" },
    isStuck: boolean,
    nowMs: number,
  ): void {
    const { session, sequence, id } = question;
    const remembered = this.#memory.find(session, 0, sequence, nowMs);
    if (remembered !== undefined) {
      this.ledger.remembered();
      if ((remembered.flags & FAILED) === 0)
        link.connection?.up({ kind: "reply", slot, generation, id });
      else this.#fail(link, slot, generation, Status.INTERNAL, false);
      return;
    }
    const known = this.jobs.get(id);
    if (known !== undefined) {
      this.ledger.remembered();
      // What it sent is lost: it cannot be taken up again.
      if (known.sent > 0) return this.#fail(link, slot, generation, Status.ABORTED, false);
      // Nobody waits there any more, but a credit is spent until it is answered.
      this.#fail(known.link, known.slot, known.generation, Status.ABORTED, false);
      Object.assign(known, { link, slot, generation, partsMax: 0, bytesMax: 0 });
      return;
    }
    if (this.isDraining) return this.#fail(link, slot, generation, Status.UNAVAILABLE, true);
    const flow = { partsMax: 0, bytesMax: 0, sent: 0, sentBytes: 0, run: ++runCount };
    const state = { hasBegun: false, isAborted: false, isStuck, ...flow };
    this.jobs.set(id, { question, link, slot, generation, deadlineMs, ...state });
    this.#runNext(nowMs);
  }

  /** Begins what waits while it has handlers free. */
  #runNext(nowMs: number): void {
    for (const job of [...this.jobs.values()]) {
      if (this.#runningCount() >= this.options.concurrency) return;
      if (job.hasBegun) continue;
      if (job.isAborted || nowMs >= job.deadlineMs) {
        this.jobs.delete(job.question.id);
        this.#fail(job.link, job.slot, job.generation, Status.CANCELLED, false);
        continue;
      }
      job.hasBegun = true;
      this.ledger.ran(job.question.id, this.id);
    }
  }

  #runningCount(): number {
    let count = 0;
    for (const { hasBegun } of this.jobs.values()) if (hasBegun) count++;
    return count;
  }

  /** Jobs whose handlers may end now; all that run, once things heal. */
  finishable(isHealing: boolean): Job[] {
    return [...this.jobs.values()].filter(
      (job) => job.hasBegun && (isHealing || !job.isStuck || job.isAborted),
    );
  }

  /** A handler sends a part of its reply. */
  part({ link, slot, generation }: Job, isPassedOn: boolean): void {
    link?.connection?.up({ kind: "part", slot, generation, isPassedOn });
  }

  /** Streams that run and whose readers are there. */
  streaming(): Job[] {
    return [...this.jobs.values()].filter(
      (job) => job.hasBegun && job.question.stream !== undefined && job.link !== undefined,
    );
  }

  /** A handler yields, if it may. */
  yieldPart(job: Job, bytes: number): void {
    if (job.isAborted || job.sent >= job.partsMax || job.sentBytes >= job.bytesMax) return;
    this.#sendPart(job, job.sent++, false, bytes);
    job.sentBytes += bytes;
  }

  /** A worker with a fault: a part that is not the next, or that was not granted. */
  yieldWrong(job: Job, index: number, isLast: boolean): void {
    job.sent++;
    this.#sendPart(job, index, isLast, 1);
  }

  #sendPart(job: Job, index: number, isLast: boolean, bytes: number): void {
    const { link, slot, generation, run, question } = job;
    const part = { slot, generation, index, isLast, bytes, id: question.id, run };
    link?.connection?.up({ kind: "stream-part", ...part });
  }

  /** A handler ends: with a reply, or with the failure given. */
  finish(job: Job, status: StatusCode, untouched: boolean, nowMs: number): void {
    const { session, sequence, id } = job.question;
    this.jobs.delete(id);
    const flags = status === Status.OK ? 0 : FAILED;
    this.#memory.add(session, 0, sequence, flags, NO_BYTES, nowMs);
    const { link, slot, generation } = job;
    if (status !== Status.OK) this.#fail(link, slot, generation, status, untouched);
    else if (job.question.stream !== undefined) this.#sendPart(job, job.sent, true, 1);
    else link?.connection?.up({ kind: "reply", slot, generation, id, serviceTimeUs: this.#saidUs });
    this.#runNext(nowMs);
  }

  /** What it says that a handler took: of some workers nothing is known, others are fast, or say so. */
  get #saidUs(): number {
    return (this.id % 4) * 25;
  }

  #fail(
    link: WorkerLink | undefined,
    slot: number,
    generation: number,
    status: StatusCode,
    untouched: boolean,
  ): void {
    link?.connection?.up({ kind: "failure", slot, generation, status, untouched, retryAfterMs: 3 });
  }

  /** What runs goes on; what has not begun is dropped: nobody waits for it here. */
  #onDown(link: WorkerLink): void {
    for (const [id, job] of this.jobs) {
      if (job.link !== link) continue;
      if (!job.hasBegun) this.jobs.delete(id);
      job.link = undefined;
      job.partsMax = 0;
      if (job.sent > 0) job.isAborted = true;
    }
    link.connection = undefined;
    link.isWelcome = false;
  }

  drain(): void {
    if (this.isDraining) return;
    this.isDraining = true;
    for (const { connection } of this.links) connection?.up({ kind: "drain" });
  }

  /** Drained everywhere, with nothing left to do. */
  get isDone(): boolean {
    if (!this.isDraining || this.jobs.size > 0) return false;
    return this.links.every(({ isDrained, isWelcome }) => isDrained || !isWelcome);
  }
}
