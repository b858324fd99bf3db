import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadCodecModule } from "../../build/codec/assets.js";
import { CodecError, createCodec } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { isWorthCompressing } from "../../build/codec/probe.js";
import { Lz4Wasm } from "../../build/codec/block.js";
import { expectCode, hex, order, referenceLz4 } from "./support.js";

const codec = await createCodec();
const memory = new LinearMemory(await loadCodecModule());

/** The validator alone: a size, or a negative status. */
function validate(block: Uint8Array, sizeMax: number): number {
  return memory.exports.blockSize(memory.place(block), block.length, sizeMax);
}

function noise(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = 12_345;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

const text = new TextEncoder().encode(JSON.stringify(new Array(80).fill(order)));
const plains: [string, Uint8Array][] = [
  ["nothing", new Uint8Array()],
  ["one byte", new Uint8Array([7])],
  ["twelve bytes", new Uint8Array(12).fill(1)],
  ["13 bytes", new Uint8Array(13).fill(1)],
  ["zeros", new Uint8Array(100_000)],
  ["noise", noise(70_000)],
  ["text", text],
  ["far matches", new Uint8Array([...noise(65_535), ...noise(65_535)])],
];

describe.each(plains)("%s", (_, plain) => {
  test("comes back, by way of any decoder", () => {
    const block = codec.compress(plain);
    expect(block.buffer.byteLength).toBe(block.length);
    expect(validate(block, plain.length)).toBe(plain.length);
    expect(codec.decompress(block, { maxSize: plain.length })).toEqual(plain);
    expect(codec.decompress(block, { maxSize: 2 ** 30, size: plain.length })).toEqual(plain);
    expect(Uint8Array.from(referenceLz4(block, plain.length) ?? [1])).toEqual(plain);
  });

  test("is refused where it is larger than allowed", () => {
    const block = codec.compress(plain);
    if (plain.length > 0) {
      expectCode("TOO_LARGE", () => codec.decompress(block, { maxSize: plain.length - 1 }));
      const other = { maxSize: 2 ** 20, size: plain.length - 1 };
      expectCode("SIZE_MISMATCH", () => codec.decompress(block, other));
    }
    const other = { maxSize: 2 ** 20, size: plain.length + 1 };
    expectCode("SIZE_MISMATCH", () => codec.decompress(block, other));
  });
});

test("text shrinks", () => {
  expect(codec.compress(text).length).toBeLessThan(text.length / 5);
});

describe("blocks that are none", () => {
  test.each([
    ["nothing at all", ""],
    ["literals beyond the end", "50 61 62"],
    ["no literals' extra size", "f0"],
    ["an endless literals' size", "f0 ff ff ff"],
    ["no offset", "11 61"],
    ["half an offset", "11 61 01"],
    ["offset 0", "10 61 0000 10 61"],
    ["an offset before the first byte", "10 61 0200 10 61"],
    ["a match before anything", "00 0100 10 61"],
    ["no match's extra size", "1f 61 0100"],
    ["an endless match's size", "1f 61 0100 ff ff"],
    ["no literals at the end", "10 61 0100"],
    ["a match in the last token", "11 61"],
  ])("%s", (_, block) => {
    expectCode("BAD_BLOCK", () => codec.decompress(hex(block), { maxSize: 1000 }));
  });

  test("a bomb is measured, not inflated", () => {
    // A megabyte of 255s claims 267 MB.
    const bomb = new Uint8Array(1_048_580).fill(255);
    bomb.set([0x1f, 0x61, 1, 0]);
    bomb.set([0, 0x10, 0x61], bomb.length - 3);
    expectCode("TOO_LARGE", () => codec.decompress(bomb, { maxSize: 16 * 2 ** 20 }));
    expect(validate(bomb, 2 ** 30)).toBe((1_048_580 - 4 - 3) * 255 + 15 + 4 + 1 + 1);
  });
});

test("the validator, the reference and the decompressor agree on blocks made at random", () => {
  const sequence = fc.record({
    literals: fc.uint8Array({ maxLength: 40 }),
    offset: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 300 })),
    match: fc.integer({ min: 0, max: 600 }),
  });
  const extra = (count: number) =>
    count < 15 ? [] : [...new Array(Math.floor((count - 15) / 255)).fill(255), (count - 15) % 255];
  let validCount = 0;
  fc.assert(
    fc.property(
      fc.array(sequence, { maxLength: 8 }),
      fc.uint8Array({ maxLength: 30 }),
      (some, last) => {
        const bytes: number[] = [];
        for (const { literals, offset, match } of some) {
          bytes.push((Math.min(literals.length, 15) << 4) | Math.min(match, 15));
          bytes.push(...extra(literals.length), ...literals, offset & 255, offset >> 8);
          bytes.push(...extra(match));
        }
        bytes.push(Math.min(last.length, 15) << 4, ...extra(last.length), ...last);
        const block = Uint8Array.from(bytes);
        const expected = referenceLz4(block, 8192);
        expect(validate(block, 8192)).toSatisfy((size: number) =>
          expected === undefined ? size < 0 : size === expected.length,
        );
        if (expected === undefined) {
          expect(() => codec.decompress(block, { maxSize: 8192 })).toThrow(CodecError);
        } else {
          validCount++;
          expect([...codec.decompress(block, { maxSize: 8192 })]).toEqual(expected);
        }
      },
    ),
    { numRuns: 3000 },
  );
  expect(validCount).toBeGreaterThan(300);
});

test("bytes at random: the validator and the reference agree", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (block) => {
      const expected = referenceLz4(block, 4096);
      expect(Math.max(-1, validate(block, 4096))).toBe(expected?.length ?? -1);
      if (expected !== undefined) {
        expect([...codec.decompress(block, { maxSize: 4096 })]).toEqual(expected);
      }
    }),
    { numRuns: 5000 },
  );
});

test("it is tried only where it may pay", async () => {
  const blocks = await Lz4Wasm.load();
  expect(isWorthCompressing(new Uint8Array(127), blocks)).toBe(false);
  expect(isWorthCompressing(new Uint8Array(128), blocks)).toBe(true);
  expect(isWorthCompressing(noise(100_000), blocks)).toBe(false);
  expect(isWorthCompressing(text, blocks)).toBe(true);
  expect(isWorthCompressing(new Uint8Array(16 * 1024), blocks)).toBe(true);
});

test("limits of the wrong kind are named", () => {
  const block = codec.compress(text);
  expect(() => codec.decompress(block, {} as never)).toThrow(
    "maxSize must be an integer of 0..1073741824, got undefined",
  );
  expect(() => codec.decompress(block, { maxSize: 10, size: -1 })).toThrow("size must be");
  expectCode("TOO_LARGE", () => codec.decompress(block, { maxSize: 10, size: 11 }));
});
