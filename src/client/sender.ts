import { RequestError } from "../base/errors.js";
import { Status } from "../base/status.js";
import { performance } from "../link/clock.js";
import { NO_BYTES } from "../wire/batch.js";
import { REQUEST_SIZE } from "../wire/layout.js";
import { type RequestFields, writeCancel, writeRequest } from "../wire/request-record.js";
import type { Broker } from "./brokers.js";
import type { Pending, UnsentLine } from "./pending.js";
import type { PendingRequests } from "./pending-requests.js";
import type { ReplyStream } from "./reply-stream.js";
import type { RequestIds } from "./request-ids.js";
import type { WaitingLine, WaitingLines } from "./waiting-lines.js";

const URGENT_PENDING_MAX = 4;
/** When to try again what was held back for too long here. */
const HELD_RETRY_MS = 100;

/** Sends requests to the brokers, first come first, each as soon as one of them has room. */
export class Sender implements WaitingLine {
  sentCount = 0;
  /** Of the request that is being written. */
  readonly #fields: RequestFields = {
    priority: 0,
    attempts: 0,
    timeoutMs: 0,
    flags: 0,
    service: NO_BYTES,
    headers: NO_BYTES,
  };
  readonly #ids: RequestIds;
  readonly #lines: WaitingLines;
  readonly #pending: PendingRequests;
  readonly unsent: UnsentLine<Pending>;
  readonly #onStreamSent: (pending: Pending, stream: ReplyStream) => void;

  /** `onStreamSent`: a request for a stream is written; what goes right behind it may be now. */
  constructor(
    ids: RequestIds,
    lines: WaitingLines,
    pending: PendingRequests,
    onStreamSent: (pending: Pending, stream: ReplyStream) => void,
  ) {
    this.#ids = ids;
    this.#lines = lines;
    this.#pending = pending;
    this.unsent = pending.unsent;
    this.#onStreamSent = onStreamSent;
    lines.add(this);
  }

  /** With few requests under way nothing is gained by waiting for more to send along. */
  get isQuiet(): boolean {
    return this.#pending.count <= URGENT_PENDING_MAX;
  }

  /** Sends a request, or puts it in line where it has to wait. */
  send(pending: Pending, nowMs: number): void {
    const broker = this.#lines.pick();
    if (broker !== undefined) this.#sendTo(pending, broker, nowMs);
    else this.unsent.push(pending);
  }

  sendFirst(broker: Broker): void {
    const pending = this.unsent.head as Pending;
    const nowMs = performance.now();
    if (broker.isHoldingBack && nowMs >= pending.staleMs) {
      // First in, first out, what goes next is always what is about to expire: it would be worked
      // on for nobody, and so would all behind it.
      const reason = "held back for half its time: the broker has more than it can do";
      this.#pending.fail(pending, new RequestError("RESOURCE_EXHAUSTED", reason, HELD_RETRY_MS));
      return;
    }
    this.unsent.remove(pending);
    this.#sendTo(pending, broker, nowMs);
  }

  #sendTo(pending: Pending, broker: Broker, nowMs: number): void {
    const { link } = broker;
    const bytes = requestBytes(pending);
    if (bytes > link.recordMax) {
      // Beyond it by far, the broker's socket would drop the connection and all that is on it.
      const reason = `request of ${bytes} bytes; the broker takes ${link.recordMax}`;
      this.#pending.fail(pending, new RequestError("INVALID_ARGUMENT", reason));
      return;
    }
    pending.broker = broker;
    broker.inFlight++;
    this.sentCount++;
    const timeoutMs = Math.max(1, Math.ceil(pending.deadlineMs - nowMs));
    const fields = this.#fields;
    fields.priority = pending.priority;
    fields.attempts = pending.attempts;
    fields.timeoutMs = timeoutMs;
    fields.flags = pending.flags;
    fields.service = pending.serviceBytes;
    fields.headers = pending.headers;
    writeRequest(link.writer, this.#ids.of(pending.sequence), fields, pending.body);
    if (pending.stream !== undefined) this.#onStreamSent(pending, pending.stream);
    link.flushSoon(this.isQuiet);
  }

  /** Tells the broker that has it, if one does, that nobody waits for it any more. */
  sendCancel(pending: Pending): void {
    const link = pending.broker?.link;
    if (!link?.isOpen) return;
    writeCancel(link.writer, this.#ids.of(pending.sequence), Status.CANCELLED);
    link.flushSoon(true);
  }
}

/** What a request occupies on the wire, its frames included. */
function requestBytes({ serviceBytes, headers, body }: Pending): number {
  return REQUEST_SIZE + serviceBytes.length + headers.length + body.length;
}
