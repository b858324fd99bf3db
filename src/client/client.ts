import { wholeNumber } from "../base/check.js";
import { Deadlines } from "../base/deadlines.js";
import { RequestError } from "../base/errors.js";
import { Status, statusName } from "../base/status.js";
import { type Codec, type CodecKey, createCodec } from "../codec/index.js";
import type { LinkOptions } from "../link/link.js";
import { type ConnectionEvent, Membership } from "../link/membership.js";
import {
  connectEndpoints,
  connectionDefaults,
  randomSession,
  type Session,
} from "../link/session.js";
import { Waiters } from "../link/waiters.js";
import type { BatchReader } from "../wire/batch.js";
import { encodeHeaders, type Headers } from "../wire/headers.js";
import { Flag, Kind, REQUEST_SIZE, Role } from "../wire/layout.js";
import {
  copyOf,
  type ExchangeId,
  FailureRecord,
  ReplyRecord,
  requestIdBytes,
  writeCancel,
  writeRequest,
} from "../wire/request-record.js";
import { readCredit } from "../wire/session-record.js";
import { isServiceName } from "../wire/text.js";
import { PENDING_MAX, type Pending, PendingTable, placeOf, UnsentLine } from "./pending.js";

/** How a client connects, and what holds for each of its requests unless that says otherwise. */
export interface ClientOptions {
  /** Frontends of the brokers, `tcp://host:port` or `ipc://path`. At least one. */
  brokers: readonly string[];
  /** Seals requests and opens replies. The first key seals, all open. None: bodies in clear. */
  keys?: readonly CodecKey[];
  /** A codec to share instead of one made from `keys`; the caller closes it. */
  codec?: Codec;
  /** Deadline of a request, milliseconds, 1..86400000. Default 30000. */
  timeoutMs?: number;
  /** How often the broker may hand a request to a worker, 1..255. Default 3. */
  attempts?: number;
  /** Requests pending at once, sent and waiting to be sent, 1..65536. Default 65536. */
  pendingMax?: number;
  /** How long `connect` waits for a broker, milliseconds; 0 does not wait. Default 5000. */
  connectTimeoutMs?: number;
  /** ZMTP heartbeats: a broker silent for so long is taken for lost. Defaults 500 and 1500. */
  heartbeatIntervalMs?: number;
  heartbeatTimeoutMs?: number;
  /** Told of each connection gained or lost. */
  onConnection?: (event: ConnectionEvent) => void;
}

/** What one request may say for itself. */
export interface RequestOptions {
  /** Milliseconds from now until the caller no longer waits. */
  timeoutMs?: number;
  /** Ends the request early, as CANCELLED; a handler that runs sees it. */
  signal?: AbortSignal;
  /** How often it may be handed to a worker: 1 is never run twice. */
  attempts?: number;
  /** 0 (first) to 7 (last). Default 4. */
  priority?: number;
  /** Metadata in clear, authenticated when the body is sealed. 8 KiB at most. */
  headers?: Headers;
  /**
   * The body is a `Uint8Array` (or a string, as UTF-8) and goes as it is, without the codec: for
   * plain REP workers and `raw` services. The reply is a `Uint8Array`.
   */
  raw?: boolean;
}

/** What a client has counted since it was made. */
export interface ClientStats {
  sent: number;
  replies: number;
  failures: number;
  /** Requests sent again because their connection was lost. */
  resent: number;
  pending: number;
  /** Replies to requests that were over already. */
  late: number;
}

const TICK_MS = 5;
const URGENT_PENDING_MAX = 4;
/** When to try again what was held back for too long here. */
const HELD_RETRY_MS = 100;

/** A broker and what it lets us have in flight. */
class Broker extends Membership {
  isDraining = false;
  inFlight = 0;
  inFlightMax = 0;
  /** It takes less than at first, since more is asked than can be done. */
  isHoldingBack = false;
  /** The most it ever took. */
  inFlightMaxWhole = 0;
}

/** Sends requests to services and gets each one's reply, or why there is none. */
export class Client {
  readonly #options: Required<Pick<ClientOptions, "timeoutMs" | "attempts" | "pendingMax">>;
  readonly #codec: Codec;
  readonly #ownsCodec: boolean;
  readonly #session: Session = randomSession();
  // Written over for each use: to make it anew three times a request took a quarter of its time.
  readonly #exchangeId: ExchangeId = { ...this.#session, sequence: 0, slot: 0, generation: 0 };
  readonly #brokers: Broker[] = [];
  readonly #pending = new PendingTable();
  readonly #unsent = new UnsentLine();
  readonly #deadlines = new Deadlines(performance.now());
  readonly #serviceBytes = new Map<string, Uint8Array>();
  readonly #reply = new ReplyRecord();
  readonly #failure = new FailureRecord();
  readonly #stats = { sent: 0, replies: 0, failures: 0, resent: 0, late: 0 };
  #tick: NodeJS.Timeout | undefined;
  #isClosing = false;
  #isShut: Promise<void> | undefined;
  readonly #waiters = new Waiters();

  private constructor(options: ClientOptions, codec: Codec, ownsCodec: boolean) {
    this.#codec = codec;
    this.#ownsCodec = ownsCodec;
    this.#options = {
      timeoutMs: wholeNumber("timeoutMs", options.timeoutMs ?? 30_000, 1, 86_400_000),
      attempts: wholeNumber("attempts", options.attempts ?? 3, 1, 255),
      pendingMax: wholeNumber("pendingMax", options.pendingMax ?? PENDING_MAX, 1, PENDING_MAX),
    };
    for (const endpoint of new Set(options.brokers)) {
      const isReadToEnd = true;
      this.#brokers.push(
        this.#connectTo(
          { ...connectionDefaults(options), endpoint, isReadToEnd },
          options.onConnection,
        ),
      );
    }
  }

  /**
   * Connects to the brokers and resolves when the first has answered.
   * Rejects with RequestError UNAVAILABLE when none does within `connectTimeoutMs`; throws
   * TypeError or RangeError for options that are none.
   */
  static async connect(options: ClientOptions): Promise<Client> {
    connectEndpoints("brokers", options?.brokers);
    const connectTimeoutMs = wholeNumber(
      "connectTimeoutMs",
      options.connectTimeoutMs ?? 5_000,
      0,
      86_400_000,
    );
    const codec = options.codec ?? (await createCodec({ keys: options.keys }));
    let client: Client;
    try {
      client = new Client(options, codec, options.codec === undefined);
    } catch (error) {
      if (options.codec === undefined) codec.close();
      throw error;
    }
    const isWelcome = () => client.#brokers.some((broker) => broker.isWelcome);
    if (connectTimeoutMs > 0 && !(await client.#waiters.until(isWelcome, connectTimeoutMs))) {
      const tried = client.#brokers.map(({ link, lastReason }) => `${link.endpoint} ${lastReason}`);
      await client.close({ timeoutMs: 0 });
      throw new RequestError("UNAVAILABLE", `no broker took it: ${tried.join(", ")}`);
    }
    return client;
  }

  get stats(): ClientStats {
    return { ...this.#stats, pending: this.#pending.count };
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
        this.#start(service, body, options, resolve, reject);
      } catch (error) {
        reject(asRequestError(error));
      }
    });
  }

  /**
   * Takes no more requests, waits until those pending have ended, at most `timeoutMs`
   * (default 10000), and closes the connections. What is left then ends as CANCELLED.
   */
  async close({ timeoutMs = 10_000 }: { timeoutMs?: number } = {}): Promise<void> {
    this.#isClosing = true;
    if (timeoutMs > 0) await this.#waiters.until(() => this.#pending.count === 0, timeoutMs);
    this.#isShut ??= this.#shut();
    await this.#isShut;
  }

  async #shut(): Promise<void> {
    for (const pending of this.#pending) {
      this.#fail(pending, new RequestError("CANCELLED", "client closed"));
    }
    clearTimeout(this.#tick);
    for (const broker of this.#brokers) await broker.leave();
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
  ): void {
    if (this.#isClosing) throw new RequestError("UNAVAILABLE", "client is closed");
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

    const sequence = this.#pending.reserve();
    let bytes: Uint8Array;
    try {
      bytes = isRaw
        ? rawBytes(body)
        : this.#codec.seal(body, {
            service,
            direction: "request",
            // Of its own: code of the body's, such as a getter, may make a request meanwhile.
            requestId: requestIdBytes(this.#id(sequence)),
            headers,
          });
    } catch (error) {
      this.#pending.unreserve(sequence);
      throw error;
    }
    const nowMs = performance.now();
    const deadlineMs = nowMs + timeoutMs;
    const pending: Pending = {
      sequence,
      service,
      flags: isRaw ? Flag.RAW : 0,
      priority,
      attempts,
      deadlineMs,
      staleMs: nowMs + timeoutMs / 2,
      serviceBytes,
      headers,
      body: bytes,
      link: undefined,
      isUnsent: false,
      next: undefined,
      previous: undefined,
      signal,
      onAbort: undefined,
      resolve,
      reject,
    };
    this.#pending.add(pending);
    this.#deadlines.set(placeOf(sequence), deadlineMs, nowMs);
    this.#tick ??= setTimeout(this.#onTick, TICK_MS);
    if (signal !== undefined) {
      pending.onAbort = () => this.#cancel(pending, abortReason(signal));
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    // In line behind those that wait already.
    const broker = this.#unsent.head === undefined ? this.#pick() : undefined;
    if (broker !== undefined) this.#send(pending, broker, nowMs);
    else this.#unsent.push(pending);
  }

  /** The id of one of our requests; the next call overwrites it. */
  #id(sequence: number): ExchangeId {
    this.#exchangeId.sequence = sequence;
    return this.#exchangeId;
  }

  /** The broker with the fewest of our requests that may have another. */
  #pick(): Broker | undefined {
    let best: Broker | undefined;
    for (const broker of this.#brokers) {
      if (!broker.isWelcome || broker.isDraining || broker.inFlight >= broker.inFlightMax) continue;
      if (best === undefined || broker.inFlight < best.inFlight) best = broker;
    }
    return best;
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
    pending.link = link;
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
    link.flushSoon(this.#pending.count <= URGENT_PENDING_MAX);
  }

  /** Sends what waits, as far as the brokers take it. */
  #sendWaiting(): void {
    for (let pending = this.#unsent.head; pending !== undefined; pending = this.#unsent.head) {
      const broker = this.#pick();
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

  #connectTo(
    options: LinkOptions,
    onConnection: ((event: ConnectionEvent) => void) | undefined,
  ): Broker {
    const broker: Broker = new Broker(options, {
      hello: () => ({
        role: Role.CLIENT,
        ...this.#session,
        concurrency: 0,
        services: [],
        canMove: false,
      }),
      onWelcome: ({ inFlightMax }) => {
        broker.inFlightMax = Math.max(1, inFlightMax);
        broker.inFlightMaxWhole = Math.max(broker.inFlightMaxWhole, inFlightMax);
        broker.isHoldingBack = inFlightMax < broker.inFlightMaxWhole;
        this.#waiters.notify();
      },
      onRecord: (reader) => this.#onRecord(broker, reader),
      onTurn: () => this.#sendWaiting(),
      onDown: (reason) => this.#onDown(broker, reason),
      onConnection,
    });
    return broker;
  }

  #onDown(broker: Broker, reason: string): void {
    broker.isDraining = false;
    broker.inFlight = 0;
    for (const pending of this.#pending) {
      if (pending.link !== broker.link) continue;
      pending.link = undefined;
      if (pending.attempts === 1) {
        // It may have run: whoever allowed one attempt does not want another.
        this.#fail(pending, new RequestError("UNAVAILABLE", `broker lost: ${reason}`));
        continue;
      }
      this.#stats.resent++;
      // It may have run: it is not said of it that it was never taken.
      pending.staleMs = Infinity;
      this.#unsent.push(pending);
    }
    this.#sendWaiting();
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
      case Kind.CREDIT: {
        const credit = readCredit(reader);
        if (typeof credit !== "number") return;
        broker.isHoldingBack = credit < broker.inFlightMaxWhole;
        broker.inFlightMax = Math.max(1, credit);
        return;
      }
      case Kind.DRAIN:
        broker.isDraining = true;
        return;
      default: // A kind of a later version, which this client did not ask for.
        reader.skip();
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
    this.#stats.replies++;
    this.#end(pending);
    pending.resolve(value as never);
  }

  #readReply(pending: Pending, reply: ReplyRecord): unknown {
    // The caller's own: it must not pin, or change with, the batch it came in.
    if ((pending.flags & Flag.RAW) !== 0) return reply.copyBody();
    if ((reply.flags & Flag.RAW) !== 0) {
      throw new RequestError("INTERNAL", "the service answers in raw bytes; ask with raw: true");
    }
    return this.#codec.open(reply.body[0], {
      service: pending.service,
      direction: "reply",
      requestId: requestIdBytes(this.#id(pending.sequence)),
    });
  }

  #onFailure(broker: Broker, failure: FailureRecord): void {
    const pending = this.#take(broker, failure);
    if (pending === undefined) return;
    const { status, reason, retryAfterMs } = failure;
    this.#fail(pending, new RequestError(statusName(status), reason, retryAfterMs));
  }

  /** The request that an answer is for, no longer in flight at this broker. */
  #take(broker: Broker, answer: ReplyRecord | FailureRecord): Pending | undefined {
    const { sessionLow, sessionHigh } = this.#session;
    const isOurs = answer.sessionLow === sessionLow && answer.sessionHigh === sessionHigh;
    const pending = isOurs ? this.#pending.find(answer.sequence) : undefined;
    if (pending === undefined || pending.link !== broker.link) {
      this.#stats.late++;
      return undefined;
    }
    return pending;
  }

  // --- the ends of a request ---

  #cancel(pending: Pending, reason: string): void {
    const link = pending.link;
    if (link?.isOpen) {
      writeCancel(link.writer, this.#id(pending.sequence), Status.CANCELLED);
      link.flushSoon(true);
    }
    this.#fail(pending, new RequestError("CANCELLED", reason));
    this.#sendWaiting();
  }

  #onTick = (): void => {
    this.#tick = undefined;
    this.#deadlines.advance(performance.now(), this.#onDue);
    if (this.#pending.count > 0) this.#tick = setTimeout(this.#onTick, TICK_MS);
  };

  #onDue = (place: number): void => {
    const pending = this.#pending.at(place) as Pending;
    const where = pending.link === undefined ? "before it could be sent" : "without an answer";
    // The broker has the same deadline, so there is nothing to tell it.
    this.#fail(pending, new RequestError("DEADLINE_EXCEEDED", `deadline passed ${where}`));
  };

  #fail(pending: Pending, error: Error): void {
    this.#stats.failures++;
    this.#end(pending);
    pending.reject(error);
  }

  #end(pending: Pending): void {
    this.#deadlines.clear(placeOf(pending.sequence));
    this.#pending.delete(pending);
    if (pending.isUnsent) this.#unsent.remove(pending);
    for (const broker of this.#brokers) if (broker.link === pending.link) broker.inFlight--;
    if (pending.onAbort !== undefined) {
      pending.signal?.removeEventListener("abort", pending.onAbort);
    }
    if (this.#pending.count === 0) this.#waiters.notify();
  }

  #requireServiceBytes(service: string): Uint8Array {
    const known = this.#serviceBytes.get(service);
    if (known !== undefined) return known;
    if (typeof service !== "string" || !isServiceName(service)) {
      throw new RequestError(
        "INVALID_ARGUMENT",
        `service must be 1..255 bytes without control characters, got ${JSON.stringify(service)}`,
      );
    }
    // Names made up by the thousand are not worth keeping.
    if (this.#serviceBytes.size >= 1024) this.#serviceBytes.clear();
    const bytes = Buffer.from(service);
    this.#serviceBytes.set(service, bytes);
    return bytes;
  }
}

const NO_OPTIONS: RequestOptions = {};

/** What a request occupies on the wire, its frames included. */
function requestBytes({ serviceBytes, headers, body }: Pending): number {
  return REQUEST_SIZE + serviceBytes.length + headers.length + body.length;
}

function rawBytes(body: unknown): Uint8Array {
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return copyOf(body);
  throw new RequestError(
    "INVALID_ARGUMENT",
    `a raw body must be bytes or text, got ${typeof body}`,
  );
}

/** What was wrong with the call itself: an option out of range, a body that is none. */
function asRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const refused = new RequestError("INVALID_ARGUMENT", textOf(error));
  refused.cause = error;
  return refused;
}

function replyError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const refused = new RequestError("UNAUTHENTICATED", `reply refused: ${textOf(error)}`);
  refused.cause = error;
  return refused;
}

function abortReason(signal: AbortSignal): string {
  return signal.reason === undefined ? "cancelled by the caller" : textOf(signal.reason);
}

/** The words of what was thrown, which may be anything at all. */
function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown);
  } catch {
    return "something that cannot be put in words";
  }
}
