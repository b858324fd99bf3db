import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cell, Cells } from "../../build/broker/cells.js";

const SLAB = 64 * 1024;
/** Slabs that are kept while nobody has a cell of theirs. */
const KEPT = 16;

/** Cells in use, each filled with a number of its own: whoever overlaps another spoils it. */
class Model {
  readonly cells = new Cells();
  readonly held: { cell: Cell; size: number; mark: number }[] = [];
  #mark = 0;

  allocate(size: number): void {
    const cell = this.cells.allocate(size);
    const mark = ++this.#mark % 251;
    expect(cell.at + size).toBeLessThanOrEqual(cell.bytes.length);
    cell.bytes.fill(mark, cell.at, cell.at + size);
    this.held.push({ cell, size, mark });
  }

  free(index: number): void {
    const [{ cell, size, mark }] = this.held.splice(index, 1);
    this.#check(cell, size, mark);
    this.cells.free(cell);
  }

  check(): void {
    for (const { cell, size, mark } of this.held) this.#check(cell, size, mark);
  }

  #check(cell: Cell, size: number, mark: number): void {
    const bytes = cell.bytes.subarray(cell.at, cell.at + size);
    expect(bytes.every((byte) => byte === mark)).toBe(true);
  }
}

const size = fc.oneof(
  fc.integer({ min: 1, max: 8300 }),
  fc.constantFrom(1, 63, 64, 65, 96, 97, 128, 8191, 8192, 8193, 70_000),
);

describe("cells", () => {
  it("never overlap, whatever comes and goes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(size, fc.record({ free: fc.nat() })), { maxLength: 300 }),
        (steps) => {
          const model = new Model();
          for (const step of steps) {
            if (typeof step === "number") model.allocate(step);
            else if (model.held.length > 0) model.free(step.free % model.held.length);
          }
          model.check();
          while (model.held.length > 0) model.free(0);
          // One slab of each size may be kept for the next, and so many of any.
          expect(model.cells.bytesHeld).toBeLessThanOrEqual((15 + KEPT) * SLAB);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("waste less than half of what is asked for, from 64 bytes on", () => {
    for (let asked = 64; asked <= 8192; asked += 7) {
      const cells = new Cells();
      const count = 200;
      for (let i = 0; i < count; i++) cells.allocate(asked);
      expect(cells.bytesHeld).toBeLessThanOrEqual(asked * 1.5 * count * 1.15 + 2 * SLAB);
    }
  });

  it("give memory back after a burst, in any order", () => {
    for (const order of ["first", "last", "middle"] as const) {
      const model = new Model();
      for (let i = 0; i < 5000; i++) model.allocate(300);
      expect(model.cells.bytesHeld).toBeGreaterThan(Math.max(5000 * 300, KEPT * SLAB));
      model.check();
      const half = { first: 0, last: -1, middle: Number.NaN };
      while (model.held.length > 0) {
        const last = model.held.length - 1;
        if (order === "middle") model.free(last >> 1);
        else model.free(half[order] === 0 ? 0 : last);
      }
      expect(model.cells.bytesHeld).toBe(KEPT * SLAB);
    }
  });

  it("take no new memory for a burst like the one before", () => {
    const cells = new Cells();
    const slabs = new Set<ArrayBufferLike>();
    for (let burst = 0; burst < 5; burst++) {
      const held = Array.from({ length: 2048 }, () => cells.allocate(150));
      for (const { bytes } of held) slabs.add(bytes.buffer);
      for (const cell of held) cells.free(cell);
    }
    expect(slabs.size).toBe(Math.ceil(2048 / Math.floor(SLAB / 192)));
    // And no more of them for other sizes: what is kept is kept for all together.
    for (let size = 64; size <= 8192; size *= 2) {
      const held = Array.from({ length: Math.floor((4 * KEPT * SLAB) / size) }, () =>
        cells.allocate(size),
      );
      for (const cell of held) cells.free(cell);
    }
    expect(cells.bytesHeld).toBeLessThanOrEqual((KEPT + 15) * SLAB);
  });

  it("do not move memory with each of them at a slab's edge", () => {
    const cells = new Cells();
    const first = cells.allocate(64);
    for (let i = 0; i < 1000; i++) cells.free(cells.allocate(64));
    expect(cells.bytesHeld).toBe(SLAB);
    cells.free(first);
    expect(cells.bytesHeld).toBe(SLAB);
  });
});
