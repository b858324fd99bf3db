import {
  checkOptions,
  type EndOptions,
  endTimeout,
  knownOptions,
  optionalFunction,
  wholeNumber,
} from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { type Codec, createCodec } from "../codec/index.js";
import { connectEndpoints, randomSession, requireCodec, type Session } from "../link/session.js";
import { Waiters } from "../link/waiters.js";
import { Role } from "../wire/layout.js";
import { askNumbers } from "./asks.js";
import { Brokers } from "./brokers.js";
import { asRequestError } from "./errors.js";
import {
  type ClientOptions,
  type ClientStats,
  clientOptionNames,
  type RequestOptions,
  requestOptionNames,
  retryDeadLettersOptionNames,
  type StreamOptions,
  streamOptionNames,
} from "./options.js";
import { PatternTable } from "./pattern.js";
import type { PublishOptions } from "./publisher.js";
import { type DeadLetter, Pushes, type PushOptions } from "./pushes.js";
import { ReplyStream } from "./reply-stream.js";
import { Requests } from "./requests.js";
import { retryOptionNames } from "./retry.js";
import type { SubscribeOptions, Subscription } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";
import { type SurveyOptions, Surveyor, type SurveyResult } from "./surveyor.js";
import { WaitingLines } from "./waiting-lines.js";

/** Sends requests to services and gets each one's reply, or why there is none. */
export class Client {
  readonly #codec: Codec;
  readonly #ownsCodec: boolean;
  readonly #session: Session = randomSession();
  readonly #brokers: Brokers;
  readonly #lines: WaitingLines;
  readonly #patterns = new PatternTable();
  readonly #requests: Requests;
  readonly #pushes: Pushes;
  readonly #surveyor: Surveyor;
  readonly #topics: Subscriptions;
  #isClosing = false;
  #isShut: Promise<void> | undefined;
  readonly #waiters = new Waiters();

  private constructor(options: ClientOptions, codec: Codec, ownsCodec: boolean) {
    this.#codec = codec;
    this.#ownsCodec = ownsCodec;
    const hello = { role: Role.CLIENT, ...this.#session, concurrency: 0, services: [] };
    this.#brokers = new Brokers(options, {
      hello: () => hello,
      onWelcome: (broker) => {
        this.#patterns.onWelcome(broker);
        this.#waiters.notify();
      },
      onRecord: (broker, reader) => this.#patterns.onRecord(broker, reader),
      onTurn: () => this.#lines.sendWaiting(),
      onDown: (broker, reason) => {
        this.#patterns.onDown(broker, reason);
        this.#lines.sendWaiting();
      },
      onConnection: options.onConnection,
    });
    const lines = new WaitingLines(this.#brokers);
    this.#lines = lines;
    const onIdle = () => this.#waiters.notify();
    const requests = new Requests(options, codec, this.#session, this.#brokers, lines, onIdle);
    const { timeoutMs } = requests;
    const shared = [this.#brokers, lines, timeoutMs, onIdle, askNumbers()] as const;
    this.#patterns.add(requests.streams);
    this.#topics = this.#patterns.add(new Subscriptions(codec, timeoutMs));
    this.#pushes = this.#patterns.add(new Pushes(codec, this.#session, ...shared));
    this.#surveyor = this.#patterns.add(new Surveyor(codec, this.#session, ...shared));
    // Last: when a connection is lost, it reads bodies again, which runs the caller's code.
    this.#requests = this.#patterns.add(requests);
    // Now that nothing can be wrong with the options any more: nobody would close it.
    this.#brokers.connect(options.brokers);
  }

  /**
   * Connects to the brokers and resolves when the first has answered.
   * Rejects with RequestError UNAVAILABLE when none does within `connectTimeoutMs`; throws
   * TypeError or RangeError for options that are none.
   */
  static async connect(options: ClientOptions): Promise<Client> {
    knownOptions("Client.connect", options, clientOptionNames);
    connectEndpoints("brokers", options?.brokers);
    if (options.retry) checkOptions("retry", options.retry, retryOptionNames);
    optionalFunction("onConnection", options.onConnection);
    requireCodec(options.codec);
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
    const { stats, streams, count: pending } = this.#requests;
    const { publisher, count: subscriptions } = this.#topics;
    return {
      ...stats,
      parts: streams.partCount,
      messages: messageCount,
      pending,
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
    const promise = new Promise<Reply>(takeEnds);
    const { resolve, reject } = ends;
    try {
      checkOptions("request", options, requestOptionNames);
      this.#requireOpen();
      this.#requests.start(service, body, options, resolve, reject, undefined);
    } catch (error) {
      reject(asRequestError(error));
    }
    return promise;
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
    options: { countMax?: number } = NO_OPTIONS,
  ): Promise<number> {
    checkOptions("retryDeadLetters", options, retryDeadLettersOptionNames);
    const { countMax = 0xffffffff } = options;
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
      checkOptions("stream", options, streamOptionNames);
      const made = new ReplyStream<Part, Return>(options);
      stream = made;
      const resolve = (value: unknown) => made.onReply(value);
      this.#requireOpen();
      this.#requests.start(service, body, options, resolve, (error) => made.fail(error), made);
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
   * (default 10000, Infinity for as long as it takes), and closes the connections. What is left then ends as CANCELLED.
   * Rejects with RangeError for another time than that, TypeError for another option.
   */
  async close(options: EndOptions = {}): Promise<void> {
    const timeoutMs = endTimeout("close", options, 10_000);
    this.#isClosing = true;
    if (timeoutMs > 0) {
      const publishing = this.#topics.publisher.settle(timeoutMs);
      await this.#waiters.until(() => this.#patterns.areIdle, timeoutMs);
      await publishing;
    }
    this.#isShut ??= this.#shut();
    await this.#isShut;
  }

  #requireOpen(): void {
    if (this.#isClosing) throw new RequestError("UNAVAILABLE", "client is closed");
  }

  async #shut(): Promise<void> {
    this.#patterns.close();
    await this.#brokers.leave();
    if (this.#ownsCodec) this.#codec.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const NO_OPTIONS = {};

/** What ends the promise made last: a function of its own for each would be that much more to collect. */
const ends: { resolve: (value: never) => void; reject: (error: Error) => void } = {
  resolve: () => {},
  reject: () => {},
};

function takeEnds(resolve: (value: never) => void, reject: (error: Error) => void): void {
  ends.resolve = resolve;
  ends.reject = reject;
}

const REPLY_GRACE_MS = 300_000;

async function ownCodec(options: ClientOptions): Promise<Codec> {
  const { keys, servicePublicKeys, dictionaries, timeoutMs = 1 } = options;
  // A session may end just behind a request: its reply still comes within the deadline.
  wholeNumber("timeoutMs", timeoutMs, 1, 86_400_000);
  const agreementGraceMs = Math.max(REPLY_GRACE_MS, timeoutMs);
  return createCodec({ keys, servicePublicKeys, dictionaries, agreementGraceMs });
}
