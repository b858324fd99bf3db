import { type Envelope, HEADER_SIZE } from "./envelope.js";

export type Direction = "request" | "reply" | "event" | "task" | "survey";

/** What a body is sealed for. The opener must name the same, or the body does not open. */
export interface CodecContext {
  /** The service that is asked, or the topic that is published to, 1..65535 bytes as UTF-8. */
  service: string;
  /**
   * Whether the body is the question or the answer, what was published, a task of a queue, or the
   * question of a survey. An event is sealed and opened under a shared key, by as many as hold it, and
   * as often as they like; a task may come again, and a survey goes to many.
   */
  direction: Direction;
  /** The request's id, 16 bytes; a reply carries its request's. Of an event its publisher and number. */
  requestId: Uint8Array;
  /** Headers that travel in clear beside the body, as their exact bytes; none if left out. */
  headers?: Uint8Array;
  /**
   * The digest of the dictionary to seal with, which the codec holds; null for none, the codec's
   * first if left out. Nothing that opening asks for.
   */
  dictionary?: string | null;
}

// docs/codec.md 2: the associated data. Every part has a fixed size or its size before it, so
// that no two contexts have the same bytes.
//
//   | header 20 B | fields | direction u8 | serviceSize u16 | service | requestId 16 B |
//   | headersSize u32 | headers |
//
// The flags in the header say which fields there are, and so where they end.

const REQUEST_ID_SIZE = 16;
const DIRECTIONS: Readonly<Record<Direction, number>> = {
  request: 1,
  reply: 2,
  event: 3,
  task: 5,
  survey: 6,
};
const TARGETS_COUNT_MAX = 1024;

/** A service and a direction, in the bytes of the associated data, and their check. */
interface Target {
  bytes: Uint8Array;
  check: number;
}

const crcTable = new Uint32Array(256).map((_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0xedb88320;
  return crc;
});

/** CRC-32 as in zlib and IEEE 802.3. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) {
    crc = (crc >>> 8) ^ crcTable[(crc ^ bytes[at]) & 0xff];
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** CRC-32 of the request id: tells which check failed, and is worth nothing as a proof. */
export const requestCheckOf = crc32;

/** Lays out associated data; remembers the services it has met. */
export class ContextBinder {
  #targets: Readonly<Record<Direction, Map<string, Target>>> = {
    request: new Map(),
    reply: new Map(),
    event: new Map(),
    task: new Map(),
    survey: new Map(),
  };
  #bytes = new Uint8Array(512);
  #view = new DataView(this.#bytes.buffer);

  /**
   * The context as it is now, each property read once: it may have getters, which may use the codec,
   * and say something else each time. What was given is not to be looked at again.
   *
   * @throws TypeError, RangeError when the context is not one
   */
  check(context: CodecContext): CodecContext {
    if (typeof context !== "object" || context === null) {
      throw new TypeError(`context must be an object, got ${context}`);
    }
    const { service, direction, requestId, headers, dictionary } = context;
    if (typeof service !== "string") {
      throw new TypeError(`context.service must be a string, got ${typeof service}`);
    }
    if (typeof direction !== "string" || !Object.hasOwn(DIRECTIONS, direction)) {
      const known = `must be one of ${Object.keys(DIRECTIONS).join(", ")}`;
      throw new TypeError(`context.direction ${known}, got ${direction}`);
    }
    if (!(requestId instanceof Uint8Array)) {
      throw new TypeError(`context.requestId must be a Uint8Array, got ${typeof requestId}`);
    }
    if (requestId.length !== REQUEST_ID_SIZE) {
      throw new RangeError(`context.requestId must be 16 bytes, got ${requestId.length}`);
    }
    if (headers !== undefined && !(headers instanceof Uint8Array)) {
      throw new TypeError(`context.headers must be a Uint8Array, got ${typeof headers}`);
    }
    // Written out: where properties are added to what is spread, V8 makes a shape of its own for
    // each object, in 1 us and more, and whoever reads it then begins anew too.
    return { service, direction, requestId, headers, dictionary };
  }

  /** The check of a context's service and direction. */
  targetCheckOf(context: CodecContext): number {
    return this.#target(context).check;
  }

  #target({ service, direction }: CodecContext): Target {
    const targets = this.#targets[direction];
    let target = targets.get(service);
    if (target !== undefined) return target;
    if (/\p{Surrogate}/u.test(service)) {
      throw new RangeError("context.service must not have a lone surrogate: others look like it");
    }
    const name = new TextEncoder().encode(service);
    if (name.length < 1 || name.length > 65_535) {
      throw new RangeError(`context.service must be 1..65535 bytes, got ${name.length}`);
    }
    const bytes = new Uint8Array(3 + name.length);
    bytes[0] = DIRECTIONS[direction];
    bytes[1] = name.length;
    bytes[2] = name.length >>> 8;
    bytes.set(name, 3);
    target = { bytes, check: crc32(bytes) };
    // Names may come from outside: forget all rather than keep every name that was ever tried.
    if (targets.size >= TARGETS_COUNT_MAX) targets.clear();
    targets.set(service, target);
    return target;
  }

  /**
   * The associated data of an envelope whose header and fields are written; a view that the next
   * call overwrites.
   */
  associate(
    envelope: Uint8Array,
    { fieldsAt, payloadAt }: Pick<Envelope, "fieldsAt" | "payloadAt">,
    context: CodecContext,
  ): Uint8Array {
    const target = this.#target(context).bytes;
    const headersSize = context.headers?.length ?? 0;
    const fieldsSize = payloadAt - fieldsAt;
    const size = HEADER_SIZE + fieldsSize + target.length + REQUEST_ID_SIZE + 4 + headersSize;
    if (size > this.#bytes.length) {
      this.#bytes = new Uint8Array(size * 2);
      this.#view = new DataView(this.#bytes.buffer);
    }
    const bytes = this.#bytes;
    for (let at = 0; at < HEADER_SIZE; at++) bytes[at] = envelope[at];
    for (let at = 0; at < fieldsSize; at++) bytes[HEADER_SIZE + at] = envelope[fieldsAt + at];
    let at = HEADER_SIZE + fieldsSize;
    bytes.set(target, at);
    at += target.length;
    bytes.set(context.requestId, at);
    at += REQUEST_ID_SIZE;
    this.#view.setUint32(at, headersSize, true);
    if (context.headers !== undefined) bytes.set(context.headers, at + 4);
    return bytes.subarray(0, size);
  }
}

/** Whether it is something that is asked of a service or a queue, which may have a public key. */
export function isAsked({ direction }: CodecContext): boolean {
  return direction === "request" || direction === "task" || direction === "survey";
}

/** Whether a body of this context is opened at most once. */
export function isOpenedOnce({ direction }: CodecContext): boolean {
  return direction === "request" || direction === "reply";
}

/** A copy, for work that goes on: the caller may change its own meanwhile. */
export function ownContext({ service, direction, requestId, headers }: CodecContext): CodecContext {
  return {
    service,
    direction,
    requestId: new Uint8Array(requestId),
    ...(headers === undefined ? {} : { headers: new Uint8Array(headers) }),
  };
}
