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

/** Bytes that are gathered from several pieces have room for so many from the start. */
const GATHERED_SIZE_MIN = 4096;

/** Bytes taken from a source by size, whatever pieces they come in. */
export class PieceReader {
  readonly #pieces: AsyncGenerator<Uint8Array, void, undefined>;
  #piece: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(source: ByteSource) {
    this.#pieces = checkedPieces(source);
  }

  /** The next bytes, a view or a copy that stays as it is; fewer only where the source ends. */
  async take(size: number): Promise<Uint8Array> {
    if (this.#left < size) await this.#fill();
    if (this.#left >= size) return this.#view(size);
    // By what came, not by what was asked for: that is no more than a claim of the source's.
    let bytes = new Uint8Array(Math.min(size, GATHERED_SIZE_MIN));
    let filled = 0;
    while (filled < size && (this.#left > 0 || (await this.#fill()))) {
      const part = this.#view(Math.min(size - filled, this.#left));
      const end = filled + part.length;
      if (end > bytes.length) {
        const larger = new Uint8Array(Math.min(size, Math.max(end, bytes.length * 2)));
        larger.set(bytes.subarray(0, filled));
        bytes = larger;
      }
      bytes.set(part, filled);
      filled = end;
    }
    return bytes.subarray(0, filled);
  }

  /** Bytes of the piece that were not taken. */
  get #left(): number {
    return this.#piece.length - this.#at;
  }

  #view(size: number): Uint8Array {
    this.#at += size;
    return this.#piece.subarray(this.#at - size, this.#at);
  }

  /** Whether there is a byte or more. */
  async #fill(): Promise<boolean> {
    while (this.#left === 0) {
      const next = await this.#pieces.next();
      if (next.done === true) return false;
      this.#piece = next.value;
      this.#at = 0;
    }
    return true;
  }

  /** Lets go of the source. */
  async end(): Promise<void> {
    await this.#pieces.return(undefined);
  }
}

async function* checkedPieces(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of source) {
    requireBytes("a piece of the source", piece);
    yield piece;
  }
}
