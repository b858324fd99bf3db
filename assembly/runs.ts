import { u16be, u32be, u64be } from "./kinds";

// Arrays of numbers alone. Each takes `count` of them at `at` and writes them at `out`, in `width`
// bytes each; returns where the numbers end, or 0 when something else is among them. It may read
// and write up to 16 bytes too far.

const FLOAT_SIZE: usize = 9;

/** Numbers that are all int 32, as i32. */
export function ints(at: usize, end: usize, count: u32, out: usize): usize {
  const last = out + ((count as usize) << 2);
  for (; out < last; out += 4) {
    if (at >= end) return 0;
    const first = load<u8>(at) as i32;
    let value: i32;
    if (first < 0x80 || first >= 0xe0) {
      value = load<i8>(at);
      at += 1;
    } else if (first == 0xcd) {
      value = u16be(at + 1);
      at += 3;
    } else if (first == 0xcc) {
      value = load<u8>(at, 1);
      at += 2;
    } else if (first == 0xce || first == 0xd2) {
      value = u32be(at + 1);
      if (first == 0xce && value < 0) return 0;
      at += 5;
    } else if (first == 0xd0) {
      value = load<i8>(at, 1);
      at += 2;
    } else if (first == 0xd1) {
      value = u16be(at + 1) as i16 as i32;
      at += 3;
    } else {
      return 0;
    }
    store<i32>(out, value);
  }
  return at <= end ? at : 0;
}

/** Numbers of any kind but 64-bit integers, as f64. */
export function floats(at: usize, end: usize, count: u32, out: usize): usize {
  const last = out + ((count as usize) << 3);
  while (out < last) {
    if (at >= end) return 0;
    const first = load<u8>(at) as i32;
    if (first == 0xcb) {
      // Mostly they come in rows: two a step, each turned round.
      while (out + 16 <= last && load<u8>(at) == 0xcb && load<u8>(at, 9) == 0xcb) {
        if (at + 2 * FLOAT_SIZE > end) return 0;
        const both = v128.load64_lane(at + 10, v128.load64_zero(at + 1), 1);
        v128.store(
          out,
          i8x16.shuffle(both, both, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8),
        );
        at += 2 * FLOAT_SIZE;
        out += 16;
      }
      if (out == last) break;
      if (at >= end || load<u8>(at) != 0xcb) continue;
      store<u64>(out, u64be(at + 1));
      at += FLOAT_SIZE;
      out += 8;
      continue;
    }
    let value: f64;
    if (first < 0x80 || first >= 0xe0) {
      value = load<i8>(at) as f64;
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
      return 0;
    }
    store<f64>(out, value);
    out += 8;
  }
  return at <= end ? at : 0;
}

/** Whether a value that begins so may be one of a run. */
export function isRunStart(first: i32): bool {
  return first < 0x80 || first >= 0xe0 || (first >= 0xca && first <= 0xd2 && first != 0xcf);
}
