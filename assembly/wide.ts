// Text beyond ASCII as UTF-16, so that the host makes one string of many and slices it.

const UNIT_COUNT: i32 = 32_768;
const units = memory.data(65_536, 16); // UNIT_COUNT u16

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
      store<u16>(out, lead as u16);
      out += 2;
      at++;
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
