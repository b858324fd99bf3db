import type { BlockCompressor } from "./block.js";
import type { BodyKeys } from "./body-keys.js";
import type { BodyOpener } from "./body-opener.js";
import type { BodySealer } from "./body-sealer.js";
import { type CodecContext, type ContextBinder, ownContext } from "./context.js";
import type { Engines } from "./engines.js";
import { compressFrame, decompressFrames } from "./frames.js";
import type { LinearMemory } from "./linear-memory.js";
import { CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, type CompleteOptions, requireInteger } from "./options.js";
import type { Packer } from "./packer.js";
import { type ByteSource, chunksOf, requireSource } from "./pieces.js";
import { StreamOpener } from "./stream-opener.js";
import { StreamSealer } from "./stream-sealer.js";

/** Streams may be as large as this if the caller says so; the index of a chunk is a u32. */
const STREAM_SIZE_LIMIT = 2 ** 40;
const STREAM_SIZE_MAX = 64 * 1024 * 1024;
const CHUNK_SIZE = 64 * 1024;

/** @internal What a codec is made of. */
export interface CodecParts {
  memory: LinearMemory;
  blocks: BlockCompressor;
  engines: Engines;
  keys: BodyKeys;
  binder: ContextBinder;
  packer: Packer;
  sealer: BodySealer;
  opener: BodyOpener;
  options: CompleteOptions;
}

/** The part of a codec that makes and reads streams of chunks. */
export abstract class StreamCodec {
  #parts: CodecParts | undefined;

  /** @internal */
  protected abstract parts(): CodecParts;
  /** @internal */
  protected abstract requireOpen(): void;

  /** @internal */
  protected get bulk(): CodecParts {
    this.#parts ??= this.parts();
    return this.#parts;
  }

  /**
   * Bytes of any number, sealed for one context, as a stream of envelopes (docs/codec.md 9). Of
   * `source` one chunk is held at a time; its pieces may have any size.
   *
   * @param options `chunkSize`, 4 KiB..1 MiB of plain bytes in an envelope, 64 KiB if left out
   * @throws CodecError `CLOSED`, `UNKNOWN_KEY` when the codec or the stream's key go in the middle
   *   of it; whatever the source throws
   */
  sealStream(
    source: ByteSource,
    context: CodecContext,
    { chunkSize = CHUNK_SIZE }: { chunkSize?: number } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    requireSource("source", source);
    const own = this.bulk.binder.check(context);
    requireInteger("chunkSize", chunkSize, CHUNK_SIZE_MIN, CHUNK_SIZE_MAX);
    return this.#sealChunks(source, ownContext(own), chunkSize);
  }

  async *#sealChunks(
    source: ByteSource,
    context: CodecContext,
    chunkSize: number,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    const stream = new StreamSealer(this.bulk, context);
    try {
      for await (const { plain, isLast } of chunksOf(source, chunkSize)) {
        this.requireOpen();
        yield stream.seal(plain, isLast);
      }
    } finally {
      stream.wipe();
    }
  }

  /**
   * The bytes of a stream that was sealed for this context, of each chunk as soon as it verified.
   * What came is believed only up to there: the stream is whole when the generator ends.
   *
   * @param envelopes the stream's, in order, one a piece
   * @param options `sizeMax`, plain bytes of the whole stream, 64 MiB if left out
   * @throws CodecError `OUT_OF_ORDER`, `OTHER_STREAM`, `TRUNCATED` when the last chunk is missing,
   *   `TRAILING_BYTES` when something follows it, `TOO_LARGE`; else as open() does for one body
   */
  openStream(
    envelopes: ByteSource,
    context: CodecContext,
    { sizeMax = STREAM_SIZE_MAX }: { sizeMax?: number } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    requireSource("envelopes", envelopes);
    const own = this.bulk.binder.check(context);
    requireInteger("sizeMax", sizeMax, 0, STREAM_SIZE_LIMIT);
    return this.#openChunks(envelopes, ownContext(own), sizeMax);
  }

  async *#openChunks(
    envelopes: ByteSource,
    context: CodecContext,
    sizeMax: number,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    const stream = new StreamOpener(this.bulk, context, sizeMax);
    try {
      for await (const envelope of envelopes) {
        this.requireOpen();
        const plain = stream.open(envelope);
        if (plain.length > 0) yield plain;
      }
      stream.requireEnd();
    } finally {
      stream.wipe();
    }
  }

  /**
   * Bytes of any number as one standard LZ4 frame, which any lz4 tool opens: blocks of 64 KiB, each
   * of which may refer to the 64 KiB before it, and a checksum of the content.
   *
   * @throws CodecError `CLOSED`; whatever the source throws
   */
  compressStream(source: ByteSource): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    requireSource("source", source);
    return compressFrame(this.bulk, source, () => this.requireOpen());
  }

  /**
   * The content of LZ4 frames, in pieces that may be cut anywhere. Checksums are checked where
   * there are some, and the last one comes last: the content is whole when the generator ends.
   *
   * @param options `sizeMax`, bytes of the content of all frames, 64 MiB if left out
   * @throws CodecError `BAD_FRAME`, `BAD_BLOCK`, `TRUNCATED`, `SIZE_MISMATCH`, `TOO_LARGE`,
   *   `CLOSED`
   */
  decompressStream(
    source: ByteSource,
    { sizeMax = STREAM_SIZE_MAX }: { sizeMax?: number } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.requireOpen();
    requireSource("source", source);
    requireInteger("sizeMax", sizeMax, 0, STREAM_SIZE_LIMIT);
    return decompressFrames(this.bulk, source, sizeMax, () => this.requireOpen());
  }
}
