import { wholeNumber } from "../base/check.js";
import { DICTIONARY_REFUSED, RequestError } from "../base/errors.js";
import { statusName } from "../base/status.js";
import type { Codec } from "../codec/index.js";
import { performance } from "../link/clock.js";
import type { Session } from "../link/session.js";
import type { BatchReader } from "../wire/batch.js";
import { encodeHeaders } from "../wire/headers.js";
import { Flag, Kind } from "../wire/layout.js";
import { type AnswerRecord, FailureRecord, ReplyRecord } from "../wire/request-record.js";
import { rawBytes, ServiceNames, signalOf } from "./arguments.js";
import type { Broker, Brokers } from "./brokers.js";
import { abortReason, lostError, replyError } from "./errors.js";
import type { ClientOptions, RequestOptions } from "./options.js";
import type { ClientPattern } from "./pattern.js";
import { PENDING_MAX, type Pending, placeOf } from "./pending.js";
import { PendingRequests } from "./pending-requests.js";
import type { ReplyStream } from "./reply-stream.js";
import { RequestBodies } from "./request-bodies.js";
import { RequestIds } from "./request-ids.js";
import { Resender } from "./resender.js";
import { RetryPolicy } from "./retry.js";
import { Sender } from "./sender.js";
import { listen } from "./signals.js";
import { Streams } from "./streams.js";
import { beginTicks, endTicks } from "./ticks.js";
import type { WaitingLines } from "./waiting-lines.js";

/** The requests of one client, from being asked to their one outcome each. */
export class Requests implements ClientPattern {
  readonly kinds = [Kind.REPLY, Kind.FAILURE];
  readonly streams: Streams;
  /** Of a request that says none. */
  readonly timeoutMs: number;
  readonly #attempts: number;
  readonly #pendingMax: number;
  readonly #ids: RequestIds;
  readonly #bodies: RequestBodies;
  readonly #brokers: Brokers;
  readonly #lines: WaitingLines;
  readonly #pending: PendingRequests;
  readonly #retries: RetryPolicy;
  readonly #sender: Sender;
  readonly #resender: Resender;
  readonly #names = new ServiceNames();
  readonly #reply = new ReplyRecord();
  readonly #failure = new FailureRecord();
  #isTicking = false;
  #isClosed = false;
  #replyCount = 0;
  #lateCount = 0;

  /** `onIdle`: none is pending any more. Throws RangeError for options that are none. */
  constructor(
    options: ClientOptions,
    codec: Codec,
    session: Session,
    brokers: Brokers,
    lines: WaitingLines,
    onIdle: () => void,
  ) {
    this.timeoutMs = wholeNumber("timeoutMs", options.timeoutMs ?? 30_000, 1, 86_400_000);
    this.#attempts = wholeNumber("attempts", options.attempts ?? 3, 1, 255);
    this.#pendingMax = wholeNumber("pendingMax", options.pendingMax ?? PENDING_MAX, 1, PENDING_MAX);
    this.#ids = new RequestIds(session);
    this.#bodies = new RequestBodies(codec);
    this.#brokers = brokers;
    this.#lines = lines;
    this.#pending = new PendingRequests(brokers, onIdle);
    this.#retries = new RetryPolicy(options.retry, performance.now());
    const sender = new Sender(this.#ids, lines, this.#pending, (pending, stream) =>
      this.streams.onSent(pending, stream),
    );
    this.#sender = sender;
    this.#resender = new Resender(this.#ids, this.#bodies, this.#pending, this.#retries);
    this.streams = new Streams({
      codec,
      take: (broker, record) => this.#take(broker, record),
      id: (sequence) => this.#ids.of(sequence),
      has: (pending) => this.#pending.has(pending),
      finish: (pending) => this.#finish(pending),
      giveUp: (pending, error) => this.#giveUp(pending, error),
      get isQuiet() {
        return sender.isQuiet;
      },
    });
  }

  get stats() {
    return {
      sent: this.#sender.sentCount,
      replies: this.#replyCount,
      failures: this.#pending.failureCount,
      resent: this.#resender.resentCount,
      retries: this.#resender.retryCount,
      late: this.#lateCount,
    };
  }

  /** Not ended yet. */
  get count(): number {
    return this.#pending.count;
  }

  get isIdle(): boolean {
    return this.#pending.count === 0;
  }

  onDown(broker: Broker, reason: string): void {
    this.#resender.onDown(broker, reason);
  }

  close(): void {
    this.#isClosed = true;
    for (const pending of this.#pending) {
      this.#pending.fail(pending, new RequestError("CANCELLED", "client closed"));
    }
    endTicks(this.#onTick);
  }

  // --- sending ---

  /** Asks, and calls one of `resolve` and `reject` in the end. Throws RequestError or RangeError where nothing was sent. */
  start(
    service: string,
    body: unknown,
    options: RequestOptions,
    resolve: (reply: never) => void,
    reject: (error: Error) => void,
    stream: ReplyStream | undefined,
  ): void {
    const signal = signalOf(options);
    if (this.#pending.count >= this.#pendingMax) {
      throw new RequestError("RESOURCE_EXHAUSTED", "too many requests pending in this client", 10);
    }
    const serviceBytes = this.#names.bytesOf(service);
    const headers = encodeHeaders(options.headers);
    const timeoutMs = options.timeoutMs ?? this.timeoutMs;
    if (timeoutMs !== this.timeoutMs) wholeNumber("timeoutMs", timeoutMs, 1, 86_400_000);
    const attempts = options.attempts ?? this.#attempts;
    if (attempts !== this.#attempts) wholeNumber("attempts", attempts, 1, 255);
    const priority = wholeNumber("priority", options.priority ?? 4, 0, 7);
    const isRaw = options.raw === true;
    const isIdempotent = options.idempotent === true || stream?.canRestart === true;
    const backoff = this.#retries.backoffFor(options.retry);

    const sequence = this.#pending.reserve();
    let bytes: Uint8Array | Promise<Uint8Array>;
    let packed: Uint8Array | undefined;
    try {
      if (isRaw) {
        bytes = rawBytes(body, this.#pending.blocks);
      } else {
        const context = this.#ids.context(sequence, service, headers);
        ({ bytes, packed } = this.#bodies.seal(body, context));
      }
      // Code of a body's, such as a getter, may have given it up meanwhile, or all there is.
      if (signal?.aborted || this.#isClosed) {
        // Nobody waits for its sealing, which may fail.
        if (bytes instanceof Promise) bytes.catch(() => {});
        const reason = signal?.aborted ? abortReason(signal) : "client closed";
        throw new RequestError("CANCELLED", reason);
      }
    } catch (error) {
      this.#pending.forgo(sequence);
      throw error;
    }
    const nowMs = performance.now();
    const deadlineMs = nowMs + timeoutMs;
    const pending = this.#pending.add(sequence);
    pending.service = service;
    pending.flags = (isRaw ? Flag.RAW : 0) | (stream === undefined ? 0 : streamFlags(stream));
    pending.priority = priority;
    pending.attempts = attempts;
    pending.deadlineMs = deadlineMs;
    pending.backoff = backoff;
    pending.isIdempotent = isIdempotent;
    pending.retryCount = 0;
    pending.staleMs = nowMs + timeoutMs / 2;
    pending.serviceBytes = serviceBytes;
    pending.headers = headers;
    pending.packed = packed;
    pending.resolve = resolve;
    pending.reject = reject;
    if (stream !== undefined) {
      pending.isKept = true;
      pending.stream = stream;
      this.streams.attach(stream, pending);
    }
    if ((isIdempotent || stream !== undefined) && !isRaw) {
      pending.isKept = true;
      pending.reseal = () =>
        this.#bodies.sealAgain(body, this.#ids.context(pending.sequence, service, headers));
    }
    this.#pending.deadlines.set(placeOf(sequence), deadlineMs, nowMs);
    if (!this.#isTicking) {
      this.#isTicking = true;
      beginTicks(this.#onTick);
    }
    if (signal !== undefined) {
      pending.isKept = true;
      pending.signal = signal;
      pending.onAbort = () => {
        this.#giveUp(pending, new RequestError("CANCELLED", abortReason(signal)));
      };
      listen(signal, pending.onAbort);
    }
    if (bytes instanceof Promise) {
      this.#sendSealed(pending, bytes);
    } else {
      pending.body = bytes;
      this.#sender.send(pending, nowMs);
    }
  }

  /** Sends a large body once it is sealed, unless the request is over by then. */
  #sendSealed(pending: Pending, sealing: Promise<Uint8Array>): void {
    pending.isKept = true;
    sealing.then(
      (bytes) => {
        if (!this.#pending.has(pending)) return;
        pending.body = bytes;
        this.#sender.send(pending, performance.now());
      },
      (error) => {
        if (this.#pending.has(pending)) this.#pending.fail(pending, lostError(error));
      },
    );
  }

  // --- receiving ---

  onRecord(broker: Broker, reader: BatchReader): void {
    if (reader.kind === Kind.REPLY) {
      if (this.#reply.read(reader) === undefined) this.#onReply(broker, this.#reply);
    } else if (this.#failure.read(reader) === undefined) {
      this.#onFailure(broker, this.#failure);
    }
  }

  #onReply(broker: Broker, reply: ReplyRecord): void {
    const pending = this.#take(broker, reply);
    if (pending === undefined) return;
    let value: unknown;
    try {
      value = this.#bodies.open(pending, this.#ids.of(pending.sequence), reply);
    } catch (error) {
      this.#pending.fail(pending, replyError(error));
      return;
    }
    // Values of the codec's are data, never promises of their own.
    if (value instanceof Promise) this.#resolveOpened(pending, value);
    else this.#resolve(pending, value);
  }

  #resolve(pending: Pending, value: unknown): void {
    const { resolve } = pending;
    this.#finish(pending);
    resolve(value as never);
  }

  #finish(pending: Pending): void {
    this.#replyCount++;
    this.#retries.onReply();
    this.#pending.end(pending);
  }

  /** Ends a request with a large reply once that is opened, unless it is over by then. */
  #resolveOpened(pending: Pending, opening: Promise<unknown>): void {
    pending.isKept = true;
    pending.isAnswered = true;
    // Answered: the connection owes it nothing more, and its loss is no loss of this one.
    this.#pending.leaveBroker(pending);
    opening.then(
      (value) => {
        if (this.#pending.has(pending)) this.#resolve(pending, value);
      },
      (error) => {
        if (this.#pending.has(pending)) this.#pending.fail(pending, replyError(error));
      },
    );
  }

  #onFailure(broker: Broker, failure: FailureRecord): void {
    const pending = this.#take(broker, failure);
    if (pending === undefined) return;
    const { status, reason, retryAfterMs } = failure;
    if (pending.packed !== undefined && reason.startsWith(DICTIONARY_REFUSED)) {
      this.#resender.sendWithoutDictionary(pending, pending.packed);
      return;
    }
    if (this.#resender.isRetried(pending, broker, failure)) return;
    this.#pending.fail(pending, new RequestError(statusName(status), reason, retryAfterMs));
  }

  /** The request that an answer is for, no longer in flight at this broker. */
  #take(broker: Broker, answer: AnswerRecord | FailureRecord): Pending | undefined {
    const isOurs = this.#ids.isOurs(answer);
    const pending = isOurs ? this.#pending.find(answer.sequence) : undefined;
    if (pending === undefined || pending.broker !== broker) {
      this.#lateCount++;
      return undefined;
    }
    return pending;
  }

  // --- the ends of a request ---

  /** Ends a request that nobody waits for any more, here and at its broker. */
  #giveUp(pending: Pending, error: RequestError): void {
    if (!this.#pending.has(pending)) return;
    this.#sender.sendCancel(pending);
    this.#pending.fail(pending, error);
    this.#lines.sendSoon();
  }

  #onTick = (nowMs: number): boolean => {
    this.#pending.deadlines.advance(nowMs, this.#onDue);
    this.#resender.onTick(nowMs);
    this.#lines.sendWaiting();
    this.#isTicking = this.#pending.count > 0;
    return this.#isTicking;
  };

  #onDue = (place: number): void => {
    const pending = this.#pending.at(place) as Pending;
    let where = whereOverdue(pending);
    const { hindrance } = this.#brokers;
    if (hindrance !== undefined) where += `: ${hindrance}`;
    // The broker has the same deadline, so there is nothing to tell it.
    this.#pending.fail(pending, new RequestError("DEADLINE_EXCEEDED", `deadline passed ${where}`));
  };
}

/** How far a request has come whose deadline passes: a caller may take the words for leave to ask again. */
function whereOverdue({ isAnswered, broker, staleMs }: Pending): string {
  if (isAnswered) return "while its reply was being opened";
  if (broker !== undefined) return "without an answer";
  return staleMs === Infinity
    ? "before it could be sent again; it may have run"
    : "before it could be sent";
}

function streamFlags({ canRestart }: ReplyStream): number {
  return canRestart ? Flag.STREAM | Flag.RESTART : Flag.STREAM;
}
