// What went wrong, as the host is told: a negative result is -status, errorOffset() says where.
// The same numbers stand in src/codec/status.ts.

export const TRUNCATED: i32 = 1;
export const TRAILING_BYTES: i32 = 2;
export const RESERVED_BYTE: i32 = 3;
export const TOO_DEEP: i32 = 4;
export const BAD_KEY: i32 = 5;
export const BAD_TIMESTAMP: i32 = 6;
export const OUT_OF_MEMORY: i32 = 7;
export const BLOCK_TRUNCATED: i32 = 8;
export const BLOCK_OFFSET_ZERO: i32 = 9;
export const BLOCK_OFFSET_RANGE: i32 = 10;
export const BLOCK_NO_END: i32 = 11;
export const TOO_LARGE: i32 = 12;

let failedAt: i32 = 0;

/** Notes where it failed and makes the negative result. */
export function fail(status: i32, at: i32): i32 {
  failedAt = at;
  return -status;
}

/** Offset in linear memory of the byte at which the last failing call gave up. */
export function errorOffset(): i32 {
  return failedAt;
}

/** Before the working area: as far as copies and comparisons that go backwards may reach. */
const ROOM_BEFORE: i32 = 64;

/** First byte of the working area, a multiple of 16. */
export function base(): i32 {
  return (((__heap_base as i32) + 15) & ~15) + ROOM_BEFORE;
}
