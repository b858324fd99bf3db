/** The young generation is to be collected each time that so much was asked for. */
const COLLECTED_BYTES = 12 * 1024 * 1024;
/** How often it is looked how large that is by now: V8 lets it grow, from 1 MB to 16. */
const LOOKED_BYTES = 4 * 1024 * 1024;
/** More elements at once would not be young. */
const GARBAGE_COUNT_MAX = 8192;
const ELEMENT_BYTES = 8;

/** Kept until the next, so that V8 cannot do without it. */
const last: { garbage: unknown } = { garbage: undefined };
let youngBytes: (() => number) | undefined;
let sinceLookedBytes = LOOKED_BYTES;
/** Garbage for each byte. */
let share = 0;

/** Says how to learn the bytes of the young generation; without it keptMemory() is memory and nothing else. */
export function measureYoungBy(measure: () => number): void {
  youngBytes = measure;
}

/**
 * Memory, not zeroed, for bytes that are somebody's own, so that it cannot be used again. Some young garbage comes with it:
 * V8 frees such memory when it collects the young generation, but begins that only when objects have filled it, and
 * those of a large body are few. When some 17 MB have come together outside of its heap it collects all there is
 * instead: at 16 KiB a body that was a quarter of a client's and a worker's time.
 */
export function keptMemory(size: number): Uint8Array {
  sinceLookedBytes += size;
  if (sinceLookedBytes >= LOOKED_BYTES && youngBytes !== undefined) {
    sinceLookedBytes = 0;
    share = youngBytes() / COLLECTED_BYTES;
  }
  const count = Math.floor((size * share) / ELEMENT_BYTES);
  last.garbage = new Array(Math.min(count, GARBAGE_COUNT_MAX));
  return new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);
}
