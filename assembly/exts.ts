import { DATE, EXT, entry, float, u32be, u64be } from "./kinds";
import { BAD_TIMESTAMP, TRUNCATED, fail } from "./status";

/** ECMA-262 21.4.1.1: the range of a Date. */
const DATE_SECONDS_MAX: i64 = 8_640_000_000_000;

/** An ext whose type stands at `at`, and its bytes behind it; the tape's next place or a status. */
export function ext(at: usize, end: usize, size: u32, tape: usize): i32 {
  if (at >= end || size > ((end - at - 1) as u32)) return fail(TRUNCATED, at as i32);
  if (load<i8>(at) == -1) return timestamp(at + 1, size, tape);
  return entry(tape, EXT, size, (at + 1) as u32) as i32;
}

// Timestamp extension:  32: | seconds u32 |   64: | nanoseconds u30, seconds u34 |
//                       96: | nanoseconds u32 | seconds i64 |
function timestamp(at: usize, size: u32, tape: usize): i32 {
  let seconds: i64;
  let nanoseconds: u32 = 0;
  if (size == 4) {
    seconds = u32be(at) as i64;
  } else if (size == 8) {
    const both = u64be(at);
    nanoseconds = (both >> 34) as u32;
    seconds = (both & 0x3ffffffff) as i64;
  } else if (size == 12) {
    nanoseconds = u32be(at);
    seconds = u64be(at + 4) as i64;
  } else {
    return fail(BAD_TIMESTAMP, at as i32);
  }
  if (nanoseconds > 999_999_999) return fail(BAD_TIMESTAMP, at as i32);
  const isDate =
    seconds >= -DATE_SECONDS_MAX &&
    (seconds < DATE_SECONDS_MAX || (seconds == DATE_SECONDS_MAX && nanoseconds < 1_000_000));
  // A moment that no Date can hold is kept as it came.
  if (!isDate) return entry(tape, EXT, size, at as u32) as i32;
  const ms = ((seconds * 1000) as f64) + ((nanoseconds / 1_000_000) as f64);
  return float(tape, DATE, ms) as i32;
}
