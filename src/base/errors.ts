import type { StatusName } from "./status.js";

/**
 * How the reason begins when a worker lacks the dictionary of a request. It never ran, and the
 * client sends it again without one.
 */
export const DICTIONARY_REFUSED = "body refused: UNKNOWN_DICTIONARY: ";

/**
 * Why a request ended without a reply.
 *
 * `code` is one of gRPC's status names, `reason` says what happened in words,
 * `retryAfterMs` is when trying again makes sense (0: not known to).
 */
export class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(
    readonly code: StatusName,
    readonly reason: string,
    readonly retryAfterMs = 0,
  ) {
    super(`${code}: ${reason}`);
  }
}
