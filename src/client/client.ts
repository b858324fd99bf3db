import { BLOCK_BYTES_MIN, Blocks } from "../base/blocks.js";
import { knownOptions, wholeNumber } from "../base/check.js";
import { Deadlines } from "../base/deadlines.js";
import { DICTIONARY_REFUSED, RequestError } from "../base/errors.js";
import { Status, statusName } from "../base/status.js";
import { type Codec, type CodecContext, createCodec, readEnvelope } from "../codec/index.js";
import { connectEndpoints, randomSession, type Session } from "../link/session.js";
import { Waiters } from "../link/waiters.js";
import type { BatchReader } from "../wire/batch.js";
import { encodeHeaders } from "../wire/headers.js";
import { Flag, Kind, REQUEST_SIZE, Role } from "../wire/layout.js";
import {
  type AnswerRecord,
  type ExchangeId,
  FailureRecord,
  isPassing,
  ReplyRecord,
  requestIdBytes,
  writeCancel,
  writeRequest,
} from "../wire/request-record.js";
import { nameBytes, rawBytes } from "./arguments.js";
import { askNumbers } from "./asks.js";
import { type Broker, Brokers } from "./brokers.js";
import { abortReason, asRequestError, lostError, replyError } from "./errors.js";
import {
  type ClientOptions,
  type ClientStats,
  clientOptionNames,
  type RequestOptions,
  type StreamOptions,
} from "./options.js";
import { PatternTable } from "./pattern.js";
import { PENDING_MAX, type Pending, PendingTable, placeOf, UnsentLine } from "./pending.js";
import type { PublishOptions } from "./publisher.js";
import { type DeadLetter, Pushes, type PushOptions } from "./pushes.js";
import { RefusedDictionaries } from "./refused-dictionaries.js";
import { ReplyStream } from "./reply-stream.js";
import { RetryPolicy, retryOptionNames } from "./retry.js";
import { Streams } from "./streams.js";
import type { SubscribeOptions, Subscription } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";
import { type SurveyOptions, Surveyor, type SurveyResult } from "./surveyor.js";
import { beginTicks, endTicks } from "./ticks.js";

const URGENT_PENDING_MAX = 4;
/** When to try again what was held back for too long here. */
const HELD_RETRY_MS = 100;

/** Sends requests to services and gets each one's reply, or why there is none. */
export class Client {
  readonly #options: Required<Pick<ClientOptions, "timeoutMs" | "attempts" | "pendingMax">>;
  readonly #codec: Codec;
  readonly #ownsCodec: boolean;
  readonly #session: Session = randomSession();
  // Written over for each use: to make it anew three times a request took a quarter of its time.
  readonly #exchangeId: ExchangeId = { ...this.#session, sequence: 0, slot: 0, generation: 0 };
  readonly #brokers: Brokers;
  readonly #pending = new PendingTable();
  /** Where raw bodies of a middling size are kept until their requests have ended. */
  readonly #blocks = new Blocks();
  readonly #unsent = new UnsentLine();
  readonly #hasDictionary: boolean;
  readonly #refused = new RefusedDictionaries();
  readonly #deadlines = new Deadlines(performance.now());
  readonly #retries: RetryPolicy;
  /** When those that were refused are to be sent again. */
  readonly #backoffs = new Deadlines(performance.now());
  readonly #serviceBytes = new Map<string, Uint8Array>();
  readonly #reply = new ReplyRecord();
  readonly #failure = new FailureRecord();
  readonly #stats = { sent: 0, replies: 0, failures: 0, resent: 0, retries: 0, late: 0 };
  /** What it does beside asking and being answered. */
  readonly #patterns = new PatternTable();
  readonly #pushes: Pushes;
  readonly #surveyor: Surveyor;
  readonly #streams: Streams;
  readonly #topics: Subscriptions;
  #isTicking = false;
  #isClosing = false;
  #isShut: Promise<void> | undefined;
  readonly #waiters = new Waiters();

  private constructor(options: ClientOptions, codec: Codec, ownsCodec: boolean) {
    this.#codec = codec;
    this.#ownsCodec = ownsCodec;
    this.#hasDictionary = codec.dictionaryDigests.length > 0;
    this.#options = {
      timeoutMs: wholeNumber("timeoutMs", options.timeoutMs ?? 30_000, 1, 86_400_000),
      attempts: wholeNumber("attempts", options.attempts ?? 3, 1, 255),
      pendingMax: wholeNumber("pendingMax", options.pendingMax ?? PENDING_MAX, 1, PENDING_MAX),
    };
    this.#retries = new RetryPolicy(options.retry, performance.now());
    const quiet = () => this.#isQuiet;
    this.#streams = this.#patterns.add(
      new Streams({
        codec,
        take: (broker, record) => this.#take(broker, record),
        id: (sequence) => this.#id(sequence),
        finish: (pending) => this.#finish(pending),
        giveUp: (pending, error) => this.#giveUp(pending, error),
        get isQuiet() {
          return quiet();
        },
      }),
    );
    this.#topics = this.#patterns.add(new Subscriptions(codec, this.#options.timeoutMs));
    const hello = { role: Role.CLIENT, ...this.#session, concurrency: 0, services: [] };
    this.#brokers = new Brokers(options.brokers, options, {
      hello: () => hello,
      onWelcome: (broker) => {
        this.#patterns.onWelcome(broker);
        this.#waiters.notify();
      },
      onRecord: (broker, reader) => this.#onRecord(broker, reader),
      onTurn: () => this.#sendWaiting(),
      onDown: (broker, reason) => this.#onDown(broker, reason),
      onConnection: options.onConnection,
    });
    const onIdle = () => this.#waiters.notify();
    const sequence = askNumbers();
    const shared = [this.#brokers, this.#options.timeoutMs, onIdle, sequence] as const;
    this.#pushes = this.#patterns.add(new Pushes(codec, this.#session, ...shared));
    this.#surveyor = this.#patterns.add(new Surveyor(codec, this.#session, ...shared));
  }

  /**
   * Connects to the brokers and resolves when the first has answered.
   * Rejects with RequestError UNAVAILABLE when none does within `connectTimeoutMs`; throws
   * TypeError or RangeError for options that are none.
   */
  static async connect(options: ClientOptions): Promise<Client> {
    knownOptions("Client.connect", options, clientOptionNames);
    if (options?.retry) knownOptions("retry", options.retry, retryOptionNames);
    connectEndpoints("brokers", options?.brokers);
    const connectTimeoutMs = wholeNumber(
      "connectTimeoutMs",
      options.connectTimeoutMs ?? 5_000,
      0,
      86_400_000,
    );
    const codec = options.codec ?? (await ownCodec(options));
    let client: Client;
    try {
      client = new Client(options, codec, options.codec === undefined);
    } catch (error) {
      if (options.codec === undefined) codec.close();
      throw error;
    }
    const isWelcome = () => client.#brokers.isWelcome;
    if (connectTimeoutMs > 0 && !(await client.#waiters.until(isWelcome, connectTimeoutMs))) {
      const error = client.#brokers.notTaken();
      await client.close({ timeoutMs: 0 });
      throw error;
    }
    return client;
  }

  get stats(): ClientStats {
    const { messageCount } = this.#brokers;
    const { partCount: parts } = this.#streams;
    const { publisher, count: subscriptions } = this.#topics;
    return {
      ...this.#stats,
      parts,
      messages: messageCount,
      pending: this.#pending.count,
      ...publisher.stats,
      subscriptions,
    };
  }

  /** Whether bodies are sealed. */
  get isSealed(): boolean {
    return this.#codec.isSealed;
  }

  /**
   * Asks `service` and resolves with its reply.
   * Rejects with RequestError: `code` says how it ended. INVALID_ARGUMENT: an option or a body is none,
   * and nothing was sent. RESOURCE_EXHAUSTED: it was not taken, here or at the broker.
   */
  request<Reply = unknown>(
    service: string,
    body: unknown,
    options: RequestOptions = NO_OPTIONS,
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      try {
        this.#start(service, body, options, resolve, reject, undefined);
      } catch (error) {
        reject(asRequestError(error));
      }
    });
  }

  /**
   * Pushes a task to a queue and resolves with its id once a broker has it: a worker does it at least
   * once, unless it fails too often and becomes a dead letter.
   * Rejects with RequestError: RESOURCE_EXHAUSTED where the queue is full; DEADLINE_EXCEEDED and
   * CANCELLED where it may have been taken none the less.
   */
  async push(queue: string, body: unknown, options?: PushOptions): Promise<string> {
    this.#requireOpen();
    return this.#pushes.push(queue, body, options);
  }

  /**
   * Asks all workers that serve `service` at this moment, and resolves when all have answered or the
   * time is over, with who answered and how many did not.
   * Rejects with RequestError: NOT_FOUND where no worker serves it, UNAVAILABLE where the broker is lost.
   */
  async survey<Reply = unknown>(
    service: string,
    body: unknown,
    options?: SurveyOptions,
  ): Promise<SurveyResult<Reply>> {
    this.#requireOpen();
    return (await this.#surveyor.survey(service, body, options)) as SurveyResult<Reply>;
  }

  /** The tasks of a queue that failed too often, oldest first, at most 256 of each broker. */
  async deadLetters(queue: string): Promise<DeadLetter[]> {
    this.#requireOpen();
    return this.#pushes.deadLetters(queue);
  }

  /** Tries these anew, oldest first, as far as the queue has room; resolves with how many. */
  async retryDeadLetters(
    queue: string,
    { countMax = 0xffffffff }: { countMax?: number } = {},
  ): Promise<number> {
    wholeNumber("countMax", countMax, 1, 0xffffffff);
    this.#requireOpen();
    return this.#pushes.retryDeadLetters(queue, countMax);
  }

  /**
   * Asks `service` for a stream: `for await (const part of client.stream(service, body))`. It is asked for
   * at once; parts come as far as they are read, and to leave the loop cancels it. A service that answers
   * with a reply gives one part.
   * Whatever is wrong rejects `next()`, and so ends the loop, with RequestError as `request` does.
   */
  stream<Part = unknown, Return = unknown>(
    service: string,
    body: unknown,
    options: StreamOptions = NO_OPTIONS,
  ): ReplyStream<Part, Return> {
    let stream: ReplyStream<Part, Return> | undefined;
    try {
      const made = new ReplyStream<Part, Return>(options);
      stream = made;
      const resolve = (value: unknown) => made.onReply(value);
      this.#start(service, body, options, resolve, (error) => made.fail(error), made);
    } catch (error) {
      stream ??= new ReplyStream<Part, Return>(NO_OPTIONS);
      stream.fail(asRequestError(error));
    }
    return stream;
  }

  /**
   * Publishes to all who subscribed to `topic` at the broker that this client publishes to. Resolves when
   * it is written to the connection, which says nothing of its arrival; with `confirm` when the broker
   * has taken it, with the number of subscriptions that it went to.
   * Rejects with RequestError. INVALID_ARGUMENT: not a topic, or a body that is none.
   * RESOURCE_EXHAUSTED: too much waits to be published here, or the broker keeps no more last values.
   * UNAVAILABLE: the connection was lost before it was confirmed. DEADLINE_EXCEEDED: no broker within
   * the client's `timeoutMs`.
   */
  publish(
    topic: string,
    body: unknown,
    options: PublishOptions & { confirm: true },
  ): Promise<number>;
  publish(topic: string, body: unknown, options?: PublishOptions): Promise<void>;
  publish(topic: string, body: unknown, options: PublishOptions = NO_OPTIONS): Promise<unknown> {
    try {
      this.#requireOpen();
      return this.#topics.publisher.publish(topic, body, options);
    } catch (error) {
      return Promise.reject(asRequestError(error));
    }
  }

  /**
   * Listens to all topics that `pattern` matches, at all brokers: `*` stands for one token between dots,
   * `>` at the end for one or more. To be read with `for await`.
   * Throws RequestError INVALID_ARGUMENT for what is no pattern, RangeError for an option that is none.
   */
  subscribe<Body = unknown>(pattern: string, options: SubscribeOptions = {}): Subscription<Body> {
    this.#requireOpen();
    return this.#topics.subscribe(pattern, options) as Subscription<Body>;
  }

  /**
   * Takes no more requests, waits until those pending have ended and the broker has what was published, at most `timeoutMs`
   * (default 10000), and closes the connections. What is left then ends as CANCELLED.
   */
  async close({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<void> {
    this.#isClosing = true;
    if (timeoutMs > 0) {
      const publishing = this.#topics.publisher.settle(timeoutMs);
      await this.#waiters.until(() => this.#isIdle, timeoutMs);
      await publishing;
    }
    this.#isShut ??= this.#shut();
    await this.#isShut;
  }

  #requireOpen(): void {
    if (this.#isClosing) throw new RequestError("UNAVAILABLE", "client is closed");
  }

  get #isIdle(): boolean {
    return this.#pending.count === 0 && this.#patterns.areIdle;
  }

  async #shut(): Promise<void> {
    for (const pending of this.#pending) {
      this.#fail(pending, new RequestError("CANCELLED", "client closed"));
    }
    endTicks(this.#onTick);
    this.#patterns.close();
    await this.#brokers.leave();
    if (this.#ownsCodec) this.#codec.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // --- sending ---

  #start(
    service: string,
    body: unknown,
    options: RequestOptions,
    resolve: (reply: never) => void,
    reject: (error: Error) => void,
    stream: ReplyStream | undefined,
  ): void {
    this.#requireOpen();
    const { signal } = options;
    if (signal?.aborted) throw new RequestError("CANCELLED", abortReason(signal));
    if (this.#pending.count >= this.#options.pendingMax) {
      throw new RequestError("RESOURCE_EXHAUSTED", "too many requests pending in this client", 10);
    }
    const serviceBytes = this.#requireServiceBytes(service);
    const headers = encodeHeaders(options.headers);
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    if (timeoutMs !== this.#options.timeoutMs) wholeNumber("timeoutMs", timeoutMs, 1, 86_400_000);
    const attempts = options.attempts ?? this.#options.attempts;
    if (attempts !== this.#options.attempts) wholeNumber("attempts", attempts, 1, 255);
    const priority = wholeNumber("priority", options.priority ?? 4, 0, 7);
    const isRaw = options.raw === true;
    const isIdempotent = options.idempotent === true || stream?.canRestart === true;
    const backoff = this.#retries.backoffFor(options.retry);

    const sequence = this.#pending.reserve();
    let bytes: Uint8Array | Promise<Uint8Array>;
    let packed: Uint8Array | undefined;
    try {
      if (isRaw) {
        bytes = rawBytes(body, this.#blocks);
      } else {
        const hasDictionary = this.#hasDictionary && !this.#refused.has(service, performance.now());
        const context: CodecContext = {
          service,
          direction: "request",
          // Of its own: code of the body's, such as a getter, may make a request meanwhile.
          requestId: requestIdBytes(this.#id(sequence)),
          headers,
          dictionary: hasDictionary ? undefined : null,
        };
        if (hasDictionary) {
          // The caller may change the value before a worker refuses the dictionary.
          packed = this.#codec.pack(body);
          bytes = this.#codec.sealPackedSoon(packed, context);
          // What is not compressed with it is refused by none.
          if (bytes instanceof Promise || !needsDictionary(this.#codec, bytes)) packed = undefined;
        } else {
          bytes = this.#codec.sealSoon(body, context);
        }
      }
    } catch (error) {
      this.#pending.unreserve(sequence);
      throw error;
    }
    const nowMs = performance.now();
    const deadlineMs = nowMs + timeoutMs;
    const pending: Pending = {
      sequence,
      service,
      flags: (isRaw ? Flag.RAW : 0) | (stream === undefined ? 0 : streamFlags(stream)),
      priority,
      attempts,
      deadlineMs,
      backoff,
      isIdempotent,
      retryCount: 0,
      staleMs: nowMs + timeoutMs / 2,
      serviceBytes,
      headers,
      body: bytes instanceof Promise ? NO_BYTES : bytes,
      reseal: undefined,
      stream,
      packed,
      broker: undefined,
      isUnsent: false,
      next: undefined,
      previous: undefined,
      signal,
      onAbort: undefined,
      resolve,
      reject,
    };
    if (stream !== undefined) this.#streams.attach(stream, pending);
    if ((isIdempotent || stream !== undefined) && !isRaw) {
      pending.reseal = () => this.#sealAgain(service, body, headers, pending.sequence);
    }
    this.#pending.add(pending);
    this.#deadlines.set(placeOf(sequence), deadlineMs, nowMs);
    if (!this.#isTicking) {
      this.#isTicking = true;
      beginTicks(this.#onTick);
    }
    if (signal !== undefined) {
      pending.onAbort = () => this.#cancel(pending, abortReason(signal));
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    if (bytes instanceof Promise) this.#sendSealed(pending, bytes);
    else this.#sendNow(pending, nowMs);
  }

  #sendNow(pending: Pending, nowMs: number): void {
    // In line behind those that wait already.
    const broker = this.#unsent.head === undefined ? this.#brokers.pick() : undefined;
    if (broker !== undefined) this.#send(pending, broker, nowMs);
    else this.#unsent.push(pending);
  }

  /** Seals a body once more, without a dictionary. */
  #sealAgain(service: string, body: unknown, headers: Uint8Array, sequence: number): Uint8Array {
    const requestId = requestIdBytes(this.#id(sequence));
    const context = { service, direction: "request", requestId, headers } as const;
    return this.#codec.seal(body, { ...context, dictionary: null });
  }

  /** Sends a large body once it is sealed, unless the request is over by then. */
  #sendSealed(pending: Pending, sealing: Promise<Uint8Array>): void {
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
    this.#stats.sent++;
    const timeoutMs = Math.max(1, Math.ceil(pending.deadlineMs - nowMs));
    writeRequest(
      link.writer,
      this.#id(pending.sequence),
      {
        priority: pending.priority,
        attempts: pending.attempts,
        timeoutMs,
        flags: pending.flags,
        service: pending.serviceBytes,
        headers: pending.headers,
      },
      pending.body,
    );
    if (pending.stream !== undefined) this.#streams.onSent(pending, pending.stream);
    link.flushSoon(this.#isQuiet);
  }

  get #isQuiet(): boolean {
    return this.#pending.count <= URGENT_PENDING_MAX;
  }

  /** Sends what waits, as far as the brokers take it. */
  #sendWaiting(): void {
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

  #onDown(broker: Broker, reason: string): void {
    this.#patterns.onDown(broker, reason);
    for (const pending of this.#pending) {
      if (pending.broker !== broker) continue;
      pending.broker = undefined;
      // It may have run, so one attempt is counted. There were more if that broker lost workers.
      if (--pending.attempts === 0) {
        this.#fail(pending, new RequestError("UNAVAILABLE", `broker lost: ${reason}`));
        continue;
      }
      if (pending.stream !== undefined && !this.#canBeginAnew(pending, pending.stream)) continue;
      this.#stats.resent++;
      // It may have run: it is not said of it that it was never taken.
      pending.staleMs = Infinity;
      this.#unsent.push(pending);
    }
    this.#sendWaiting();
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

  #onRecord(broker: Broker, reader: BatchReader): void {
    switch (reader.kind) {
      case Kind.REPLY:
        if (this.#reply.read(reader) === undefined) this.#onReply(broker, this.#reply);
        return;
      case Kind.FAILURE:
        if (this.#failure.read(reader) === undefined) this.#onFailure(broker, this.#failure);
        return;
      default:
        this.#patterns.onRecord(broker, reader);
    }
  }

  #onReply(broker: Broker, reply: ReplyRecord): void {
    const pending = this.#take(broker, reply);
    if (pending === undefined) return;
    let value: unknown;
    try {
      value = this.#readReply(pending, reply);
    } catch (error) {
      this.#fail(pending, replyError(error));
      return;
    }
    // Values of the codec's are data, never promises of their own.
    if (value instanceof Promise) this.#resolveOpened(pending, value);
    else this.#resolve(pending, value);
  }

  #resolve(pending: Pending, value: unknown): void {
    this.#finish(pending);
    pending.resolve(value as never);
  }

  #finish(pending: Pending): void {
    this.#stats.replies++;
    this.#retries.onReply();
    this.#end(pending);
  }

  /** Ends a request with a large reply once that is opened, unless it is over by then. */
  #resolveOpened(pending: Pending, opening: Promise<unknown>): void {
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

  #readReply(pending: Pending, reply: ReplyRecord): unknown {
    // The caller's own: it must not pin, or change with, the batch it came in.
    if ((pending.flags & Flag.RAW) !== 0) return reply.copyBody();
    if ((reply.flags & Flag.RAW) !== 0) {
      throw new RequestError("INTERNAL", "the service answers in raw bytes; ask with raw: true");
    }
    const [body] = reply.body;
    const context = {
      service: pending.service,
      direction: "reply",
      requestId: requestIdBytes(this.#id(pending.sequence)),
    } as const;
    return this.#codec.openSoon(body, context, isPassing(body));
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
    this.#stats.retries++;
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
    this.#refused.note(service, performance.now());
    pending.packed = undefined;
    const requestId = requestIdBytes(this.#id(pending.sequence));
    try {
      const context = {
        service,
        direction: "request",
        requestId,
        headers,
        dictionary: null,
      } as const;
      pending.body = this.#codec.sealPacked(packed, context);
    } catch (error) {
      this.#fail(pending, asRequestError(error));
      return;
    }
    this.#leaveBroker(pending);
    this.#unsent.push(pending);
    this.#sendWaiting();
  }

  /** The request that an answer is for, no longer in flight at this broker. */
  #take(broker: Broker, answer: AnswerRecord | FailureRecord): Pending | undefined {
    const { sessionLow, sessionHigh } = this.#session;
    const isOurs = answer.sessionLow === sessionLow && answer.sessionHigh === sessionHigh;
    const pending = isOurs ? this.#pending.find(answer.sequence) : undefined;
    if (pending === undefined || pending.broker !== broker) {
      this.#stats.late++;
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
    this.#sendWaiting();
  }

  #onTick = (nowMs: number): boolean => {
    this.#deadlines.advance(nowMs, this.#onDue);
    if (this.#backoffs.count > 0) {
      this.#backoffs.advance(nowMs, this.#onBackoffOver);
      this.#sendWaiting();
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
    this.#stats.failures++;
    this.#end(pending);
    pending.reject(error);
  }

  #end(pending: Pending): void {
    const place = placeOf(pending.sequence);
    this.#deadlines.clear(place);
    this.#backoffs.clear(place);
    this.#pending.delete(pending);
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
    if (this.#pending.count === 0) this.#waiters.notify();
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

const NO_OPTIONS: RequestOptions = {};
const NO_BYTES = new Uint8Array(0);
const REPLY_GRACE_MS = 300_000;

/** Whether a worker that lacks the codec's dictionary would refuse these bytes. */
function needsDictionary(codec: Codec, bytes: Uint8Array): boolean {
  return readEnvelope(bytes).isCompressed && codec.dictionaryNamedBy(bytes) !== null;
}

async function ownCodec(options: ClientOptions): Promise<Codec> {
  const { keys, servicePublicKeys, dictionaries, timeoutMs = 1 } = options;
  // A session may end just behind a request: its reply still comes within the deadline.
  wholeNumber("timeoutMs", timeoutMs, 1, 86_400_000);
  const agreementGraceMs = Math.max(REPLY_GRACE_MS, timeoutMs);
  return createCodec({ keys, servicePublicKeys, dictionaries, agreementGraceMs });
}

/** What a request occupies on the wire, its frames included. */
function requestBytes({ serviceBytes, headers, body }: Pending): number {
  return REQUEST_SIZE + serviceBytes.length + headers.length + body.length;
}

function streamFlags({ canRestart }: ReplyStream): number {
  return canRestart ? Flag.STREAM | Flag.RESTART : Flag.STREAM;
}
