import { RequestError } from "../base/errors.js";
import { type Codec, readEnvelope } from "../codec/index.js";
import { Flag } from "../wire/layout.js";
import {
  type ExchangeId,
  isPassing,
  type ReplyRecord,
  requestIdBytes,
} from "../wire/request-record.js";
import type { Pending } from "./pending.js";
import { RefusedDictionaries } from "./refused-dictionaries.js";
import type { RequestContext } from "./request-ids.js";

/** A request's body as it goes out. */
export interface Sealed {
  bytes: Uint8Array | Promise<Uint8Array>;
  /** Its value, packed, while a worker may still refuse the dictionary that it is compressed with. */
  packed: Uint8Array | undefined;
}

/** Bodies to bytes and back: in one client all of its requests and replies. */
export class RequestBodies {
  readonly #codec: Codec;
  readonly #hasDictionary: boolean;
  readonly #refused = new RefusedDictionaries();

  constructor(codec: Codec) {
    this.#codec = codec;
    this.#hasDictionary = codec.dictionaryDigests.length > 0;
  }

  /** Packs and seals `body`, which may run the caller's code; a large one later. */
  seal(body: unknown, context: RequestContext): Sealed {
    if (!this.#hasDictionary || this.#refused.has(context.service, performance.now())) {
      const bytes = this.#codec.sealSoon(body, withoutDictionary(context));
      return { bytes, packed: undefined };
    }
    // The caller may change the value before a worker refuses the dictionary.
    const packed = this.#codec.pack(body);
    const bytes = this.#codec.sealPackedSoon(packed, context);
    // What is not compressed with it is refused by none.
    const isKept = !(bytes instanceof Promise) && needsDictionary(this.#codec, bytes);
    return { bytes, packed: isKept ? packed : undefined };
  }

  /** Seals once more, without a dictionary. */
  sealAgain(body: unknown, context: RequestContext): Uint8Array {
    return this.#codec.seal(body, withoutDictionary(context));
  }

  /** The same of what a worker refused that lacks the dictionary. */
  sealWithoutDictionary(packed: Uint8Array, context: RequestContext): Uint8Array {
    this.#refused.note(context.service, performance.now());
    return this.#codec.sealPacked(packed, withoutDictionary(context));
  }

  /** The value in a reply to `pending`; a promise of it where it is large. */
  open(pending: Pending, id: ExchangeId, reply: ReplyRecord): unknown {
    // The caller's own: it must not pin, or change with, the batch it came in.
    if ((pending.flags & Flag.RAW) !== 0) return reply.copyBody();
    if ((reply.flags & Flag.RAW) !== 0) {
      throw new RequestError("INTERNAL", "the service answers in raw bytes; ask with raw: true");
    }
    const [body] = reply.body;
    const requestId = requestIdBytes(id);
    const context = { service: pending.service, direction: "reply", requestId } as const;
    return this.#codec.openSoon(body, context, isPassing(body));
  }
}

/** Written out and not spread, see codec/context.ts. */
function withoutDictionary({ service, direction, requestId, headers }: RequestContext) {
  return { service, direction, requestId, headers, dictionary: null };
}

/** Whether a worker that lacks the codec's dictionary would refuse these bytes. */
function needsDictionary(codec: Codec, bytes: Uint8Array): boolean {
  return readEnvelope(bytes).isCompressed && codec.dictionaryNamedBy(bytes) !== null;
}
