// The global one is a getter that looks it up: a fortieth of a small request.
import { performance } from "node:perf_hooks";
import { BLOCK_BYTES_MIN, Blocks } from "../base/blocks.js";
import { wholeNumber } from "../base/check.js";
import { Deadlines } from "../base/deadlines.js";
import { DICTIONARY_REFUSED, RequestError } from "../base/errors.js";
import { Status, statusName } from "../base/status.js";
import type { Codec } from "../codec/index.js";
import type { Session } from "../link/session.js";
import type { BatchReader } from "../wire/batch.js";
import { encodeHeaders } from "../wire/headers.js";
import { Flag, Kind, REQUEST_SIZE } from "../wire/layout.js";
import {
  type AnswerRecord,
  type ExchangeId,
  FailureRecord,
  ReplyRecord,
  type RequestFields,
  requestIdBytes,
  writeCancel,
  writeRequest,
} from "../wire/request-record.js";
import { nameBytes, rawBytes } from "./arguments.js";
import type { Broker, Brokers } from "./brokers.js";
import { abortReason, asRequestError, lostError, replyError } from "./errors.js";
import type { ClientOptions, RequestOptions } from "./options.js";
import type { ClientPattern } from "./pattern.js";
import { PENDING_MAX, type Pending, PendingTable, placeOf, UnsentLine } from "./pending.js";
import type { ReplyStream } from "./reply-stream.js";
import { RequestBodies, type RequestContext } from "./request-bodies.js";
import { RetryPolicy } from "./retry.js";
import { Streams } from "./streams.js";
import { beginTicks, endTicks } from "./ticks.js";

const URGENT_PENDING_MAX = 4;
/** When to try again what was held back for too long here. */
const HELD_RETRY_MS = 100;

/** The requests of one client, from being asked to their one outcome each. */
export class Requests implements ClientPattern {
  readonly kinds = [Kind.REPLY, Kind.FAILURE];
  readonly stats = { sent: 0, replies: 0, failures: 0, resent: 0, retries: 0, late: 0 };
  readonly streams: Streams;
  /** Of a request that says none. */
  readonly timeoutMs: number;
  readonly #attempts: number;
  readonly #pendingMax: number;
  readonly #session: Session;
  // Written over for each use: to make it anew three times a request took a quarter of its time.
  readonly #exchangeId: ExchangeId;
  /** Of the request that is being written. */
  readonly #fields: RequestFields = {
    priority: 0,
    attempts: 0,
    timeoutMs: 0,
    flags: 0,
    service: NO_BYTES,
    headers: NO_BYTES,
  };
  readonly #bodies: RequestBodies;
  readonly #brokers: Brokers;
  readonly #onIdle: () => void;
  readonly #pending = new PendingTable();
  /** Where raw bodies of a middling size are kept until their requests have ended. */
  readonly #blocks = new Blocks();
  readonly #unsent = new UnsentLine();
  readonly #deadlines = new Deadlines(performance.now());
  readonly #retries: RetryPolicy;
  /** When those that were refused are to be sent again. */
  readonly #backoffs = new Deadlines(performance.now());
  readonly #serviceBytes = new Map<string, Uint8Array>();
  readonly #reply = new ReplyRecord();
  readonly #failure = new FailureRecord();
  #isTicking = false;

  /** `onIdle`: none is pending any more. Throws RangeError for options that are none. */
  constructor(
    options: ClientOptions,
    codec: Codec,
    session: Session,
    brokers: Brokers,
    onIdle: () => void,
  ) {
    this.timeoutMs = wholeNumber("timeoutMs", options.timeoutMs ?? 30_000, 1, 86_400_000);
    this.#attempts = wholeNumber("attempts", options.attempts ?? 3, 1, 255);
    this.#pendingMax = wholeNumber("pendingMax", options.pendingMax ?? PENDING_MAX, 1, PENDING_MAX);
    this.#session = session;
    this.#exchangeId = { ...session, sequence: 0, slot: 0, generation: 0 };
    this.#bodies = new RequestBodies(codec);
    this.#brokers = brokers;
    this.#onIdle = onIdle;
    this.#retries = new RetryPolicy(options.retry, performance.now());
    const quiet = () => this.#isQuiet();
    this.streams = new Streams({
      codec,
      take: (broker, record) => this.#take(broker, record),
      id: (sequence) => this.#id(sequence),
      finish: (pending) => this.#finish(pending),
      giveUp: (pending, error) => this.#giveUp(pending, error),
      get isQuiet() {
        return quiet();
      },
    });
  }

  /** Not ended yet. */
  get count(): number {
    return this.#pending.count;
  }

  get isIdle(): boolean {
    return this.#pending.count === 0;
  }

  onWelcome(): void {
    // Who was welcomed is asked at the end of its turn.
  }

  close(): void {
    for (const pending of this.#pending) {
      this.#fail(pending, new RequestError("CANCELLED", "client closed"));
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
    const { signal } = options;
    if (signal?.aborted) throw new RequestError("CANCELLED", abortReason(signal));
    if (this.#pending.count >= this.#pendingMax) {
      throw new RequestError("RESOURCE_EXHAUSTED", "too many requests pending in this client", 10);
    }
    const serviceBytes = this.#requireServiceBytes(service);
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
      if (isRaw) bytes = rawBytes(body, this.#blocks);
      else ({ bytes, packed } = this.#bodies.seal(body, this.#context(sequence, service, headers)));
    } catch (error) {
      this.#pending.unreserve(sequence);
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
        this.#bodies.sealAgain(body, this.#context(pending.sequence, service, headers));
    }
    this.#deadlines.set(placeOf(sequence), deadlineMs, nowMs);
    if (!this.#isTicking) {
      this.#isTicking = true;
      beginTicks(this.#onTick);
    }
    if (signal !== undefined) {
      pending.isKept = true;
      pending.signal = signal;
      pending.onAbort = () => this.#cancel(pending, abortReason(signal));
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    if (bytes instanceof Promise) {
      this.#sendSealed(pending, bytes);
    } else {
      pending.body = bytes;
      this.#sendNow(pending, nowMs);
    }
  }

  #sendNow(pending: Pending, nowMs: number): void {
    // In line behind those that wait already.
    const broker = this.#unsent.head === undefined ? this.#brokers.pick() : undefined;
    if (broker !== undefined) this.#send(pending, broker, nowMs);
    else this.#unsent.push(pending);
  }

  /** Sends a large body once it is sealed, unless the request is over by then. */
  #sendSealed(pending: Pending, sealing: Promise<Uint8Array>): void {
    pending.isKept = true;
    sealing.then(
      (bytes) => {
        if (!this.#isPending(pending)) return;
        pending.body = bytes;
        this.#sendNow(pending, performance.now());
      },
      (error) => {
        if (this.#isPending(pending)) this.#fail(pending, lostError(error));
      },
    );
  }

  #isPending(pending: Pending): boolean {
    return this.#pending.find(pending.sequence) === pending;
  }

  /** The id of one of our requests; the next call overwrites it. */
  #id(sequence: number): ExchangeId {
    this.#exchangeId.sequence = sequence;
    return this.#exchangeId;
  }

  /** Its id in it is of its own: code of a body's, such as a getter, may make a request meanwhile. */
  #context(sequence: number, service: string, headers: Uint8Array): RequestContext {
    const requestId = requestIdBytes(this.#id(sequence));
    return { service, direction: "request", requestId, headers };
  }

  #send(pending: Pending, broker: Broker, nowMs: number): void {
    const { link } = broker;
    const bytes = requestBytes(pending);
    if (bytes > link.recordMax) {
      // Beyond it by far, the broker's socket would drop the connection and all that is on it.
      const reason = `request of ${bytes} bytes; the broker takes ${link.recordMax}`;
      this.#fail(pending, new RequestError("INVALID_ARGUMENT", reason));
      return;
    }
    pending.broker = broker;
    broker.inFlight++;
    this.stats.sent++;
    const timeoutMs = Math.max(1, Math.ceil(pending.deadlineMs - nowMs));
    const fields = this.#fields;
    fields.priority = pending.priority;
    fields.attempts = pending.attempts;
    fields.timeoutMs = timeoutMs;
    fields.flags = pending.flags;
    fields.service = pending.serviceBytes;
    fields.headers = pending.headers;
    writeRequest(link.writer, this.#id(pending.sequence), fields, pending.body);
    if (pending.stream !== undefined) this.streams.onSent(pending, pending.stream);
    link.flushSoon(this.#isQuiet());
  }

  /** No getter: V8 calls its runtime for a private one. */
  #isQuiet(): boolean {
    return this.#pending.count <= URGENT_PENDING_MAX;
  }

  /** Sends what waits, as far as the brokers take it. */
  sendWaiting(): void {
    for (let pending = this.#unsent.head; pending !== undefined; pending = this.#unsent.head) {
      const broker = this.#brokers.pick();
      if (broker === undefined) return;
      const nowMs = performance.now();
      if (broker.isHoldingBack && nowMs >= pending.staleMs) {
        // First in, first out, what goes next is always what is about to expire: it would be worked
        // on for nobody, and so would all behind it.
        const reason = "held back for half its time: the broker has more than it can do";
        this.#fail(pending, new RequestError("RESOURCE_EXHAUSTED", reason, HELD_RETRY_MS));
        continue;
      }
      this.#unsent.remove(pending);
      this.#send(pending, broker, nowMs);
    }
  }

  // --- connections ---

  onDown(broker: Broker, reason: string): void {
    for (const pending of this.#pending) {
      if (pending.broker !== broker) continue;
      pending.broker = undefined;
      // It may have run, so one attempt is counted. There were more if that broker lost workers.
      if (--pending.attempts === 0) {
        this.#fail(pending, new RequestError("UNAVAILABLE", `broker lost: ${reason}`));
        continue;
      }
      if (pending.stream !== undefined && !this.#canBeginAnew(pending, pending.stream)) continue;
      this.stats.resent++;
      // It may have run: it is not said of it that it was never taken.
      pending.staleMs = Infinity;
      this.#unsent.push(pending);
    }
    this.sendWaiting();
  }

  /** Whether a stream whose broker is lost is asked for again; if not, it has ended. */
  #canBeginAnew(pending: Pending, stream: ReplyStream): boolean {
    if (stream.hasBegun && !stream.canRestart) {
      this.#fail(pending, new RequestError("UNAVAILABLE", "broker lost in mid-stream"));
      return false;
    }
    // Under another id: a worker may have sent parts of it, and would not begin it twice.
    return this.#renew(pending);
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
      value = this.#bodies.open(pending, this.#id(pending.sequence), reply);
    } catch (error) {
      this.#fail(pending, replyError(error));
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
    this.stats.replies++;
    this.#retries.onReply();
    this.#end(pending);
  }

  /** Ends a request with a large reply once that is opened, unless it is over by then. */
  #resolveOpened(pending: Pending, opening: Promise<unknown>): void {
    pending.isKept = true;
    // Answered: the connection owes it nothing more, and its loss is no loss of this one.
    this.#leaveBroker(pending);
    opening.then(
      (value) => {
        if (this.#isPending(pending)) this.#resolve(pending, value);
      },
      (error) => {
        if (this.#isPending(pending)) this.#fail(pending, replyError(error));
      },
    );
  }

  #leaveBroker(pending: Pending): void {
    const { broker } = pending;
    pending.broker = undefined;
    if (broker !== undefined) this.#brokers.release(broker);
  }

  #onFailure(broker: Broker, failure: FailureRecord): void {
    const pending = this.#take(broker, failure);
    if (pending === undefined) return;
    const { status, reason, retryAfterMs } = failure;
    if (pending.packed !== undefined && reason.startsWith(DICTIONARY_REFUSED)) {
      this.#sendWithoutDictionary(pending, pending.packed);
      return;
    }
    if (this.#isRetried(pending, broker, failure)) return;
    this.#fail(pending, new RequestError(statusName(status), reason, retryAfterMs));
  }

  /** Whether a request that failed is sent again: then it is taken from its broker. */
  #isRetried(pending: Pending, broker: Broker, failure: FailureRecord): boolean {
    const nowMs = performance.now();
    const { untouched, status } = failure;
    // Parts of it were handed out: to begin it anew takes its caller's word.
    if (pending.stream?.hasBegun === true && !pending.stream.canRestart) return false;
    // A broker that drains refuses what had not heard of it: that goes elsewhere at once and out of
    // no budget, as gRPC's transparent retries do (its proposal A6). It can happen but once a drain.
    const isMoved = untouched && broker.isDraining && status === Status.UNAVAILABLE;
    const waitMs = isMoved ? 0 : this.#retries.waitMs(pending, failure, nowMs);
    if (waitMs === undefined) return false;
    // What no worker began keeps its id and its body: no reply to it can be under way. What ran
    // must have another, or those that remember it would answer the same again.
    if (!untouched && !this.#renew(pending)) return true;
    // Of what ran it is not said that it was never taken.
    if (!untouched) pending.staleMs = Infinity;
    this.stats.retries++;
    this.#leaveBroker(pending);
    if (isMoved) this.#unsent.push(pending);
    else this.#backoffs.set(placeOf(pending.sequence), nowMs + waitMs, nowMs);
    return true;
  }

  /** Makes a request anew under another id; false where its body is none any more, and it ended. */
  #renew(pending: Pending): boolean {
    this.#pending.renew(pending);
    pending.stream?.begin();
    pending.packed = undefined;
    try {
      // Packing runs the caller's code, which may end this very request.
      pending.body = pending.reseal?.() ?? pending.body;
      return this.#isPending(pending);
    } catch (error) {
      if (this.#isPending(pending)) this.#fail(pending, asRequestError(error));
      return false;
    }
  }

  /** A worker lacked its dictionary, and never ran it: it goes again, within the same deadline. */
  #sendWithoutDictionary(pending: Pending, packed: Uint8Array): void {
    const { service, headers } = pending;
    pending.packed = undefined;
    try {
      const context = this.#context(pending.sequence, service, headers);
      pending.body = this.#bodies.sealWithoutDictionary(packed, context);
    } catch (error) {
      this.#fail(pending, asRequestError(error));
      return;
    }
    this.#leaveBroker(pending);
    this.#unsent.push(pending);
    this.sendWaiting();
  }

  /** The request that an answer is for, no longer in flight at this broker. */
  #take(broker: Broker, answer: AnswerRecord | FailureRecord): Pending | undefined {
    const { sessionLow, sessionHigh } = this.#session;
    const isOurs = answer.sessionLow === sessionLow && answer.sessionHigh === sessionHigh;
    const pending = isOurs ? this.#pending.find(answer.sequence) : undefined;
    if (pending === undefined || pending.broker !== broker) {
      this.stats.late++;
      return undefined;
    }
    return pending;
  }

  // --- the ends of a request ---

  #cancel(pending: Pending, reason: string): void {
    this.#giveUp(pending, new RequestError("CANCELLED", reason));
  }

  /** Ends a request that nobody waits for any more, here and at its broker. */
  #giveUp(pending: Pending, error: RequestError): void {
    if (!this.#isPending(pending)) return;
    const link = pending.broker?.link;
    if (link?.isOpen) {
      writeCancel(link.writer, this.#id(pending.sequence), Status.CANCELLED);
      link.flushSoon(true);
    }
    this.#fail(pending, error);
    this.sendWaiting();
  }

  #onTick = (nowMs: number): boolean => {
    this.#deadlines.advance(nowMs, this.#onDue);
    if (this.#backoffs.count > 0) {
      this.#backoffs.advance(nowMs, this.#onBackoffOver);
      this.sendWaiting();
    }
    this.#isTicking = this.#pending.count > 0;
    return this.#isTicking;
  };

  #onDue = (place: number): void => {
    const pending = this.#pending.at(place) as Pending;
    let where = pending.broker === undefined ? "before it could be sent" : "without an answer";
    if (!this.#brokers.isWelcome) where += `: ${this.#brokers.failures}`;
    // The broker has the same deadline, so there is nothing to tell it.
    this.#fail(pending, new RequestError("DEADLINE_EXCEEDED", `deadline passed ${where}`));
  };

  #onBackoffOver = (place: number): void => {
    this.#unsent.push(this.#pending.at(place) as Pending);
  };

  #fail(pending: Pending, error: Error): void {
    const { reject } = pending;
    this.stats.failures++;
    this.#end(pending);
    reject(error);
  }

  #end(pending: Pending): void {
    const place = placeOf(pending.sequence);
    this.#deadlines.clear(place);
    this.#backoffs.clear(place);
    if (pending.body.length >= BLOCK_BYTES_MIN / 2) {
      this.#blocks.giveBack(pending.body);
      // It is another's soon: given back once more, it would be taken from that one.
      pending.body = NO_BYTES;
    }
    if (pending.isUnsent) this.#unsent.remove(pending);
    this.#leaveBroker(pending);
    if (pending.onAbort !== undefined) {
      pending.signal?.removeEventListener("abort", pending.onAbort);
    }
    this.#pending.delete(pending);
    if (this.#pending.count === 0) this.#onIdle();
  }

  #requireServiceBytes(service: string): Uint8Array {
    const known = this.#serviceBytes.get(service);
    if (known !== undefined) return known;
    const bytes = nameBytes("service", service);
    // Names made up by the thousand are not worth keeping.
    if (this.#serviceBytes.size >= 1024) this.#serviceBytes.clear();
    this.#serviceBytes.set(service, bytes);
    return bytes;
  }
}

const NO_BYTES = new Uint8Array(0);

/** What a request occupies on the wire, its frames included. */
function requestBytes({ serviceBytes, headers, body }: Pending): number {
  return REQUEST_SIZE + serviceBytes.length + headers.length + body.length;
}

function streamFlags({ canRestart }: ReplyStream): number {
  return canRestart ? Flag.STREAM | Flag.RESTART : Flag.STREAM;
}
