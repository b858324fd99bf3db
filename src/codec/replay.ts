const PAGE_BIT_COUNT = 1024;

/** What a window says of a counter: not seen, seen before, or too old to know. */
export type Freshness = "FRESH" | "REPLAYED" | "STALE";

/**
 * Which counters of one sender's session were seen: the newest and `size` below it. A ring of
 * pages of bits, each made when the first of its counters arrives.
 *
 *   counter: | page = counter / 1024 | bit = counter % 1024 |    place in the ring = page % count
 */
export class ReplayWindow {
  readonly #size: number;
  readonly #pageCount: number;
  // Grown as they fill: a service has a window for each of its clients, most of which say little.
  readonly #pages: (Uint8Array | undefined)[] = [];
  readonly #numbers: number[] = [];
  #newest = -1;

  constructor(size: number) {
    this.#size = size;
    // One more than the size has pages: a window that begins within a page ends within another.
    this.#pageCount = size / PAGE_BIT_COUNT + 1;
  }

  mark(counter: number): Freshness {
    if (counter <= this.#newest - this.#size) return "STALE";
    const number = Math.floor(counter / PAGE_BIT_COUNT);
    const place = number % this.#pageCount;
    let page = this.#pages[place];
    if (page === undefined) {
      page = new Uint8Array(PAGE_BIT_COUNT / 8);
      this.#pages[place] = page;
      this.#numbers[place] = number;
    } else if (this.#numbers[place] !== number) {
      // The page that stood here is out of the window by now.
      page.fill(0);
      this.#numbers[place] = number;
    }
    const bit = counter % PAGE_BIT_COUNT;
    const mask = 1 << (bit & 7);
    if ((page[bit >> 3] & mask) !== 0) return "REPLAYED";
    page[bit >> 3] |= mask;
    if (counter > this.#newest) this.#newest = counter;
    return "FRESH";
  }
}

/**
 * Remembers what was opened, per session of a sender. Counters by a sliding window, as RFC 4303
 * 3.4.3 has it; sessions by least recent use, at most `sessionCountMax`.
 */
export class ReplayGuard {
  readonly #windowSize: number;
  readonly #sessionCountMax: number;
  readonly #windows = new Map<string, ReplayWindow>();
  #lastSession = "";
  #lastWindow: ReplayWindow | undefined;

  /** @param windowSize in messages, a multiple of 1024 */
  constructor(windowSize: number, sessionCountMax: number) {
    this.#windowSize = windowSize;
    this.#sessionCountMax = sessionCountMax;
  }

  /**
   * Marks a message as opened. Call it once its tag has verified, never before.
   *
   * @param session key id and session id, in any unambiguous form
   * @param counter an integer of 0..2^48-1
   */
  mark(session: string, counter: number): Freshness {
    let window = this.#lastWindow;
    if (window === undefined || session !== this.#lastSession) {
      window = this.#windows.get(session) ?? new ReplayWindow(this.#windowSize);
      // Set again, the session moves to the end: the first of the map is the least recent.
      this.#windows.delete(session);
      this.#windows.set(session, window);
      if (this.#windows.size > this.#sessionCountMax) {
        for (const oldest of this.#windows.keys()) {
          this.#windows.delete(oldest);
          break;
        }
      }
      this.#lastSession = session;
      this.#lastWindow = window;
    }
    return window.mark(counter);
  }
}
