/** Only in messages from here on are large bins looked for. */
export const SOUGHT_SIZE_MIN = 8192;
/** One of at least this size makes it worth while. */
const LARGE_SIZE_MIN = 4096;
/**
 * Up to here a bin is a copy: as cheap as a view, and it keeps no message alive. V8 lays the bytes
 * of an array of up to 64 into its own heap, in 30 ns; a larger copy needs a buffer, a view does not.
 */
export const COPIED_SIZE_MAX = 64;
/** Values that are looked at before a message is taken for one that is not about bins. */
const VALUE_COUNT_MAX = 32;
/** What stands in a large bin's place: | 0xd6 | type | index u32 |, an ext of 4 bytes. */
const STAND_IN_TYPE = -128;
const STAND_IN_SIZE = 6;
/** So few bytes are copied by a loop: a view of them costs more. */
const LOOP_SIZE_MAX = 128;

/** A bin that is not copied: where its head begins, its bytes begin, and end. */
export interface LargeBin {
  head: number;
  from: number;
  end: number;
}

/**
 * The large bins of a message of few values, so that a file of megabytes need not pass through the
 * module to get its name read. Undefined when there are none, when there are more values, or
 * anything of which the module has to say more, exts among them: no ext but the stand-ins is left.
 */
export function findLargeBins(bytes: Uint8Array): LargeBin[] | undefined {
  const found: LargeBin[] = [];
  let isLarge = false;
  const size = bytes.length;
  let at = 0;
  let owed = 1;
  for (let count = 0; owed > 0; count++) {
    if (count === VALUE_COUNT_MAX || at >= size) return undefined;
    const head = at;
    const first = bytes[at++];
    owed--;
    if (first < 0x80 || first >= 0xe0) continue;
    if (first < 0x90) {
      owed += (first & 15) * 2;
    } else if (first < 0xa0) {
      owed += first & 15;
    } else if (first < 0xc0) {
      at += first & 31;
    } else {
      const kind = kinds[first - 0xc0];
      if (kind === undefined) return undefined;
      const [width, isSized] = kind;
      const from = at + width;
      if (from > size) return undefined;
      let body = 0;
      if (isSized) for (; at < from; at++) body = body * 256 + bytes[at];
      at = from + body;
      if (first >= 0xc4 && first <= 0xc6 && body > COPIED_SIZE_MAX) {
        found.push({ head, from, end: at });
        if (body >= LARGE_SIZE_MIN) isLarge = true;
      }
    }
  }
  return at === size && isLarge ? found : undefined;
}

/** For 0xc0..0xdf: bytes that follow, and whether they say how many follow these. */
const kinds: ([width: number, isSized: boolean] | undefined)[] = [
  [0, false], // nil
  undefined,
  [0, false], // false, true
  [0, false],
  [1, true], // bin
  [2, true],
  [4, true],
  undefined, // ext
  undefined,
  undefined,
  [4, false], // float
  [8, false],
  [1, false], // uint
  [2, false],
  [4, false],
  [8, false],
  [1, false], // int
  [2, false],
  [4, false],
  [8, false],
  undefined, // fixext
  undefined,
  undefined,
  undefined,
  undefined,
  [1, true], // str
  [2, true],
  [4, true],
];

/** Size of the message once stand-ins have taken its large bins' place. */
export function remainingSize(bytes: Uint8Array, bins: readonly LargeBin[]): number {
  let size = bytes.length;
  for (const { head, end } of bins) size += STAND_IN_SIZE - (end - head);
  return size;
}

/** Copies the message to `offset`, with stand-ins in place of its large bins. */
export function copyRemaining(
  bytes: Uint8Array,
  bins: readonly LargeBin[],
  target: Uint8Array,
  offset: number,
): void {
  let at = offset;
  let from = 0;
  for (let index = 0; index < bins.length; index++) {
    const { head, end } = bins[index];
    at = copyPart(bytes, from, head, target, at);
    target[at] = 0xd6;
    target[at + 1] = STAND_IN_TYPE;
    target[at + 2] = 0;
    target[at + 3] = 0;
    target[at + 4] = 0;
    target[at + 5] = index;
    at += STAND_IN_SIZE;
    from = end;
  }
  copyPart(bytes, from, bytes.length, target, at);
}

function copyPart(
  bytes: Uint8Array,
  from: number,
  end: number,
  target: Uint8Array,
  at: number,
): number {
  const size = end - from;
  if (size > LOOP_SIZE_MAX) target.set(bytes.subarray(from, end), at);
  else for (let index = 0; index < size; index++) target[at + index] = bytes[from + index];
  return at + size;
}
