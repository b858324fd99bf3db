import {
  DISTANCE_MAX,
  LAST_LITERALS,
  MATCH_MIN,
  MATCH_START_GAP,
  SIZE_MAX,
  STEP_SHIFT,
  TABLE_BITS,
  copyLiterals,
  extraSize,
  matchedFrom,
  storeExtra,
  table,
  takePositions,
} from "./lz4-compress";
import { TOO_LARGE, fail } from "./status";

// Plain bytes to one LZ4 block that may refer back into a dictionary, as if that stood right before
// them. It lies elsewhere, so that several can be held and none is ever moved:
//
//   | dictionary | slack 64 B | index 64 KiB | ... | plain | slack | block | slack |
//
// The index is made once a dictionary and only read afterwards: by a hash of 5 bytes the last place
// that has it. What a message repeats of itself is found by the table of lz4-compress.ts, which is
// asked first. So a call costs no copy and no clearing, whatever the dictionary's size.
//
// What one position in a message misses, the next one may find: so here matches are followed back,
// by reads of up to 8 bytes before dictionary and plain text, where there is room.

const INDEX_BITS: u64 = 15;
const INDEX_SIZE: i32 = 65_536; // 1 << INDEX_BITS u16

/** LZ4's prime for 5 bytes: a message is short, and matches of 5 pay where all that comes is one. */
function hashOf(bytes: u64): u64 {
  return (bytes << 24) * 889_523_592_379;
}

/** Where the index has the place of bytes with this hash. */
function slotOf(index: usize, hash: u64): usize {
  return (index + ((hash >> (64 - INDEX_BITS)) << 1)) as usize;
}

/** How many bytes before these two places are the same, up to a most. */
function reachBack(at: usize, from: usize, most: usize): usize {
  let count: usize = 0;
  while (count < most) {
    const difference = load<u64>(at - count - 8) ^ load<u64>(from - count - 8);
    if (difference != 0) {
      count += (clz(difference) >> 3) as usize;
      break;
    }
    count += 8;
  }
  return min(count, most);
}

/** The bytes that an index has. */
export function indexSize(): i32 {
  return INDEX_SIZE;
}

/**
 * Fills a dictionary's index. Of places with the same hash the last one stays: what pays most
 * stands at the end.
 *
 * @param dictionary where it begins, @param size 8..65536 bytes, @param index room for the index
 */
export function indexDictionary(dictionary: i32, size: i32, index: i32): void {
  // An empty slot is place 0, which is compared like any other.
  memory.fill(index, 0, INDEX_SIZE);
  for (let place = 0; place <= size - 8; place++) {
    const hash = hashOf(load<u64>((dictionary as usize) + (place as usize)));
    store<u16>(slotOf(index, hash), place);
  }
}

/**
 * As compress() of lz4-compress.ts, against a dictionary that lies before all of it.
 *
 * @param index what indexDictionary() made of the dictionary
 */
export function compressUsing(
  source: i32,
  size: i32,
  target: i32,
  capacity: i32,
  dictionary: i32,
  dictionarySize: i32,
  index: i32,
): i32 {
  if ((size as u32) > SIZE_MAX) return fail(TOO_LARGE, source);
  const shift = takePositions(source, size);
  const start = source as usize;
  const end = start + (size as usize);
  const blockStart = target as usize;
  const blockEnd = blockStart + (max(capacity, 0) as usize);
  const dictionaryEnd = (dictionary as usize) + (dictionarySize as usize);
  const gap = start - dictionaryEnd;
  const lastStart = (size as usize) > MATCH_START_GAP ? end - MATCH_START_GAP : start - 1;
  const matchEnd = end - LAST_LITERALS;
  let out = blockStart;
  let anchor = start;
  let at = start;
  let tried: u32 = 1 << STEP_SHIFT;

  while (at <= lastStart) {
    const bytes = load<u64>(at);
    const hash = hashOf(bytes);
    const slot = table + (((hash >> (64 - TABLE_BITS)) as usize) << 2);
    const position = (at as u32) + shift;
    // What an LZ4 offset would be, and where the bytes are: in a dictionary that is not the same.
    let distance = position - load<u32>(slot);
    store<u32>(slot, position);
    let from = at - (distance as usize);
    let first = start;
    let most = matchEnd;
    if (distance > DISTANCE_MAX || load<u32>(from) != (bytes as u32)) {
      from = (dictionary as usize) + (load<u16>(slotOf(index, hash)) as usize);
      distance = (at - gap - from) as u32;
      if (load<u32>(from) != (bytes as u32) || distance > DISTANCE_MAX) {
        at += (tried >> STEP_SHIFT) as usize;
        tried++;
        continue;
      }
      first = dictionary as usize;
      most = min(matchEnd, at + (dictionaryEnd - from));
    }

    const apart = at - from;
    let matched = at + MATCH_MIN;
    const soon = load<u64>(matched) ^ load<u64>(matched - apart);
    if (soon != 0) matched += (ctz(soon) >> 3) as usize;
    else matched = matchedFrom(matched + 8, apart as u32, most);
    if (matched > most) matched = most;
    at -= reachBack(at, from, min(at - anchor, from - first));

    const literals = at - anchor;
    const match = matched - at - MATCH_MIN;
    if (out + literals + extraSize(literals) + extraSize(match) + 3 > blockEnd) {
      return fail(TOO_LARGE, out as i32);
    }
    store<u8>(out++, ((min<usize>(literals, 15) << 4) | min<usize>(match, 15)) as u32);
    out = storeExtra(out, literals);
    copyLiterals(out, anchor, literals);
    out += literals;
    store<u16>(out, distance);
    out = storeExtra(out + 2, match);
    anchor = at = matched;
    tried = 1 << STEP_SHIFT;
  }

  const literals = end - anchor;
  if (out + literals + extraSize(literals) + 1 > blockEnd) return fail(TOO_LARGE, out as i32);
  store<u8>(out++, (min<usize>(literals, 15) << 4) as u32);
  out = storeExtra(out, literals);
  copyLiterals(out, anchor, literals);
  return (out + literals - blockStart) as i32;
}
