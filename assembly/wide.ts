// Text beyond ASCII as UTF-16, so that the host makes one string of many and slices it.

const UNIT_COUNT: i32 = 32_768;
const units = memory.data(65_600, 16); // UNIT_COUNT u16, and slack to store 16 at a time

let used: i32 = 0;

export function beginWide(): void {
  used = 0;
}

export function wideUnits(): i32 {
  return units as i32;
}

export function forgetWide(): void {
  memory.fill(units, 0, UNIT_COUNT * 2);
}

function isTail(byte: u32): bool {
  return (byte & 0xc0) == 0x80;
}

/** Four characters of three bytes each, such as Chinese; false, and nothing, when they are not. */
function widenFour(at: usize, out: usize): bool {
  const bytes = v128.load(at);
  // | 1110xxxx | 10xxxxxx | 10xxxxxx | four times; the last lane is of no interest.
  const marks = v128.and(bytes, i32x4(0xf0c0c0f0, 0xc0f0c0c0, 0xc0c0f0c0, 0));
  const isThree = i8x16.eq(marks, i32x4(0xe08080e0, 0x80e08080, 0x8080e080, 0));
  if (i8x16.bitmask(isThree) != 0xffff) return false;
  const codes = i8x16.shuffle(
    bytes,
    i32x4(0, 0, 0, 0),
    2,
    1,
    0,
    16,
    5,
    4,
    3,
    16,
    8,
    7,
    6,
    16,
    11,
    10,
    9,
    16,
  );
  const units = v128.or(
    v128.or(
      v128.and(codes, i32x4.splat(0x3f)),
      v128.and(i32x4.shr_u(codes, 2), i32x4.splat(0xfc0)),
    ),
    v128.and(i32x4.shr_u(codes, 4), i32x4.splat(0xf000)),
  );
  // Neither overlong nor a surrogate.
  const top = v128.and(units, i32x4.splat(0xf800));
  const isBad = v128.or(i32x4.eq(top, i32x4.splat(0)), i32x4.eq(top, i32x4.splat(0xd800)));
  if (v128.any_true(isBad)) return false;
  v128.store64_lane(out, i16x8.narrow_i32x4_u(units, units), 0);
  return true;
}

/**
 * Adds UTF-8 text. Returns the count of its units, which stand at the end of those used; -1, and
 * nothing was added, when there is no room or the text is not valid (RFC 3629): the host has its
 * own way with that.
 */
export function widen(from: usize, size: u32): i32 {
  if (size > ((UNIT_COUNT - used) as u32)) return -1;
  const end = from + size;
  const first = units + used * 2;
  let at = from;
  let out = first;
  while (at < end) {
    const lead = load<u8>(at) as u32;
    if (lead < 0x80) {
      // Up to 16 at once, of which those count that come before the next beyond ASCII.
      const bytes = v128.load(at);
      v128.store(out, i16x8.extend_low_i8x16_u(bytes));
      v128.store(out, i16x8.extend_high_i8x16_u(bytes), 16);
      const plain = min<usize>(ctz<u32>(i8x16.bitmask(bytes) | 0x10000), end - at);
      out += plain << 1;
      at += plain;
      continue;
    }
    if (lead >= 0xe0 && at + 12 <= end && widenFour(at, out)) {
      out += 8;
      at += 12;
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return -1;
    const length: usize = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (at + length > end) return -1;
    const b = load<u8>(at, 1) as u32;
    if (!isTail(b)) return -1;
    if (length == 2) {
      store<u16>(out, (((lead & 0x1f) << 6) | (b & 0x3f)) as u16);
      out += 2;
    } else {
      const c = load<u8>(at, 2) as u32;
      if (!isTail(c)) return -1;
      if (length == 3) {
        const code = ((lead & 0x0f) << 12) | ((b & 0x3f) << 6) | (c & 0x3f);
        if (code < 0x800 || (code >= 0xd800 && code < 0xe000)) return -1;
        store<u16>(out, code as u16);
        out += 2;
      } else {
        const d = load<u8>(at, 3) as u32;
        if (!isTail(d)) return -1;
        const code = ((lead & 7) << 18) | ((b & 0x3f) << 12) | ((c & 0x3f) << 6) | (d & 0x3f);
        if (code < 0x10000 || code > 0x10ffff) return -1;
        store<u16>(out, (0xd800 + ((code - 0x10000) >> 10)) as u16);
        store<u16>(out, (0xdc00 + ((code - 0x10000) & 0x3ff)) as u16, 2);
        out += 4;
      }
    }
    at += length;
  }
  const count = ((out - first) >> 1) as i32;
  used += count;
  return count;
}

/** Units used so far. */
export function wideCount(): i32 {
  return used;
}
