import { checkOptions, type OptionNames, wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Status, type StatusName, statusName } from "../base/status.js";
import type { Codec } from "../codec/index.js";
import type { Session } from "../link/session.js";
import type { BatchReader } from "../wire/batch.js";
import { encodeHeaders, type Headers } from "../wire/headers.js";
import { Flag, Kind, REQUEST_SIZE } from "../wire/layout.js";
import { isPassing, requestIdBytes } from "../wire/request-record.js";
import {
  SurveyEndRecord,
  SurveyReplyRecord,
  surveyorBytes,
  writeSurvey,
} from "../wire/survey-record.js";
import { nameBytes, rawBytes, signalOf } from "./arguments.js";
import { type Ask, Asks } from "./asks.js";
import type { Broker, Brokers } from "./brokers.js";
import { asRequestError, replyError } from "./errors.js";
import type { ClientPattern } from "./pattern.js";
import type { WaitingLines } from "./waiting-lines.js";

/** What one survey may say for itself. */
export interface SurveyOptions {
  /** When it ends, answered by all or not, milliseconds from now. Default: the client's. */
  timeoutMs?: number;
  /** Ends it early, as CANCELLED. */
  signal?: AbortSignal | null;
  /** Metadata in clear, authenticated when the body is sealed. 8 KiB at most. */
  headers?: Headers;
  /** The body is a `Uint8Array` (or a string, as UTF-8) and goes without the codec, and so do the replies. */
  raw?: boolean;
}

const surveyOptionNames: OptionNames<SurveyOptions> = {
  timeoutMs: true,
  signal: true,
  headers: true,
  raw: true,
};

/** What came of a survey. */
export interface SurveyResult<Reply = unknown> {
  /** Who answered, by the session of the worker, 16 hexadecimal digits, in the order of the answers. */
  replies: { worker: string; value: Reply }[];
  /** Who answered that it cannot. */
  failures: { worker: string; code: StatusName; reason: string }[];
  /** Workers of the service when it began; and those of them that did not answer. */
  asked: number;
  missing: number;
}

interface Open {
  readonly service: string;
  readonly requestId: Uint8Array;
  readonly isRaw: boolean;
  readonly result: SurveyResult;
  /** Workers that were heard: what a broker hands on twice counts once. */
  readonly heard: Set<string>;
  /** Large replies that are being opened. */
  readonly opening: Promise<void>[];
  resolve(result: SurveyResult): void;
  reject(error: Error): void;
}

/** How much longer than the broker, which has the same deadline, the client waits for the end. */
const GRACE_MS = 2000;
const NO_OPTIONS: SurveyOptions = {};

/** Asks all workers of a service. */
export class Surveyor implements ClientPattern {
  readonly kinds = [Kind.SURVEY_REPLY, Kind.SURVEY_END];
  readonly #asks: Asks;
  readonly #open = new Map<number, Open>();
  /** Over at the broker, with large replies that are still being opened. */
  readonly #opening = new Set<Open>();
  readonly #reply = new SurveyReplyRecord();
  readonly #end = new SurveyEndRecord();

  constructor(
    private readonly codec: Codec,
    private readonly session: Session,
    brokers: Brokers,
    lines: WaitingLines,
    private readonly timeoutMs: number,
    private readonly onIdle: () => void,
    sequence: () => number,
  ) {
    this.#asks = new Asks(brokers, lines, onIdle, sequence);
  }

  get isIdle(): boolean {
    return this.#asks.count === 0 && this.#opening.size === 0;
  }

  survey(
    service: string,
    body: unknown,
    options: SurveyOptions = NO_OPTIONS,
  ): Promise<SurveyResult> {
    return new Promise((resolve, reject) => {
      try {
        this.#start(service, body, options, resolve, reject);
      } catch (error) {
        reject(asRequestError(error));
      }
    });
  }

  #start(
    service: string,
    body: unknown,
    options: SurveyOptions,
    resolve: (result: SurveyResult) => void,
    reject: (error: Error) => void,
  ): void {
    checkOptions("survey", options, surveyOptionNames);
    const signal = signalOf(options);
    this.#asks.requireRoom();
    const serviceBytes = nameBytes("service", service);
    const timeoutMs = wholeNumber("timeoutMs", options.timeoutMs ?? this.timeoutMs, 1, 86_400_000);
    const headers = encodeHeaders(options.headers);
    const isRaw = options.raw === true;
    const sequence = this.#asks.nextSequence();
    const id = { ...this.session, sequence, slot: 0, generation: 0 };
    const requestId = requestIdBytes(id);
    const sealed = isRaw ? rawBytes(body) : this.#seal(service, body, requestId, headers);
    const deadlineMs = performance.now() + timeoutMs;
    const flags = isRaw ? Flag.RAW : 0;
    const fields = { priority: 4, attempts: 1, flags, service: serviceBytes, headers };
    const result: SurveyResult = { replies: [], failures: [], asked: 0, missing: 0 };
    const heard = new Set<string>();
    const ends = { resolve, reject };
    this.#open.set(sequence, { service, requestId, isRaw, result, heard, opening: [], ...ends });
    const ask: Ask = {
      sequence,
      headBytes: REQUEST_SIZE + serviceBytes.length + headers.length,
      write: ({ link }, bytes) => {
        // It may have waited for a broker.
        const leftMs = Math.max(1, Math.ceil(deadlineMs - performance.now()));
        writeSurvey(link.writer, id, { ...fields, timeoutMs: leftMs }, bytes);
      },
      reject: (error) => {
        this.#open.delete(sequence);
        reject(error);
      },
      deadlineMs,
      graceMs: GRACE_MS,
      // Some have been asked: to ask again is the caller's to decide.
      isResent: false,
      signal,
      doubt: "; workers may have been asked",
    };
    this.#asks.start(ask, sealed);
  }

  #seal(service: string, body: unknown, requestId: Uint8Array, headers: Uint8Array) {
    // Without a dictionary: not all may have it.
    const context = { service, direction: "survey", requestId, headers } as const;
    return this.codec.sealSoon(body, { ...context, dictionary: null });
  }

  // --- ClientPattern ---

  onRecord(broker: Broker, reader: BatchReader): void {
    if (reader.kind === Kind.SURVEY_REPLY) {
      if (this.#reply.read(reader) === undefined) this.#onReply(broker, this.#reply);
    } else if (this.#end.read(reader) === undefined) {
      this.#onEnd(broker, this.#end);
    }
  }

  #onReply(broker: Broker, record: SurveyReplyRecord): void {
    const { sequence } = record;
    const open = this.#asks.find(sequence, broker) && this.#open.get(sequence);
    if (open === undefined) return;
    const { result, heard } = open;
    const session = { sessionLow: record.slot, sessionHigh: record.generation };
    const bytes = surveyorBytes(session);
    const worker = Buffer.from(bytes).toString("hex");
    if (heard.has(worker)) return;
    heard.add(worker);
    const refuse = (error: unknown) => {
      const { code, reason } = replyError(error);
      result.failures.push({ worker, code, reason });
    };
    if (record.status !== Status.OK) {
      const { reason } = record;
      result.failures.push({ worker, code: statusName(record.status), reason });
      return;
    }
    try {
      const value = this.#read(open, record, bytes);
      if (value instanceof Promise) {
        const add = (opened: unknown) => void result.replies.push({ worker, value: opened });
        open.opening.push(value.then(add, refuse));
      } else {
        result.replies.push({ worker, value });
      }
    } catch (error) {
      refuse(error);
    }
  }

  #read(open: Open, record: SurveyReplyRecord, worker: Uint8Array): unknown {
    if (open.isRaw) return record.copyBody();
    if ((record.flags & Flag.RAW) !== 0) {
      throw new RequestError("INTERNAL", "the worker answers in raw bytes; ask with raw: true");
    }
    const { service, requestId } = open;
    const context = { service, direction: "reply", requestId, headers: worker } as const;
    const [body] = record.body;
    return this.codec.openSoon(body, context, isPassing(body));
  }

  #onEnd(broker: Broker, record: SurveyEndRecord): void {
    const { sequence, status, reason, retryAfterMs, asked, missing } = record;
    if (this.#asks.find(sequence, broker) === undefined) return;
    if (status !== Status.OK) {
      this.#asks.fail(sequence, new RequestError(statusName(status), reason, retryAfterMs));
    } else {
      const open = this.#open.get(sequence) as Open;
      this.#open.delete(sequence);
      Object.assign(open.result, { asked, missing });
      if (open.opening.length === 0) open.resolve(open.result);
      else this.#resolveOpened(open);
      this.#asks.end(sequence);
    }
  }

  #resolveOpened(open: Open): void {
    this.#opening.add(open);
    void Promise.all(open.opening).then(() => {
      this.#opening.delete(open);
      open.resolve(open.result);
      this.onIdle();
    });
  }

  onDown(broker: Broker, reason: string): void {
    this.#asks.onDown(broker, reason);
  }

  close(): void {
    this.#asks.close();
    const closed = new RequestError("CANCELLED", "client closed");
    for (const open of this.#opening) open.reject(closed);
    this.#opening.clear();
  }
}
