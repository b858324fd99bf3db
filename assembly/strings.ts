// Short strings that come back in message after message, keys and values, so the host keeps them
// as JS strings and this table says which: one slot per hash, bytes verified. A string is admitted
// when it is met a second time, so a flood of random ones costs a hash each and drives out nothing.
//
//   slot: | bytes, at most STRING_SIZE_MAX, then zeros |      its name: | hash u32 | size u32 |
//
// In step with the host: a slot's string is valid only once the host has materialised the tape
// that admitted it. When a parse fails, what it admitted is taken back; when the host cannot build
// the value, it calls forget().

export const STRING_SIZE_MAX: i32 = 32;
const SLOT_COUNT: i32 = 4096;
const SLOT_SIZE: i32 = 32;

const slots = memory.data(131_072, 16); // SLOT_COUNT * SLOT_SIZE
const names = memory.data(32_768, 16); // SLOT_COUNT u64; a hash of 0 is an empty slot
const firsts = memory.data(16_384, 16); // SLOT_COUNT u32: the hash that was last not admitted
const admitted = memory.data(8192, 16); // SLOT_COUNT u16: what this parse admitted

let admittedCount: i32 = 0;

/** Set when the last stringSlot() admitted the string: the host has yet to read it. */
export let isNewString: bool = false;

/** 1 to 8 low bytes of a word. */
function lowBytes(count: i32): u64 {
  return (-1 as u64) >> (((8 - count) << 3) as u64);
}

/** As many low bits, 0 to 32. */
export function lowBits(count: i32): u32 {
  return (((1 as u64) << (count as u64)) - 1) as u32;
}

/** Whether `size` bytes, at most 32, are the same; 32 are read of both. */
export function isSame(a: usize, b: usize, size: i32): bool {
  const low = i8x16.bitmask(i8x16.eq(v128.load(a), v128.load(b)));
  const high = i8x16.bitmask(i8x16.eq(v128.load(a, 16), v128.load(b, 16)));
  return (~(low | (high << 16)) & lowBits(size)) == 0;
}

export function hashOf(at: usize, size: i32): u32 {
  let a: u64 = 0;
  let b: u64 = 0;
  if (size >= 8) {
    a = load<u64>(at);
    b = load<u64>(at + size - 8);
    if (size > 16) {
      a ^= rotl<u64>(load<u64>(at + 8), 23);
      b ^= rotl<u64>(load<u64>(at + size - 16), 41);
    }
  } else if (size > 0) {
    a = load<u64>(at) & lowBytes(size);
  }
  // The two odd constants are those of xxHash64.
  const mixed = (a ^ (size as u64)) * 0x9e3779b185ebca87 + rotl<u64>(b * 0xc2b2ae3d27d4eb4f, 31);
  const hash = ((mixed ^ (mixed >> 29)) >> 7) as u32;
  return hash == 0 ? 1 : hash;
}

/** The slot of a string of at most STRING_SIZE_MAX bytes; -1 when it is not to be remembered. */
export function stringSlot(at: usize, size: i32): i32 {
  const hash = hashOf(at, size);
  const slot = (hash & (SLOT_COUNT - 1)) as i32;
  const name = (hash as u64) | ((size as u64) << 32);
  const known = names + slot * 8;
  isNewString = false;
  if (load<u64>(known) == name) {
    // isSame(), in place.
    const bytes = slots + slot * SLOT_SIZE;
    const low = i8x16.bitmask(i8x16.eq(v128.load(bytes), v128.load(at)));
    const high = i8x16.bitmask(i8x16.eq(v128.load(bytes, 16), v128.load(at, 16)));
    if ((~(low | (high << 16)) & lowBits(size)) == 0) return slot;
  }
  const first = firsts + slot * 4;
  if (load<u32>(first) != hash || admittedCount == SLOT_COUNT) {
    store<u32>(first, hash);
    return -1;
  }
  store<u16>(admitted + admittedCount++ * 2, slot as u16);
  store<u64>(known, name);
  memory.copy(slots + slot * SLOT_SIZE, at, size);
  isNewString = true;
  return slot;
}

export function beginStrings(): void {
  admittedCount = 0;
}

/** Takes back what was admitted since beginStrings(). */
export function takeBackStrings(): void {
  while (admittedCount > 0) {
    const slot = load<u16>(admitted + --admittedCount * 2) as i32;
    store<u64>(names + slot * 8, 0);
  }
}

/** Empties the table. */
export function forgetStrings(): void {
  memory.fill(names, 0, SLOT_COUNT * 8);
  memory.fill(firsts, 0, SLOT_COUNT * 4);
  memory.fill(slots, 0, SLOT_COUNT * SLOT_SIZE);
}
