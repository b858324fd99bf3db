import { wholeNumber } from "../base/check.js";
import { Status } from "../base/status.js";
import type { Link } from "../link/link.js";
import type { Waiters } from "../link/waiters.js";
import { Flag, REPLY_SIZE } from "../wire/layout.js";
import { type ExchangeId, writeFailure, writeReply } from "../wire/request-record.js";
import { writePart } from "../wire/stream-record.js";
import { writeSurveyFailed, writeSurveyReply } from "../wire/survey-record.js";
import { writeTaskDone, writeTaskFailed } from "../wire/task-record.js";
import type { Failed } from "./failed.js";
import type { Job, JobKind, Service } from "./job.js";
import { JobTable } from "./job-table.js";
import type { WorkerOptions } from "./options.js";
import { OUTCOME_BITS, Outcome, RecentReplies } from "./recent-replies.js";

const URGENT_JOBS_MAX = 4;

/** How each is told that there is no reply. */
const failureWriters = {
  request: writeFailure,
  task: writeTaskFailed,
  survey: writeSurveyFailed,
} as const;

/** What becomes of each request: told to who waits, and remembered for when it comes again. */
export class Answers {
  readonly stats = { replied: 0, failed: 0, repeated: 0 };
  /** Jobs not answered yet, by request. */
  readonly jobs = new JobTable();
  readonly #recent: RecentReplies;
  readonly #waiters: Waiters;

  /** `waiters` are told when all is answered. Throws RangeError for options that are none. */
  constructor(options: WorkerOptions, waiters: Waiters) {
    const { recentBytesMax = 16 * 1024 * 1024, recentAgeMsMax = 60_000 } = options;
    wholeNumber("recentBytesMax", recentBytesMax, 1024, 2 ** 30);
    wholeNumber("recentAgeMsMax", recentAgeMsMax, 0, 86_400_000);
    this.#recent = new RecentReplies(recentBytesMax, recentAgeMsMax);
    this.#waiters = waiters;
  }

  /** Remembers what became of `job`, and sends it over the connection that waits for it now. */
  answer(job: Job, failed: Failed | undefined): void {
    const { link } = job;
    job.end();
    this.jobs.delete(job);
    const refusal = failed ?? refusalOf(job);
    if (refusal === undefined) this.stats.replied++;
    if (failed === undefined) {
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
      if (refusal !== undefined) {
        this.refuse(link, job, refusal, job.kind);
      } else if (job.kind === "task") {
        writeTaskDone(link.writer, job);
        link.flushSoon(this.jobs.size <= URGENT_JOBS_MAX);
      } else if (job.stream?.end !== undefined) {
        writePart(link.writer, job, job.replyFlags, job.stream.end, job.reply);
        link.flushSoon(this.jobs.size <= URGENT_JOBS_MAX);
      } else {
        if (job.kind === "survey") {
          writeSurveyReply(link.writer, job, job.replyFlags, job.serviceTimeUs, job.reply);
        } else {
          writeReply(link.writer, job, job.replyFlags, job.serviceTimeUs, job.reply);
        }
        link.flushSoon(this.jobs.size <= URGENT_JOBS_MAX);
      }
    }
    if (this.jobs.size === 0) this.#waiters.notify();
  }

  #remember(job: Job, flags: number, bytes: Uint8Array): void {
    const { sessionLow, sessionHigh, sequence } = job;
    const subject = subjectOf(job.options, job.kind) << OUTCOME_BITS;
    this.#recent.add(sessionLow, sessionHigh, sequence, subject | flags, bytes, job.endedMs);
  }

  /** Answers a request that ran already; false where what came of it is not remembered. */
  answerAgain(link: Link, id: ExchangeId, service: Service, kind: JobKind, nowMs: number): boolean {
    const outcome = this.#recent.find(id.sessionLow, id.sessionHigh, id.sequence, nowMs);
    // The id alone is not enough: who asks for one service gets no reply of another.
    if (outcome === undefined || outcome.flags >>> OUTCOME_BITS !== subjectOf(service, kind)) {
      return false;
    }
    this.stats.repeated++;
    if (kind === "task") {
      // Of tasks only those that were done are remembered.
      writeTaskDone(link.writer, id);
      link.flushSoon(true);
    } else if ((outcome.flags & Outcome.NOT_KEPT) !== 0) {
      const reason = "it has run; its reply was a stream, or too large to remember";
      this.refuse(link, id, { status: "ABORTED", reason });
    } else if ((outcome.flags & Outcome.FAILED) !== 0) {
      this.refuse(link, id, JSON.parse(Buffer.from(outcome.body).toString()) as Failed);
    } else if (isTooLarge(link, outcome.body)) {
      // Another broker took more.
      this.refuse(link, id, tooLarge(link, outcome.body));
    } else {
      writeReply(link.writer, id, outcome.flags & 0xff, 0, outcome.body);
      link.flushSoon(true);
    }
    return true;
  }

  /** The request of `job` came again, as `id`: from here on it is that attempt that is answered. */
  join(job: Job, id: ExchangeId, link: Link): void {
    this.stats.repeated++;
    if (job.stream?.hasSent === true) {
      const reason = "its stream has begun, and cannot be taken up again";
      return this.refuse(link, id, { status: "ABORTED", reason });
    }
    this.#supersede(job);
    job.rejoin(id, link);
  }

  /** Nobody waits for this attempt of `job` any more, but its credit is spent until it is answered. */
  #supersede(job: Job): void {
    const { link } = job;
    if (link?.isOpen !== true) return;
    const write = failureWriters[job.kind];
    write(link.writer, job, 0, Status.ABORTED, "asked again over another connection", 0);
    link.flushSoon(true);
  }

  refuse(
    link: Link,
    id: ExchangeId,
    { status, reason, retryAfterMs = 0, isUntouched = false }: Failed,
    kind: JobKind = "request",
  ): void {
    this.stats.failed++;
    const write = failureWriters[kind];
    // A task has another attempt, which is to be as good as this one; a request was asked to end.
    const flags = isUntouched && kind === "task" ? Flag.UNTOUCHED : 0;
    write(link.writer, id, flags, Status[status], reason, retryAfterMs);
    link.flushSoon(this.jobs.size <= URGENT_JOBS_MAX);
  }

  /** Gives back what never began here, and may go to another worker. */
  giveBack(link: Link, id: ExchangeId, kind: JobKind, reason = "worker is leaving"): void {
    const write = failureWriters[kind];
    write(link.writer, id, Flag.UNTOUCHED, Status.UNAVAILABLE, reason, 0);
    link.flushSoon(true);
  }

  /** `job` waits for its turn, and is not waited for any more. Its place in line is passed over. */
  withdraw(job: Job): void {
    this.jobs.delete(job);
    if (job.link?.isOpen) this.giveBack(job.link, job, job.kind, "over before it began");
    job.disown();
    if (this.jobs.size === 0) this.#waiters.notify();
  }
}

/** What is said in place of a reply that the broker does not take; a task has none. */
function refusalOf({ link, kind, reply }: Job): Failed | undefined {
  if (kind === "task" || link?.isOpen !== true || !isTooLarge(link, reply)) return undefined;
  return tooLarge(link, reply);
}

function isTooLarge(link: Link, reply: Uint8Array): boolean {
  return REPLY_SIZE + reply.length > link.recordMax;
}

function tooLarge({ recordMax }: Link, { length }: Uint8Array): Failed {
  const reason = `reply of ${REPLY_SIZE + length} bytes; the broker takes ${recordMax}`;
  return { status: "INTERNAL", reason };
}

/** What a request is for, in 22 bits: 65,535 services and queues, and three kinds. */
function subjectOf(service: Service, kind: JobKind): number {
  return service.number * 4 + JOB_KINDS.indexOf(kind);
}

const JOB_KINDS: readonly JobKind[] = ["request", "task", "survey"];
