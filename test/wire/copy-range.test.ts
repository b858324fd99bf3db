import { expect, it } from "vitest";
import { copyRange } from "../../build/wire/request-record.js";

function bytesAndView(size: number, fill: (index: number) => number) {
  const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, index) => fill(index)));
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) };
}

it("copies each byte of the range and none beside it, whatever its size and place", () => {
  const from = bytesAndView(1200, (index) => (index * 7 + (index >> 8)) & 0xff);
  for (let size = 0; size <= 1000; size = size < 40 ? size + 1 : size + 31) {
    for (const [at, toAt] of [
      [0, 0],
      [1, 2],
      [3, 64],
      [150, 5],
    ] as const) {
      const to = bytesAndView(1200, () => 0xee);
      copyRange({ ...from, at, size, frames: [] }, size, to, toAt);
      const expected = Buffer.alloc(1200, 0xee);
      from.bytes.copy(expected, toAt, at, at + size);
      expect(to.bytes.equals(expected), `${size} bytes from ${at} to ${toAt}`).toBe(true);
    }
  }
});
