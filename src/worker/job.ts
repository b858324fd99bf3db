import { OWN_FRAME_BYTES_MIN } from "../base/blocks.js";
import { timerMs } from "../base/timer.js";
import { type Codec, CodecError, type OpenedRequest } from "../codec/index.js";
import { performance } from "../link/clock.js";
import type { Link } from "../link/link.js";
import { decodeHeaders, type Headers } from "../wire/headers.js";
import { Flag } from "../wire/layout.js";
import {
  copyOf,
  type ExchangeId,
  isPassing,
  ownFrame,
  type RequestRecord,
  requestIdBytes,
} from "../wire/request-record.js";
import { type Failed, refusedBody } from "./failed.js";
import { StreamRun } from "./stream-run.js";

/**
 * Answers a request: what it returns, or resolves with, is the reply. An async generator, or what else is
 * an AsyncIterable, answers `client.stream()` with what it yields.
 */
export type Handler<Request = never, Reply = unknown> = (
  request: Request,
  context: RequestContext,
) => Reply | Promise<Reply>;

/** A service and what is special about it. */
export interface ServiceOptions {
  handler: Handler;
  /**
   * Bodies are bytes as they are, without the codec: for plain REQ clients and callers with `raw`.
   * The handler gets a `Uint8Array` and returns a `Uint8Array` or a string.
   */
  raw?: boolean;
}

/** A service as the worker has it. */
export interface Service extends ServiceOptions {
  /** From 1 on, among the services and queues of the worker. */
  number: number;
  /** Its handler is an async generator function: it can answer with a stream alone. */
  isGenerator: boolean;
}

/** How long a stream of which nothing was sent yet waits to be asked for again over another connection. */
const REJOIN_MS_MAX = 5_000;

/** What a handler can know about the request it answers. */
export interface RequestContext {
  readonly service: string;
  /** The request's id, 32 hexadecimal digits, the same for each attempt. */
  readonly requestId: string;
  /** Metadata that the client sent in clear. */
  readonly headers: Headers;
  /** 1 for the first attempt that this broker made. */
  readonly attempt: number;
  /** Milliseconds until nobody waits for the reply any more; below 0 once that has passed. */
  readonly timeLeftMs: number;
  /**
   * Aborts when the client cancels, the deadline passes or the worker closes. Its reason is a DOMException:
   * a TimeoutError for the deadline, else an AbortError.
   */
  readonly signal: AbortSignal;
}

/** Why a handler is told to stop. */
export type StopReason =
  | "cancelled by the client"
  | "deadline passed"
  | "connection lost"
  | "worker closed";

/** What is to be answered, and so how: a task wants no reply. */
export type JobKind = "request" | "task" | "survey";

const NO_BYTES = new Uint8Array(0);
const NO_HEADERS: Headers = Object.freeze({});

/**
 * One request at this worker, from its arrival to its answer; as an id it is the attempt that is to
 * be answered, which changes when the request comes again.
 */
export class Job implements RequestContext, ExchangeId {
  body: unknown;
  reply: Uint8Array = NO_BYTES;
  replyFlags = 0;
  /** When it came, or, where it had to wait, when its turn came. */
  startedMs: number;
  beganMs = 0;
  endedMs = 0;
  /** Its body was opened and its handler called: running it again would be running it twice. */
  hasBegun = false;
  /** Its turn came: its body is or was opened. */
  hadTurn = false;
  /** It stands in the table of those that are not answered yet; see job-table.ts. */
  isListed = false;
  readonly kind: JobKind = "request";
  /** What its body is sealed as. */
  protected readonly direction: "request" | "survey" = "request";
  /** Where the client asked for a stream: what was granted and sent of it. */
  readonly stream: StreamRun | undefined;
  readonly service: string;
  attempt: number;
  readonly sessionLow: number;
  readonly sessionHigh: number;
  readonly sequence: number;
  slot: number;
  generation: number;
  /** The body where it came in, until `keep`: a range of the batch, or frames. */
  #bytes: Uint8Array;
  #bodyAt: number;
  #bodyEnd: number;
  #frames: readonly Uint8Array[];
  protected readonly headerBytes: Uint8Array;
  readonly #isRaw: boolean;
  #deadlineMs: number;
  #headers: Headers | undefined;
  #opened: OpenedRequest | undefined;
  #abortion: AbortController | undefined;
  #abortReason: StopReason | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;

  constructor(
    /** Where the answer goes; undefined once that connection is lost. */
    public link: Link | undefined,
    readonly options: Service,
    record: RequestRecord,
    nowMs: number,
  ) {
    this.service = record.service;
    this.attempt = record.attempts;
    this.sessionLow = record.sessionLow;
    this.sessionHigh = record.sessionHigh;
    this.sequence = record.sequence;
    this.slot = record.slot;
    this.generation = record.generation;
    this.#isRaw = (record.flags & Flag.RAW) !== 0;
    this.stream = (record.flags & Flag.STREAM) === 0 ? undefined : new StreamRun();
    const { held } = record;
    this.#bytes = held.bytes;
    this.#bodyAt = held.at + record.bodyOffset;
    this.#bodyEnd = held.at + held.size;
    this.#frames = held.frames;
    this.headerBytes = record.headersSize === 0 ? NO_BYTES : Uint8Array.from(record.headers);
    this.startedMs = nowMs;
    this.#deadlineMs = deadlineOf(record, nowMs);
  }

  /** It has to wait: where its body came in, others are read meanwhile. */
  keep(): void {
    if (this.#frames.length > 0) {
      this.#frames = this.#frames.map(ownFrame);
    } else {
      this.#bytes = copyOf(this.#bytes, this.#bodyAt, this.#bodyEnd);
      this.#bodyAt = 0;
      this.#bodyEnd = this.#bytes.length;
    }
  }

  get requestId(): string {
    return Buffer.from(requestIdBytes(this)).toString("hex");
  }

  get headers(): Headers {
    this.#headers ??= decodeHeaders(this.headerBytes) ?? NO_HEADERS;
    return this.#headers;
  }

  get timeLeftMs(): number {
    return this.#deadlineMs - performance.now();
  }

  get signal(): AbortSignal {
    // Made when asked for: most handlers do not.
    if (this.#abortion === undefined) {
      this.#abortion = new AbortController();
      if (this.#abortReason !== undefined) this.#abortion.abort(abortion(this.#abortReason));
    }
    return this.#abortion.signal;
  }

  get isAborted(): boolean {
    return this.#abortReason !== undefined;
  }

  /** Why it need not begin any more, or undefined. */
  get over(): Failed | undefined {
    if (!this.isAborted && this.timeLeftMs > 0) return undefined;
    const status = this.isAborted ? "CANCELLED" : "DEADLINE_EXCEEDED";
    return { status, reason: "over before it began", isUntouched: !this.hadTurn };
  }

  get serviceTimeUs(): number {
    // 0 would say that it is not known.
    return Math.max(1, Math.min(Math.round((this.endedMs - this.startedMs) * 1000), 0xffffffff));
  }

  abort(reason: StopReason): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#abortion?.abort(abortion(reason));
  }

  /** The broker, which tells of deadlines, is gone: the job keeps its own from here on. */
  keepDeadline(): void {
    this.link = undefined;
    if (this.stream !== undefined) return this.#waitForLink(this.stream);
    if (this.#deadlineMs === Infinity) return;
    const leftMs = timerMs(Math.max(this.timeLeftMs, 0));
    this.#deadlineTimer ??= setTimeout(() => this.abort("deadline passed"), leftMs).unref();
  }

  /** What a stream has sent may be lost: only one that sent nothing can go on elsewhere. */
  #waitForLink(stream: StreamRun): void {
    if (stream.hasSent) return this.abort("connection lost");
    stream.suspend();
    this.#deadlineTimer ??= setTimeout(() => this.abort("connection lost"), REJOIN_MS_MAX).unref();
  }

  /** The handler is done. */
  end(): void {
    this.endedMs = performance.now();
    clearTimeout(this.#deadlineTimer);
  }

  isSameAttempt(id: ExchangeId): boolean {
    return this.slot === id.slot && this.generation === id.generation;
  }

  /** The request came again: another attempt is to be answered, perhaps over another connection. */
  rejoin(id: ExchangeId, link: Link): void {
    this.slot = id.slot;
    this.generation = id.generation;
    this.link = link;
    if (this.stream === undefined) return;
    clearTimeout(this.#deadlineTimer);
    this.#deadlineTimer = undefined;
    this.stream.suspend();
  }

  /** What it has of its request is that of `record`, which came again, from here on. */
  protected renew({ timeoutMs }: RequestRecord, nowMs: number): void {
    clearTimeout(this.#deadlineTimer);
    this.#deadlineTimer = undefined;
    this.#deadlineMs = deadlineOf({ timeoutMs }, nowMs);
  }

  /** Somebody else has it: what is left here is answered to nobody, and needs no body. */
  disown(): void {
    this.link = undefined;
    this.#bytes = NO_BYTES;
    this.#bodyAt = 0;
    this.#bodyEnd = 0;
    this.#frames = [];
  }

  /** The body's bytes; a view of the message that it came in, if it came as one piece. */
  #body(): Uint8Array {
    const frames = this.#frames;
    if (frames.length === 0) return this.#bytes.subarray(this.#bodyAt, this.#bodyEnd);
    return frames.length === 1 ? frames[0] : Buffer.concat(frames);
  }

  /** Reads the body; says why it is refused, or undefined; at once, or later for a large one. */
  open(codec: Codec): Failed | undefined | Promise<Failed | undefined> {
    this.hadTurn = true;
    const { isGenerator, raw } = this.options;
    if (isGenerator && this.stream === undefined) {
      const reason = `${this.service} answers with a stream; ask with client.stream()`;
      return { status: "INVALID_ARGUMENT", reason };
    }
    const isRawService = raw === true;
    if (this.#isRaw !== isRawService) {
      return {
        status: "INVALID_ARGUMENT",
        reason: isRawService
          ? `${this.service} takes raw bytes; ask with raw: true`
          : `${this.service} takes bodies of the codec, not raw bytes`,
      };
    }
    if (isRawService) {
      // The handler's own: it must not pin, or change with, the batch it came in.
      this.body =
        this.#frames.length === 0
          ? copyOf(this.#bytes, this.#bodyAt, this.#bodyEnd)
          : ownFrame(this.#body());
      return undefined;
    }
    return this.openSealed(codec, this.#body());
  }

  protected openSealed(
    codec: Codec,
    bytes: Uint8Array,
  ): Failed | undefined | Promise<Failed | undefined> {
    try {
      const context = {
        service: this.service,
        direction: this.direction,
        requestId: requestIdBytes(this),
        headers: this.headerBytes,
      };
      const opened = codec.openRequestSoon(bytes, context, isPassing(bytes));
      if (opened instanceof Promise) return this.#openLarge(opened);
      this.#opened = opened;
      this.body = opened.value;
      return undefined;
    } catch (error) {
      return refusal(error);
    }
  }

  async #openLarge(opening: Promise<OpenedRequest>): Promise<Failed | undefined> {
    try {
      this.#opened = await opening;
      this.body = this.#opened.value;
      return undefined;
    } catch (error) {
      return refusal(error);
    }
  }

  /**
   * Makes the reply of what the handler returned, at once, or later for a large one; throws, or
   * rejects, where that is no reply.
   */
  seal(result: unknown): Promise<void> | undefined {
    const opened = this.#opened;
    if (opened === undefined) {
      if (typeof result !== "string" && !(result instanceof Uint8Array)) {
        throw new TypeError(`a raw reply must be bytes or text, got ${typeof result}`);
      }
      if (typeof result === "string") this.reply = Buffer.from(result);
      // What is large is sent from where it is, some time later; the rest is copied by the batch.
      else this.reply = result.length < OWN_FRAME_BYTES_MIN ? result : copyOf(result);
      this.replyFlags = Flag.RAW;
      return undefined;
    }
    const reply = this.sealReply(opened, result);
    if (reply instanceof Promise) return this.#sealLarge(opened, result, reply);
    this.reply = reply;
    return undefined;
  }

  protected sealReply(opened: OpenedRequest, result: unknown): Uint8Array | Promise<Uint8Array> {
    return opened.sealSoon(result);
  }

  /** A part of a stream, or its end, sealed for its place. */
  sealPart(value: unknown, place: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const opened = this.#opened;
    if (opened === undefined) return rawPart(value);
    const part = opened.sealSoon(value, place);
    return part instanceof Promise ? sealedElse(part, () => opened.seal(value, place)) : part;
  }

  async #sealLarge(
    opened: OpenedRequest,
    result: unknown,
    sealing: Promise<Uint8Array>,
  ): Promise<void> {
    this.reply = await sealedElse(sealing, () => opened.seal(result));
  }
}

/** As `fetch` and others know it, by its name. */
function abortion(reason: StopReason): DOMException {
  return new DOMException(reason, reason === "deadline passed" ? "TimeoutError" : "AbortError");
}

function deadlineOf({ timeoutMs }: { timeoutMs: number }, nowMs: number): number {
  return timeoutMs === 0 ? Infinity : nowMs + timeoutMs;
}

/** What the codec's thread sealed, or, where it was lost with it, what `sealAgain` does. */
async function sealedElse(
  sealing: Promise<Uint8Array>,
  sealAgain: () => Uint8Array,
): Promise<Uint8Array> {
  try {
    return await sealing;
  } catch (error) {
    if (!(error instanceof CodecError) || error.code !== "THREAD_LOST") throw error;
    // The handler has run, and may not run again; its result is here still.
    return sealAgain();
  }
}

/** A part in raw bytes; of the end, which may have none, too. */
function rawPart(value: unknown): Uint8Array {
  if (value === undefined) return NO_BYTES;
  if (typeof value === "string") return Buffer.from(value);
  if (value instanceof Uint8Array) return copyOf(value);
  throw new TypeError(`a raw part must be bytes or text, got ${typeof value}`);
}

/** Why a body was not opened; what is not of its own making is thrown on. */
export function refusal(error: unknown): Failed {
  if (!(error instanceof CodecError)) throw error;
  return refusedBody("body", error);
}
