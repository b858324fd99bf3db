import { RequestError } from "../base/errors.js";
import { CodecError } from "../codec/index.js";

/** What was wrong with the call itself: an option out of range, a body that is none. */
export function asRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const refused = new RequestError("INVALID_ARGUMENT", textOf(error));
  refused.cause = error;
  return refused;
}

/** Why a body that could be packed was not sealed: the codec is closed, or its thread was lost. */
export function lostError(error: unknown): RequestError {
  const lost = new RequestError("UNAVAILABLE", textOf(error));
  lost.cause = error;
  return lost;
}

export function replyError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  const refused = new RequestError("UNAUTHENTICATED", `reply refused: ${textOf(error)}`);
  refused.cause = error;
  return refused;
}

/** Why a part of a stream was not opened. */
export function partError(error: unknown): RequestError {
  const isClosed = error instanceof CodecError && error.code === "CLOSED";
  if (isClosed) return new RequestError("CANCELLED", "client closed");
  const refused = new RequestError("UNAUTHENTICATED", `part refused: ${textOf(error)}`);
  refused.cause = error;
  return refused;
}

export function abortReason(signal: AbortSignal): string {
  return signal.reason === undefined ? "cancelled by the caller" : textOf(signal.reason);
}

/** The words of what was thrown, which may be anything at all. */
export function textOf(thrown: unknown): string {
  try {
    return thrown instanceof Error ? String(thrown.message) : String(thrown);
  } catch {
    return "something that cannot be put in words";
  }
}
