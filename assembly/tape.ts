import { KEY_SIZE_MAX, isNewKey, keySlot } from "./keys";
import {
  BAD_KEY,
  BAD_TIMESTAMP,
  OUT_OF_MEMORY,
  RESERVED_BYTE,
  TOO_DEEP,
  TRAILING_BYTES,
  TRUNCATED,
  fail,
} from "./status";

// One pass over MessagePack (msgpack/spec.md) that validates everything and leaves a flat tape,
// so that the host only builds values and never meets bad input. Entries of 8 bytes:
//
//   | kind u32 (low 4 bits) and size << 4 | word u32 |
//
//   kind        size   word                      then
//   NIL FALSE TRUE
//   INT                i32
//   FLOAT                                        f64, also for whole numbers up to 2^53
//   UINT64 INT64                                 the 64 bits, beyond 2^53
//   ASCII UTF8 BIN EXT bytes  offset of the bytes       (an ext's type stands in the byte before)
//   ARRAY MAP          count                     the items; keys and values in turn
//   KEY KEY_NEW bytes  slot                      KEY_NEW: an entry whose word is the bytes' offset
//   DATE                                         f64, milliseconds since 1970
//
// The same kinds stand in src/codec/unpacker.ts.

const NIL: u32 = 0;
const FALSE: u32 = 1;
const TRUE: u32 = 2;
const INT: u32 = 3;
const FLOAT: u32 = 4;
const UINT64: u32 = 5;
const INT64: u32 = 6;
const ASCII: u32 = 7;
const UTF8: u32 = 8;
const BIN: u32 = 9;
const EXT: u32 = 10;
const ARRAY: u32 = 11;
const MAP: u32 = 12;
const KEY: u32 = 13;
const KEY_NEW: u32 = 14;
const DATE: u32 = 15;

/** Bytes that one step may write at most: an entry and its second word. */
const STEP_SIZE_MAX: usize = 16;
const SAFE_MAX: u64 = 9007199254740991;
/** ECMA-262 21.4.1.1: the range of a Date. */
const DATE_SECONDS_MAX: i64 = 8_640_000_000_000;

/** Per level: the items still owed, keys counted, and whether it is a map. */
const owedByLevel = memory.data(4096, 16); // 1024 levels
const isMapByLevel = memory.data(1024, 16);

let tape: usize = 0;
let tapeLimit: usize = 0;
let cursor: usize = 0;
let end: usize = 0;

function u16be(at: usize): u32 {
  return bswap<u16>(load<u16>(at)) as u32;
}
function u32be(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}
function u64be(at: usize): u64 {
  return bswap<u64>(load<u64>(at));
}

function entry(kind: u32, size: u32, word: u32): void {
  store<u32>(tape, kind | (size << 4));
  store<u32>(tape, word, 4);
  tape += 8;
}

function float(kind: u32, value: f64): void {
  store<u32>(tape, kind);
  store<f64>(tape, value, 8);
  tape += 16;
}

function unsigned(value: u64): void {
  if (value <= 0x7fffffff) return entry(INT, 0, value as u32);
  if (value <= SAFE_MAX) return float(FLOAT, value as f64);
  store<u32>(tape, UINT64);
  store<u64>(tape, value, 8);
  tape += 16;
}

function signed(value: i64): void {
  if (value >= 0) return unsigned(value as u64);
  if (value >= -0x80000000) return entry(INT, 0, value as u32);
  if (value >= -(SAFE_MAX as i64)) return float(FLOAT, value as f64);
  store<u32>(tape, INT64);
  store<i64>(tape, value, 8);
  tape += 16;
}

function isAscii(at: usize, size: u32): bool {
  const last = at + size;
  let bits: u64 = 0;
  while (at + 8 <= last) {
    bits |= load<u64>(at);
    at += 8;
  }
  while (at < last) bits |= load<u8>(at++) as u64;
  return (bits & 0x8080808080808080) == 0;
}

/** Each of these takes the bytes at `cursor`, and answers 0 or a negative status. */
function text(size: u32, isKey: bool): i32 {
  if (size > ((end - cursor) as u32)) return fail(TRUNCATED, cursor as i32);
  if (isKey && (size as i32) <= KEY_SIZE_MAX) {
    const slot = keySlot(cursor, size as i32);
    if (isNewKey) {
      entry(KEY_NEW, size, slot);
      entry(KEY_NEW, size, cursor as u32);
    } else {
      entry(KEY, size, slot);
    }
  } else {
    entry(isAscii(cursor, size) ? ASCII : UTF8, size, cursor as u32);
  }
  cursor += size;
  return 0;
}

function bytes(size: u32): i32 {
  if (size > ((end - cursor) as u32)) return fail(TRUNCATED, cursor as i32);
  entry(BIN, size, cursor as u32);
  cursor += size;
  return 0;
}

function ext(size: u32): i32 {
  if (cursor >= end || size > ((end - cursor - 1) as u32)) return fail(TRUNCATED, cursor as i32);
  const type = load<i8>(cursor++);
  if (type == -1) {
    const status = timestamp(size);
    if (status != 0) return status;
  } else {
    entry(EXT, size, cursor as u32);
  }
  cursor += size;
  return 0;
}

// Timestamp extension:  32: | seconds u32 |   64: | nanoseconds u30, seconds u34 |
//                       96: | nanoseconds u32 | seconds i64 |
function timestamp(size: u32): i32 {
  let seconds: i64;
  let nanoseconds: u32 = 0;
  if (size == 4) {
    seconds = u32be(cursor) as i64;
  } else if (size == 8) {
    const both = u64be(cursor);
    nanoseconds = (both >> 34) as u32;
    seconds = (both & 0x3ffffffff) as i64;
  } else if (size == 12) {
    nanoseconds = u32be(cursor);
    seconds = u64be(cursor + 4) as i64;
  } else {
    return fail(BAD_TIMESTAMP, cursor as i32);
  }
  if (nanoseconds > 999_999_999) return fail(BAD_TIMESTAMP, cursor as i32);
  const isDate =
    seconds >= -DATE_SECONDS_MAX &&
    (seconds < DATE_SECONDS_MAX || (seconds == DATE_SECONDS_MAX && nanoseconds < 1_000_000));
  if (isDate) {
    float(DATE, ((seconds * 1000) as f64) + ((nanoseconds / 1_000_000) as f64));
  } else {
    // A moment that no Date can hold is kept as it came.
    entry(EXT, size, cursor as u32);
  }
  return 0;
}

/** Bytes that must follow the first byte before its fixed part can be read. */
function fixedSize(first: i32): u32 {
  switch (first) {
    case 0xc4:
    case 0xc7:
    case 0xcc:
    case 0xd0:
    case 0xd9:
      return 1;
    case 0xc5:
    case 0xc8:
    case 0xcd:
    case 0xd1:
    case 0xda:
    case 0xdc:
    case 0xde:
      return 2;
    case 0xc6:
    case 0xc9:
    case 0xca:
    case 0xce:
    case 0xd2:
    case 0xdb:
    case 0xdd:
    case 0xdf:
      return 4;
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 8;
    default:
      return 0;
  }
}

/** One value, without the items of an array or a map; these open a level in parse(). */
function scalar(first: i32, isKey: bool): i32 {
  if (first < 0x80) {
    entry(INT, 0, first);
    return 0;
  }
  if (first >= 0xe0) {
    entry(INT, 0, first - 256);
    return 0;
  }
  if (first < 0xc0) return text(first & 31, isKey);
  const fixed = fixedSize(first);
  if (fixed > ((end - cursor) as u32)) return fail(TRUNCATED, cursor as i32);
  const at = cursor;
  cursor += fixed;
  switch (first) {
    case 0xca:
      float(FLOAT, reinterpret<f32>(u32be(at)) as f64);
      return 0;
    case 0xcb:
      float(FLOAT, reinterpret<f64>(u64be(at)));
      return 0;
    case 0xcc:
      entry(INT, 0, load<u8>(at));
      return 0;
    case 0xcd:
      entry(INT, 0, u16be(at));
      return 0;
    case 0xce:
      unsigned(u32be(at) as u64);
      return 0;
    case 0xcf:
      unsigned(u64be(at));
      return 0;
    case 0xd0:
      entry(INT, 0, load<i8>(at) as i32);
      return 0;
    case 0xd1:
      entry(INT, 0, u16be(at) as i16 as i32);
      return 0;
    case 0xd2:
      entry(INT, 0, u32be(at));
      return 0;
    case 0xd3:
      signed(u64be(at) as i64);
      return 0;
    case 0xd9:
      return text(load<u8>(at), isKey);
    case 0xda:
      return text(u16be(at), isKey);
    case 0xdb:
      return text(u32be(at), isKey);
  }
  // Nothing from here on may be a map's key.
  if (isKey && first != 0xc1) return fail(BAD_KEY, (at - 1) as i32);
  switch (first) {
    case 0xc0:
      entry(NIL, 0, 0);
      return 0;
    case 0xc2:
      entry(FALSE, 0, 0);
      return 0;
    case 0xc3:
      entry(TRUE, 0, 0);
      return 0;
    case 0xc4:
      return bytes(load<u8>(at));
    case 0xc5:
      return bytes(u16be(at));
    case 0xc6:
      return bytes(u32be(at));
    case 0xc7:
      return ext(load<u8>(at));
    case 0xc8:
      return ext(u16be(at));
    case 0xc9:
      return ext(u32be(at));
    case 0xd4:
      return ext(1);
    case 0xd5:
      return ext(2);
    case 0xd6:
      return ext(4);
    case 0xd7:
      return ext(8);
    case 0xd8:
      return ext(16);
    default:
      return fail(RESERVED_BYTE, (at - 1) as i32);
  }
}

function isContainer(first: i32): bool {
  return (first >= 0x80 && first < 0xa0) || (first >= 0xdc && first <= 0xdf);
}

/**
 * Parses one MessagePack value that fills its bytes exactly.
 *
 * @param offset where the bytes begin in linear memory; the tape is laid behind them
 * @param size their size in bytes
 * @param depthMax levels of arrays and maps, 1..1023
 * @returns where the tape begins, a multiple of 8, or a negative status
 */
export function parse(offset: i32, size: i32, depthMax: i32): i32 {
  cursor = offset;
  end = cursor + size;
  const start = (end + 39) & ~7;
  tape = start;
  tapeLimit = (memory.size() as usize) << 16;
  let depth: i32 = 0;
  let owed: u32 = 1;
  let isMap = false;
  while (true) {
    while (owed == 0) {
      if (depth == 0) {
        return cursor == end ? (start as i32) : fail(TRAILING_BYTES, cursor as i32);
      }
      depth--;
      owed = load<u32>(owedByLevel + depth * 4);
      isMap = load<u8>(isMapByLevel + depth) != 0;
    }
    if (cursor >= end) return fail(TRUNCATED, cursor as i32);
    if (tape + STEP_SIZE_MAX > tapeLimit) {
      // By an eighth: the tape may end far from the 16 bytes per byte that it could take.
      if (memory.grow(((memory.size() >> 3) + 1) as i32) < 0) return fail(OUT_OF_MEMORY, 0);
      tapeLimit = (memory.size() as usize) << 16;
    }
    const isKey = isMap && (owed & 1) == 0;
    owed--;
    const first = load<u8>(cursor++) as i32;
    if (!isContainer(first)) {
      const status = scalar(first, isKey);
      if (status != 0) return status;
      continue;
    }
    if (isKey) return fail(BAD_KEY, (cursor - 1) as i32);
    const opensMap = first < 0x90 || first >= 0xde;
    const fixed = fixedSize(first);
    if (fixed > ((end - cursor) as u32)) return fail(TRUNCATED, cursor as i32);
    let count = (first & 15) as u32;
    if (fixed == 2) count = u16be(cursor);
    else if (fixed == 4) count = u32be(cursor);
    cursor += fixed;
    // An item takes a byte at least, so a count is believed only as far as there are bytes.
    const items: u64 = opensMap ? (count as u64) * 2 : (count as u64);
    if (items > ((end - cursor) as u64)) return fail(TRUNCATED, cursor as i32);
    if (depth >= depthMax) return fail(TOO_DEEP, (cursor - fixed - 1) as i32);
    entry(opensMap ? MAP : ARRAY, 0, count);
    store<u32>(owedByLevel + depth * 4, owed);
    store<u8>(isMapByLevel + depth, isMap ? 1 : 0);
    depth++;
    owed = items as u32;
    isMap = opensMap;
  }
}
