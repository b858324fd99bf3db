import { beginShapes, childOf, forgetShapes, learnChild } from "./shapes";
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
import {
  STRING_SIZE_MAX,
  beginStrings,
  forgetStrings,
  isNewString,
  stringSlot,
  takeBackStrings,
} from "./strings";
import { beginWide, forgetWide, wideCount, widen } from "./wide";

// One pass over MessagePack (msgpack/spec.md) that validates everything and leaves a flat tape,
// so that the host only builds values and never meets bad input. Entries of 8 bytes:
//
//   | kind u32 (low 5 bits) and size << 5 | word u32 |
//
//   kind        size   word                      then
//   NIL FALSE TRUE
//   INT                i32
//   FLOAT                                        f64, also for whole numbers up to 2^53
//   UINT64 INT64                                 the 64 bits, beyond 2^53
//   ASCII UTF8 BIN EXT bytes  offset of the bytes       (an ext's type stands in the byte before)
//   WIDE        units  index of the first unit   (wide.ts)
//   KNOWN NEW   bytes  slot (strings.ts)         NEW: an entry whose word is the bytes' offset
//   ARRAY              count                     the items
//   MAP         count  node of its first keys (shapes.ts): the values of these, then the other
//                                                keys and values in turn
//   INTS FLOATS        count                     so many i32, padded to 8 bytes; so many f64
//   DATE                                         f64, milliseconds since 1970
//
// The same kinds stand in src/codec/kinds.ts.

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
const KNOWN: u32 = 13;
const NEW: u32 = 14;
const DATE: u32 = 15;
const WIDE: u32 = 16;
const INTS: u32 = 17;
const FLOATS: u32 = 18;

/** Bytes that one step may write at most: an entry and its second word. */
const STEP_SIZE_MAX: usize = 16;
const SAFE_MAX: u64 = 9007199254740991;
/** ECMA-262 21.4.1.1: the range of a Date. */
const DATE_SECONDS_MAX: i64 = 8_640_000_000_000;

/** Per level: the items still owed, keys counted, and whether it is a map. */
const owedByLevel = memory.data(4096, 16); // 1024 levels
const isMapByLevel = memory.data(1024, 16);
/** The same for the node of a map's keys so far, or LEFT, and the map's entry. */
const nodeByLevel = memory.data(4096, 16);
const mapByLevel = memory.data(4096, 16);
/** The map has a key that the trie does not know: the keys from there on stand on the tape. */
const LEFT: u32 = 0xffffffff;

/** Arrays of fewer numbers than this are not worth a kind of their own. */
const RUN_COUNT_MIN: u32 = 4;
/** Text beyond ASCII of more bytes than this is not widened. */
const WIDE_SIZE_MAX: u32 = 2048;

let plains: i32 = 0;
/** Strings of the kind ASCII on the last tape. */
export function plainCount(): i32 {
  return plains;
}

/** Empties all that is remembered from message to message. */
export function forget(): void {
  forgetStrings();
  forgetShapes();
  forgetWide();
}

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
  store<u32>(tape, kind | (size << 5));
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
function text(size: u32): i32 {
  if (size > ((end - cursor) as u32)) return fail(TRUNCATED, cursor as i32);
  const at = cursor;
  cursor += size;
  if ((size as i32) <= STRING_SIZE_MAX) {
    const slot = stringSlot(at, size as i32);
    if (slot >= 0) {
      entry(isNewString ? NEW : KNOWN, size, slot);
      if (isNewString) entry(NEW, size, at as u32);
      return 0;
    }
  }
  if (isAscii(at, size)) {
    plains++;
    entry(ASCII, size, at as u32);
    return 0;
  }
  if (size <= WIDE_SIZE_MAX) {
    const first = wideCount();
    const count = widen(at, size);
    if (count >= 0) {
      entry(WIDE, count, first);
      return 0;
    }
  }
  entry(UTF8, size, at as u32);
  return 0;
}

/** Size of the string whose first byte stands at `at`; its head's size in `headSize`; or -1. */
let headSize: u32 = 0;
function keySize(at: usize): i32 {
  const first = load<u8>(at) as i32;
  if ((first & 0xe0) == 0xa0) {
    headSize = 1;
    return first & 31;
  }
  if (first != 0xd9 || at + 1 >= end) return -1;
  headSize = 2;
  return load<u8>(at, 1);
}

/** Follows the trie by the key at `cursor`, and takes it; 0 when the trie does not know it. */
function followKey(node: u32): u32 {
  const size = keySize(cursor);
  if (size < 0 || size > STRING_SIZE_MAX) return 0;
  const at = cursor + headSize;
  if (size > ((end - at) as i32)) return 0;
  const child = childOf(node, at, size);
  if (child != 0) {
    cursor = at + size;
    return child;
  }
  learnChild(node, at, size);
  return 0;
}

/** `count` numbers at the cursor that are all int 32, onto the tape; false leaves all as it was. */
function ints(count: u32): bool {
  let at = cursor;
  let out = tape + 8;
  for (let index: u32 = 0; index < count; index++) {
    if (at + 5 > end + 8) return false;
    const first = load<u8>(at) as i32;
    let value: i32;
    if (first < 0x80 || first >= 0xe0) {
      value = first < 0x80 ? first : first - 256;
      at += 1;
    } else if (first == 0xcd) {
      value = u16be(at + 1);
      at += 3;
    } else if (first == 0xcc) {
      value = load<u8>(at, 1);
      at += 2;
    } else if (first == 0xce || first == 0xd2) {
      value = u32be(at + 1);
      if (first == 0xce && value < 0) return false;
      at += 5;
    } else if (first == 0xd0) {
      value = load<i8>(at, 1);
      at += 2;
    } else if (first == 0xd1) {
      value = u16be(at + 1) as i16 as i32;
      at += 3;
    } else {
      return false;
    }
    store<i32>(out, value);
    out += 4;
  }
  if (at > end) return false;
  entry(INTS, 0, count);
  tape = (out + 7) & ~7;
  cursor = at;
  return true;
}

/** The same for numbers of any kind but 64-bit integers. */
function floats(count: u32): bool {
  let at = cursor;
  let out = tape + 8;
  for (let index: u32 = 0; index < count; index++) {
    if (at >= end) return false;
    const first = load<u8>(at) as i32;
    let value: f64;
    if (first == 0xcb) {
      value = reinterpret<f64>(u64be(at + 1));
      at += 9;
    } else if (first < 0x80 || first >= 0xe0) {
      value = (first < 0x80 ? first : first - 256) as f64;
      at += 1;
    } else if (first == 0xca) {
      value = reinterpret<f32>(u32be(at + 1)) as f64;
      at += 5;
    } else if (first == 0xcc) {
      value = load<u8>(at, 1) as f64;
      at += 2;
    } else if (first == 0xcd) {
      value = u16be(at + 1) as f64;
      at += 3;
    } else if (first == 0xce) {
      value = u32be(at + 1) as f64;
      at += 5;
    } else if (first == 0xd0) {
      value = load<i8>(at, 1) as f64;
      at += 2;
    } else if (first == 0xd1) {
      value = u16be(at + 1) as i16 as f64;
      at += 3;
    } else if (first == 0xd2) {
      value = u32be(at + 1) as i32 as f64;
      at += 5;
    } else {
      return false;
    }
    store<f64>(out, value);
    out += 8;
  }
  if (at > end) return false;
  entry(FLOATS, 0, count);
  tape = out;
  cursor = at;
  return true;
}

/** Whether the array's `count` items were numbers and are on the tape now. */
function run(count: u32): bool {
  if (count < RUN_COUNT_MIN || !isRunStart(load<u8>(cursor) as i32)) return false;
  // An item takes a byte at least, so the count is believed already.
  if (!hasTape(((count as usize) << 3) + 32)) return false;
  return ints(count) || floats(count);
}

function isRunStart(first: i32): bool {
  return first < 0x80 || first >= 0xe0 || (first >= 0xca && first <= 0xd2 && first != 0xcf);
}

/** Makes room for more of the tape. */
function hasTape(size: usize): bool {
  if (tape + size <= tapeLimit) return true;
  // By an eighth: the tape may end far from the 16 bytes per byte that it could take.
  const pages = max<usize>((memory.size() as usize) >> 3, (size >> 16) + 1) + 1;
  if (memory.grow(pages as i32) < 0) return false;
  tapeLimit = (memory.size() as usize) << 16;
  return true;
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
  if (first < 0xc0) return text(first & 31);
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
      return text(load<u8>(at));
    case 0xda:
      return text(u16be(at));
    case 0xdb:
      return text(u32be(at));
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
  beginStrings();
  beginShapes();
  beginWide();
  plains = 0;
  const result = lay(offset, size, depthMax);
  if (result < 0) takeBackStrings();
  return result;
}

function lay(offset: i32, size: i32, depthMax: i32): i32 {
  cursor = offset;
  end = cursor + size;
  const start = (end + 39) & ~7;
  tape = start;
  tapeLimit = (memory.size() as usize) << 16;
  let depth: i32 = 0;
  let owed: u32 = 1;
  let isMap = false;
  let node: u32 = LEFT;
  let map: usize = 0;
  while (true) {
    while (owed == 0) {
      if (depth == 0) {
        return cursor == end ? (start as i32) : fail(TRAILING_BYTES, cursor as i32);
      }
      if (isMap && node != LEFT) store<u32>(map, node, 4);
      depth--;
      owed = load<u32>(owedByLevel + depth * 4);
      isMap = load<u8>(isMapByLevel + depth) != 0;
      node = load<u32>(nodeByLevel + depth * 4);
      map = load<u32>(mapByLevel + depth * 4);
    }
    if (cursor >= end) return fail(TRUNCATED, cursor as i32);
    if (!hasTape(STEP_SIZE_MAX)) return fail(OUT_OF_MEMORY, 0);
    const isKey = isMap && (owed & 1) == 0;
    owed--;
    if (isKey && node != LEFT) {
      const child = followKey(node);
      if (child != 0) {
        node = child;
        continue;
      }
      store<u32>(map, node, 4);
      node = LEFT;
    }
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
    if (!opensMap && run(count)) continue;
    store<u32>(owedByLevel + depth * 4, owed);
    store<u8>(isMapByLevel + depth, isMap ? 1 : 0);
    store<u32>(nodeByLevel + depth * 4, node);
    store<u32>(mapByLevel + depth * 4, map as u32);
    if (opensMap) {
      map = tape;
      node = 0;
      entry(MAP, count, 0);
    } else {
      entry(ARRAY, 0, count);
    }
    depth++;
    owed = items as u32;
    isMap = opensMap;
  }
}
