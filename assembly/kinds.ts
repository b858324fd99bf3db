// What one pass over MessagePack leaves for the host: a flat tape, validated. Entries of 8 bytes:
//
//   | kind u32 (low 5 bits) and size << 5 | word u32 |
//
//   kind        size   word                      then
//   INT                i32
//   FLOAT                                        f64, also for whole numbers up to 2^53
//   UINT64 INT64                                 the 64 bits, beyond 2^53
//   ASCII UTF8 BIN EXT bytes  offset of the bytes       (an ext's type stands in the byte before)
//   WIDE        units  index of the first unit   (wide.ts)
//   KNOWN              index in the host's table of constants: nil, false, true, then the slots
//   NEW         bytes  such an index (strings.ts), then an entry whose word is the bytes' offset
//   ARRAY              count                     the items
//   MAP         count  node of its first keys (shapes.ts): the values of these, then the other
//                                                keys and values in turn
//   INTS FLOATS        count                     so many i32, padded to 8 bytes; so many f64
//   DATE                                         f64, milliseconds since 1970
//
// The same kinds stand in src/codec/kinds.ts.

export const INT: u32 = 3;
export const FLOAT: u32 = 4;
export const UINT64: u32 = 5;
export const INT64: u32 = 6;
export const ASCII: u32 = 7;
export const UTF8: u32 = 8;
export const BIN: u32 = 9;
export const EXT: u32 = 10;
export const ARRAY: u32 = 11;
export const MAP: u32 = 12;
export const KNOWN: u32 = 13;
export const NEW: u32 = 14;
export const DATE: u32 = 15;
export const WIDE: u32 = 16;
export const INTS: u32 = 17;
export const FLOATS: u32 = 18;

/** Constants of the host, by their index. */
export const NIL: u32 = 0;
export const FALSE: u32 = 1;
export const TRUE: u32 = 2;
/** Index of the first string slot. */
export const SLOTS: u32 = 3;

const SAFE_MAX: u64 = 9007199254740991;

// Each writes an entry at `tape` and returns where the next one goes.

export function entry(tape: usize, kind: u32, size: u32, word: u32): usize {
  store<u32>(tape, kind | (size << 5));
  store<u32>(tape, word, 4);
  return tape + 8;
}

export function float(tape: usize, kind: u32, value: f64): usize {
  store<u32>(tape, kind);
  store<f64>(tape, value, 8);
  return tape + 16;
}

export function unsigned(tape: usize, value: u64): usize {
  if (value <= 0x7fffffff) return entry(tape, INT, 0, value as u32);
  if (value <= SAFE_MAX) return float(tape, FLOAT, value as f64);
  store<u32>(tape, UINT64);
  store<u64>(tape, value, 8);
  return tape + 16;
}

export function signed(tape: usize, value: i64): usize {
  if (value >= 0) return unsigned(tape, value as u64);
  if (value >= -0x80000000) return entry(tape, INT, 0, value as u32);
  if (value >= -(SAFE_MAX as i64)) return float(tape, FLOAT, value as f64);
  store<u32>(tape, INT64);
  store<i64>(tape, value, 8);
  return tape + 16;
}

// MessagePack's numbers are big-endian.

export function u16be(at: usize): u32 {
  return bswap<u16>(load<u16>(at)) as u32;
}
export function u32be(at: usize): u32 {
  return bswap<u32>(load<u32>(at));
}
export function u64be(at: usize): u64 {
  return bswap64(load<u64>(at));
}

/** By one shuffle, where bswap<u64>() is a dozen shifts. */
export function bswap64(value: u64): u64 {
  const lanes = i64x2.splat(value);
  const turned = i8x16.shuffle(lanes, lanes, 7, 6, 5, 4, 3, 2, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0);
  return i64x2.extract_lane(turned, 0);
}
