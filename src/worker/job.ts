import { type Codec, CodecError } from "../codec/index.js";
import type { Link } from "../link/link.js";
import { decodeHeaders, type Headers } from "../wire/headers.js";
import { Flag } from "../wire/layout.js";
import { type ExchangeId, type RequestRecord, requestIdBytes } from "../wire/request-record.js";
import { type Failed, refusedBody } from "./failed.js";

/** Answers a request: what it returns, or resolves with, is the reply. */
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
  /** Aborts when the client cancels, the deadline passes or the worker closes. */
  readonly signal: AbortSignal;
}

const NO_BYTES = new Uint8Array(0);
const NO_HEADERS: Headers = Object.freeze({});

/** One request at this worker, from its arrival to its answer. */
export class Job implements RequestContext {
  body: unknown;
  reply: Uint8Array = NO_BYTES;
  replyFlags = 0;
  endedMs = 0;
  /** Its body was opened and its handler called: running it again would be running it twice. */
  hasBegun = false;
  /** The next of the jobs that share a key of the table. */
  nextOfKey: Job | undefined;
  readonly attempt: number;
  readonly #parts: readonly Uint8Array[];
  readonly #headerBytes: Uint8Array;
  readonly #isRaw: boolean;
  readonly #deadlineMs: number;
  readonly #startedMs: number;
  #headers: Headers | undefined;
  #abortion: AbortController | undefined;
  #abortReason: string | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;
  /** What the reply may refer to: the request named it, and it is held here. */
  #dictionary: string | null = null;

  constructor(
    /** The attempt that is to be answered; changes when the request comes again. */
    public id: ExchangeId,
    /** Where to; undefined once that connection is lost. */
    public link: Link | undefined,
    readonly options: ServiceOptions,
    record: RequestRecord,
    nowMs: number,
  ) {
    this.service = record.service;
    this.attempt = record.attempts;
    this.#isRaw = (record.flags & Flag.RAW) !== 0;
    this.#parts = record.body;
    this.#headerBytes = record.headersSize === 0 ? NO_BYTES : Uint8Array.from(record.headers);
    this.#startedMs = nowMs;
    this.#deadlineMs = record.timeoutMs === 0 ? Infinity : nowMs + record.timeoutMs;
  }

  readonly service: string;

  get requestId(): string {
    return Buffer.from(requestIdBytes(this.id)).toString("hex");
  }

  get headers(): Headers {
    this.#headers ??= decodeHeaders(this.#headerBytes) ?? NO_HEADERS;
    return this.#headers;
  }

  get timeLeftMs(): number {
    return this.#deadlineMs - performance.now();
  }

  get signal(): AbortSignal {
    // Made when asked for: most handlers do not.
    if (this.#abortion === undefined) {
      this.#abortion = new AbortController();
      if (this.#abortReason !== undefined) this.#abortion.abort(new Error(this.#abortReason));
    }
    return this.#abortion.signal;
  }

  get isAborted(): boolean {
    return this.#abortReason !== undefined;
  }

  get serviceTimeUs(): number {
    return Math.min(Math.round((this.endedMs - this.#startedMs) * 1000), 0xffffffff);
  }

  abort(reason: string): void {
    if (this.#abortReason !== undefined) return;
    this.#abortReason = reason;
    this.#abortion?.abort(new Error(reason));
  }

  /** The broker, which tells of deadlines, is gone: the job keeps its own from here on. */
  keepDeadline(): void {
    this.link = undefined;
    if (this.#deadlineMs === Infinity) return;
    const leftMs = Math.min(Math.max(this.timeLeftMs, 0), 2 ** 31 - 1);
    this.#deadlineTimer ??= setTimeout(() => this.abort("deadline passed"), leftMs).unref();
  }

  /** The handler is done. */
  end(): void {
    this.endedMs = performance.now();
    clearTimeout(this.#deadlineTimer);
  }

  isSameRequest(id: Pick<ExchangeId, "sessionLow" | "sessionHigh" | "sequence">): boolean {
    return (
      this.id.sequence === id.sequence &&
      this.id.sessionLow === id.sessionLow &&
      this.id.sessionHigh === id.sessionHigh
    );
  }

  isSameAttempt(id: ExchangeId): boolean {
    return this.id.slot === id.slot && this.id.generation === id.generation;
  }

  /** Reads the body; returns why it is refused, or undefined. */
  open(codec: Codec): Failed | undefined {
    const isRawService = this.options.raw === true;
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
      this.body = Uint8Array.from(
        this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts),
      );
      return undefined;
    }
    try {
      this.body = codec.open(this.#parts[0], {
        service: this.service,
        direction: "request",
        requestId: requestIdBytes(this.id),
        headers: this.#headerBytes,
      });
      this.#dictionary = codec.dictionaryNamedBy(this.#parts[0]);
      return undefined;
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return refusedBody("body", error);
    }
  }

  /** Makes the reply of what the handler returned; throws where that is no reply. */
  seal(codec: Codec, result: unknown): void {
    if (this.options.raw === true) {
      if (typeof result !== "string" && !(result instanceof Uint8Array)) {
        throw new TypeError(`a raw reply must be bytes or text, got ${typeof result}`);
      }
      this.reply = Buffer.from(result as string);
      this.replyFlags = Flag.RAW;
    } else {
      this.reply = codec.seal(result, {
        service: this.service,
        direction: "reply",
        requestId: requestIdBytes(this.id),
        dictionary: this.#dictionary,
      });
    }
  }
}
