import { BLOCK_BYTES_MIN, type Blocks, OWN_FRAME_BYTES_MIN } from "../base/blocks.js";
import { RequestError } from "../base/errors.js";
import { copyOf } from "../wire/request-record.js";
import { isServiceName } from "../wire/text.js";
import { abortReason } from "./errors.js";

/** The bytes of the name of a service or queue. @throws RequestError INVALID_ARGUMENT, which says `what` it is */
export function nameBytes(what: string, name: string): Uint8Array {
  if (typeof name === "string" && isServiceName(name)) return Buffer.from(name);
  throw new RequestError(
    "INVALID_ARGUMENT",
    `${what} must be 1..255 bytes without control characters, got ${JSON.stringify(name)}`,
  );
}

/**
 * The signal that a call was given, which is not aborted; null is none, as `fetch` has it.
 * @throws RequestError CANCELLED where it is aborted, TypeError where it is none
 */
export function signalOf(options: { signal?: AbortSignal | null }): AbortSignal | undefined {
  const { signal } = options;
  if (signal === undefined || signal === null) return undefined;
  // Perhaps of another realm: what is asked of it is what counts.
  const { addEventListener, removeEventListener } = signal;
  if (typeof addEventListener !== "function" || typeof removeEventListener !== "function") {
    throw new TypeError(`signal must be an AbortSignal, got ${typeof signal}`);
  }
  if (signal.aborted) throw new RequestError("CANCELLED", abortReason(signal));
  return signal;
}

const NAMES_MAX = 1024;

/** The bytes of the names of services that are asked for: the same few again and again. */
export class ServiceNames {
  readonly #bytes = new Map<string, Uint8Array>();

  /** @throws RequestError INVALID_ARGUMENT */
  bytesOf(service: string): Uint8Array {
    const known = this.#bytes.get(service);
    if (known !== undefined) return known;
    const bytes = nameBytes("service", service);
    // Names made up by the thousand are not worth keeping.
    if (this.#bytes.size >= NAMES_MAX) this.#bytes.clear();
    this.#bytes.set(service, bytes);
    return bytes;
  }
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

/**
 * A raw body that stays as it is, whatever the caller does with its own; in one of `blocks`, where they are given
 * and its size is worth one. @throws RequestError INVALID_ARGUMENT
 */
export function rawBytes(body: unknown, blocks?: Blocks): Uint8Array {
  const bytes = rawView(body);
  if (bytes !== body) return bytes;
  const { length } = bytes;
  if (blocks === undefined || length < BLOCK_BYTES_MIN / 2 || length >= OWN_FRAME_BYTES_MIN) {
    return copyOf(bytes);
  }
  const held = blocks.take(length).subarray(0, length);
  held.set(bytes);
  return held;
}
