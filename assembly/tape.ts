import { ext } from "./exts";
import {
  ARRAY,
  ASCII,
  BIN,
  FALSE,
  FLOAT,
  FLOATS,
  INT,
  INTS,
  KNOWN,
  MAP,
  NEW,
  NIL,
  SLOTS,
  TRUE,
  UTF8,
  WIDE,
  entry,
  float,
  signed,
  u16be,
  u32be,
  u64be,
  unsigned,
} from "./kinds";
import { floats, ints, isRunStart } from "./runs";
import {
  ROOT,
  beginShapes,
  encodedSizeOf,
  epoch,
  firstChildOf,
  followKey,
  forgetShapes,
  indexOf,
  isKeyOf,
  keyEnd,
} from "./shapes";
import {
  BAD_KEY,
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

// One pass over MessagePack (msgpack/spec.md) that validates everything and leaves the tape of
// kinds.ts, so that the host only builds values and never meets bad input. The cursor and the
// tape's end are locals, handed from function to function: globals live in memory, and each step
// would wait for the one before it to be written there.

/** Bytes that one step may write at most: a key and a value, each an entry and its second word. */
const STEP_SIZE_MAX: usize = 32;

/** Per level: | items or pairs still owed u32 | node u32 | the map's entry u32 | unused u32 | */
const LEVEL_SIZE: usize = 16;
const levels = memory.data(16_384, 16); // 1024 levels
/** In place of a node: an array's level; a map whose keys from here on stand on the tape. */
const ITEMS: usize = 1;
const LEFT: usize = 0;

/** Arrays of fewer numbers than this are not worth a kind of their own. */
const RUN_COUNT_MIN: u32 = 4;
/** Text beyond ASCII of more bytes than this is not widened. */
const WIDE_SIZE_MAX: u32 = 2048;

/** Strings of the kind ASCII on the tape. */
let plains: i32 = 0;
/** Before the first entry: | strings of the kind ASCII u32 | units (wide.ts) u32 | epoch u32 | - | */
const TAPE_HEAD_SIZE: usize = 16;

/** Empties all that is remembered from message to message. */
export function forget(): void {
  forgetStrings();
  forgetShapes();
  forgetWide();
}

/** Up to 15 bytes more are read. */
function isAscii(from: usize, size: u32): bool {
  if (size < 16) return (i8x16.bitmask(v128.load(from)) & ((1 << size) - 1)) == 0;
  const last = from + size - 16;
  let bits = v128.load(last);
  if (size <= 64) {
    // Four loads that overlap: a loop's end would be guessed wrong for every other string.
    bits = v128.or(bits, v128.load(from));
    bits = v128.or(bits, v128.load(min<usize>(from + 16, last)));
    bits = v128.or(bits, v128.load(min<usize>(from + 32, last)));
  } else {
    for (let at = from; at < last; at += 32) {
      bits = v128.or(bits, v128.or(v128.load(at), v128.load(min<usize>(at + 16, last))));
    }
  }
  return i8x16.bitmask(bits) == 0;
}

/** The string of these bytes; returns the tape's next place. */
function text(at: usize, size: u32, tape: usize): usize {
  if (size <= (STRING_SIZE_MAX as u32)) {
    const slot = stringSlot(at, size as i32);
    if (slot >= 0) {
      if (!isNewString) return entry(tape, KNOWN, 0, SLOTS + slot);
      return entry(entry(tape, NEW, size, SLOTS + slot), NEW, size, at as u32);
    }
  }
  if (isAscii(at, size)) {
    plains++;
    return entry(tape, ASCII, size, at as u32);
  }
  if (size <= WIDE_SIZE_MAX) {
    const first = wideCount();
    const count = widen(at, size);
    if (count >= 0) return entry(tape, WIDE, count, first);
  }
  return entry(tape, UTF8, size, at as u32);
}

/** Bytes that follow the first byte before its fixed part can be read. */
function fixedSize(first: u32): u32 {
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

/** Where the last scalar() ended. */
let scalarEnd: usize = 0;

function sized(at: usize, end: usize, size: u32, isText: bool, tape: usize): i32 {
  if (size > ((end - at) as u32)) return fail(TRUNCATED, at as i32);
  scalarEnd = at + size;
  return (isText ? text(at, size, tape) : entry(tape, BIN, size, at as u32)) as i32;
}

function extended(at: usize, end: usize, size: u32, tape: usize): i32 {
  scalarEnd = at + 1 + size;
  return ext(at, end, size, tape);
}

/** Any value but arrays and maps; returns the tape's next place or a negative status. */
function scalar(from: usize, end: usize, isKey: bool, tape: usize): i32 {
  const first = load<u8>(from) as u32;
  const fixed = fixedSize(first);
  const at = from + 1;
  if (fixed > ((end - at) as u32)) return fail(TRUNCATED, at as i32);
  const body = at + fixed;
  scalarEnd = body;
  if (first < 0x80 || first >= 0xe0) return entry(tape, INT, 0, load<i8>(from) as u32) as i32;
  if (first >= 0xa0 && first < 0xc0) return sized(at, end, first & 31, true, tape);
  switch (first) {
    case 0xca:
      return float(tape, FLOAT, reinterpret<f32>(u32be(at)) as f64) as i32;
    case 0xcb:
      return float(tape, FLOAT, reinterpret<f64>(u64be(at))) as i32;
    case 0xcc:
      return entry(tape, INT, 0, load<u8>(at)) as i32;
    case 0xcd:
      return entry(tape, INT, 0, u16be(at)) as i32;
    case 0xce:
      return unsigned(tape, u32be(at) as u64) as i32;
    case 0xcf:
      return unsigned(tape, u64be(at)) as i32;
    case 0xd0:
      return entry(tape, INT, 0, load<i8>(at) as u32) as i32;
    case 0xd1:
      return entry(tape, INT, 0, u16be(at) as i16 as u32) as i32;
    case 0xd2:
      return entry(tape, INT, 0, u32be(at)) as i32;
    case 0xd3:
      return signed(tape, u64be(at) as i64) as i32;
    case 0xd9:
      return sized(body, end, load<u8>(at), true, tape);
    case 0xda:
      return sized(body, end, u16be(at), true, tape);
    case 0xdb:
      return sized(body, end, u32be(at), true, tape);
  }
  // Nothing from here on may be a map's key.
  if (isKey && first != 0xc1) return fail(BAD_KEY, from as i32);
  switch (first) {
    case 0xc0:
      return entry(tape, KNOWN, 0, NIL) as i32;
    case 0xc2:
      return entry(tape, KNOWN, 0, FALSE) as i32;
    case 0xc3:
      return entry(tape, KNOWN, 0, TRUE) as i32;
    case 0xc4:
      return sized(body, end, load<u8>(at), false, tape);
    case 0xc5:
      return sized(body, end, u16be(at), false, tape);
    case 0xc6:
      return sized(body, end, u32be(at), false, tape);
    case 0xc7:
      return extended(body, end, load<u8>(at), tape);
    case 0xc8:
      return extended(body, end, u16be(at), tape);
    case 0xc9:
      return extended(body, end, u32be(at), tape);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return extended(body, end, 1 << (first - 0xd4), tape);
    default:
      return fail(RESERVED_BYTE, from as i32);
  }
}

function isContainer(first: u32): bool {
  return (first >= 0x80 && first < 0xa0) || (first >= 0xdc && first <= 0xdf);
}

/** Makes sure of `size` bytes of the tape. */
function hasTape(tape: usize, size: usize): bool {
  if (tape + size <= (memory.size() as usize) << 16) return true;
  // By an eighth: the tape may end far from the 16 bytes per byte that it could take.
  const pages = max<usize>((memory.size() as usize) >> 3, (size >> 16) + 1) + 1;
  return memory.grow(pages as i32) >= 0;
}

function lastStep(): usize {
  return ((memory.size() as usize) << 16) - STEP_SIZE_MAX;
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
  if (result < 0) {
    takeBackStrings();
    return result;
  }
  store<u32>(result, plains);
  store<u32>(result, wideCount(), 4);
  store<u32>(result, epoch, 8);
  return result;
}

function lay(offset: i32, size: i32, depthMax: i32): i32 {
  let at: usize = offset;
  const end = at + size;
  const start = (end + 39) & ~7;
  const levelsEnd = levels + (depthMax as usize) * LEVEL_SIZE;
  // Of the tape's head nothing is written yet: the memory may have to grow for it.
  let tape = start + TAPE_HEAD_SIZE;
  let tapeLast = lastStep();
  let level = levels;
  let owed: u32 = 1;
  let node: usize = ITEMS;
  let map: usize = 0;
  while (true) {
    while (owed == 0) {
      if (level == levels) {
        return at == end ? (start as i32) : fail(TRAILING_BYTES, at as i32);
      }
      if (node > ITEMS) store<u32>(map, indexOf(node), 4);
      level -= LEVEL_SIZE;
      owed = load<u32>(level);
      node = load<u32>(level, 4);
      map = load<u32>(level, 8);
    }
    owed--;
    if (tape > tapeLast) {
      if (!hasTape(tape, STEP_SIZE_MAX)) return fail(OUT_OF_MEMORY, 0);
      tapeLast = lastStep();
    }
    if (node != ITEMS) {
      // A key: mostly the one that followed the last time.
      if (node != LEFT) {
        let next = firstChildOf(node);
        const keyAt = at;
        if (isKeyOf(next, at)) {
          at += encodedSizeOf(next);
        } else {
          next = followKey(node, at, end);
          if (next != 0) at = keyEnd;
        }
        // Hostile bytes may be like the root's key; all nodes that are a key's stand behind the root.
        if (next > ROOT && at <= end) {
          node = next;
        } else {
          at = keyAt;
          store<u32>(map, indexOf(node), 4);
          node = LEFT;
        }
      }
      if (node == LEFT) {
        if (at >= end) return fail(TRUNCATED, at as i32);
        if (isContainer(load<u8>(at))) return fail(BAD_KEY, at as i32);
        const next = scalar(at, end, true, tape);
        if (next < 0) return next;
        tape = next;
        at = scalarEnd;
      }
    }
    if (at >= end) return fail(TRUNCATED, at as i32);
    const first = load<u8>(at) as u32;
    if (first < 0x80) {
      tape = entry(tape, INT, 0, first);
      at++;
      continue;
    }
    if ((first & 0xe0) == 0xa0) {
      const count = first & 31;
      at++;
      if (count > ((end - at) as u32)) return fail(TRUNCATED, at as i32);
      tape = text(at, count, tape);
      at += count;
      continue;
    }
    if (!isContainer(first)) {
      // The most frequent kinds need no call.
      if (first == 0xd9 && at + 2 <= end) {
        const count = load<u8>(at, 1) as u32;
        at += 2;
        if (count > ((end - at) as u32)) return fail(TRUNCATED, at as i32);
        tape = text(at, count, tape);
        at += count;
      } else if (first == 0xc3 || first == 0xc2) {
        tape = entry(tape, KNOWN, 0, first - 0xc1);
        at++;
      } else if (first == 0xcd && at + 3 <= end) {
        tape = entry(tape, INT, 0, u16be(at + 1));
        at += 3;
      } else if (first == 0xce && at + 5 <= end && load<i8>(at, 1) >= 0) {
        tape = entry(tape, INT, 0, u32be(at + 1));
        at += 5;
      } else if (first == 0xcb && at + 9 <= end) {
        tape = float(tape, FLOAT, reinterpret<f64>(u64be(at + 1)));
        at += 9;
      } else {
        const next = scalar(at, end, false, tape);
        if (next < 0) return next;
        tape = next;
        at = scalarEnd;
      }
      continue;
    }
    const opensMap = first < 0x90 || first >= 0xde;
    let count = first & 15;
    at++;
    if (first >= 0xdc) {
      const fixed: u32 = (first & 1) == 0 ? 2 : 4;
      if (fixed > ((end - at) as u32)) return fail(TRUNCATED, at as i32);
      count = fixed == 2 ? u16be(at) : u32be(at);
      at += fixed;
    }
    // An item takes a byte at least, so a count is believed only as far as there are bytes.
    const least = opensMap ? (count as u64) * 2 : (count as u64);
    if (least > ((end - at) as u64)) return fail(TRUNCATED, at as i32);
    if (level == levelsEnd) return fail(TOO_DEEP, (at - 1) as i32);
    if (!opensMap && count >= RUN_COUNT_MIN && isRunStart(load<u8>(at))) {
      if (!hasTape(tape, ((count as usize) << 3) + 2 * STEP_SIZE_MAX)) {
        return fail(OUT_OF_MEMORY, 0);
      }
      tapeLast = lastStep();
      let next = ints(at, end, count, tape + 8);
      if (next != 0) {
        tape = (entry(tape, INTS, 0, count) + ((count as usize) << 2) + 7) & ~7;
        at = next;
        continue;
      }
      next = floats(at, end, count, tape + 8);
      if (next != 0) {
        tape = entry(tape, FLOATS, 0, count) + ((count as usize) << 3);
        at = next;
        continue;
      }
    }
    store<u32>(level, owed);
    store<u32>(level, node as u32, 4);
    store<u32>(level, map as u32, 8);
    level += LEVEL_SIZE;
    owed = count;
    if (opensMap) {
      map = tape;
      node = ROOT;
      tape = entry(tape, MAP, count, 0);
    } else {
      node = ITEMS;
      tape = entry(tape, ARRAY, 0, count);
    }
  }
}
