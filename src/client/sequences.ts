/** The last event that was seen of one publisher and topic. */
interface Seen {
  publisherHigh: number;
  sequence: number;
  /** Seen only as a retained value so far: what the first event is behind may have been before us. */
  isRetained: boolean;
  /** Events known to have been dropped by then, of whatever topic. */
  lostCount: number;
}

type ByPublisher = Map<number, Seen>;

/** Pairs of topic and publisher in each of two generations. */
const COUNT_MAX = 16_384;

/**
 * Which event of each publisher and topic was the last, and so what was missed and what comes a second
 * time. Pairs not heard of for long are forgotten: of these a gap is not seen, nor a replay.
 */
export class Sequences {
  #young = new Map<string, ByPublisher>();
  #old = new Map<string, ByPublisher>();
  #count = 0;

  /** Whether this one, or one behind it, was seen before. */
  isLate(topic: string, low: number, high: number, sequence: number): boolean {
    const seen = this.#find(topic, low, high);
    return seen !== undefined && sequence <= seen.sequence;
  }

  /**
   * Notes an event that is not late; returns how many were missed right before it. `lostCount` are known
   * to have been dropped by then.
   */
  note(
    topic: string,
    low: number,
    high: number,
    sequence: number,
    isRetained: boolean,
    lostCount: number,
  ): number {
    const seen = this.#find(topic, low, high);
    if (seen === undefined) {
      this.#add(topic, low, high, { publisherHigh: high, sequence, isRetained, lostCount });
      return 0;
    }
    const gap = sequence - seen.sequence - 1;
    // Behind a retained value no more is known to be missing than was dropped since.
    const missed = seen.isRetained ? Math.min(gap, lostCount - seen.lostCount) : gap;
    seen.sequence = sequence;
    seen.isRetained = seen.isRetained && isRetained;
    seen.lostCount = lostCount;
    return missed;
  }

  #find(topic: string, low: number, high: number): Seen | undefined {
    const key = keyOf(low, high);
    const seen = this.#young.get(topic)?.get(key);
    if (seen !== undefined) return seen.publisherHigh === high ? seen : undefined;
    const old = this.#old.get(topic)?.get(key);
    if (old === undefined || old.publisherHigh !== high) return undefined;
    this.#old.get(topic)?.delete(key);
    this.#add(topic, low, high, old);
    return old;
  }

  #add(topic: string, low: number, high: number, seen: Seen): void {
    if (this.#count >= COUNT_MAX) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#count = 0;
    }
    let publishers = this.#young.get(topic);
    if (publishers === undefined) {
      publishers = new Map();
      this.#young.set(topic, publishers);
    }
    publishers.set(keyOf(low, high), seen);
    this.#count++;
  }
}

/** 53 of the 64 bits: the entry has the others. */
function keyOf(low: number, high: number): number {
  return (high & 0x1fffff) * 2 ** 32 + low;
}
