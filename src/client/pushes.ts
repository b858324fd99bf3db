import { checkOptions, type OptionNames, wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Status, type StatusName, statusName } from "../base/status.js";
import type { Codec } from "../codec/index.js";
import type { Session } from "../link/session.js";
import { type BatchReader, NO_BYTES } from "../wire/batch.js";
import { encodeHeaders, type Headers } from "../wire/headers.js";
import { DEAD_LETTERS_SIZE, Flag, Kind, REQUEST_SIZE } from "../wire/layout.js";
import { requestIdBytes } from "../wire/request-record.js";
import {
  DeadAction,
  type DeadLetterEntry,
  DeadLettersRecord,
  PushedRecord,
  writeDeadLettersAsked,
  writePush,
} from "../wire/task-record.js";
import { nameBytes, rawBytes, signalOf } from "./arguments.js";
import { type Ask, Asks } from "./asks.js";
import type { Broker, Brokers } from "./brokers.js";
import { asRequestError } from "./errors.js";
import type { ClientPattern } from "./pattern.js";
import type { WaitingLines } from "./waiting-lines.js";

/** What one push may say for itself. */
export interface PushOptions {
  /** How often the task may be tried before it is a dead letter, 1..255. Default 5, the broker's. */
  attempts?: number;
  /** How long one attempt may take, milliseconds; then it is tried again. Default 30000, the broker's. */
  attemptTimeoutMs?: number;
  /** Not before so many milliseconds from now, up to 2^32 - 1. */
  delayMs?: number;
  /** 0 (first) to 7 (last). Default 4. */
  priority?: number;
  /** Metadata in clear, authenticated when the body is sealed. 8 KiB at most. */
  headers?: Headers;
  /** How long to wait for a broker to have it, milliseconds. Default: the client's. */
  timeoutMs?: number;
  /** Stops waiting for that; the broker may have it none the less. */
  signal?: AbortSignal | null;
  /** The body is a `Uint8Array` (or a string, as UTF-8) and goes without the codec, as to plain PULL sockets. */
  raw?: boolean;
}

const pushOptionNames: OptionNames<PushOptions> = {
  attempts: true,
  attemptTimeoutMs: true,
  delayMs: true,
  priority: true,
  headers: true,
  timeoutMs: true,
  signal: true,
  raw: true,
};

/** A task that failed too often. */
export interface DeadLetter {
  taskId: string;
  attempts: number;
  /** How its last attempt failed. */
  code: StatusName;
  reason: string;
  priority: number;
  bytes: number;
  /** How long ago, milliseconds. */
  deadForMs: number;
  /** The endpoint of the broker that has it. */
  broker: string;
}

const IN_DOUBT = "; it may have been taken";
const NO_OPTIONS: PushOptions = {};
const LIST_COUNT = 256;
/** However soon a broker would have a task again that it did not take. */
const AGAIN_MS_MIN = 5;

/** Pushes tasks, and asks after those that died. */
export class Pushes implements ClientPattern {
  readonly kinds = [Kind.PUSHED, Kind.DEAD_LETTERS];
  readonly #asks: Asks;
  readonly #pushed = new PushedRecord();
  readonly #dead = new DeadLettersRecord();
  readonly #answers = new Map<number, (answer: DeadLettersRecord) => void>();
  #listing: Promise<unknown> = Promise.resolve();
  /** Lists and retries under way, which ask several times. */
  #jobCount = 0;
  #isClosed = false;
  readonly #resolves = new Map<number, () => void>();

  constructor(
    private readonly codec: Codec,
    private readonly session: Session,
    private readonly brokers: Brokers,
    lines: WaitingLines,
    private readonly timeoutMs: number,
    private readonly onIdle: () => void,
    sequence: () => number,
  ) {
    this.#asks = new Asks(brokers, lines, onIdle, sequence);
  }

  get isIdle(): boolean {
    return this.#asks.count === 0 && this.#jobCount === 0;
  }

  push(queue: string, body: unknown, options: PushOptions = NO_OPTIONS): Promise<string> {
    return new Promise((resolve, reject) => {
      try {
        this.#start(queue, body, options, resolve, reject);
      } catch (error) {
        reject(asRequestError(error));
      }
    });
  }

  #start(
    queue: string,
    body: unknown,
    options: PushOptions,
    resolve: (taskId: string) => void,
    reject: (error: Error) => void,
  ): void {
    checkOptions("push", options, pushOptionNames);
    const signal = signalOf(options);
    this.#asks.requireRoom();
    const queueBytes = nameBytes("queue", queue);
    const headers = encodeHeaders(options.headers);
    const delayMs = wholeNumber("delayMs", options.delayMs ?? 0, 0, 0xffffffff);
    const timeoutMs = wholeNumber("timeoutMs", options.timeoutMs ?? this.timeoutMs, 1, 86_400_000);
    const fields = {
      priority: wholeNumber("priority", options.priority ?? 4, 0, 7),
      attempts:
        options.attempts === undefined ? 0 : wholeNumber("attempts", options.attempts, 1, 255),
      timeoutMs: attemptTimeout(options.attemptTimeoutMs),
      flags: options.raw === true ? Flag.RAW : 0,
      service: queueBytes,
      headers,
    };
    const sequence = this.#asks.nextSequence();
    const id = { ...this.session, sequence };
    const idBytes = requestIdBytes({ ...id, slot: 0, generation: 0 });
    const sealed =
      options.raw === true ? rawBytes(body) : this.#seal(queue, body, idBytes, headers);
    this.#resolves.set(sequence, () => resolve(Buffer.from(idBytes).toString("hex")));
    const ask: Ask = {
      sequence,
      headBytes: REQUEST_SIZE + queueBytes.length + headers.length,
      write: ({ link }, bytes) => writePush(link.writer, id, fields, delayMs, bytes),
      reject: (error) => {
        this.#resolves.delete(sequence);
        reject(error);
      },
      deadlineMs: performance.now() + timeoutMs,
      isResent: true,
      signal,
      doubt: IN_DOUBT,
    };
    this.#asks.start(ask, sealed);
  }

  #seal(queue: string, body: unknown, requestId: Uint8Array, headers: Uint8Array) {
    // Without a dictionary: who opens it later, or tries it again, may not have it.
    const context = { service: queue, direction: "task", requestId, headers } as const;
    return this.codec.sealSoon(body, { ...context, dictionary: null });
  }

  /** One list after the other: a broker tells each client one at a time. */
  deadLetters(queue: string): Promise<DeadLetter[]> {
    const list = () => this.#listAll(queue);
    const listed = this.#listing.then(list);
    this.#listing = listed.catch(() => {});
    return this.#counted(listed);
  }

  async #counted<Result>(job: Promise<Result>): Promise<Result> {
    this.#jobCount++;
    try {
      return await job;
    } finally {
      this.#jobCount--;
      this.onIdle();
    }
  }

  async #listAll(queue: string): Promise<DeadLetter[]> {
    this.#requireOpen();
    const { welcome } = this.brokers;
    if (welcome.length === 0) throw new RequestError("UNAVAILABLE", "no broker is connected", 100);
    return (await Promise.all(welcome.map((broker) => this.#list(broker, queue)))).flat();
  }

  /** A broker tells no more at once than fits one answer: it is asked on from there. */
  async #list(broker: Broker, queue: string): Promise<DeadLetter[]> {
    const list: DeadLetter[] = [];
    for (let isMore = true; isMore; ) {
      const left = LIST_COUNT - list.length;
      const { entries, total } = await this.#ask(broker, queue, DeadAction.LIST, left, list.length);
      for (const entry of entries) list.push(letterOf(entry, broker.link.endpoint));
      isMore = entries.length > 0 && list.length < Math.min(total, LIST_COUNT);
    }
    return list;
  }

  retryDeadLetters(queue: string, countMax: number): Promise<number> {
    return this.#counted(this.#retryAll(queue, countMax));
  }

  async #retryAll(queue: string, countMax: number): Promise<number> {
    let count = 0;
    for (const broker of this.brokers.welcome) {
      if (count >= countMax) break;
      // 0 is all of them, and more than that there are not.
      const asked = Math.min(countMax - count, 0xffffffff);
      count += (await this.#ask(broker, queue, DeadAction.RETRY, asked)).count;
    }
    return count;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new RequestError("CANCELLED", "client closed");
  }

  #ask(
    broker: Broker,
    queue: string,
    action: DeadAction,
    count: number,
    skip = 0,
  ): Promise<{ count: number; total: number; entries: DeadLetterEntry[] }> {
    const queueBytes = nameBytes("queue", queue);
    this.#asks.requireRoom();
    return new Promise((resolve, reject) => {
      const sequence = this.#asks.nextSequence();
      const id = { ...this.session, sequence, slot: 0, generation: 0 };
      this.#answers.set(sequence, (answer) => {
        const { status, reason, retryAfterMs, count, total, entries } = answer;
        if (status === Status.OK) resolve({ count, total, entries });
        else reject(new RequestError(statusName(status), reason, retryAfterMs));
      });
      const ask: Ask = {
        sequence,
        headBytes: DEAD_LETTERS_SIZE + queueBytes.length,
        write: ({ link }) =>
          writeDeadLettersAsked(link.writer, id, action, count, queueBytes, skip),
        reject: (error) => {
          this.#answers.delete(sequence);
          reject(error);
        },
        deadlineMs: performance.now() + this.timeoutMs,
        only: broker,
        isResent: false,
        doubt: "",
      };
      this.#asks.start(ask, NO_BYTES);
    });
  }

  // --- ClientPattern ---

  onRecord(broker: Broker, reader: BatchReader): void {
    if (reader.kind === Kind.PUSHED) {
      if (this.#pushed.read(reader) === undefined) this.#onPushed(broker, this.#pushed);
    } else if (this.#dead.read(reader) === undefined) {
      const { sequence } = this.#dead;
      if (this.#asks.find(sequence, broker) === undefined) return;
      const { status, retryAfterMs } = this.#dead;
      if (status === Status.RESOURCE_EXHAUSTED && retryAfterMs > 0) {
        // It told a list in this turn of its event loop, ours of before perhaps: a busy one has long turns.
        this.#asks.again(sequence, retryAfterMs);
        return;
      }
      const answer = this.#answers.get(sequence);
      this.#answers.delete(sequence);
      this.#asks.end(sequence);
      answer?.(this.#dead);
    }
  }

  #onPushed(broker: Broker, record: PushedRecord): void {
    const { sequence, status, reason, retryAfterMs } = record;
    if (this.#asks.find(sequence, broker) === undefined) return;
    if (status === Status.UNAVAILABLE) {
      // From one that is about to end another takes it, or its successor; one that cannot keep it says when it may.
      this.#asks.again(sequence, broker.isDraining ? 0 : Math.max(retryAfterMs, AGAIN_MS_MIN));
    } else if (status === Status.OK) {
      const resolve = this.#resolves.get(sequence);
      this.#resolves.delete(sequence);
      this.#asks.end(sequence);
      resolve?.();
    } else {
      this.#asks.fail(sequence, new RequestError(statusName(status), reason, retryAfterMs));
    }
  }

  onDown(broker: Broker, reason: string): void {
    this.#asks.onDown(broker, reason);
  }

  close(): void {
    this.#isClosed = true;
    this.#asks.close();
  }
}

function letterOf(entry: DeadLetterEntry, broker: string): DeadLetter {
  const { attempts, status, reason, priority, bytes, deadForMs } = entry;
  const id = requestIdBytes({ ...entry, slot: 0, generation: 0 });
  const taskId = Buffer.from(id).toString("hex");
  return { taskId, attempts, code: statusName(status), reason, priority, bytes, deadForMs, broker };
}

function attemptTimeout(value: number | undefined): number {
  return value === undefined ? 0 : wholeNumber("attemptTimeoutMs", value, 1, 86_400_000);
}
