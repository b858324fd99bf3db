/** Kept until the next, so that V8 cannot do without it. */
const last: { array: unknown } = { array: undefined };

/**
 * Makes young garbage, half as much as `frames` have bytes. Messages are memory outside of V8's heap, which a
 * collection of the young generation would free; but V8 begins one only when that is full of objects, and
 * those of a large message are few. At 64 MB outside it collects all there is instead, at many times the cost:
 * without this a broker in a process of its own default flags did a quarter less, at twice the p99.
 */
export function addBallast(frames: readonly Uint8Array[]): void {
  let size = 0;
  for (const { length } of frames) size += length;
  if (size >= SIZE_MIN) last.array = new Array(Math.min(size, SIZE_MAX) >> 4);
}

/** Of smaller messages the objects are garbage enough. */
const SIZE_MIN = 1024;
/** More elements at once would not be young. */
const SIZE_MAX = 128 * 1024;
