// Bodies that tell whether they are still what they were: each byte follows from a number and its place.
import { expect } from "vitest";

const KiB = 1024;

/** On both sides of each size at which something changes: inline, frame, block, memory of its own. */
export const sizes = [8, 16, 32, 64]
  .flatMap((size) => [size * KiB - 1, size * KiB, size * KiB + 1])
  // With the rest of a record around them.
  .concat([0, 1, 300, 8 * KiB - 48, 32 * KiB - 100, 64 * KiB - 100, 100_000, 200_000]);

export const sizeOf = (number: number) => sizes[number % sizes.length];

/** The body of this number. */
export function bodyOf(number: number, size = sizeOf(number)): Buffer {
  const body = Buffer.allocUnsafe(size);
  let state = (number + 1) * 0x9e3779b1;
  for (let at = 0; at < size; at++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x297a2d39;
    body[at] = state >>> 24;
  }
  return body;
}

/** Bodies that somebody was given, to be looked at when all is over. */
export class Given {
  readonly #given: { number: number; what: string; bytes: Uint8Array; size: number }[] = [];

  get count(): number {
    return this.#given.length;
  }

  add(what: string, number: number, bytes: Uint8Array, size = sizeOf(number)): void {
    this.#given.push({ number, what, bytes, size });
  }

  /** Each is what it was, and lies in memory that holds nothing else. */
  check(count: number): void {
    expect(this.count).toBe(count);
    const buffers = new Map<ArrayBufferLike, string>();
    for (const { number, what, bytes, size } of this.#given) {
      const name = `${what} ${number} of ${size} bytes`;
      if (!bodyOf(number, size).equals(bytes)) {
        const at = bytes.findIndex((byte, index) => byte !== bodyOf(number, size)[index]);
        expect.fail(`${name} has changed from ${at} of ${bytes.length}`);
      }
      if (size === 0) continue;
      const other = buffers.get(bytes.buffer);
      if (other !== undefined) expect.fail(`${name} shares the memory of ${other}`);
      buffers.set(bytes.buffer, name);
    }
  }
}
