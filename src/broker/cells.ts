const CHUNK_BYTES = 64 * 1024;
/** Larger pieces get memory of their own. */
const CELL_BYTES_MAX = 8 * 1024;
const CELL_BYTES_MIN = 64;

/** A slab of cells of one size. */
interface Chunk {
  readonly bytes: Buffer;
  readonly kind: number;
  readonly cellSize: number;
  readonly free: number[];
  readonly cellCount: number;
}

/** A piece of memory: the first `size` bytes from `at` on are the holder's. */
export interface Cell {
  readonly bytes: Buffer;
  readonly at: number;
  readonly chunk: Chunk | undefined;
}

/**
 * Memory for what must wait, in cells of sizes that grow by half: 64, 96, 128, 192 ... 8192 bytes.
 * A slab goes back when its last cell does and another of its kind has room.
 */
export class Cells {
  /** Slabs with a free cell, by kind. */
  readonly #open: Chunk[][] = [];
  /** Bytes in slabs. */
  bytesHeld = 0;

  allocate(size: number): Cell {
    if (size > CELL_BYTES_MAX)
      return { bytes: Buffer.allocUnsafeSlow(size), at: 0, chunk: undefined };
    const kind = kindOf(size);
    this.#open[kind] ??= [];
    const open = this.#open[kind];
    if (open.length === 0) open.push(this.#makeChunk(kind));
    const chunk = open[open.length - 1];
    const at = chunk.free.pop() as number;
    if (chunk.free.length === 0) open.pop();
    return { bytes: chunk.bytes, at, chunk };
  }

  free({ chunk, at }: Cell): void {
    if (chunk === undefined) return;
    const open = this.#open[chunk.kind];
    chunk.free.push(at);
    if (chunk.free.length === 1) open.push(chunk);
    if (chunk.free.length < chunk.cellCount || open.length === 1) return;
    open.splice(open.indexOf(chunk), 1);
    this.bytesHeld -= chunk.bytes.length;
  }

  #makeChunk(kind: number): Chunk {
    const cellSize = sizeOf(kind);
    const cellCount = Math.floor(CHUNK_BYTES / cellSize);
    const free: number[] = [];
    for (let cell = cellCount - 1; cell >= 0; cell--) free.push(cell * cellSize);
    this.bytesHeld += CHUNK_BYTES;
    return { bytes: Buffer.allocUnsafeSlow(CHUNK_BYTES), kind, cellSize, free, cellCount };
  }
}

/** Even kinds are 64 << k, odd ones half as much again. */
function sizeOf(kind: number): number {
  const base = CELL_BYTES_MIN << (kind >> 1);
  return (kind & 1) === 0 ? base : base + (base >> 1);
}

function kindOf(size: number): number {
  let kind = 0;
  while (sizeOf(kind) < size) kind++;
  return kind;
}
