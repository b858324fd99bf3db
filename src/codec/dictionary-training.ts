import { loadCodecModule } from "./assets.js";
import {
  DICTIONARY_SIZE_MAX,
  DICTIONARY_SIZE_MIN,
  type Dictionary,
  importDictionary,
} from "./dictionary.js";
import { coverSamples } from "./dictionary-cover.js";
import { DictionaryShelf } from "./dictionary-shelf.js";
import { LinearMemory } from "./linear-memory.js";
import { Lz4Assembly } from "./lz4-assembly.js";
import { requireBytes, requireInteger } from "./options.js";
import { DICTIONARY_PLAIN_MAX } from "./probe.js";

/** Bytes of samples that are looked at; of more, every so many samples are left out. */
export const SAMPLES_SIZE_MAX = 8 * 1024 * 1024;
const SAMPLES_COUNT_MIN = 8;
const SIZE_DEFAULT = 16 * 1024;
const SEGMENT_SIZES = [32, 64, 128, 256, 512];
/** Every so many samples are kept back, to see which way does best. */
const TRIAL_EVERY = 8;

/** A way to make a dictionary of so many bytes. */
type Way = (samples: readonly Uint8Array[], size: number) => Uint8Array;

const WAYS: readonly Way[] = [
  lastOf,
  ...SEGMENT_SIZES.map((segmentSize): Way => {
    return (samples, size) => coverSamples(samples, size, segmentSize);
  }),
];

/**
 * A dictionary made of samples of what will be compressed: MessagePack, as codec.pack() makes it,
 * for what codec.seal() takes. The parts that most samples share are taken in segments of several
 * sizes, and the last bytes of the samples as they are; the one that compresses every eighth sample
 * best, which it was not made of, is then made of all. Takes up to some seconds, and the event loop.
 *
 * @param samples 8 at least; a hundred times the dictionary's size and more is best
 * @param options `size` at most so many bytes, 256..65536; 16384 if left out
 * @throws RangeError, TypeError that name the argument
 */
export async function trainDictionary(
  samples: readonly Uint8Array[],
  { size = SIZE_DEFAULT }: { size?: number } = {},
): Promise<Dictionary> {
  requireInteger("size", size, 256, DICTIONARY_SIZE_MAX);
  if (!Array.isArray(samples)) {
    throw new TypeError(`samples must be an array, got ${typeof samples}`);
  }
  for (const [index, sample] of samples.entries()) requireBytes(`samples[${index}]`, sample);
  // Larger bodies are compressed without one.
  const cut = samples.map((sample) => sample.subarray(0, DICTIONARY_PLAIN_MAX));
  const some = thin(cut.filter(({ length }) => length > 0));
  if (some.length < SAMPLES_COUNT_MIN) {
    const least = `samples must be ${SAMPLES_COUNT_MIN} or more that are not empty`;
    throw new RangeError(`${least}, got ${some.length}`);
  }
  const way = await bestWay(some, size);
  const bytes = way(some, size);
  // A few short samples that share nothing: they themselves are all there is.
  return importDictionary(bytes.length < DICTIONARY_SIZE_MIN ? filled(lastOf(some, size)) : bytes);
}

/** The last bytes of the samples. */
export function lastOf(samples: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let room = size;
  for (let index = samples.length - 1; index >= 0 && room > 0; index--) {
    const sample = samples[index];
    const part = sample.subarray(Math.max(0, sample.length - room));
    room -= part.length;
    bytes.set(part, room);
  }
  return bytes.subarray(room);
}

function filled(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= DICTIONARY_SIZE_MIN) return bytes;
  const whole = new Uint8Array(DICTIONARY_SIZE_MIN);
  whole.set(bytes, DICTIONARY_SIZE_MIN - bytes.length);
  return whole;
}

/** Every so many samples, so that they have SAMPLES_SIZE_MAX bytes or so. */
function thin(samples: readonly Uint8Array[]): readonly Uint8Array[] {
  const size = samples.reduce((sum, { length }) => sum + length, 0);
  const step = Math.ceil(size / SAMPLES_SIZE_MAX);
  return samples.filter((_, index) => index % step === 0);
}

async function bestWay(samples: readonly Uint8Array[], size: number): Promise<Way> {
  const made = samples.filter((_, index) => index % TRIAL_EVERY !== 0);
  const trial = samples.filter((_, index) => index % TRIAL_EVERY === 0);
  let best = WAYS[0];
  let bestSize = Number.POSITIVE_INFINITY;
  for (const way of WAYS) {
    const bytes = way(made, size);
    if (bytes.length < DICTIONARY_SIZE_MIN) continue;
    const compressed = await compressedSize(trial, await importDictionary(bytes));
    if (compressed >= bestSize) continue;
    best = way;
    bestSize = compressed;
  }
  return best;
}

/** Bytes of the samples' blocks, or of the samples where those are smaller. */
export async function compressedSize(
  samples: readonly Uint8Array[],
  dictionary?: Dictionary,
): Promise<number> {
  const memory = new LinearMemory(await loadCodecModule());
  const shelf = new DictionaryShelf(memory, dictionary === undefined ? [] : [dictionary]);
  const blocks = new Lz4Assembly(memory);
  const held = dictionary && shelf.find(dictionary.digestText);
  let size = 0;
  for (const sample of samples) {
    size += Math.min(sample.length, blocks.compress(sample, held).length);
  }
  return size;
}
