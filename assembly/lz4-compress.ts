import { TOO_LARGE, fail } from "./status";

// Plain bytes to one standard LZ4 block, greedily as LZ4_compress_fast does it: one candidate a
// hash, and steps that grow while nothing is found. What lies within a match is not entered, and a
// match is not followed back to where it might have begun: that took 8% of the time and saved 1%.
//
//   | plain, source..source + size | slack | block, up to capacity | slack |
//                                    64 B                            64 B
//
// Copies go 16 bytes at a time into the block's slack, and reads go on into the plain text's. Both
// belong to the areas: what stands there is neither used nor kept.
//
// The table holds positions, not addresses: byte i of this call's plain text is `first + i`. Each
// call begins its positions 64 KiB behind the last one's end, so that what is left in the table is
// further back than any LZ4 offset reaches, and the one check of the distance turns it away. So
// the table is cleared only when 32 bits run out, once in 65,000 small calls.

export const TABLE_BITS: u64 = 13;
const TABLE_SIZE: i32 = 32_768; // 1 << TABLE_BITS u32
export const table = memory.data(32_768, 16);

export const DISTANCE_MAX: u32 = 65_535;
export const MATCH_MIN: usize = 4;
/** The last match begins 12 bytes before the end at least, the last 5 bytes are literals. */
export const MATCH_START_GAP: usize = 12;
export const LAST_LITERALS: usize = 5;
/** LZ4_MAX_INPUT_SIZE. */
export const SIZE_MAX: u32 = 0x7e000000;
/** Below this the search expects that what it finds in the table is of other calls. */
const SMALL_SIZE: i32 = 1024;
/**
 * From here on a hash is of 7 bytes, below of 6: matches of 4 to 6 rarely pay, and where there is much
 * to find they hide longer ones. Blocks of 64 KiB and more get 5 to 13% smaller by it, and open faster.
 */
const LONG_HASH_SIZE: i32 = 4096;
/** Steps grow by one after each 64 positions without a match. */
export const STEP_SHIFT: u32 = 6;

/** The position that the next call begins with. An empty slot, 0, is out of its reach. */
let nextFirst: u32 = DISTANCE_MAX + 1;

/** Forgets all positions. The next ones begin at `first`, or at the least that there may be. */
export function forgetPositions(first: i32): void {
  memory.fill(table, 0, TABLE_SIZE);
  nextFirst = max<u32>(first as u32, DISTANCE_MAX + 1);
}

/**
 * Positions for so many bytes, none of which anything in the table is near. The result and a byte's
 * address add up to its position, modulo 2^32.
 */
export function takePositions(source: i32, size: i32): u32 {
  const taken = (size as u64) + (DISTANCE_MAX as u64) + 1;
  // 64 bits: this is where 32 may not do.
  if ((nextFirst as u64) + taken > (u32.MAX_VALUE as u64)) forgetPositions(0);
  const shift = nextFirst - (source as u32);
  nextFirst += taken as u32;
  return shift;
}

/** The slot of a position with these 8 bytes, but for the last `cut` bits of them. */
function slotOf(bytes: u64, cut: u64): usize {
  // The prime is LZ4's for 7 bytes.
  const hash = ((bytes << cut) * 58_295_818_150_454_627) >> (64 - TABLE_BITS);
  return table + ((hash as usize) << 2);
}

/** Bytes that a length takes beyond its 4 bits of the token. */
export function extraSize(length: usize): usize {
  return length < 15 ? 0 : (length - 15) / 255 + 1;
}

/** Writes the bytes that a length takes beyond its 4 bits, and returns where they end. */
export function storeExtra(target: usize, length: usize): usize {
  let left = (length as isize) - 15;
  while (left >= 255) {
    store<u8>(target++, 255);
    left -= 255;
  }
  // Stored in any case, and kept where it counts: whether it does is not to be foreseen.
  store<u8>(target, left as u32);
  return target + ((left >= 0) as usize);
}

/**
 * Whether the 4 bytes so far back are these 4. One branch for both conditions: neither can be
 * foreseen. Only in a small body, where hardly any position is near, two are faster.
 */
function isMatch(at: usize, distance: u32, bytes: u32): bool {
  const isNear = distance <= DISTANCE_MAX;
  const found = load<u32>(at - (select(distance, 0, isNear) as usize));
  return ((found ^ bytes) | (!isNear as u32)) == 0;
}

/** Where a match ends that has come this far, or a place from the most on. */
export function matchedFrom(at: usize, distance: u32, most: usize): usize {
  while (at < most) {
    const from = at - (distance as usize);
    const different = i8x16.bitmask(i8x16.ne(v128.load(at), v128.load(from)));
    if (different != 0) return at + (ctz(different) as usize);
    at += 16;
  }
  return at;
}

/** Copies 32, then by 16, so up to 32 bytes beyond. */
export function copyLiterals(target: usize, source: usize, size: usize): void {
  v128.store(target, v128.load(source));
  v128.store(target, v128.load(source, 16), 16);
  for (let done: usize = 32; done < size; done += 16) {
    v128.store(target + done, v128.load(source + done));
  }
}

/**
 * Compresses bytes to one LZ4 block. Behind both areas there are 64 bytes of slack.
 *
 * @param source where the plain bytes begin in linear memory
 * @param size how many they are
 * @param target where the block goes; the areas do not overlap
 * @param capacity the most bytes that it may have. size + ceil(size / 255) + 16 always suffice
 * @param history how many bytes right before the plain ones the block may refer to, up to 65,536
 * @returns the block's size, or a negative status
 */
export function compress(source: i32, size: i32, target: i32, capacity: i32, history: i32): i32 {
  if ((size as u32) > SIZE_MAX) return fail(TOO_LARGE, source);
  const isSmall = size < SMALL_SIZE;
  const cut: u64 = size < LONG_HASH_SIZE ? 16 : 8;
  const start = source as usize;
  const end = start + (size as usize);
  const earliest = start - (history as usize);
  const blockStart = target as usize;
  const blockEnd = blockStart + (max(capacity, 0) as usize);
  let out = blockStart;
  let anchor = start;

  if ((size as usize) > MATCH_START_GAP) {
    const shift = takePositions(source, size);
    // Every third, as LZ4_loadDict() has it.
    for (let past = earliest; past + 8 <= start; past += 3) {
      store<u32>(slotOf(load<u64>(past), cut), (past as u32) + shift);
    }
    const lastStart = end - MATCH_START_GAP;
    const matchEnd = end - LAST_LITERALS;
    let at = start;
    let bytes = load<u64>(at);
    store<u32>(slotOf(bytes, cut), (at as u32) + shift);
    let next = at + 1;
    let nextBytes = load<u64>(next);
    let nextSlot = slotOf(nextBytes, cut);

    while (true) {
      let tried: u32 = 1 << STEP_SHIFT;
      let distance: u32 = 0;
      // The same twice, but for the condition.
      if (isSmall) {
        do {
          at = next;
          bytes = nextBytes;
          const slot = nextSlot;
          next += (tried >> STEP_SHIFT) as usize;
          tried++;
          if (next > lastStart) break;
          nextBytes = load<u64>(next);
          nextSlot = slotOf(nextBytes, cut);
          const position = (at as u32) + shift;
          distance = position - load<u32>(slot);
          store<u32>(slot, position);
        } while (distance > DISTANCE_MAX || load<u32>(at - (distance as usize)) != (bytes as u32));
      } else {
        do {
          at = next;
          bytes = nextBytes;
          const slot = nextSlot;
          next += (tried >> STEP_SHIFT) as usize;
          tried++;
          if (next > lastStart) break;
          nextBytes = load<u64>(next);
          nextSlot = slotOf(nextBytes, cut);
          const position = (at as u32) + shift;
          distance = position - load<u32>(slot);
          store<u32>(slot, position);
        } while (!isMatch(at, distance, bytes as u32));
      }
      if (next > lastStart) break;

      while (true) {
        // The match at `at`, and the literals before it, as one sequence.
        let matched = at + MATCH_MIN;
        const soon = load<u64>(matched) ^ load<u64>(matched - (distance as usize));
        if (soon != 0) matched += (ctz(soon) >> 3) as usize;
        else matched = matchedFrom(matched + 8, distance, matchEnd);
        if (matched > matchEnd) matched = matchEnd;
        const literals = at - anchor;
        const match = matched - at - MATCH_MIN;
        if (out + literals + (literals >> 7) + (match >> 7) + 5 > blockEnd) {
          // Roughly, and exactly only where it is near.
          if (out + literals + extraSize(literals) + extraSize(match) + 3 > blockEnd) {
            return fail(TOO_LARGE, out as i32);
          }
        }
        store<u8>(out++, ((min<usize>(literals, 15) << 4) | min<usize>(match, 15)) as u32);
        out = storeExtra(out, literals);
        copyLiterals(out, anchor, literals);
        out += literals;
        store<u16>(out, distance);
        out = storeExtra(out + 2, match);
        anchor = at = matched;

        if (at > lastStart) break;
        bytes = load<u64>(at);
        const slot = slotOf(bytes, cut);
        const position = (at as u32) + shift;
        distance = position - load<u32>(slot);
        store<u32>(slot, position);
        if (!isMatch(at, distance, bytes as u32)) break;
      }
      if (at > lastStart) break;
      next = at + 1;
      nextBytes = load<u64>(next);
      nextSlot = slotOf(nextBytes, cut);
    }
  }

  const literals = end - anchor;
  if (out + literals + extraSize(literals) + 1 > blockEnd) return fail(TOO_LARGE, out as i32);
  store<u8>(out++, (min<usize>(literals, 15) << 4) as u32);
  out = storeExtra(out, literals);
  copyLiterals(out, anchor, literals);
  return (out + literals - blockStart) as i32;
}
