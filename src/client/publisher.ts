import { checkOptions, type OptionNames } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import { Fifo } from "../base/fifo.js";
import { Status, statusName } from "../base/status.js";
import { isTopic } from "../base/topic.js";
import type { Codec } from "../codec/index.js";
import { randomSession } from "../link/session.js";
import {
  eventIdBytes,
  type Published,
  type PublishFields,
  writePublish,
  writePublishAsk,
} from "../wire/event-record.js";
import {
  EVENT_SIZE,
  EventFlag,
  FRAME_BYTES_MIN,
  PUBLISH_WINDOW_BYTES,
  TAKEN_BYTES,
} from "../wire/layout.js";
import { copyOf } from "../wire/request-record.js";
import { rawView } from "./arguments.js";
import type { Broker } from "./brokers.js";

/** What one publication may say for itself. */
export interface PublishOptions {
  /**
   * It is kept as the last value of its topic, for those who subscribe later. With `undefined` for a body
   * the value that is kept is deleted, and nobody is told.
   */
  retain?: boolean;
  /** The body is a `Uint8Array` (or a string, as UTF-8) and goes as it is, without the codec. */
  raw?: boolean;
  /** Resolves only when the broker has taken it, with the number of subscriptions that it went to. */
  confirm?: boolean;
}

const publishOptionNames: OptionNames<PublishOptions> = {
  retain: true,
  raw: true,
  confirm: true,
};

/** What a client has counted of what it published. */
export interface PublisherStats {
  /** Publications written to a connection. */
  published: number;
  /** Publications that the broker refused. */
  publishRefused: number;
  /** Publications that wait for a connection, or until the broker took those before. */
  publishWaiting: number;
}

interface Topic {
  readonly bytes: Uint8Array;
  /** Of its last publication. */
  sequence: number;
}

interface Publication {
  /** Empty where nothing is published, but an answer is asked for. */
  readonly topic: Uint8Array;
  readonly flags: number;
  readonly publisherLow: number;
  readonly publisherHigh: number;
  readonly sequence: number;
  readonly body: Uint8Array;
  readonly isConfirmed: boolean;
  readonly deadlineMs: number;
  resolve(heard: number | undefined): void;
  reject(error: Error): void;
}

/** Topics whose sequence is remembered; beyond, the publisher begins anew under another name. */
const TOPICS_MAX = 65_536;
/** What may wait here to be sent. */
const WAITING_COUNT_MAX = 65_536;
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
const TICK_MS = 50;
const NO_BYTES: Uint8Array = new Uint8Array(0);
const SENT = Promise.resolve(undefined);

/** Publishes to one broker as long as that stands, in order, no faster than it takes. */
export class Publisher {
  readonly #codec: Codec;
  readonly #timeoutMs: number;
  #session = randomSession();
  readonly #topics = new Map<string, Topic>();
  /** Brokers that took us on. */
  readonly #welcome = new Set<Broker>();
  /** Written over for each that goes at once. */
  readonly #fields: PublishFields = {
    topic: NO_BYTES,
    flags: 0,
    publisherLow: 0,
    publisherHigh: 0,
    sequence: 0,
    confirm: 0,
  };
  #home: Broker | undefined;
  /** Bytes written to `#home` that it has not said to have taken. */
  #outstanding = 0;
  readonly #waiting = new Fifo<Publication>();
  #waitingBytes = 0;
  /** Those to be confirmed, oldest first. */
  readonly #unconfirmed = new Map<number, { broker: Broker; publication: Publication }>();
  #confirm = 0;
  /** Whether something was published that no answer came behind. */
  #isUnsettled = false;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  readonly #stats = { published: 0, publishRefused: 0 };

  constructor(codec: Codec, timeoutMs: number) {
    this.#codec = codec;
    this.#timeoutMs = timeoutMs;
  }

  get stats(): PublisherStats {
    return { ...this.#stats, publishWaiting: this.#waiting.count };
  }

  /**
   * Resolves when it is written, or confirmed. Rejects with RESOURCE_EXHAUSTED when too much waits here.
   * Throws for what is no topic or no body.
   */
  publish(name: string, body: unknown, options: PublishOptions): Promise<number | undefined> {
    checkOptions("publish", options, publishOptionNames);
    const isRetained = options.retain === true;
    const isDeleting = isRetained && body === undefined;
    const isRaw = isDeleting || options.raw === true;
    const topic = this.#requireTopic(name);
    // What deletes is no event, and leaves no gap.
    const sequence = isDeleting ? 0 : topic.sequence + 1;
    const { sessionLow: publisherLow, sessionHigh: publisherHigh } = this.#session;
    const bytes = isDeleting
      ? NO_BYTES
      : isRaw
        ? rawView(body)
        : this.#codec.seal(body, {
            service: name,
            direction: "event",
            requestId: eventIdBytes(publisherLow, publisherHigh, sequence),
            dictionary: null,
          });
    // Packing it ran code of the body's.
    if (this.#isClosed) throw new RequestError("CANCELLED", "client closed");
    if (isRetained && !isDeleting && bytes.length === 0) {
      // On the wire that deletes, and is no event.
      const reason = "an empty raw body cannot be kept; publish undefined with retain to delete";
      throw new RequestError("INVALID_ARGUMENT", reason);
    }
    if (!isDeleting && topic.sequence !== sequence - 1) {
      // Its number is taken. To be sent behind the other is not what was asked for.
      const reason = "while its body was packed, that published to the same topic";
      throw new RequestError("INVALID_ARGUMENT", reason);
    }
    const flags = (isRaw ? EventFlag.RAW : 0) | (isRetained ? EventFlag.RETAIN : 0);
    const size = EVENT_SIZE + topic.bytes.length + bytes.length;
    const broker = this.#waiting.count === 0 ? this.#requireHome(size) : undefined;
    this.#refuseTooMuch(size, broker);
    if (!isDeleting) topic.sequence = sequence;
    const isConfirmed = options.confirm === true;
    if (broker !== undefined && !isConfirmed && bytes.length < FRAME_BYTES_MIN) {
      const fields = this.#fields;
      fields.topic = topic.bytes;
      fields.flags = flags;
      fields.publisherLow = publisherLow;
      fields.publisherHigh = publisherHigh;
      fields.sequence = sequence;
      fields.confirm = 0;
      this.#write(broker, fields, bytes, size);
      return SENT;
    }
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + this.#timeoutMs;
      const fields = { topic: topic.bytes, flags, publisherLow, publisherHigh, sequence };
      // The caller may change its own before this is sent.
      const own = isRaw && body instanceof Uint8Array ? copyOf(bytes) : bytes;
      const publication = { ...fields, body: own, isConfirmed, deadlineMs, resolve, reject };
      this.#timer ??= setTimeout(this.#onTick, TICK_MS);
      if (broker !== undefined) return this.#send(broker, publication);
      this.#waiting.push(publication);
      this.#waitingBytes += size;
    });
  }

  /**
   * Resolves when all is sent that waits here, and the broker has it; or when that cannot be had, or not
   * within `timeoutMs`. To a client that is gone a broker may not listen to the end.
   */
  async settle(timeoutMs: number): Promise<void> {
    if (this.#waiting.count === 0 && !this.#isUnsettled) return;
    const { sessionLow: publisherLow, sessionHigh: publisherHigh } = this.#session;
    const settleMs = Math.min(timeoutMs, this.#timeoutMs);
    const deadlineMs = performance.now() + settleMs;
    const fields = { flags: 0, publisherLow, publisherHigh, sequence: 0, isConfirmed: true };
    await new Promise<void>((done) => {
      // Its own timer: it may stand behind others whose deadlines are later.
      const timer = setTimeout(done, settleMs);
      const resolve = () => {
        clearTimeout(timer);
        done();
      };
      const reject = resolve;
      const bytes = { topic: NO_BYTES, body: NO_BYTES };
      this.#waiting.push({ ...fields, ...bytes, deadlineMs, resolve, reject });
      this.#waitingBytes += EVENT_SIZE;
      this.#timer ??= setTimeout(this.#onTick, TICK_MS);
      this.sendWaiting();
    });
  }

  #refuseTooMuch(size: number, broker: Broker | undefined): void {
    const recordMax = this.#home?.link.recordMax ?? 0;
    if (recordMax > 0 && size > recordMax) {
      const reason = `publication of ${size} bytes; the broker takes ${recordMax}`;
      throw new RequestError("INVALID_ARGUMENT", reason);
    }
    const { count } = this.#waiting;
    const isTooMuch = count > 0 && this.#waitingBytes + size > WAITING_BYTES_MAX;
    if (broker === undefined && (isTooMuch || count >= WAITING_COUNT_MAX)) {
      throw new RequestError("RESOURCE_EXHAUSTED", "too much waits to be published", 10);
    }
  }

  // --- the client's side ---

  onWelcome(broker: Broker): void {
    this.#welcome.add(broker);
    this.sendWaiting();
  }

  onDown(broker: Broker, why: string): void {
    this.#welcome.delete(broker);
    if (this.#home === broker) this.#home = undefined;
    for (const [confirm, { broker: of, publication }] of this.#unconfirmed) {
      if (of !== broker) continue;
      this.#unconfirmed.delete(confirm);
      const reason = `broker lost, perhaps with it published: ${why}`;
      publication.reject(new RequestError("UNAVAILABLE", reason));
    }
    this.sendWaiting();
  }

  onPublished(broker: Broker, { status, taken, confirm, heard, reason }: Published): void {
    if (broker === this.#home) this.#outstanding = Math.max(0, this.#outstanding - taken);
    if (status !== Status.OK) this.#stats.publishRefused++;
    const unconfirmed = this.#unconfirmed.get(confirm);
    // Only who was asked can say so.
    if (unconfirmed?.broker === broker) {
      const { publication } = unconfirmed;
      this.#unconfirmed.delete(confirm);
      if (status === Status.OK) publication.resolve(heard);
      else publication.reject(new RequestError(statusName(status), reason));
    }
    this.sendWaiting();
  }

  /** Sends what waits, as far as the broker takes it. */
  sendWaiting(): void {
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      const size = sizeOf(next);
      const broker = this.#requireHome(size);
      if (broker === undefined) return;
      this.#waiting.shift();
      this.#waitingBytes -= size;
      if (size > broker.link.recordMax) {
        const reason = `publication of ${size} bytes; the broker takes ${broker.link.recordMax}`;
        next.reject(new RequestError("INVALID_ARGUMENT", reason));
      } else {
        this.#send(broker, next);
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const closed = () => new RequestError("CANCELLED", "client closed");
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      next.reject(closed());
    }
    for (const { publication } of this.#unconfirmed.values()) publication.reject(closed());
    this.#unconfirmed.clear();
  }

  // --- sending ---

  /**
   * The broker to publish to if it takes so many bytes now: one as long as it stands, since the order
   * between two is nobody's.
   */
  #requireHome(size: number): Broker | undefined {
    if (this.#home === undefined || !isUsable(this.#home)) {
      this.#home = [...this.#welcome].find(isUsable);
      this.#outstanding = 0;
      if (this.#home === undefined) return undefined;
    }
    // Of less than that a broker need not say that it is taken.
    const isFree = this.#outstanding <= TAKEN_BYTES;
    return isFree || this.#outstanding + size <= PUBLISH_WINDOW_BYTES ? this.#home : undefined;
  }

  #send(broker: Broker, publication: Publication): void {
    const { topic, flags, publisherLow, publisherHigh, sequence, isConfirmed } = publication;
    let confirm = 0;
    if (isConfirmed) {
      this.#confirm = (this.#confirm % 0xffffffff) + 1;
      confirm = this.#confirm;
      this.#unconfirmed.set(confirm, { broker, publication });
    }
    if (topic.length === 0) {
      this.#isUnsettled = false;
      writePublishAsk(broker.link.writer, confirm);
      broker.link.flushSoon(true);
      return;
    }
    const fields = { topic, flags, publisherLow, publisherHigh, sequence, confirm };
    this.#write(broker, fields, publication.body, sizeOf(publication));
    if (!isConfirmed) publication.resolve(undefined);
  }

  #write(
    { link }: Broker,
    fields: Parameters<typeof writePublish>[1],
    body: Uint8Array,
    size: number,
  ): void {
    this.#outstanding += size;
    this.#isUnsettled = true;
    this.#stats.published++;
    writePublish(link.writer, fields, body);
    link.flushSoon(fields.confirm !== 0 && this.#unconfirmed.size <= 1);
  }

  #requireTopic(name: string): Topic {
    const known = this.#topics.get(name);
    if (known !== undefined) return known;
    if (typeof name !== "string" || !isTopic(name)) {
      const shape = "1..255 bytes, up to 32 tokens between dots, none empty, without * and >";
      throw new RequestError("INVALID_ARGUMENT", `topic must be ${shape}, got ${text(name)}`);
    }
    if (this.#topics.size >= TOPICS_MAX) {
      this.#topics.clear();
      this.#session = randomSession();
    }
    const topic = { bytes: Buffer.from(name), sequence: 0 };
    this.#topics.set(name, topic);
    return topic;
  }

  #onTick = (): void => {
    this.#timer = undefined;
    const nowMs = performance.now();
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if (next.deadlineMs > nowMs) break;
      this.#waiting.shift();
      this.#waitingBytes -= sizeOf(next);
      const reason = "deadline passed before it could be published";
      next.reject(new RequestError("DEADLINE_EXCEEDED", reason));
    }
    for (const [confirm, { publication }] of this.#unconfirmed) {
      if (publication.deadlineMs > nowMs) break;
      this.#unconfirmed.delete(confirm);
      const reason = "deadline passed, perhaps with it published";
      publication.reject(new RequestError("DEADLINE_EXCEEDED", reason));
    }
    if (this.#waiting.count > 0 || this.#unconfirmed.size > 0) {
      this.#timer = setTimeout(this.#onTick, TICK_MS);
    }
  };
}

function isUsable({ isWelcome, isDraining, link }: Broker): boolean {
  return isWelcome && link.isOpen && !isDraining;
}

/** What a publication occupies on the wire, its frame included. */
function sizeOf({ topic, body }: Publication): number {
  return EVENT_SIZE + topic.length + body.length;
}

function text(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : typeof value;
}
