import { DICTIONARY_REFUSED, RequestError } from "../base/errors.js";
import { Status, type StatusName } from "../base/status.js";
import { CodecError, type CodecErrorCode } from "../codec/index.js";

/** How a request failed, in words and numbers of the wire. */
export interface Failed {
  status: StatusName;
  reason: string;
  retryAfterMs?: number;
  /** Its turn never came. */
  isUntouched?: boolean;
}

const WORDLESS = "with what cannot be put in words";

/** Codes that say that a body is not what an honest client sealed for this request. */
const forged = new Set<CodecErrorCode>([
  "TAMPERED",
  "REDIRECTED",
  "SWAPPED",
  "UNKNOWN_KEY",
  "UNSEALED",
  "BAD_COUNTER",
  "BAD_AGREEMENT",
]);

/** Why a body was not opened. One that comes too late or twice may be asked anew. */
export function refusedBody(what: "body" | "reply", error: CodecError): Failed {
  const isRepeated = error.code === "REPLAYED" || error.code === "STALE";
  const status = forged.has(error.code) ? "UNAUTHENTICATED" : "INVALID_ARGUMENT";
  return {
    status: isRepeated ? "ABORTED" : status,
    reason: `${what} refused: ${error.message}`,
  };
}

/**
 * What the client learns of an error that a handler threw, which may be anything at all. The words
 * of an unexpected one may hold what the body did, and reasons travel in clear: `isSealed` keeps them.
 */
export function explain(error: unknown, isSealed: boolean): Failed {
  try {
    return explained(error, isSealed);
  } catch {
    // A getter of its own, or what is no object any more.
    return { status: "INTERNAL", reason: `handler failed ${WORDLESS}` };
  }
}

/** Whether a handler threw it on purpose, for the client to read. */
export function isForClient(error: unknown): boolean {
  try {
    return error instanceof RequestError;
  } catch {
    return false;
  }
}

/** The stack of what a handler threw, or what it says where it has none. */
export function stackOf(error: unknown): string {
  try {
    return error instanceof Error && typeof error.stack === "string" ? error.stack : textOf(error);
  } catch {
    return WORDLESS;
  }
}

function explained(error: unknown, isSealed: boolean): Failed {
  if (error instanceof RequestError) {
    const { code, reason, retryAfterMs } = error;
    // Thrown on purpose: its words are for the client.
    return {
      status: code in Status && code !== "OK" ? code : "INTERNAL",
      reason: wordsOfHandler(textOf(reason)),
      retryAfterMs: typeof retryAfterMs === "number" && retryAfterMs > 0 ? retryAfterMs : 0,
    };
  }
  if (isSealed && !(error instanceof CodecError)) {
    return { status: "INTERNAL", reason: "handler failed" };
  }
  const message = error instanceof Error ? error.message : error;
  return { status: "INTERNAL", reason: `handler failed: ${textOf(message)}` };
}

/** A handler that passes on what it was told must not say that it never ran. */
function wordsOfHandler(reason: string): string {
  return reason.startsWith(DICTIONARY_REFUSED) ? `handler failed: ${reason}` : reason;
}

function textOf(value: unknown): string {
  try {
    return String(value);
  } catch {
    return WORDLESS;
  }
}
