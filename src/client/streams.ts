import { RequestError } from "../base/errors.js";
import type { Codec } from "../codec/index.js";
import type { BatchReader } from "../wire/batch.js";
import { Flag, Kind } from "../wire/layout.js";
import { type ExchangeId, requestIdBytes } from "../wire/request-record.js";
import { PartRecord, writeStreamCredit } from "../wire/stream-record.js";
import type { Broker } from "./brokers.js";
import { partError } from "./errors.js";
import type { ClientPattern } from "./pattern.js";
import type { Pending } from "./pending.js";
import type { ReplyStream, UnreadPart } from "./reply-stream.js";

/** What streams need of their client, which has them among its requests. */
export interface StreamHost {
  readonly codec: Codec;
  /** The request that a record of a broker's is for; undefined, and counted, where it is late. */
  take(broker: Broker, record: PartRecord): Pending | undefined;
  /** The id of one of its requests; the next call overwrites it. */
  id(sequence: number): ExchangeId;
  /** Whether a request has not ended yet. */
  has(pending: Pending): boolean;
  /** A request has ended, and well. */
  finish(pending: Pending): void;
  /** Ends a request that its broker is still at work on. */
  giveUp(pending: Pending, error: RequestError): void;
  /** With few requests under way nothing is gained by waiting for more to send along. */
  readonly isQuiet: boolean;
}

/** The streams among a client's requests: parts in, grants out. */
export class Streams implements ClientPattern {
  readonly kinds = [Kind.STREAM_PART, Kind.STREAM_END];
  partCount = 0;
  readonly #host: StreamHost;
  readonly #record = new PartRecord();

  constructor(host: StreamHost) {
    this.#host = host;
  }

  /** Binds `stream` to the request that asks for it. */
  attach(stream: ReplyStream, pending: Pending): void {
    stream.attach({
      open: (part) => this.#open(pending, part),
      onRead: () => this.#grant(pending, stream),
      onLeft: (reason) => this.#host.giveUp(pending, new RequestError("CANCELLED", reason)),
    });
  }

  /** The request is written: what it may be answered with at first goes right behind it. */
  onSent(pending: Pending, stream: ReplyStream): void {
    stream.begin();
    this.#grant(pending, stream);
  }

  #grant(pending: Pending, { partsMax, bytesMax }: ReplyStream): void {
    const link = pending.broker?.link;
    if (link?.isOpen !== true) return;
    writeStreamCredit(link.writer, this.#host.id(pending.sequence), partsMax, bytesMax);
    link.flushSoon(this.#host.isQuiet);
  }

  onRecord(broker: Broker, reader: BatchReader): void {
    const record = this.#record;
    if (record.read(reader) !== undefined) return;
    const pending = this.#host.take(broker, record);
    if (pending === undefined) return;
    const { stream } = pending;
    if (stream === undefined) {
      const reason = "the service answers with a stream; ask with client.stream()";
      return this.#host.giveUp(pending, new RequestError("INTERNAL", reason));
    }
    const fault = stream.onPart(record);
    if (fault !== undefined) {
      const reason = `the stream cannot be read on: ${fault}`;
      return this.#host.giveUp(pending, new RequestError("INTERNAL", reason));
    }
    if (!record.isLast) this.partCount++;
    // The caller, told that it begins anew, may have ended it.
    else if (this.#host.has(pending)) this.#host.finish(pending);
  }

  #open(pending: Pending, { body, place, isRaw }: UnreadPart): unknown {
    if ((pending.flags & Flag.RAW) !== 0) return body;
    if (isRaw) {
      throw new RequestError("INTERNAL", "the service answers in raw bytes; ask with raw: true");
    }
    try {
      const value = this.#host.codec.openSoon(body, {
        service: pending.service,
        direction: "reply",
        requestId: requestIdBytes(this.#host.id(pending.sequence)),
        headers: place,
      });
      if (!(value instanceof Promise)) return value;
      return value.catch((error) => {
        throw partError(error);
      });
    } catch (error) {
      throw partError(error);
    }
  }

  /** Requests are told by their client. */
  onDown(): void {}
  close(): void {}
}
