const CHUNK_BYTES = 64 * 1024;
/** Larger pieces get memory of their own. */
const CELL_BYTES_MAX = 8 * 1024;
const CELL_BYTES_MIN = 64;
/** So many slabs are kept while nobody has a cell of theirs, 1 MiB: what is in flight comes and goes in batches. */
const EMPTY_MAX = 16;

/** A slab of cells of one size. */
interface Chunk {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly kind: number;
  readonly cellSize: number;
  readonly free: Cell[];
  readonly cellCount: number;
}

/** A piece of memory: the first `size` bytes from `at` on are the holder's. */
export interface Cell {
  readonly bytes: Buffer;
  /** Of the same `bytes`. */
  readonly view: DataView;
  readonly at: number;
  readonly chunk: Chunk | undefined;
}

/**
 * Memory for what must wait, in cells of sizes that grow by half: 64, 96, 128, 192 ... 8192 bytes.
 * A slab goes back when its last cell does, another of its kind has room, and enough are kept.
 */
export class Cells {
  /** Slabs with a free cell, by kind. */
  readonly #open: Chunk[][] = [];
  /** Bytes in slabs. */
  bytesHeld = 0;
  /** Slabs of which nobody has a cell. */
  #emptyCount = 0;

  allocate(size: number): Cell {
    if (size > CELL_BYTES_MAX) {
      const bytes = Buffer.allocUnsafeSlow(size);
      return { bytes, view: viewOf(bytes), at: 0, chunk: undefined };
    }
    const kind = kindOf(size);
    this.#open[kind] ??= [];
    const open = this.#open[kind];
    if (open.length === 0) open.push(this.#makeChunk(kind));
    const chunk = open[open.length - 1];
    if (chunk.free.length === chunk.cellCount) this.#emptyCount--;
    const cell = chunk.free.pop() as Cell;
    if (chunk.free.length === 0) open.pop();
    return cell;
  }

  free(cell: Cell): void {
    const { chunk } = cell;
    if (chunk === undefined) return;
    const open = this.#open[chunk.kind];
    chunk.free.push(cell);
    if (chunk.free.length === 1) open.push(chunk);
    if (chunk.free.length < chunk.cellCount) return;
    if (this.#emptyCount < EMPTY_MAX || open.length === 1) {
      this.#emptyCount++;
      return;
    }
    open.splice(open.indexOf(chunk), 1);
    this.bytesHeld -= chunk.bytes.length;
  }

  #makeChunk(kind: number): Chunk {
    const cellSize = sizeOf(kind);
    const cellCount = Math.floor(CHUNK_BYTES / cellSize);
    const bytes = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    const view = viewOf(bytes);
    const chunk: Chunk = { bytes, view, kind, cellSize, free: [], cellCount };
    for (let i = cellCount - 1; i >= 0; i--) {
      chunk.free.push({ bytes, view, at: i * cellSize, chunk });
    }
    this.bytesHeld += CHUNK_BYTES;
    this.#emptyCount++;
    return chunk;
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** Even kinds are 64 << k, odd ones half as much again. */
function sizeOf(kind: number): number {
  const base = CELL_BYTES_MIN << (kind >> 1);
  return (kind & 1) === 0 ? base : base + (base >> 1);
}

function kindOf(size: number): number {
  return KINDS[((size + KIND_STEP - 1) / KIND_STEP) | 0];
}

/** All sizes of cells are multiples of this. */
const KIND_STEP = 32;
/** The kind for each size, in steps. */
const KINDS = Uint8Array.from({ length: CELL_BYTES_MAX / KIND_STEP + 1 }, (_, steps) => {
  let kind = 0;
  while (sizeOf(kind) < steps * KIND_STEP) kind++;
  return kind;
});
