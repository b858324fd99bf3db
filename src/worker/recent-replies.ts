const HEADER_SIZE = 32;
/** One reply may take at most this share of the memory; of a larger one only the fact is kept. */
const SHARE_MAX = 4;

/** What an entry holds, beside the flags of the wire. */
export const Outcome = { FAILED: 0x100, NOT_KEPT: 0x200 } as const;
/** Above these bits of the flags the caller has a number of its own, which is kept in any case. */
export const OUTCOME_BITS = 10;
const NO_BYTES = new Uint8Array(0);
const INDEX_SIZE = 1 << 16;
/** Places among which an id may stand. */
const WAYS = 4;

/**
 * The replies to the latest requests, by request id, so that a request which comes again, after a
 * lost connection or broker, is answered and not run again. A ring of bytes of fixed size: new replies
 * are written over the oldest. An index of fixed size finds them, four places for each id: where more
 * fall on the same four, the latest are remembered.
 *
 * ```
 * entry: | sessionLow u32 | sessionHigh u32 | sequence f64 | atMs f64 | size u32 | flags u32 | body |
 * ```
 */
export class RecentReplies {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  /** Where entries begin, counted from the first byte ever written; -1 for none. */
  readonly #index = new Float64Array(INDEX_SIZE).fill(-1);
  /** What else is known of the id at each place: tells a new request without a look at its entry. */
  readonly #tags = new Uint16Array(INDEX_SIZE);
  readonly #ageMsMax: number;
  /** Bytes ever written: those before the last `#bytes.length` of them are overwritten. */
  #written = 0;
  /** Where the next byte goes: the remainder of these, which soon are too many for a quick division. */
  #at = 0;

  /** Remembers `bytesMax` bytes of replies, none for longer than `ageMsMax`. */
  constructor(bytesMax: number, ageMsMax: number) {
    this.#bytes = Buffer.alloc(bytesMax);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, bytesMax);
    this.#ageMsMax = ageMsMax;
  }

  add(
    sessionLow: number,
    sessionHigh: number,
    sequence: number,
    flags: number,
    body: Uint8Array,
    nowMs: number,
  ): void {
    const size = (HEADER_SIZE + body.length + 7) & ~7;
    if (size * SHARE_MAX > this.#bytes.length) {
      const own = (flags >>> OUTCOME_BITS) << OUTCOME_BITS;
      this.add(sessionLow, sessionHigh, sequence, own | Outcome.NOT_KEPT, NO_BYTES, nowMs);
      return;
    }
    const capacity = this.#bytes.length;
    // An entry stands in one piece: what is left before the end is skipped.
    if (this.#at + size > capacity) {
      this.#written += capacity - this.#at;
      this.#at = 0;
    }
    const at = this.#at;
    const view = this.#view;
    view.setUint32(at, sessionLow, true);
    view.setUint32(at + 4, sessionHigh, true);
    view.setFloat64(at + 8, sequence, true);
    view.setFloat64(at + 16, nowMs, true);
    view.setUint32(at + 24, body.length, true);
    view.setUint32(at + 28, flags, true);
    this.#bytes.set(body, at + HEADER_SIZE);
    const mixed = mix(sessionLow, sequence);
    const place = this.#oldestOf(placeOf(mixed));
    this.#index[place] = this.#written;
    this.#tags[place] = tagOf(mixed);
    this.#written += size;
    this.#at += size;
  }

  #oldestOf(first: number): number {
    let oldest = first;
    for (let place = first + 1; place < first + WAYS; place++) {
      if (this.#index[place] < this.#index[oldest]) oldest = place;
    }
    return oldest;
  }

  /** The reply to this request, if it is remembered. */
  find(
    sessionLow: number,
    sessionHigh: number,
    sequence: number,
    nowMs: number,
  ): { flags: number; body: Uint8Array } | undefined {
    const mixed = mix(sessionLow, sequence);
    const first = placeOf(mixed);
    const tag = tagOf(mixed);
    let latest: { flags: number; body: Uint8Array } | undefined;
    let latestStart = -1;
    for (let place = first; place < first + WAYS; place++) {
      const start = this.#index[place];
      if (this.#tags[place] !== tag || start <= latestStart) continue;
      const found = this.#read(start, sessionLow, sessionHigh, sequence, nowMs);
      if (found === undefined) continue;
      latest = found;
      latestStart = start;
    }
    return latest;
  }

  /** The entry that begins at `start`, if it is still there, young and of this request. */
  #read(
    start: number,
    sessionLow: number,
    sessionHigh: number,
    sequence: number,
    nowMs: number,
  ): { flags: number; body: Uint8Array } | undefined {
    const capacity = this.#bytes.length;
    if (this.#written - start > capacity) return undefined;
    const at = start % capacity;
    const view = this.#view;
    if (
      view.getFloat64(at + 8, true) !== sequence ||
      view.getUint32(at, true) !== sessionLow ||
      view.getUint32(at + 4, true) !== sessionHigh ||
      nowMs - view.getFloat64(at + 16, true) > this.#ageMsMax
    ) {
      return undefined;
    }
    const size = view.getUint32(at + 24, true);
    // Copied: the ring goes on under it.
    const body = Uint8Array.from(this.#bytes.subarray(at + HEADER_SIZE, at + HEADER_SIZE + size));
    return { flags: view.getUint32(at + 28, true), body };
  }
}

function mix(sessionLow: number, sequence: number): number {
  const low = sequence | 0;
  const high = (sequence / 2 ** 32) | 0;
  return Math.imul(low ^ Math.imul(high, 0x9e3779b1) ^ sessionLow, 0x85ebca6b);
}

function placeOf(mixed: number): number {
  return (mixed ^ (mixed >>> 15)) & (INDEX_SIZE - WAYS);
}

function tagOf(mixed: number): number {
  return mixed >>> 16;
}
