import { requireBytes } from "./options.js";

/** Bytes in pieces of any size, as they come. */
export type ByteSource = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** @throws TypeError when it cannot be iterated, or is one piece instead of some */
export function requireSource(name: string, source: unknown): void {
  const value = source as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined;
  const isIterable =
    typeof value === "object" &&
    value !== null &&
    (typeof value[Symbol.asyncIterator] === "function" ||
      typeof value[Symbol.iterator] === "function");
  if (!isIterable || value instanceof Uint8Array) {
    const kind = value instanceof Uint8Array ? "a Uint8Array, put it in an array" : typeof value;
    throw new TypeError(`${name} must be an iterable of Uint8Arrays, got ${kind}`);
  }
}

/**
 * The source in chunks of this size, the last one of what is left: nothing, if there was nothing.
 * Each is a view that the next one overwrites, so that one chunk is held, however much flows.
 */
export async function* chunksOf(
  source: ByteSource,
  size: number,
): AsyncGenerator<{ plain: Uint8Array; isLast: boolean }, void, undefined> {
  const chunk = new Uint8Array(size);
  let filled = 0;
  try {
    for await (const piece of source) {
      requireBytes("a piece of the source", piece);
      for (let at = 0; at < piece.length; ) {
        // Only now: a full chunk is the last one unless more comes.
        if (filled === size) {
          yield { plain: chunk, isLast: false };
          filled = 0;
        }
        const count = Math.min(size - filled, piece.length - at);
        chunk.set(piece.subarray(at, at + count), filled);
        filled += count;
        at += count;
      }
    }
    yield { plain: chunk.subarray(0, filled), isLast: true };
  } finally {
    chunk.fill(0);
  }
}
