import type { Codec } from "../codec/index.js";
import type { Link } from "../link/link.js";
import type { Headers } from "../wire/headers.js";
import { isPassing, type RequestRecord, requestIdBytes } from "../wire/request-record.js";
import type { Failed } from "./failed.js";
import { Job, refusal, type Service } from "./job.js";

/** Does a task: it is done when this returns or resolves, and failed when it throws or rejects. */
export type TaskHandler<Task = never> = (task: Task, context: TaskContext) => unknown;

/** A queue and what is special about it. */
export interface TaskOptions {
  handler: TaskHandler;
  /**
   * Bodies are bytes as they are, without the codec: for plain PUSH sockets and pushes with `raw`. The
   * handler gets a `Uint8Array`.
   */
  raw?: boolean;
}

/** What a handler can know about its task. */
export interface TaskContext {
  readonly queue: string;
  /** The task's id, 32 hexadecimal digits, the same for each attempt: to tell what was done before. */
  readonly taskId: string;
  /** 1 for the first; counted anew when a dead letter is retried. */
  readonly attempt: number;
  /** Metadata that the client sent in clear. */
  readonly headers: Headers;
  /** Milliseconds until this attempt is given up and the task tried again, elsewhere perhaps. */
  readonly timeLeftMs: number;
  /** Aborts when that time is over, as TimeoutError, or the worker closes, as AbortError. */
  readonly signal: AbortSignal;
}

/** One attempt of a task at this worker. */
export class TaskJob extends Job implements TaskContext {
  override readonly kind = "task";

  constructor(link: Link | undefined, options: Service, record: RequestRecord, nowMs: number) {
    super(link, options, record, nowMs);
    // PROTOCOL 7.3: it stands where a request has its priority.
    this.attempt = record.priority;
  }

  /** Another attempt took over what runs: from here on it has that one's number and time. */
  takeOver(record: RequestRecord, nowMs: number): void {
    this.attempt = record.priority;
    this.renew(record, nowMs);
  }

  get queue(): string {
    return this.service;
  }

  get taskId(): string {
    return this.requestId;
  }

  protected override openSealed(
    codec: Codec,
    bytes: Uint8Array,
  ): Failed | undefined | Promise<Failed | undefined> {
    try {
      const context = {
        service: this.service,
        direction: "task",
        requestId: requestIdBytes(this),
        headers: this.headerBytes,
      } as const;
      const opened = codec.openSoon(bytes, context, isPassing(bytes));
      if (opened instanceof Promise) return this.#openedLater(opened);
      this.body = opened;
      return undefined;
    } catch (error) {
      return refusal(error);
    }
  }

  async #openedLater(opening: Promise<unknown>): Promise<Failed | undefined> {
    try {
      this.body = await opening;
      return undefined;
    } catch (error) {
      return refusal(error);
    }
  }

  /** There is no reply: what the handler returned is dropped. */
  override seal(): undefined {}
}
