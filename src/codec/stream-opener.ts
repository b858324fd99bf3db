import type { BlockCompressor } from "./block.js";
import type { BodyOpener } from "./body-opener.js";
import type { CodecContext } from "./context.js";
import type { Engines } from "./engines.js";
import {
  CHUNK,
  chunkFieldOf,
  counterOf,
  type Envelope,
  isNamedByItself,
  readEnvelope,
  sessionOf,
  steadyBytes,
} from "./envelope.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { LinkedBlocks } from "./linked-blocks.js";
import { CHUNK_SIZE_MAX, requireBytes } from "./options.js";

export interface OpenerParts {
  memory: LinearMemory;
  blocks: BlockCompressor;
  engines: Engines;
  opener: BodyOpener;
}

/** Opens the chunks of one stream, and refuses all that is not the next of them. */
export class StreamOpener {
  readonly #parts: OpenerParts;
  readonly #context: CodecContext;
  readonly #sizeMax: number;
  readonly #linked: LinkedBlocks;
  /** Key, nonce session and the name: what every chunk of a stream has in common. */
  #stream: string | undefined;
  #index = 0;
  #size = 0;
  #isAtEnd = false;

  constructor(parts: OpenerParts, context: CodecContext, sizeMax: number) {
    this.#parts = parts;
    this.#context = context;
    this.#sizeMax = sizeMax;
    this.#linked = new LinkedBlocks(parts.memory, parts.blocks);
  }

  /** The plain bytes of the next chunk, the caller's own. */
  open(given: Uint8Array): Uint8Array {
    requireBytes("an envelope of the stream", given);
    if (this.#isAtEnd) throw new CodecError("TRAILING_BYTES", "bytes follow the stream's end");
    const bytes = steadyBytes(given);
    const envelope = readEnvelope(bytes);
    if ((envelope.flags & CHUNK) === 0) {
      throw new CodecError("BAD_FLAGS", "a body by itself, not a chunk of a stream");
    }
    const { stream, isLast } = this.#requireNext(bytes, envelope);
    this.#requireSize(envelope.plainSize, isLast);
    const plain = this.#read(bytes, envelope);
    this.#stream = stream;
    this.#index++;
    this.#size += plain.length;
    this.#isAtEnd = isLast;
    return plain;
  }

  #read(bytes: Uint8Array, envelope: Envelope): Uint8Array {
    const { memory, engines, opener } = this.#parts;
    const top = memory.enter();
    try {
      const body = opener.verify(bytes, envelope, this.#context);
      const { isCompressed, plainSize } = envelope;
      const plain = isCompressed ? this.#linked.decompress(body, plainSize, plainSize) : body;
      this.#linked.remember(plain);
      return new Uint8Array(plain);
    } finally {
      engines.settle();
      memory.leave(top);
    }
  }

  /**
   * Reads the place in the stream before the tag, so that a chunk out of place is not marked as
   * opened; what it says is believed once the tag has verified.
   */
  #requireNext(bytes: Uint8Array, envelope: Envelope): { stream: string; isLast: boolean } {
    const { name, index, isLast } = chunkFieldOf(bytes, envelope);
    const session = envelope.isSealed ? sessionOf(bytes) : "";
    const stream = session + name;
    if (this.#stream !== undefined && stream !== this.#stream) {
      throw new CodecError("OTHER_STREAM", "the chunk is of another stream");
    }
    if (index !== this.#index) {
      throw new CodecError("OUT_OF_ORDER", `chunk ${this.#index} is next, got chunk ${index}`);
    }
    if (index === 0 && envelope.isSealed && !isNamedByItself(bytes, envelope)) {
      throw new CodecError("OTHER_STREAM", `chunk 0 has counter ${counterOf(bytes)}, not its own`);
    }
    return { stream, isLast };
  }

  #requireSize(plainSize: number, isLast: boolean): void {
    if (plainSize > CHUNK_SIZE_MAX) {
      throw new CodecError("TOO_LARGE", `a chunk of ${plainSize} bytes, more than 1 MiB`);
    }
    if (this.#size + plainSize > this.#sizeMax) {
      throw new CodecError("TOO_LARGE", `the stream has more bytes than sizeMax ${this.#sizeMax}`);
    }
    if (plainSize === 0 && !isLast) {
      throw new CodecError("SIZE_MISMATCH", "an empty chunk that is not the last");
    }
  }

  /** @throws CodecError `TRUNCATED` when the last chunk has not come */
  requireEnd(): void {
    if (this.#isAtEnd) return;
    throw new CodecError("TRUNCATED", `the stream ends before its chunk ${this.#index}`);
  }

  /** Ends the stream, or gives it up. */
  wipe(): void {
    this.#linked.wipe();
  }
}
