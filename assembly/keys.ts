// Strings that are map keys come back in every message, so the host keeps them as JS strings and
// this table says which: one slot per hash, bytes verified, the newest key wins its slot. A flood
// of random keys costs a copy each and no memory.
//
//   slot: | size u8 | unused 7 B | bytes, at most KEY_SIZE_MAX |
//
// In step with the host: a slot's string is valid only once the host has materialised the tape
// that admitted it. When it did not, it calls forgetKeys().

export const KEY_SIZE_MAX: i32 = 32;
const SLOT_COUNT: i32 = 4096;
const SLOT_SIZE: i32 = 40;

const slots = memory.data(163_840, 16); // SLOT_COUNT * SLOT_SIZE
const hashes = memory.data(16_384, 16); // SLOT_COUNT u32; 0 is an empty slot

/** Set when the last keySlot() admitted the key: the host has yet to read it. */
export let isNewKey: bool = false;

function hashOf(at: usize, size: i32): u32 {
  let a: u64 = 0;
  let b: u64 = 0;
  if (size >= 8) {
    a = load<u64>(at);
    b = load<u64>(at + size - 8);
    if (size > 16) {
      a ^= rotl<u64>(load<u64>(at + 8), 23);
      b ^= rotl<u64>(load<u64>(at + size - 16), 41);
    }
  } else if (size >= 4) {
    a = load<u32>(at) as u64;
    b = load<u32>(at + size - 4) as u64;
  } else if (size > 0) {
    a = load<u8>(at) as u64;
    b = ((load<u8>(at + (size >> 1)) as u64) << 8) | (load<u8>(at + size - 1) as u64);
  }
  // The two odd constants are those of xxHash64.
  const mixed = (a ^ (size as u64)) * 0x9e3779b185ebca87 + rotl<u64>(b * 0xc2b2ae3d27d4eb4f, 31);
  const hash = ((mixed ^ (mixed >> 29)) >> 7) as u32;
  return hash == 0 ? 1 : hash;
}

/** The slot of a key of at most KEY_SIZE_MAX bytes, admitting it when it is not there. */
export function keySlot(at: usize, size: i32): i32 {
  const hash = hashOf(at, size);
  const slot = (hash & (SLOT_COUNT - 1)) as i32;
  const entry = slots + slot * SLOT_SIZE;
  const known = hashes + slot * 4;
  if (
    load<u32>(known) == hash &&
    (load<u8>(entry) as i32) == size &&
    memory.compare(entry + 8, at, size) == 0
  ) {
    isNewKey = false;
    return slot;
  }
  store<u32>(known, hash);
  store<u8>(entry, size);
  memory.copy(entry + 8, at, size);
  isNewKey = true;
  return slot;
}

/** Empties the table. */
export function forgetKeys(): void {
  memory.fill(hashes, 0, SLOT_COUNT * 4);
}
