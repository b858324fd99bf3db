import { RequestError } from "../base/errors.js";
import { copyOf } from "../wire/request-record.js";
import { isServiceName } from "../wire/text.js";

/** The bytes of the name of a service or queue. @throws RequestError INVALID_ARGUMENT, which says `what` it is */
export function nameBytes(what: string, name: string): Uint8Array {
  if (typeof name === "string" && isServiceName(name)) return Buffer.from(name);
  throw new RequestError(
    "INVALID_ARGUMENT",
    `${what} must be 1..255 bytes without control characters, got ${JSON.stringify(name)}`,
  );
}

/** A raw body, the caller's own bytes. @throws RequestError INVALID_ARGUMENT */
export function rawView(body: unknown): Uint8Array {
  if (typeof body === "string") return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  throw new RequestError(
    "INVALID_ARGUMENT",
    `a raw body must be bytes or text, got ${typeof body}`,
  );
}

/** A raw body that stays as it is, whatever the caller does with its own. @throws RequestError INVALID_ARGUMENT */
export function rawBytes(body: unknown): Uint8Array {
  const bytes = rawView(body);
  return bytes === body ? copyOf(bytes) : bytes;
}
