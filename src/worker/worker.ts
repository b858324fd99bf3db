// The global one is a getter that looks it up: a fortieth of a small request.
import { performance } from "node:perf_hooks";
import { knownOptions, wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Status } from "../base/status.js";
import { type Codec, createCodec } from "../codec/index.js";
import type { Link, LinkOptions } from "../link/link.js";
import { type Greeting, Membership, notTaken } from "../link/membership.js";
import { Pulse } from "../link/pulse.js";
import {
  connectEndpoints,
  connectionDefaults,
  randomSession,
  type Session,
} from "../link/session.js";
import { Waiters } from "../link/waiters.js";
import type { BatchReader } from "../wire/batch.js";
import { Flag, Kind, REPLY_SIZE, Role } from "../wire/layout.js";
import {
  CancelRecord,
  type ExchangeId,
  RequestRecord,
  writeFailure,
  writeReply,
} from "../wire/request-record.js";
import { writeCredit, writeDrain } from "../wire/session-record.js";
import { StreamCreditRecord, writePart } from "../wire/stream-record.js";
import { writeSurveyFailed, writeSurveyReply } from "../wire/survey-record.js";
import { writeTaskDone, writeTaskFailed } from "../wire/task-record.js";
import { NameCache } from "../wire/text.js";
import { AutoConcurrency } from "./auto-concurrency.js";
import { explain, type Failed } from "./failed.js";
import { Job, type JobKind, type Service } from "./job.js";
import { JobTable } from "./job-table.js";
import { readWork, type WorkerOptions, type WorkerStats, workerOptionNames } from "./options.js";
import { OUTCOME_BITS, Outcome, RecentReplies } from "./recent-replies.js";
import { isAsyncIterable, type StreamRun } from "./stream-run.js";
import { SurveyJob } from "./survey-job.js";
import { TaskJob } from "./task-job.js";

class Broker extends Membership {
  /** It was sent DRAIN and has not said BYE: something of ours may still be in flight there. */
  isDraining = false;
  /** What answers its heartbeats, where this thread does not do it in time. */
  pulse: Pulse | undefined;
}

const URGENT_JOBS_MAX = 4;
const WAITING_MAX = 65_536;

/** How each is told that there is no reply. */
const failureWriters = {
  request: writeFailure,
  task: writeTaskFailed,
  survey: writeSurveyFailed,
} as const;

/** Serves requests that brokers hand to it. */
export class Worker {
  readonly #services: ReadonlyMap<string, Service>;
  readonly #queues: ReadonlyMap<string, Service>;
  #concurrency: number;
  /** Finds `#concurrency` out, where it is not given. */
  readonly #auto: AutoConcurrency | undefined;
  readonly #codec: Codec;
  readonly #ownsCodec: boolean;
  readonly #options: WorkerOptions;
  readonly #session: Session = randomSession();
  readonly #brokers: Broker[] = [];
  readonly #names = new NameCache();
  readonly #request = new RequestRecord();
  readonly #cancel = new CancelRecord();
  readonly #streamCredit = new StreamCreditRecord();
  readonly #recent: RecentReplies;
  /** Jobs not answered yet, by request. */
  readonly #jobs = new JobTable();
  /** Jobs beyond `concurrency`, oldest first; from `#waitingHead` on. */
  #waiting: Job[] = [];
  #waitingHead = 0;
  #runningCount = 0;
  #draining: Promise<void> | undefined;
  readonly #waiters = new Waiters();
  #isClosed = false;
  /** When the handler of the record before was done, while one message is read; else 0, and the clock is asked. */
  #clockMs = 0;
  readonly #stats = { received: 0, replied: 0, parts: 0, failed: 0, repeated: 0, refused: 0 };

  private constructor(options: WorkerOptions, codec: Codec) {
    this.#options = options;
    this.#codec = codec;
    this.#ownsCodec = options.codec === undefined;
    const work = readWork(options);
    this.#services = work.services;
    this.#queues = work.queues;
    const { concurrency = 8, concurrencyMax = 256 } = options;
    wholeNumber("concurrencyMax", concurrencyMax, 1, 65_535);
    if (concurrency === "auto") {
      this.#auto = new AutoConcurrency(concurrencyMax, performance.now());
      this.#concurrency = this.#auto.limit;
    } else {
      this.#concurrency = wholeNumber("concurrency", concurrency, 1, 65_535);
    }
    const recentBytesMax = options.recentBytesMax ?? 16 * 1024 * 1024;
    wholeNumber("recentBytesMax", recentBytesMax, 1024, 2 ** 30);
    const recentAgeMsMax = options.recentAgeMsMax ?? 60_000;
    wholeNumber("recentAgeMsMax", recentAgeMsMax, 0, 86_400_000);
    this.#recent = new RecentReplies(recentBytesMax, recentAgeMsMax);
    for (const endpoint of new Set(options.brokers)) {
      this.#brokers.push(this.#connectTo({ ...connectionDefaults(options), endpoint }));
    }
  }

  /**
   * Connects to the brokers and resolves when the first has taken it on.
   * Rejects with RequestError UNAVAILABLE when none does within `connectTimeoutMs`; throws
   * TypeError or RangeError for options that are none.
   */
  static async start(options: WorkerOptions): Promise<Worker> {
    knownOptions("Worker.start", options, workerOptionNames);
    connectEndpoints("brokers", options?.brokers);
    const timeoutMs = wholeNumber(
      "connectTimeoutMs",
      options.connectTimeoutMs ?? 5_000,
      0,
      86_400_000,
    );
    const { keys, serviceKeys, dictionaries } = options;
    const codec = options.codec ?? (await createCodec({ keys, serviceKeys, dictionaries }));
    let worker: Worker;
    try {
      worker = new Worker(options, codec);
    } catch (error) {
      if (options.codec === undefined) codec.close();
      throw error;
    }
    const isWelcome = () => worker.#brokers.some((broker) => broker.isWelcome);
    if (timeoutMs > 0 && !(await worker.#waiters.until(isWelcome, timeoutMs))) {
      const error = notTaken(worker.#brokers);
      await worker.close();
      throw error;
    }
    return worker;
  }

  get stats(): WorkerStats {
    const waiting = this.#waiting.length - this.#waitingHead;
    const concurrency = this.#concurrency;
    return { ...this.#stats, running: this.#runningCount, waiting, concurrency };
  }

  /** Takes no more requests, finishes those it has (at most `timeoutMs`), and leaves. */
  drain({ timeoutMs = 30_000 }: { timeoutMs?: number } = {}): Promise<void> {
    this.#draining ??= this.#drain(timeoutMs);
    return this.#draining;
  }

  /** Leaves at once; what it has goes to other workers. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const broker of this.#brokers) {
      broker.pulse?.close();
      await broker.leave();
    }
    for (const job of this.#jobs) job.abort("worker closed");
    this.#closeCodec();
    this.#waiters.notify();
  }

  /** Once the last handler is done, which needs it to seal, if only for nobody. */
  #closeCodec(): void {
    if (this.#ownsCodec && this.#isClosed && this.#runningCount === 0) this.#codec.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  async #drain(timeoutMs: number): Promise<void> {
    for (const broker of this.#brokers) {
      const { link } = broker;
      if (!link.isOpen) continue;
      // Also to one whose WELCOME is still on its way: it may have handed out something already.
      broker.isDraining = true;
      writeDrain(link.writer);
      link.flush();
    }
    const isDone = () =>
      this.#isClosed ||
      (this.#jobs.size === 0 && this.#brokers.every(({ isDraining }) => !isDraining));
    await this.#waiters.until(isDone, timeoutMs);
    await this.close();
  }

  // --- connections ---

  #connectTo(options: LinkOptions): Broker {
    const broker: Broker = new Broker(options, {
      hello: () => this.#hello(),
      onWelcome: () => {
        broker.pulse = new Pulse(options, this.#session);
        // It may have changed since HELLO.
        if (this.#auto !== undefined) this.#tellCredit(broker);
        this.#waiters.notify();
      },
      onRecord: (reader) => this.#onRecord(broker, reader),
      onTurn: () => {
        this.#clockMs = 0;
      },
      onDown: () => this.#onDown(broker),
      onConnection: this.#options.onConnection,
    });
    return broker;
  }

  #hello(): Greeting | undefined {
    // A worker that leaves does not come back.
    if (this.#draining !== undefined) return undefined;
    const services = [...this.#services.keys()];
    const queues = [...this.#queues.keys()];
    const concurrency = this.#concurrency;
    return { role: Role.WORKER, ...this.#session, concurrency, services, queues };
  }

  #onDown(broker: Broker): void {
    this.#clockMs = 0;
    broker.isDraining = false;
    broker.pulse?.close();
    broker.pulse = undefined;
    // The broker gives what we had to others, and our answers to it would be stale. What runs goes on:
    // if it comes to us again, it is joined to the handler that runs, or answered from memory. What
    // has not begun is dropped: nobody waits for it here.
    const waiting = this.#waiting.slice(this.#waitingHead);
    this.#waiting = waiting.filter((job) => job.link !== broker.link);
    this.#waitingHead = 0;
    for (const job of waiting) if (job.link === broker.link) this.#jobs.delete(job);
    for (const job of this.#jobs) if (job.link === broker.link) job.keepDeadline();
    this.#waiters.notify();
  }

  #onRecord(broker: Broker, reader: BatchReader): void {
    switch (reader.kind) {
      case Kind.REQUEST:
        if (this.#request.read(reader, this.#names) === undefined) {
          this.#onRequest(broker, this.#request);
        }
        return;
      case Kind.TASK:
        if (this.#request.read(reader, this.#names) === undefined) {
          this.#onRequest(broker, this.#request, "task");
        }
        return;
      case Kind.SURVEY:
        if (this.#request.read(reader, this.#names) === undefined) {
          this.#onRequest(broker, this.#request, "survey");
        }
        return;
      case Kind.CANCEL:
        if (this.#cancel.read(reader) === undefined) this.#onCancel(broker, this.#cancel);
        return;
      case Kind.STREAM_CREDIT:
        if (this.#streamCredit.read(reader) === undefined) this.#onGrant(this.#streamCredit);
        return;
      case Kind.BYE:
        broker.isDraining = false;
        this.#waiters.notify();
        return;
      case Kind.DRAIN: // It still ends what it has, and our answers with it.
        return;
      default: // A kind of a later version, which this worker did not ask for.
        reader.skip();
    }
  }

  // --- a request: in, run, out ---

  #onRequest(broker: Broker, record: RequestRecord, kind: JobKind = "request"): void {
    this.#stats.received++;
    const { link } = broker;
    const { sessionLow, sessionHigh, sequence } = record;
    const nowMs = this.#clockMs || performance.now();
    this.#clockMs = 0;
    const service = (kind === "task" ? this.#queues : this.#services).get(record.service);
    if (service === undefined) {
      const reason = `this worker does not serve ${record.service}`;
      return this.#refuse(link, record, { status: "NOT_FOUND", reason }, kind);
    }
    // The id alone is not enough: who asks for one service gets no reply of another.
    const remembered = this.#recent.find(sessionLow, sessionHigh, sequence, nowMs);
    if (
      remembered !== undefined &&
      remembered.flags >>> OUTCOME_BITS === subjectOf(service, kind)
    ) {
      return this.#answerAgain(link, record, remembered, kind);
    }
    const known = this.#jobs.find(record);
    if (known !== undefined) {
      if (known.options !== service || known.kind !== kind) {
        const reason = "another request has this id";
        return this.#refuse(link, record, { status: "INVALID_ARGUMENT", reason }, kind);
      }
      this.#stats.repeated++;
      if (known.stream?.hasSent === true) {
        const reason = "its stream has begun, and cannot be taken up again";
        return this.#refuse(link, record, { status: "ABORTED", reason });
      }
      this.#supersede(known);
      known.rejoin(record, link);
      return;
    }
    if (this.#draining !== undefined || this.#waiting.length - this.#waitingHead >= WAITING_MAX) {
      const write = failureWriters[kind];
      write(link.writer, record, Flag.UNTOUCHED, Status.UNAVAILABLE, "worker is leaving", 0);
      link.flushSoon(true);
      return;
    }
    const job =
      kind === "request"
        ? new Job(link, service, record, nowMs)
        : this.#otherJob(kind, link, service, record, nowMs);
    if (this.#runningCount < this.#concurrency) {
      const isAlone = this.#waitingHead === this.#waiting.length;
      this.#run(job);
      if (isAlone) this.#clockMs = job.endedMs;
      return;
    }
    job.keep();
    this.#jobs.add(job);
    this.#waiting.push(job);
  }

  #otherJob(
    kind: "task" | "survey",
    link: Link,
    service: Service,
    record: RequestRecord,
    nowMs: number,
  ): Job {
    if (kind === "task") return new TaskJob(link, service, record, nowMs);
    return new SurveyJob(link, service, record, nowMs, this.#session);
  }

  /** Nobody waits for this attempt of `job` any more, but its credit is spent until it is answered. */
  #supersede(job: Job): void {
    const { link } = job;
    if (link?.isOpen !== true) return;
    const write = failureWriters[job.kind];
    write(link.writer, job, 0, Status.ABORTED, "asked again over another connection", 0);
    link.flushSoon(true);
  }

  /** A request that ran already: what came of it. */
  #answerAgain(
    link: Link,
    id: ExchangeId,
    outcome: { flags: number; body: Uint8Array },
    kind: JobKind,
  ): void {
    this.#stats.repeated++;
    if (kind === "task") {
      // Of tasks only those that were done are remembered.
      writeTaskDone(link.writer, id);
      link.flushSoon(true);
    } else if ((outcome.flags & Outcome.NOT_KEPT) !== 0) {
      const reason = "it has run; its reply was a stream, or too large to remember";
      this.#refuse(link, id, { status: "ABORTED", reason });
    } else if ((outcome.flags & Outcome.FAILED) !== 0) {
      this.#refuse(link, id, JSON.parse(Buffer.from(outcome.body).toString()) as Failed);
    } else {
      writeReply(link.writer, id, outcome.flags & 0xff, 0, outcome.body);
      link.flushSoon(true);
    }
  }

  /**
   * Never throws: whatever the handler does, the request is answered and its place is free. A handler that is done at
   * once leaves nothing that could be asked for meanwhile.
   */
  #run(job: Job): void {
    this.#runningCount++;
    let failed: Failed | undefined;
    try {
      // Opened when it begins: what never began here may still be opened elsewhere or later.
      const opened = job.open(this.#codec);
      if (opened instanceof Promise) {
        this.#jobs.add(job);
        return void this.#runOpened(job, opened);
      }
      failed = opened;
      if (failed !== undefined) {
        this.#stats.refused++;
      } else {
        const rest = this.#handle(job);
        // Only what has to wait is waited for: a promise costs as much as a small request.
        if (rest !== undefined) {
          this.#jobs.add(job);
          return void this.#settle(job, rest);
        }
      }
    } catch (error) {
      failed = this.#explain(job, error);
    }
    this.#ran(job, failed);
  }

  /** Calls the handler and seals its reply; a promise where either takes time. */
  #handle(job: Job): Promise<void> | undefined {
    job.hasBegun = true;
    if (this.#auto !== undefined) this.#begin(this.#auto, job);
    const result = job.options.handler(job.body as never, job);
    if (job.stream !== undefined) return this.#stream(job, job.stream, result);
    return isThenable(result) ? sealLater(job, result) : job.seal(result);
  }

  /** Answers who asked for a stream; with a reply, as one part, where the handler has no more than that. */
  async #stream(job: Job, stream: StreamRun, result: unknown): Promise<void> {
    const parts = await result;
    if (!isAsyncIterable(parts)) return job.seal(parts);
    await stream.run(job, parts, () => this.#stats.parts++);
  }

  async #settle(job: Job, rest: Promise<void>): Promise<void> {
    let failed: Failed | undefined;
    try {
      await rest;
    } catch (error) {
      failed = this.#explain(job, error);
    }
    this.#ran(job, failed);
  }

  async #runOpened(job: Job, opening: Promise<Failed | undefined>): Promise<void> {
    let failed: Failed | undefined;
    try {
      failed = await opening;
      if (failed !== undefined) this.#stats.refused++;
      // It may have ended while its large body was being opened.
      else failed = job.over;
      if (failed === undefined) await this.#handle(job);
    } catch (error) {
      failed = this.#explain(job, error);
    }
    this.#ran(job, failed);
  }

  #ran(job: Job, failed: Failed | undefined): void {
    this.#runningCount--;
    this.#answer(job, failed);
    // How long a stream takes is its reader's affair too.
    if (this.#auto !== undefined && failed === undefined && job.stream === undefined)
      this.#adapt(this.#auto, job);
    this.#runNext();
    this.#closeCodec();
  }

  #begin(auto: AutoConcurrency, job: Job): void {
    job.beganMs = performance.now();
    auto.onBegin(this.#runningCount);
  }

  /** What a handler took, which may change how many are to run at once, here and at the brokers. */
  #adapt(auto: AutoConcurrency, job: Job): void {
    auto.onEnd(job.beganMs, job.endedMs, this.#runningCount);
    if (auto.limit === this.#concurrency) return;
    this.#concurrency = auto.limit;
    for (const broker of this.#brokers) if (broker.isWelcome) this.#tellCredit(broker);
  }

  #tellCredit({ link }: Broker): void {
    writeCredit(link.writer, this.#concurrency);
    link.flushSoon(false);
  }

  #runNext(): void {
    while (this.#runningCount < this.#concurrency && this.#waitingHead < this.#waiting.length) {
      const job = this.#waiting[this.#waitingHead++];
      if (this.#waitingHead === this.#waiting.length || this.#waitingHead >= WAITING_MAX) {
        this.#waiting = this.#waiting.slice(this.#waitingHead);
        this.#waitingHead = 0;
      }
      const { over } = job;
      if (over !== undefined) {
        this.#answer(job, over);
        continue;
      }
      this.#run(job);
    }
  }

  /** Remembers what became of `job`, and sends it over the connection that waits for it now. */
  #answer(job: Job, failed: Failed | undefined): void {
    const { link } = job;
    job.end();
    this.#jobs.delete(job);
    if (failed === undefined) {
      this.#stats.replied++;
      // A survey does not come again.
      if (job.kind !== "survey") {
        if (job.stream?.end === undefined) this.#remember(job, job.replyFlags, job.reply);
        else this.#remember(job, Outcome.NOT_KEPT, job.reply);
      }
    } else if (job.hasBegun && !job.isAborted && job.kind === "request") {
      // One that was stopped is not done: its client may only have lost its connection, and asks again.
      this.#remember(job, Outcome.FAILED, Buffer.from(JSON.stringify(failed)));
    }
    if (link?.isOpen) {
      const bytes = REPLY_SIZE + job.reply.length;
      if (failed !== undefined) {
        this.#refuse(link, job, failed, job.kind);
      } else if (job.kind === "task") {
        writeTaskDone(link.writer, job);
        link.flushSoon(this.#jobs.size <= URGENT_JOBS_MAX);
      } else if (bytes > link.recordMax) {
        const reason = `reply of ${bytes} bytes; the broker takes ${link.recordMax}`;
        this.#refuse(link, job, { status: "INTERNAL", reason }, job.kind);
      } else if (job.stream?.end !== undefined) {
        writePart(link.writer, job, job.replyFlags, job.stream.end, job.reply);
        link.flushSoon(this.#jobs.size <= URGENT_JOBS_MAX);
      } else {
        if (job.kind === "survey") {
          writeSurveyReply(link.writer, job, job.replyFlags, job.serviceTimeUs, job.reply);
        } else {
          writeReply(link.writer, job, job.replyFlags, job.serviceTimeUs, job.reply);
        }
        link.flushSoon(this.#jobs.size <= URGENT_JOBS_MAX);
      }
    }
    if (this.#jobs.size === 0) this.#waiters.notify();
  }

  #remember(job: Job, flags: number, bytes: Uint8Array): void {
    const { sessionLow, sessionHigh, sequence } = job;
    const subject = subjectOf(job.options, job.kind) << OUTCOME_BITS;
    this.#recent.add(sessionLow, sessionHigh, sequence, subject | flags, bytes, job.endedMs);
  }

  #refuse(
    link: Link,
    id: ExchangeId,
    { status, reason, retryAfterMs = 0 }: Failed,
    kind: JobKind = "request",
  ): void {
    this.#stats.failed++;
    const write = failureWriters[kind];
    write(link.writer, id, 0, Status[status], reason, retryAfterMs);
    link.flushSoon(this.#jobs.size <= URGENT_JOBS_MAX);
  }

  #explain(job: Job, error: unknown): Failed {
    const { onError } = this.#options;
    if (error instanceof RequestError) return explain(error, this.#codec.isSealed);
    // Later, and alone: what a listener throws must not cost the request its answer.
    if (onError !== undefined) queueMicrotask(() => onError(error, job));
    if (job.isAborted) return { status: "CANCELLED", reason: "handler stopped when asked to" };
    return explain(error, this.#codec.isSealed);
  }

  #onGrant(record: StreamCreditRecord): void {
    const job = this.#jobs.find(record);
    if (job?.isSameAttempt(record)) job.stream?.grant(record.partsMax, record.bytesMax);
  }

  #onCancel(broker: Broker, record: CancelRecord): void {
    const job = this.#jobs.find(record);
    if (job === undefined || job.link !== broker.link || !job.isSameAttempt(record)) return;
    const isLate = record.status === Status.DEADLINE_EXCEEDED;
    job.abort(isLate ? "deadline passed" : "cancelled by the client");
  }
}

async function sealLater(job: Job, result: PromiseLike<unknown>): Promise<void> {
  await job.seal(await result);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}

/** What a request is for, in 22 bits: 65,535 services and queues, and three kinds. */
function subjectOf(service: Service, kind: JobKind): number {
  return service.number * 4 + JOB_KINDS.indexOf(kind);
}

const JOB_KINDS: readonly JobKind[] = ["request", "task", "survey"];
