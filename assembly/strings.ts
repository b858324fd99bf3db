// Short strings that come back in message after message, keys and values, so the host keeps them
// as JS strings and this table says which: one slot per hash, bytes verified. A string is admitted
// when it is met a second time, so a flood of random ones costs a hash each and drives out nothing.
//
//   slot: | size u8 | unused 7 B | bytes, at most STRING_SIZE_MAX |
//
// In step with the host: a slot's string is valid only once the host has materialised the tape
// that admitted it. When a parse fails, what it admitted is taken back; when the host cannot build
// the value, it calls forget().

export const STRING_SIZE_MAX: i32 = 32;
const SLOT_COUNT: i32 = 4096;
const SLOT_SIZE: i32 = 40;

const slots = memory.data(163_840, 16); // SLOT_COUNT * SLOT_SIZE
const hashes = memory.data(16_384, 16); // SLOT_COUNT u32; 0 is an empty slot
const firsts = memory.data(16_384, 16); // SLOT_COUNT u32: the hash that was last not admitted
const admitted = memory.data(8192, 16); // SLOT_COUNT u16: what this parse admitted

let admittedCount: i32 = 0;

/** Set when the last stringSlot() admitted the string: the host has yet to read it. */
export let isNewString: bool = false;

/** 1 to 8 low bytes of a word. */
export function lowBytes(count: i32): u64 {
  return (-1 as u64) >> (((8 - count) << 3) as u64);
}

/** Whether `size` bytes are the same; up to 7 more are read of both. */
export function isSame(a: usize, b: usize, size: i32): bool {
  let at: i32 = 0;
  for (; at + 8 < size; at += 8) {
    if (load<u64>(a + at) != load<u64>(b + at)) return false;
  }
  return size == 0 || ((load<u64>(a + at) ^ load<u64>(b + at)) & lowBytes(size - at)) == 0;
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
  const entry = slots + slot * SLOT_SIZE;
  const known = hashes + slot * 4;
  isNewString = false;
  if (load<u32>(known) == hash && (load<u8>(entry) as i32) == size && isSame(entry + 8, at, size)) {
    return slot;
  }
  const first = firsts + slot * 4;
  if (load<u32>(first) != hash || admittedCount == SLOT_COUNT) {
    store<u32>(first, hash);
    return -1;
  }
  store<u16>(admitted + admittedCount++ * 2, slot as u16);
  store<u32>(known, hash);
  store<u8>(entry, size);
  memory.copy(entry + 8, at, size);
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
    store<u32>(hashes + slot * 4, 0);
  }
}

/** Empties the table. */
export function forgetStrings(): void {
  memory.fill(hashes, 0, SLOT_COUNT * 4);
  memory.fill(firsts, 0, SLOT_COUNT * 4);
  memory.fill(slots, 0, SLOT_COUNT * SLOT_SIZE);
}
