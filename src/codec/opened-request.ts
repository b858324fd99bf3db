type SealReply = (reply: unknown, headers: Uint8Array | undefined) => Uint8Array;

/** A request that was opened, and the way to answer it. Made by `codec.openRequest()`. */
export class OpenedRequest {
  /** The request's value. */
  readonly value: unknown;
  readonly #sealReply: SealReply;

  /** @internal */
  constructor(value: unknown, sealReply: SealReply) {
    this.value = value;
    this.#sealReply = sealReply;
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
    return this.#sealReply(reply, headers);
  }
}
