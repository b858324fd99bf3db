import fc from "fast-check";
import { expect, test } from "vitest";
import { COUNTER_END, counterOf, NonceSequence } from "../../build/codec/envelope.js";
import { ReplayGuard } from "../../build/codec/replay.js";
import { toHex } from "./support.js";

/** The same by a set of all that was seen. */
class ReferenceWindow {
  readonly #seen = new Set<number>();
  #newest = -1;
  readonly #size: number;
  constructor(size: number) {
    this.#size = size;
  }
  mark(counter: number): string {
    if (counter <= this.#newest - this.#size) return "STALE";
    if (this.#seen.has(counter)) return "REPLAYED";
    this.#seen.add(counter);
    this.#newest = Math.max(this.#newest, counter);
    return "FRESH";
  }
}

test("the window agrees with a set, whatever the order", () => {
  const step = fc.oneof(
    fc.integer({ min: -3, max: 3 }),
    fc.integer({ min: -5000, max: 5000 }),
    fc.constantFrom(0, -1023, -1024, -1025, 1023, 1024, 1025, 2048, 3072, 100_000),
  );
  const starts = fc.constantFrom(0, 1023, 1_000_000, COUNTER_END - 200_000);
  fc.assert(
    fc.property(
      fc.constantFrom(1024, 2048, 4096),
      starts,
      fc.array(step, { maxLength: 300 }),
      (size, start, steps) => {
        const guard = new ReplayGuard(size, 4);
        const reference = new ReferenceWindow(size);
        let counter = start;
        for (const change of steps) {
          counter = Math.max(0, Math.min(COUNTER_END - 1, counter + change));
          expect(guard.mark("a", counter)).toBe(reference.mark(counter));
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("65536 messages back, and no further", () => {
  const guard = new ReplayGuard(65_536, 4);
  expect(guard.mark("a", 65_536)).toBe("FRESH");
  expect(guard.mark("a", 1)).toBe("FRESH");
  expect(guard.mark("a", 0)).toBe("STALE");
  expect(guard.mark("a", 1)).toBe("REPLAYED");
});

test("sessions do not disturb each other; the least recent is forgotten", () => {
  const guard = new ReplayGuard(1024, 2);
  expect(guard.mark("a", 1)).toBe("FRESH");
  expect(guard.mark("b", 1)).toBe("FRESH");
  expect(guard.mark("a", 1)).toBe("REPLAYED");
  expect(guard.mark("c", 1)).toBe("FRESH");
  expect(guard.mark("a", 1)).toBe("REPLAYED");
  expect(guard.mark("b", 1)).toBe("FRESH");
});

test("nonces count, carry into the upper half, and begin another session at the end", () => {
  const nonces = new NonceSequence(2 ** 32 - 1);
  const next = () => toHex(nonces.next());
  const first = next();
  expect(first.slice(32)).toBe("ffffffff00000000");
  expect(next()).toBe(`${first.slice(0, 32)}0000000001000000`);
  const last = new NonceSequence(COUNTER_END - 1);
  const ending = toHex(last.next());
  const beginning = toHex(last.next());
  expect(ending.slice(32)).toBe("ffffffffffff0000");
  expect(beginning.slice(32)).toBe("0000000000000000");
  expect(beginning.slice(0, 32)).not.toBe(ending.slice(0, 32));
  const envelope = new Uint8Array(44);
  envelope.set(new NonceSequence(2 ** 40 + 5).next(), 20);
  expect(counterOf(envelope)).toBe(2 ** 40 + 5);
});
