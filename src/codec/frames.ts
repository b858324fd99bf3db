import type { BlockCompressor } from "./block.js";
import { CodecError } from "./errors.js";
import type { LinearMemory } from "./linear-memory.js";
import { LinkedBlocks } from "./linked-blocks.js";
import { type ByteSource, chunksOf, PieceReader } from "./pieces.js";
import { XxHash32, xxHash32 } from "./xxhash32.js";

// LZ4 frames (lz4_Frame_format.md 1.6.4), integers little-endian:
//
//   | magic u32 | FLG u8 | BD u8 | content size u64, if said | dictionary id u32, if said | HC u8 |
//   | blocks: size u32, its top bit: not compressed | bytes | xxHash32 u32, if said |  ...
//   | 0 u32 | xxHash32 of the content u32, if said |

const MAGIC = 0x184d2204;
/** 16 magics of frames that are passed over: | magic u32 | size u32 | bytes |. */
const SKIPPABLE = 0x184d2a50;
const VERSION = 0x40;
const INDEPENDENT = 0x20;
const BLOCK_CHECKSUM = 0x10;
const CONTENT_SIZE = 0x08;
const CONTENT_CHECKSUM = 0x04;
const DICTIONARY_ID = 0x01;
const UNCOMPRESSED = 0x80000000;
/** By the code in BD, 4 to 7. */
const BLOCK_SIZES = [64 * 1024, 256 * 1024, 1024 * 1024, 4 * 1024 * 1024];
const BLOCK_SIZE_CODE = 4;
const BLOCK_SIZE = BLOCK_SIZES[0];
/** A frame that is passed over is read in parts of this. */
const SKIPPED_SIZE = 64 * 1024;

export interface FrameParts {
  memory: LinearMemory;
  blocks: BlockCompressor;
}

function u32(bytes: Uint8Array, at = 0): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

function bytesOf(...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(words).buffer);
}

/** What HC is made of: FLG and BD up to it. */
function headerCheck(descriptor: Uint8Array): number {
  return (xxHash32(descriptor) >>> 8) & 0xff;
}

/** The source as one frame of blocks of 64 KiB, linked where the compressor can, checksummed. */
export async function* compressFrame(
  { memory, blocks }: FrameParts,
  source: ByteSource,
  requireOpen: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  requireOpen();
  const linked = new LinkedBlocks(memory, blocks);
  const hash = new XxHash32();
  try {
    const flags = VERSION | CONTENT_CHECKSUM | (linked.isLinking ? 0 : INDEPENDENT);
    const descriptor = Uint8Array.of(flags, BLOCK_SIZE_CODE << 4);
    yield Uint8Array.of(...bytesOf(MAGIC), ...descriptor, headerCheck(descriptor));
    for await (const { plain } of chunksOf(source, BLOCK_SIZE)) {
      requireOpen();
      // A block of no bytes is the frame's end.
      if (plain.length > 0) yield compressBlock(memory, linked, plain);
      hash.update(plain);
    }
    requireOpen();
    yield bytesOf(0, hash.digest());
  } finally {
    linked.wipe();
  }
}

function compressBlock(memory: LinearMemory, linked: LinkedBlocks, plain: Uint8Array): Uint8Array {
  const top = memory.enter();
  try {
    const block = linked.compress(plain);
    const isSmaller = block.length < plain.length;
    const body = isSmaller ? block : plain;
    const bytes = new Uint8Array(4 + body.length);
    bytes.set(bytesOf(isSmaller ? body.length : body.length | UNCOMPRESSED));
    bytes.set(body, 4);
    linked.remember(plain);
    return bytes;
  } finally {
    memory.leave(top);
  }
}

interface Frame {
  flags: number;
  blockSizeMax: number;
  /** Bytes of the whole content, when the frame says. */
  contentSize: number | undefined;
}

/** The content of one frame or more, one behind the other, as any tool may have made them. */
export async function* decompressFrames(
  { memory, blocks }: FrameParts,
  source: ByteSource,
  sizeMax: number,
  requireOpen: () => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  requireOpen();
  const reader = new PieceReader(source);
  const linked = new LinkedBlocks(memory, blocks);
  let size = 0;
  try {
    for (let isFirst = true; ; isFirst = false) {
      const magic = await reader.take(4);
      if (magic.length === 0 && !isFirst) return;
      if (magic.length < 4) throw truncated();
      if ((u32(magic) & ~15) >>> 0 === SKIPPABLE) {
        await skip(reader);
        continue;
      }
      const frame = await readDescriptor(reader, magic);
      if (frame.contentSize !== undefined && size + frame.contentSize > sizeMax) {
        throw new CodecError("TOO_LARGE", `the frame says ${frame.contentSize} bytes`);
      }
      const hash = new XxHash32();
      const before = size;
      linked.wipe();
      for (;;) {
        const block = await readBlock(reader, frame);
        if (block === undefined) break;
        requireOpen();
        const plain = decompressBlock(memory, linked, frame, block);
        size += plain.length;
        if (size > sizeMax) {
          throw new CodecError("TOO_LARGE", `the content has more bytes than sizeMax ${sizeMax}`);
        }
        if ((frame.flags & CONTENT_CHECKSUM) !== 0) hash.update(plain);
        if (plain.length > 0) yield plain;
      }
      await requireEnd(reader, frame, size - before, hash);
    }
  } finally {
    linked.wipe();
    await reader.end();
  }
}

async function skip(reader: PieceReader): Promise<void> {
  for (let left = u32(await exactly(reader, 4)); left > 0; ) {
    left -= (await exactly(reader, Math.min(left, SKIPPED_SIZE))).length;
  }
}

async function readDescriptor(reader: PieceReader, magic: Uint8Array): Promise<Frame> {
  if (u32(magic) !== MAGIC) {
    throw new CodecError("BAD_FRAME", `0x${u32(magic).toString(16)} begins no LZ4 frame`);
  }
  const [flags, sizes] = await exactly(reader, 2);
  const blockSizeMax = BLOCK_SIZES[(sizes >> 4) - BLOCK_SIZE_CODE];
  if ((flags & 0xc0) !== VERSION || (flags & 2) !== 0 || (sizes & 0x0f) !== 0) {
    throw new CodecError("BAD_FRAME", `FLG ${flags}, BD ${sizes} are not of version 1`);
  }
  if (blockSizeMax === undefined) throw new CodecError("BAD_FRAME", `BD ${sizes} is no block size`);
  const optional = await exactly(
    reader,
    ((flags & CONTENT_SIZE) === 0 ? 0 : 8) + ((flags & DICTIONARY_ID) === 0 ? 0 : 4),
  );
  const [check] = await exactly(reader, 1);
  if (check !== headerCheck(Uint8Array.of(flags, sizes, ...optional))) {
    throw new CodecError("BAD_FRAME", "the checksum of the frame's header is another");
  }
  if ((flags & DICTIONARY_ID) !== 0) {
    throw new CodecError("BAD_FRAME", "the frame refers to a dictionary");
  }
  const hasSize = (flags & CONTENT_SIZE) !== 0;
  const contentSize = hasSize ? u32(optional) + u32(optional, 4) * 2 ** 32 : undefined;
  return { flags, blockSizeMax, contentSize };
}

/** The bytes of the next block; undefined at the frame's end. */
async function readBlock(
  reader: PieceReader,
  { flags, blockSizeMax }: Frame,
): Promise<{ bytes: Uint8Array; isCompressed: boolean } | undefined> {
  const word = u32(await exactly(reader, 4));
  if (word === 0) return undefined;
  const isCompressed = word < UNCOMPRESSED;
  const size = isCompressed ? word : word - UNCOMPRESSED;
  if (size > blockSizeMax) {
    throw new CodecError("BAD_FRAME", `a block of ${size} bytes, the frame's have ${blockSizeMax}`);
  }
  const bytes = await exactly(reader, size);
  if ((flags & BLOCK_CHECKSUM) !== 0 && u32(await exactly(reader, 4)) !== xxHash32(bytes)) {
    throw new CodecError("BAD_FRAME", "the checksum of a block is another");
  }
  return { bytes, isCompressed };
}

function decompressBlock(
  memory: LinearMemory,
  linked: LinkedBlocks,
  { flags, blockSizeMax }: Frame,
  { bytes, isCompressed }: { bytes: Uint8Array; isCompressed: boolean },
): Uint8Array {
  const top = memory.enter();
  try {
    const plain = isCompressed ? linked.decompress(bytes, blockSizeMax) : bytes;
    if ((flags & INDEPENDENT) === 0) linked.remember(plain);
    return new Uint8Array(plain);
  } finally {
    memory.leave(top);
  }
}

async function requireEnd(
  reader: PieceReader,
  { flags, contentSize }: Frame,
  size: number,
  hash: XxHash32,
): Promise<void> {
  if (contentSize !== undefined && size !== contentSize) {
    throw new CodecError("SIZE_MISMATCH", `the frame says ${contentSize} bytes and has ${size}`);
  }
  if ((flags & CONTENT_CHECKSUM) !== 0 && u32(await exactly(reader, 4)) !== hash.digest()) {
    throw new CodecError("BAD_FRAME", "the checksum of the content is another");
  }
}

async function exactly(reader: PieceReader, size: number): Promise<Uint8Array> {
  const bytes = await reader.take(size);
  if (bytes.length < size) throw truncated();
  return bytes;
}

function truncated(): CodecError {
  return new CodecError("TRUNCATED", "the bytes end before the LZ4 frame does");
}
