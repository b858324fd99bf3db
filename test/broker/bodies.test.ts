import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Bodies } from "../../build/broker/bodies.js";
import type { HeldRecord } from "../../build/wire/request-record.js";

const NO_FRAMES: readonly Uint8Array[] = [];

/** A record of `size` bytes of `mark`, in the middle of a message. */
function recordOf(size: number, mark: number, frames = NO_FRAMES): HeldRecord {
  const bytes = Buffer.alloc(size + 200, 0xee);
  bytes.fill(mark, 100, 100 + size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { bytes, view, at: 100, size, frames };
}

function contentOf({ bytes, at, size }: HeldRecord): Buffer {
  return Buffer.from(bytes.subarray(at, at + size));
}

describe("bodies", () => {
  it("are found as they were, whatever became of their message", () => {
    const step = fc.record({
      what: fc.constantFrom("hold", "release"),
      slot: fc.nat(9),
      size: fc.integer({ min: 40, max: 9000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bodies = new Bodies();
        const model = new Map<number, { size: number; mark: number }>();
        let mark = 0;
        for (const { what, slot, size } of steps) {
          const known = model.get(slot);
          if (what === "release") {
            if (known === undefined) continue;
            bodies.release(slot);
            model.delete(slot);
          } else {
            // As the broker does: what is held already is held again.
            const next = known ?? { size, mark: ++mark % 200 };
            const record = bodies.get(slot) ?? recordOf(next.size, next.mark);
            bodies.hold(slot, record);
            // The message it came in is gone.
            if (known === undefined) record.bytes.fill(0xdd);
            model.set(slot, next);
          }
          for (let each = 0; each < 10; each++) {
            const expected = model.get(each);
            const held = bodies.get(each);
            expect(held === undefined).toBe(expected === undefined);
            if (held === undefined || expected === undefined) continue;
            expect(contentOf(held).equals(Buffer.alloc(expected.size, expected.mark))).toBe(true);
          }
        }
        for (const slot of model.keys()) bodies.release(slot);
        expect(bodies.cellBytes).toBeLessThanOrEqual((15 + 16) * 64 * 1024);
      }),
      { numRuns: 100 },
    );
  });

  it("that wait do not keep the message they came in", () => {
    const bodies = new Bodies();
    const record = recordOf(300, 1, [Buffer.alloc(65_535, 2), Buffer.alloc(65_536, 3)]);
    bodies.hold(0, record);
    const held = bodies.get(0) as HeldRecord;
    expect(held.bytes.buffer).not.toBe(record.bytes.buffer);
    expect(held.frames[0].buffer).not.toBe(record.frames[0].buffer);
    expect(held.frames[0]).toEqual(record.frames[0]);
    // A large frame has memory of its own, and is not copied.
    expect(held.frames[1]).toBe(record.frames[1]);
  });

  it("that wait do not keep what a small frame was cut from", () => {
    const bodies = new Bodies();
    const message = Buffer.alloc(64 * 1024, 3);
    const frames = [message.subarray(100, 200), message.subarray(0, 0)];
    bodies.hold(0, recordOf(60, 1, frames));
    const held = bodies.get(0) as HeldRecord;
    expect(held.frames.map((frame) => frame.length)).toEqual([100, 0]);
    expect(held.frames[0].buffer.byteLength).toBeLessThan(200);
    message.fill(9);
    expect(held.frames[0].every((byte) => byte === 3)).toBe(true);
  });

  it("use the memory of frames again, and count it", () => {
    const bodies = new Bodies();
    const frame = Buffer.alloc(16_384, 5);
    bodies.hold(0, recordOf(60, 1, [frame]));
    const { buffer } = (bodies.get(0) as HeldRecord).frames[0];
    expect(bodies.cellBytes).toBe(64 * 1024 + 16_384);
    bodies.release(0);
    expect(bodies.cellBytes).toBe(64 * 1024);
    bodies.hold(1, recordOf(60, 1, [frame]));
    expect((bodies.get(1) as HeldRecord).frames[0].buffer).toBe(buffer);
  });

  it("give memory back after a burst, and refer to nothing", () => {
    const bodies = new Bodies();
    for (let slot = 0; slot < 10_000; slot++) bodies.hold(slot, recordOf(300, slot & 0xff));
    const most = bodies.cellBytes;
    expect(most).toBeGreaterThan(3_000_000);
    expect(most).toBeLessThan(10_000 * 300 * 1.6);
    for (let slot = 0; slot < 10_000; slot++) bodies.release(slot);
    expect(bodies.cellBytes).toBe(1024 * 1024);
    for (let slot = 0; slot < 10_000; slot++) expect(bodies.get(slot)).toBeUndefined();
  });
});
