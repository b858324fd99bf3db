import type { Origin } from "./body-keys.js";
import type { CodecContext } from "./context.js";

/** What an opened request needs of its codec. */
export interface ReplySealer {
  sealFor(value: unknown, context: CodecContext, origin: Origin): Uint8Array;
  sealSoon(value: unknown, context: CodecContext, origin: Origin): Uint8Array | Promise<Uint8Array>;
}

/** @throws RangeError for the context of a reply */
export function requireRequest(context: CodecContext): void {
  const direction = context?.direction;
  if (direction !== "reply" && direction !== "event") return;
  throw new RangeError(`context.direction must be "request", got "${direction}"`);
}

/** A request that was opened, and the way to answer it. Made by `codec.openRequest()`. */
export class OpenedRequest {
  /** The request's value. */
  readonly value: unknown;
  readonly #sealer: ReplySealer;
  readonly #context: CodecContext;
  readonly #origin: Origin;

  /** @internal `context` is the request's, its dictionary the one that a reply may refer to. */
  constructor(sealer: ReplySealer, value: unknown, context: CodecContext, origin: Origin) {
    this.value = value;
    this.#sealer = sealer;
    this.#context = context;
    this.#origin = origin;
  }

  /**
   * Its reply, sealed for the same service and request: under what was agreed on with the client
   * that asked, or, where it asked under a shared key, under the shared key that seals.
   *
   * @param headers that travel in clear beside the reply, as their exact bytes
   * @throws CodecError as `codec.seal()` does; `NO_KEY` also when the service key that the request
   *   came under is held no more
   */
  seal(reply: unknown, headers?: Uint8Array): Uint8Array {
    return this.#sealer.sealFor(reply, this.#replyContext(headers), this.#origin);
  }

  /** As seal(), but a large reply is compressed and encrypted in a thread. */
  async sealAsync(reply: unknown, headers?: Uint8Array): Promise<Uint8Array> {
    return this.sealSoon(reply, headers);
  }

  /** @internal As sealAsync(), without a promise where there is nothing to wait for. */
  sealSoon(reply: unknown, headers?: Uint8Array): Uint8Array | Promise<Uint8Array> {
    return this.#sealer.sealSoon(reply, this.#replyContext(headers), this.#origin);
  }

  #replyContext(headers: Uint8Array | undefined): CodecContext {
    const { service, requestId, dictionary } = this.#context;
    return { service, direction: "reply", requestId, headers, dictionary };
  }
}
