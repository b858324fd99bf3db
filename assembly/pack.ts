import { bswap64 } from "./kinds";

// Arrays of numbers alone and of strings alone, written as MessagePack in its shortest forms
// (src/codec/writer.ts has the same for one value). Room is the host's business.

// A cast of a float saturates, and of NaN gives 0 (nontrapping-f2i, which asc turns on).

/** Numbers with an integer form of MessagePack end here; -0 has none either. */
const SAFE_MAX: f64 = 9007199254740991.0;

/**
 * @param source offset of `count` f64
 * @param target where to write, at most 9 bytes each and 3 behind; must not reach what is yet to be read
 * @returns the offset behind the last one
 */
export function packNumbers(source: usize, count: u32, target: usize): usize {
  const last = source + ((count as usize) << 3);
  let at = target;
  while (source < last) {
    // Fractions come in rows: two a step.
    while (source + 16 <= last) {
      const both = v128.load(source);
      if (!i64x2.all_true(f64x2.ne(f64x2.trunc(both), both))) break;
      if (v128.any_true(f64x2.ne(both, both))) break;
      const turned = i8x16.shuffle(
        both,
        both,
        7,
        6,
        5,
        4,
        3,
        2,
        1,
        0,
        15,
        14,
        13,
        12,
        11,
        10,
        9,
        8,
      );
      store<u8>(at, 0xcb);
      v128.store64_lane(at + 1, turned, 0);
      store<u8>(at, 0xcb, 9);
      v128.store64_lane(at + 10, turned, 1);
      at += 18;
      source += 16;
    }
    if (source == last) break;
    const value = load<f64>(source);
    const int = value as i32;
    if ((int as f64) != value || (int == 0 && load<i64>(source) != 0)) {
      at = packWide(value, at);
    } else if (int >= -32 && int < 128) {
      store<u8>(at, int as u8);
      at += 1;
    } else {
      // 1, 2 or 4 bytes, without a branch: sizes come in no order that could be foreseen.
      const isNegative = int < 0;
      const reach = (isNegative ? ~int << 1 : int) as u32;
      const width = ((reach >= 256) as u32) + ((reach >= 65_536) as u32);
      store<u8>(at, (isNegative ? 0xd0 : 0xcc) + width);
      store<u32>(at, bswap<u32>((int as u32) << (32 - (8 << width))), 1);
      at += 1 + (1 << width);
    }
    source += 8;
  }
  return at;
}

/** A number that is no int 32, or -0. */
function packWide(value: f64, at: usize): usize {
  if (Math.abs(value) <= SAFE_MAX && value != 0 && Math.floor(value) == value) {
    if (value > 0 && value < 4294967296.0) {
      store<u8>(at, 0xce);
      store<u32>(at, bswap<u32>(value as u32), 1);
      return at + 5;
    }
    store<u8>(at, value < 0 ? 0xd3 : 0xcf);
    store<u64>(at, bswap64(value as i64 as u64), 1);
    return at + 9;
  }
  store<u8>(at, 0xcb);
  // All NaNs are written as the one that JavaScript has.
  const bits: u64 = value == value ? reinterpret<u64>(value) : 0x7ff8000000000000;
  store<u64>(at, bswap64(bits), 1);
  return at + 9;
}

/**
 * @param units offset of the strings' UTF-16, one behind the other
 * @param counts offset of `count` u32: the units of each
 * @param target where to write, at most 3 bytes a unit, 5 for each head, and 16 behind; must not
 *   reach what is yet to be read
 * @returns the offset behind the last one
 */
export function packStrings(units: usize, counts: usize, count: u32, target: usize): usize {
  const last = counts + ((count as usize) << 2);
  let at = target;
  for (; counts < last; counts += 4) {
    const unitCount = load<u32>(counts);
    const end = units + ((unitCount as usize) << 1);
    // The head's width is guessed for one byte a unit; a wrong guess moves the bytes once.
    const guessed = headSizeOf(unitCount);
    const bodyEnd = narrow(units, end, at + guessed);
    const size = (bodyEnd - at - guessed) as u32;
    const headSize = headSizeOf(size);
    if (headSize != guessed) memory.copy(at + headSize, at + guessed, size);
    writeHead(at, headSize, size);
    at += headSize + size;
    units = end;
  }
  return at;
}

function headSizeOf(size: u32): usize {
  if (size < 32) return 1;
  if (size < 256) return 2;
  return size < 65_536 ? 3 : 5;
}

function writeHead(at: usize, headSize: usize, size: u32): void {
  if (headSize == 1) {
    store<u8>(at, 0xa0 | size);
  } else if (headSize == 2) {
    store<u8>(at, 0xd9);
    store<u8>(at, size, 1);
  } else if (headSize == 3) {
    store<u8>(at, 0xda);
    store<u16>(at, bswap<u16>(size as u16), 1);
  } else {
    store<u8>(at, 0xdb);
    store<u32>(at, bswap<u32>(size), 1);
  }
}

/** UTF-16 to UTF-8, lone surrogates as U+FFFD; returns the end of what was written. */
function narrow(units: usize, end: usize, target: usize): usize {
  let at = target;
  while (units < end) {
    while (units + 32 <= end) {
      const low = v128.load(units);
      const high = v128.load(units, 16);
      if (v128.any_true(v128.and(v128.or(low, high), i16x8.splat(0xff80 as i16)))) break;
      v128.store(at, i8x16.narrow_i16x8_u(low, high));
      units += 32;
      at += 16;
    }
    // Up to 8 at once, of which those count that come before the next beyond ASCII.
    const eight = v128.load(units);
    const beyond = i16x8.bitmask(i16x8.gt_u(eight, i16x8.splat(0x7f)));
    v128.store64_lane(at, i8x16.narrow_i16x8_u(eight, eight), 0);
    const plain = min<usize>(ctz<u32>(beyond | 0x100), (end - units) >> 1);
    units += plain << 1;
    at += plain;
    if (plain == 8 || units >= end) continue;
    if (units + 8 <= end && narrowFour(units, at)) {
      units += 8;
      at += 12;
      continue;
    }
    const code = load<u16>(units) as u32;
    units += 2;
    if (code < 0x800) {
      store<u8>(at, 0xc0 | (code >> 6));
      store<u8>(at, 0x80 | (code & 0x3f), 1);
      at += 2;
      continue;
    }
    const isPair = code >= 0xd800 && code < 0xdc00 && units < end && isLow(load<u16>(units));
    if (isPair) {
      const full = 0x10000 + ((code - 0xd800) << 10) + ((load<u16>(units) as u32) - 0xdc00);
      units += 2;
      store<u8>(at, 0xf0 | (full >> 18));
      store<u8>(at, 0x80 | ((full >> 12) & 0x3f), 1);
      store<u8>(at, 0x80 | ((full >> 6) & 0x3f), 2);
      store<u8>(at, 0x80 | (full & 0x3f), 3);
      at += 4;
      continue;
    }
    const shown: u32 = code >= 0xd800 && code < 0xe000 ? 0xfffd : code;
    store<u8>(at, 0xe0 | (shown >> 12));
    store<u8>(at, 0x80 | ((shown >> 6) & 0x3f), 1);
    store<u8>(at, 0x80 | (shown & 0x3f), 2);
    at += 3;
  }
  return at;
}

function isLow(code: u16): bool {
  return code >= 0xdc00 && code < 0xe000;
}

/** Four units of three bytes each, such as Chinese; false, and nothing of use, if they are not. */
function narrowFour(units: usize, at: usize): bool {
  const codes = i32x4.extend_low_i16x8_u(v128.load64_zero(units));
  const top = v128.and(codes, i32x4.splat(0xf800));
  const isOther = v128.or(i32x4.eq(top, i32x4.splat(0)), i32x4.eq(top, i32x4.splat(0xd800)));
  if (v128.any_true(isOther)) return false;
  // Per lane, from the lowest byte: 1110xxxx, 10xxxxxx, 10xxxxxx, 0.
  const bytes = v128.or(
    v128.or(
      v128.or(i32x4.shr_u(codes, 12), i32x4.splat(0x8080e0)),
      v128.and(i32x4.shl(codes, 2), i32x4.splat(0x3f00)),
    ),
    v128.and(i32x4.shl(codes, 16), i32x4.splat(0x3f0000)),
  );
  const packed = i8x16.shuffle(bytes, bytes, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0, 0, 0, 0);
  v128.store(at, packed);
  return true;
}
