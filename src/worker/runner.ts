import { wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Fifo } from "../base/fifo.js";
import type { Codec } from "../codec/index.js";
import { performance } from "../link/clock.js";
import type { Link } from "../link/link.js";
import type { Answers } from "./answers.js";
import { isAsyncIterable, letGo } from "./async-iterables.js";
import { AutoConcurrency } from "./auto-concurrency.js";
import { explain, type Failed, isForClient, stackOf } from "./failed.js";
import type { Job, Service, StopReason } from "./job.js";
import type { JobTable } from "./job-table.js";
import type { WorkerOptions } from "./options.js";
import type { StreamRun } from "./stream-run.js";

const WAITING_MAX = 65_536;

/** Runs the handlers of a worker, so many at once; the jobs beyond that wait in line. */
export class Runner {
  /** The worker leaves: the codec, where it is its own, goes with the last handler. */
  isClosing = false;
  readonly #options: WorkerOptions;
  readonly #codec: Codec;
  readonly #ownsCodec: boolean;
  readonly #answers: Answers;
  readonly #jobs: JobTable;
  readonly #onConcurrency: () => void;
  #concurrency: number;
  /** Finds `#concurrency` out, where it is not given. */
  readonly #auto: AutoConcurrency | undefined;
  readonly #concurrencyMax: number;
  /** Jobs beyond `concurrency`, oldest first. */
  #waiting = new Fifo<Job>();
  #runningCount = 0;
  /** Those of them that answer with a stream, which lasts as long as its reader likes: `#auto` learns from the others, and has its places beside. */
  #streamCount = 0;
  #isRunningNext = false;
  #partCount = 0;
  #refusedCount = 0;
  /** Whose first failure was told, where nobody asked to be. */
  readonly #warned = new Set<Service>();

  /** `onConcurrency`: that is another number now. Throws RangeError for options that are none. */
  constructor(options: WorkerOptions, codec: Codec, answers: Answers, onConcurrency: () => void) {
    const { concurrency = 8, concurrencyMax = 256 } = options;
    this.#concurrencyMax = wholeNumber("concurrencyMax", concurrencyMax, 1, 65_535);
    if (concurrency === "auto") {
      this.#auto = new AutoConcurrency(concurrencyMax, performance.now());
      this.#concurrency = this.#auto.limit;
    } else {
      this.#concurrency = wholeNumber("concurrency", concurrency, 1, 65_535);
    }
    this.#options = options;
    this.#codec = codec;
    this.#ownsCodec = options.codec === undefined;
    this.#answers = answers;
    this.#jobs = answers.jobs;
    this.#onConcurrency = onConcurrency;
  }

  get stats() {
    return {
      parts: this.#partCount,
      refused: this.#refusedCount,
      running: this.#runningCount,
      waiting: this.#waiting.count,
      concurrency: this.#concurrency,
    };
  }

  /** How many may run at once. */
  get concurrency(): number {
    return this.#concurrency;
  }

  /** Whether that may become another number. */
  get isAdaptive(): boolean {
    return this.#auto !== undefined;
  }

  /** Whether no more may wait. */
  get isFull(): boolean {
    return this.#waiting.count >= WAITING_MAX;
  }

  /** Runs `job`, or has it wait. Whether it has begun, and nothing else behind it. */
  start(job: Job): boolean {
    if (this.#runningCount < this.#concurrency) {
      const isAlone = this.#waiting.count === 0;
      this.#run(job);
      return isAlone;
    }
    job.keep();
    this.#jobs.add(job);
    this.#waiting.push(job);
    return false;
  }

  /** The connection is lost that these jobs came over. */
  onDown(link: Link): void {
    // The broker gives what we had to others, and our answers to it would be stale. What runs goes on:
    // if it comes to us again, it is joined to the handler that runs, or answered from memory. What
    // has not begun is dropped: nobody waits for it here.
    const waiting = this.#waiting;
    this.#waiting = new Fifo();
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      if (job.link === link) this.#jobs.delete(job);
      else this.#waiting.push(job);
    }
    for (const job of this.#jobs) if (job.link === link) job.keepDeadline();
  }

  /** Tells all jobs to stop. */
  abort(reason: StopReason): void {
    for (const job of this.#jobs) job.abort(reason);
    this.#closeCodec();
  }

  /** Once the last handler is done, which needs it to seal, if only for nobody. */
  #closeCodec(): void {
    if (this.#ownsCodec && this.isClosing && this.#runningCount === 0) this.#codec.close();
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
        this.#refusedCount++;
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
    if (this.#auto !== undefined) this.#onBegin(this.#auto, job);
    const result = job.options.handler(job.body as never, job);
    if (job.stream !== undefined) return this.#stream(job, job.stream, result);
    return isThenable(result) ? sealLater(job, result) : sealReply(job, result);
  }

  /** Answers who asked for a stream; with a reply, as one part, where the handler has no more than that. */
  async #stream(job: Job, stream: StreamRun, result: unknown): Promise<void> {
    const parts = await result;
    if (!isAsyncIterable(parts)) return job.seal(parts);
    await stream.run(job, parts, () => this.#partCount++);
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
      if (failed !== undefined) this.#refusedCount++;
      // It may have ended while its large body was being opened.
      else failed = job.over;
      if (failed === undefined) await this.#handle(job);
    } catch (error) {
      failed = this.#explain(job, error);
    }
    this.#ran(job, failed);
  }

  #explain(job: Job, error: unknown): Failed {
    const { onError } = this.#options;
    if (isForClient(error)) return explain(error, this.#codec.isSealed);
    // Later, and alone: what a listener throws must not cost the request its answer.
    if (onError !== undefined) queueMicrotask(() => onError(error, job));
    if (job.isAborted) return { status: "CANCELLED", reason: "handler stopped when asked to" };
    if (onError === undefined) this.#warnOnce(job, error);
    return explain(error, this.#codec.isSealed);
  }

  /** The client may be told nothing of it, and a log of each is the application's to ask for. */
  #warnOnce({ options, service }: Job, error: unknown): void {
    if (this.#warned.has(options)) return;
    this.#warned.add(options);
    process.emitWarning(
      `a handler of ${JSON.stringify(service)} failed; further failures of it are told to onError alone`,
      { code: "WASMQ_HANDLER", detail: stackOf(error) },
    );
  }

  #ran(job: Job, failed: Failed | undefined): void {
    this.#runningCount--;
    this.#answers.answer(job, failed);
    if (this.#auto !== undefined && job.hasBegun) this.#onEnd(this.#auto, job, failed);
    this.#runNext();
    this.#closeCodec();
  }

  #onBegin(auto: AutoConcurrency, job: Job): void {
    if (job.stream !== undefined) {
      this.#streamCount++;
      this.#adapt(auto);
      return;
    }
    job.beganMs = performance.now();
    auto.onBegin(this.#runningCount - this.#streamCount);
  }

  /** What a handler took may change how many are to run at once. */
  #onEnd(auto: AutoConcurrency, job: Job, failed: Failed | undefined): void {
    if (job.stream !== undefined) this.#streamCount--;
    else if (failed === undefined) {
      auto.onEnd(job.beganMs, job.endedMs, this.#runningCount - this.#streamCount);
    }
    this.#adapt(auto);
  }

  /** How many run at once is another number perhaps, here and at the brokers. */
  #adapt(auto: AutoConcurrency): void {
    const concurrency = Math.min(auto.limit + this.#streamCount, this.#concurrencyMax);
    if (concurrency === this.#concurrency) return;
    this.#concurrency = concurrency;
    this.#onConcurrency();
  }

  /** One that is done at once has the next run: here, and not within itself, or a long line is a deep stack. */
  #runNext(): void {
    if (this.#isRunningNext) return;
    this.#isRunningNext = true;
    try {
      while (this.#runningCount < this.#concurrency) {
        const job = this.#waiting.shift();
        if (job === undefined) return;
        job.startedMs = performance.now();
        const { over } = job;
        if (over === undefined) this.#run(job);
        else this.#answers.answer(job, over);
      }
    } finally {
      this.#isRunningNext = false;
    }
  }
}

async function sealLater(job: Job, result: PromiseLike<unknown>): Promise<void> {
  await sealReply(job, await result);
}

/** What is to be read as a stream is no reply: its insides would be told, and what it holds stay open. */
function sealReply(job: Job, result: unknown): Promise<void> | undefined {
  if (!isAsyncIterable(result)) return job.seal(result);
  letGo(result).catch(() => {});
  const how = job.kind === "request" ? "; ask with client.stream()" : "";
  throw new RequestError("INTERNAL", `${job.service} answers with a stream${how}`);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === "function";
}
