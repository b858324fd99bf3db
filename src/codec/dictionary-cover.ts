/** Bytes that count as one match: the index of assembly/lz4-dictionary.ts finds 5, and 6 pay. */
const MER_SIZE = 6;
const HASH_BITS = 20;
/** Segments are taken from so many passes over the samples, at least. */
const PASSES_COUNT = 4;
/** An epoch has so many segments to choose among, at least. */
const EPOCH_SEGMENTS_MIN = 10;

/** Samples as one array, and by the hash of the bytes at each place how many samples have it. */
interface Corpus {
  bytes: Uint8Array;
  hashes: Uint32Array;
  /** By hash; 0 once a segment that is taken has it. */
  counts: Uint32Array;
}

/**
 * A dictionary of the parts that the most samples share, the best of them at the end.
 *
 * The samples are cut into epochs, so that all of them have a say, and of each in turn the segment
 * is taken that scores most: the sum, over the different byte runs in it, of how many samples have
 * each. What is taken scores nothing from then on. After Liao, Petri, Moffat and Wirth, "Effective
 * Construction of Relative Lempel-Ziv Dictionaries" (WWW 2016), with hashes for suffix arrays as
 * zstd's FastCOVER does it.
 *
 * @param size the most bytes of it
 * @param segmentSize bytes of a segment, before what nobody shares is cut off its ends
 */
export function coverSamples(
  samples: readonly Uint8Array[],
  size: number,
  segmentSize: number,
): Uint8Array {
  const corpus = corpusOf(samples);
  const places = corpus.hashes.length;
  const dictionary = new Uint8Array(size);
  const wanted = Math.max(1, Math.floor(size / segmentSize / PASSES_COUNT));
  const epochSize = Math.max(Math.ceil(places / wanted), segmentSize * EPOCH_SEGMENTS_MIN);
  const active = new Uint16Array(1 << HASH_BITS);
  let room = size;
  // Over when each epoch of a whole round has nothing left that is shared.
  for (let isFound = true; isFound && room > MER_SIZE; ) {
    isFound = false;
    for (let from = 0; from < places && room > MER_SIZE; from += epochSize) {
      const to = Math.min(places, from + epochSize);
      const segment = bestSegment(corpus, from, to, segmentSize, active);
      if (segment === undefined) continue;
      isFound = true;
      const taken = corpus.bytes.subarray(segment.from, segment.to).subarray(0, room);
      room -= taken.length;
      dictionary.set(taken, room);
    }
  }
  return dictionary.subarray(room);
}

function corpusOf(samples: readonly Uint8Array[]): Corpus {
  const bytes = new Uint8Array(samples.reduce((sum, { length }) => sum + length, 0));
  const hashes = new Uint32Array(Math.max(0, bytes.length - MER_SIZE + 1));
  const counts = new Uint32Array(1 << HASH_BITS);
  /** By hash the last sample that had it, from 1: one sample counts once. */
  const seenIn = new Uint32Array(1 << HASH_BITS);
  let start = 0;
  for (const sample of samples) {
    bytes.set(sample, start);
    start += sample.length;
  }
  for (let at = 0; at < hashes.length; at++) hashes[at] = hashAt(bytes, at);
  let from = 0;
  for (const [index, { length }] of samples.entries()) {
    for (let at = from; at <= from + length - MER_SIZE; at++) {
      const hash = hashes[at];
      if (seenIn[hash] === index + 1) continue;
      seenIn[hash] = index + 1;
      counts[hash]++;
    }
    from += length;
  }
  // What one sample has alone no other message will have either.
  for (let hash = 0; hash < counts.length; hash++) if (counts[hash] === 1) counts[hash] = 0;
  return { bytes, hashes, counts };
}

function hashAt(bytes: Uint8Array, at: number): number {
  const low = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
  const high = bytes[at + 4] | (bytes[at + 5] << 8);
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
  return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> (32 - HASH_BITS);
}

/**
 * The segment of places from..to that scores most, without its ends that score nothing; its counts
 * are 0 afterwards. Undefined when none scores.
 */
function bestSegment(
  { hashes, counts }: Corpus,
  from: number,
  to: number,
  segmentSize: number,
  active: Uint16Array,
): { from: number; to: number } | undefined {
  const merCount = segmentSize - MER_SIZE + 1;
  let score = 0;
  let best = 0;
  let bestFrom = from;
  let first = from;
  for (let at = from; at < to; at++) {
    // What is in the segment twice helps once.
    if (active[hashes[at]]++ === 0) score += counts[hashes[at]];
    if (at - first === merCount) {
      if (--active[hashes[first]] === 0) score -= counts[hashes[first]];
      first++;
    }
    if (score > best) {
      best = score;
      bestFrom = first;
    }
  }
  for (; first < to; first++) active[hashes[first]] = 0;
  if (best === 0) return undefined;
  let bestTo = Math.min(to, bestFrom + merCount);
  while (counts[hashes[bestFrom]] === 0) bestFrom++;
  while (counts[hashes[bestTo - 1]] === 0) bestTo--;
  for (let at = bestFrom; at < bestTo; at++) counts[hashes[at]] = 0;
  return { from: bestFrom, to: bestTo + MER_SIZE - 1 };
}
