import {
  type EndOptions,
  endTimeout,
  knownOptions,
  optionalFunction,
  wholeNumber,
} from "../base/check.js";
import { Status } from "../base/status.js";
import { type Codec, createCodec } from "../codec/index.js";
import { performance } from "../link/clock.js";
import type { Link, LinkOptions } from "../link/link.js";
import { type Greeting, Membership, notTaken } from "../link/membership.js";
import { Pulse } from "../link/pulse.js";
import {
  connectEndpoints,
  connectionDefaults,
  randomSession,
  requireCodec,
  type Session,
} from "../link/session.js";
import { Waiters } from "../link/waiters.js";
import type { BatchReader } from "../wire/batch.js";
import { Kind, Role } from "../wire/layout.js";
import { CancelRecord, RequestRecord } from "../wire/request-record.js";
import { writeCredit, writeDrain } from "../wire/session-record.js";
import { StreamCreditRecord } from "../wire/stream-record.js";
import { NameCache } from "../wire/text.js";
import { Answers } from "./answers.js";
import { Job, type JobKind, type Service } from "./job.js";
import { readWork, type WorkerOptions, type WorkerStats, workerOptionNames } from "./options.js";
import { Runner } from "./runner.js";
import { SurveyJob } from "./survey-job.js";
import { TaskJob } from "./task-job.js";

class Broker extends Membership {
  /** It was sent DRAIN and has not said BYE: something of ours may still be in flight there. */
  isDraining = false;
  /** What answers its heartbeats, where this thread does not do it in time. */
  pulse: Pulse | undefined;
}

/** Serves requests that brokers hand to it. */
export class Worker {
  readonly #services: ReadonlyMap<string, Service>;
  readonly #queues: ReadonlyMap<string, Service>;
  readonly #options: WorkerOptions;
  readonly #session: Session = randomSession();
  readonly #brokers: Broker[] = [];
  readonly #names = new NameCache();
  readonly #request = new RequestRecord();
  readonly #cancel = new CancelRecord();
  readonly #streamCredit = new StreamCreditRecord();
  #draining: Promise<boolean> | undefined;
  readonly #waiters = new Waiters();
  readonly #answers: Answers;
  readonly #runner: Runner;
  /** When the handler of the record before was done, while one message is read; else 0, and the clock is asked. */
  #clockMs = 0;
  #receivedCount = 0;

  private constructor(options: WorkerOptions, codec: Codec) {
    this.#options = options;
    const work = readWork(options);
    this.#services = work.services;
    this.#queues = work.queues;
    this.#answers = new Answers(options, this.#waiters);
    this.#runner = new Runner(options, codec, this.#answers, () => this.#onConcurrency());
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
    optionalFunction("onConnection", options.onConnection);
    optionalFunction("onError", options.onError);
    requireCodec(options.codec);
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
    const { replied, failed, repeated } = this.#answers.stats;
    const { parts, refused, running, waiting, concurrency } = this.#runner.stats;
    return {
      received: this.#receivedCount,
      replied,
      parts,
      failed,
      repeated,
      refused,
      running,
      waiting,
      concurrency,
    };
  }

  /**
   * Takes no more requests, finishes those it has, at most `timeoutMs` (default 30000, Infinity for as long as it
   * takes), and leaves. Resolves with whether none was left; rejects with RangeError for another time than that, TypeError for
   * another option.
   */
  async drain(options: EndOptions = {}): Promise<boolean> {
    const timeoutMs = endTimeout("drain", options, 30_000);
    this.#draining ??= this.#drain(timeoutMs);
    return this.#draining;
  }

  /** Leaves at once; what it has goes to other workers. */
  async close(): Promise<void> {
    this.#runner.isClosing = true;
    for (const broker of this.#brokers) {
      broker.pulse?.close();
      await broker.leave();
    }
    this.#runner.abort("worker closed");
    this.#waiters.notify();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }

  async #drain(timeoutMs: number): Promise<boolean> {
    for (const broker of this.#brokers) {
      const { link } = broker;
      if (!link.isOpen) continue;
      // Also to one whose WELCOME is still on its way: it may have handed out something already.
      broker.isDraining = true;
      writeDrain(link.writer);
      link.flush();
    }
    const isDone = () =>
      this.#runner.isClosing ||
      (this.#answers.jobs.size === 0 && this.#brokers.every(({ isDraining }) => !isDraining));
    await this.#waiters.until(isDone, timeoutMs);
    // Before those that are left are told to stop.
    const isEmpty = this.#answers.jobs.size === 0;
    await this.close();
    return isEmpty;
  }

  // --- connections ---

  #connectTo(options: LinkOptions): Broker {
    const broker: Broker = new Broker(options, {
      hello: () => this.#hello(),
      onWelcome: () => {
        broker.pulse = new Pulse(broker.link.peerEndpoint, options, this.#session);
        // It may have changed since HELLO.
        if (this.#runner.isAdaptive) this.#tellCredit(broker);
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
    const { concurrency } = this.#runner;
    return { role: Role.WORKER, ...this.#session, concurrency, services, queues };
  }

  #onDown(broker: Broker): void {
    this.#clockMs = 0;
    broker.isDraining = false;
    broker.pulse?.close();
    broker.pulse = undefined;
    this.#runner.onDown(broker.link);
    this.#waiters.notify();
  }

  /** Another number of handlers is to run at once, here and at the brokers. */
  #onConcurrency(): void {
    for (const broker of this.#brokers) if (broker.isWelcome) this.#tellCredit(broker);
  }

  #tellCredit({ link }: Broker): void {
    writeCredit(link.writer, this.#runner.concurrency);
    link.flushSoon(false);
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

  // --- requests ---

  #onRequest(broker: Broker, record: RequestRecord, kind: JobKind = "request"): void {
    this.#receivedCount++;
    const { link } = broker;
    const nowMs = this.#clockMs || performance.now();
    this.#clockMs = 0;
    const answers = this.#answers;
    const service = (kind === "task" ? this.#queues : this.#services).get(record.service);
    if (service === undefined) {
      const reason = `this worker does not serve ${record.service}`;
      return answers.refuse(link, record, { status: "NOT_FOUND", reason }, kind);
    }
    if (answers.answerAgain(link, record, service, kind, nowMs)) return;
    const known = answers.jobs.find(record);
    if (known !== undefined) {
      if (known.options !== service || known.kind !== kind) {
        const reason = "another request has this id";
        return answers.refuse(link, record, { status: "INVALID_ARGUMENT", reason }, kind);
      }
      // Of an attempt that is over: what runs on is not this one, and no second run is begun beside it.
      if (known instanceof TaskJob && known.isAborted) {
        return answers.giveBack(link, record, kind, "an attempt that is over still runs here");
      }
      answers.join(known, record, link);
      if (known instanceof TaskJob) known.takeOver(record, nowMs);
      return;
    }
    if (this.#draining !== undefined || this.#runner.isClosing || this.#runner.isFull) {
      return answers.giveBack(link, record, kind);
    }
    const job =
      kind === "request"
        ? new Job(link, service, record, nowMs)
        : this.#otherJob(kind, link, service, record, nowMs);
    if (this.#runner.start(job)) this.#clockMs = job.endedMs;
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

  #onGrant(record: StreamCreditRecord): void {
    const job = this.#answers.jobs.find(record);
    if (job?.isSameAttempt(record)) job.stream?.grant(record.partsMax, record.bytesMax);
  }

  #onCancel(broker: Broker, record: CancelRecord): void {
    const job = this.#answers.jobs.find(record);
    if (job === undefined || job.link !== broker.link || !job.isSameAttempt(record)) return;
    const isLate = record.status === Status.DEADLINE_EXCEEDED;
    job.abort(isLate ? "deadline passed" : "cancelled by the client");
    // The broker hears of it as long as that can matter there: not when its turn comes.
    if (job instanceof TaskJob && !job.hadTurn) this.#answers.withdraw(job);
  }
}
