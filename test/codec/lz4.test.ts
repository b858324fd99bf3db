import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadCodecModule } from "../../build/codec/assets.js";
import { type BlockCompressor, blockSizeMax } from "../../build/codec/block.js";
import { CodecError, createCodec } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Lz4Assembly } from "../../build/codec/lz4-assembly.js";
import { Lz4Wasm } from "../../build/codec/lz4-wasm.js";
import { isWorthCompressing } from "../../build/codec/probe.js";
import { damaged, expectCode, hex, order, referenceLz4 } from "./support.js";

const memory = new LinearMemory(await loadCodecModule());
const compressors = ["assembly", "lz4-wasm"] as const;
const codecs = {
  assembly: await createCodec({ compressor: "assembly" }),
  "lz4-wasm": await createCodec({ compressor: "lz4-wasm" }),
};
const blocksOf: Record<string, BlockCompressor> = {
  assembly: new Lz4Assembly(memory),
  "lz4-wasm": await Lz4Wasm.load(memory),
};

/** The validator alone: a size, or a negative status. */
function validate(block: Uint8Array, sizeMax: number): number {
  return memory.exports.blockSize(memory.place(block), block.length, sizeMax, 0);
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

/** toEqual() takes seconds over a mebibyte. */
function expectSame(bytes: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(bytes, expected)).toBe(0);
}

/** Letters of a small alphabet: matches of every length and distance. */
function letters(size: number, alphabet: number): Uint8Array {
  return noise(size).map((byte) => 97 + (byte % alphabet));
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
  ["matches 65535 back", new Uint8Array([...noise(65_535), ...noise(65_535)])],
  ["matches 65536 back", new Uint8Array([...noise(65_536), ...noise(65_536)])],
  ["matches 65534 back", new Uint8Array([...noise(65_534), ...noise(65_534)])],
  ["letters", letters(66_000, 3)],
  ["a mebibyte of letters", letters(1_048_576, 20)],
];

describe.each(compressors)("%s", (compressor) => {
  const codec = codecs[compressor];

  describe.each(plains)("%s", (_, plain) => {
    test("comes back, by way of any decoder", () => {
      const block = codec.compress(plain);
      expect(block.buffer.byteLength).toBe(block.length);
      expect(validate(block, plain.length)).toBe(plain.length);
      expectSame(codec.decompress(block, { maxSize: plain.length }), plain);
      expectSame(codec.decompress(block, { maxSize: 2 ** 30, size: plain.length }), plain);
      for (const other of compressors) {
        expectSame(codecs[other].decompress(block, { maxSize: plain.length }), plain);
      }
      expectSame(Uint8Array.from(referenceLz4(block, plain.length) ?? [1]), plain);
    });

    test("is refused where it is larger than allowed", () => {
      const block = codec.compress(plain);
      if (plain.length > 0) {
        expectCode("TOO_LARGE", () => codec.decompress(block, { maxSize: plain.length - 1 }));
        const other = { maxSize: 2 ** 21, size: plain.length - 1 };
        expectCode("SIZE_MISMATCH", () => codec.decompress(block, other));
      }
      const other = { maxSize: 2 ** 21, size: plain.length + 1 };
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
      count < 15
        ? []
        : [...new Array(Math.floor((count - 15) / 255)).fill(255), (count - 15) % 255];
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

  test("every size to 300 comes back by way of any decoder", () => {
    for (let size = 0; size <= 300; size++) {
      for (const plain of [letters(size, 2), noise(size), text.subarray(7, 7 + size)]) {
        const block = codec.compress(plain);
        for (const other of compressors) {
          const opened = codecs[other].decompress(block, { maxSize: size, size });
          expect(Buffer.compare(opened, plain)).toBe(0);
        }
        expect(Buffer.compare(Uint8Array.from(referenceLz4(block, size) ?? [1]), plain)).toBe(0);
      }
    }
  });

  test("generated bytes come back by way of any decoder", () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom("orderId", '"quantity":', "aaaaaaaaaaaaaaaaaaaaaaaa")
        .map((some) => new TextEncoder().encode(some)),
      fc
        .tuple(fc.nat(255), fc.integer({ min: 0, max: 700 }))
        .map(([byte, size]) => new Uint8Array(size).fill(byte)),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const plain = Uint8Array.from(Buffer.concat(pieces));
        const block = codec.compress(plain);
        expect(block.length).toBeLessThanOrEqual(blockSizeMax(plain.length));
        for (const other of compressors) {
          const opened = codecs[other].decompress(block, { maxSize: plain.length });
          expect(Buffer.compare(opened, plain)).toBe(0);
        }
        const reference = referenceLz4(block, plain.length) ?? [-1];
        expect(Buffer.compare(Uint8Array.from(reference), plain)).toBe(0);
      }),
      { numRuns: 1000 },
    );
  });

  test("what is damaged is refused, or is what the reference reads, with and without a size", () => {
    const plain = text.subarray(0, 400);
    for (const block of damaged(codec.compress(plain))) {
      const expected = referenceLz4(block, 1000);
      for (const size of [undefined, plain.length]) {
        let opened: Uint8Array | undefined;
        try {
          opened = codec.decompress(block, { maxSize: 1000, size });
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
        const isFit = expected !== undefined && (size ?? expected.length) === expected.length;
        expect(opened === undefined ? undefined : [...opened]).toEqual(
          isFit ? expected : undefined,
        );
      }
    }
  });

  test("it is tried only where it may pay", () => {
    const blocks = blocksOf[compressor];
    expect(isWorthCompressing(new Uint8Array(127), blocks)).toBe(false);
    expect(isWorthCompressing(new Uint8Array(128), blocks)).toBe(true);
    expect(isWorthCompressing(noise(100_000), blocks)).toBe(false);
    expect(isWorthCompressing(text, blocks)).toBe(true);
    expect(isWorthCompressing(new Uint8Array(16 * 1024), blocks)).toBe(true);
  });

  test("a claim of much from few bytes takes no memory", () => {
    const block = codec.compress(new Uint8Array(1000));
    const claim = { maxSize: 2 ** 30, size: 2 ** 30 };
    expectCode("SIZE_MISMATCH", () => codec.decompress(block, claim));
  });
});

test("both refuse the same blocks for the same reason", () => {
  for (const block of damaged(codecs.assembly.compress(text.subarray(0, 400)))) {
    const [ours, theirs] = compressors.map((compressor) => {
      try {
        return codecs[compressor].decompress(block, { maxSize: 1000, size: 400 });
      } catch (error) {
        return String(error);
      }
    });
    expect(ours).toEqual(theirs);
  }
});

describe("the module's own bounds", () => {
  const SLACK_SIZE = 64;
  const CANARY = 0xa5;
  const { exports } = memory;

  /** Two areas with their slack and canaries around; the call's result and the second area. */
  function between(first: Uint8Array, size: number, run: (a: number, b: number) => number) {
    const source = memory.top + 1024;
    const target = source + first.length + SLACK_SIZE + 1024;
    const end = target + size + SLACK_SIZE + 1024;
    memory.reserve(memory.top, end - memory.top);
    memory.u8.fill(CANARY, memory.top, end);
    memory.u8.set(first, source);
    const result = run(source, target);
    const isWhole = (from: number, to: number) =>
      memory.u8.subarray(from, to).every((byte) => byte === CANARY);
    expect(isWhole(memory.top, source)).toBe(true);
    expect(isWhole(source + first.length, target)).toBe(true);
    expect(isWhole(target + size + SLACK_SIZE, end)).toBe(true);
    expect(Buffer.compare(memory.u8.subarray(source, source + first.length), first)).toBe(0);
    return { result, bytes: memory.u8.slice(target, target + Math.max(result, 0)) };
  }
  const compress = (plain: Uint8Array, capacity: number) =>
    between(plain, capacity, (a, b) => exports.compress(a, plain.length, b, capacity));
  const decompress = (block: Uint8Array, size: number) =>
    between(block, size, (a, b) => exports.decompress(a, block.length, b, size));

  const shapes: [string, Uint8Array][] = [
    ["text", text.subarray(0, 700)],
    ["noise", noise(700)],
    ["letters", letters(700, 3)],
    ["zeros", new Uint8Array(2000)],
  ];

  test.each(shapes)("%s: every capacity, and none is passed", (_, plain) => {
    const whole = compress(plain, blockSizeMax(plain.length)).bytes;
    for (let capacity = 0; capacity <= whole.length + 2; capacity++) {
      const { result, bytes } = compress(plain, capacity);
      if (capacity < whole.length) expect(result).toBeLessThan(0);
      else expect(bytes).toEqual(whole);
    }
  });

  test.each(shapes)("%s: every target size, and none is passed", (_, plain) => {
    const block = compress(plain, blockSizeMax(plain.length)).bytes;
    for (let size = 0; size <= plain.length + 2; size++) {
      const { result, bytes } = decompress(block, size);
      if (size < plain.length) expect(result).toBeLessThan(0);
      else expect(bytes).toEqual(plain);
    }
  });

  test("nothing is passed by a damaged block, and the walk agrees", () => {
    const plain = new Uint8Array([...text.subarray(0, 200), ...letters(200, 2)]);
    const block = compress(plain, blockSizeMax(plain.length)).bytes;
    for (const other of damaged(block)) {
      const { result } = decompress(other, 500);
      expect(result).toBe(validate(other, 500));
    }
  });

  test("generated blocks: the decompressor, the walk and the reference agree", () => {
    let validCount = 0;
    const offset = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.nat(300));
    const sequence = fc.tuple(fc.uint8Array({ maxLength: 14 }), offset, fc.nat(14));
    fc.assert(
      fc.property(fc.array(sequence, { maxLength: 12 }), fc.nat(400), (sequences, size) => {
        const bytes = sequences.flatMap(([literals, back, match]) => [
          (literals.length << 4) | match,
          ...literals,
          back & 255,
          back >> 8,
        ]);
        const block = Uint8Array.from([...bytes, 0x10, 7]);
        const { result, bytes: plain } = decompress(block, size);
        const expected = referenceLz4(block, size);
        expect(result < 0 ? undefined : [...plain]).toEqual(expected);
        expect(Math.max(-1, result)).toBe(Math.max(-1, validate(block, size)));
        if (expected !== undefined) validCount++;
      }),
      { numRuns: 5000 },
    );
    expect(validCount).toBeGreaterThan(300);
  });

  test("sizes below nothing are refused", () => {
    expect(exports.compress(memory.top, -1, memory.top + 4096, 100)).toBeLessThan(0);
    expect(exports.compress(memory.top, 10, memory.top + 4096, -1)).toBeLessThan(0);
    expect(exports.decompress(memory.top, -1, memory.top + 4096, 100)).toBeLessThan(0);
    expect(exports.decompress(memory.top, 10, memory.top + 4096, -1)).toBeLessThan(0);
  });

  test("positions that run out begin again, and no block changes by it", () => {
    const plains = [text.subarray(0, 700), letters(5000, 3), text, letters(70_000, 20)];
    const expected = plains.map((plain) => {
      exports.forgetPositions(0);
      return compress(plain, blockSizeMax(plain.length)).bytes;
    });
    // From 500 KB before the end of 32 bits on, so that the end falls on each of them in turn.
    for (let before = 0; before < 500_000; before += 4001) {
      exports.forgetPositions(2 ** 32 - 1 - before);
      for (let round = 0; round < 2; round++) {
        for (const [index, plain] of plains.entries()) {
          const { bytes } = compress(plain, blockSizeMax(plain.length));
          expect(Buffer.compare(bytes, expected[index])).toBe(0);
        }
      }
    }
  });

  test("what another call left in the table is not matched", () => {
    const plain = text.subarray(0, 700);
    const expected = compress(plain, blockSizeMax(plain.length)).bytes;
    for (let call = 0; call < 300; call++) {
      compress(letters(call, 3), blockSizeMax(call));
      expect(compress(plain, blockSizeMax(plain.length)).bytes).toEqual(expected);
    }
  });
});

test("limits of the wrong kind are named", () => {
  const block = codecs.assembly.compress(text);
  expect(() => codecs.assembly.decompress(block, {} as never)).toThrow(
    "maxSize must be an integer of 0..1073741824, got undefined",
  );
  expect(() => codecs.assembly.decompress(block, { maxSize: 10, size: -1 })).toThrow(
    "size must be",
  );
  expectCode("TOO_LARGE", () => codecs.assembly.decompress(block, { maxSize: 10, size: 11 }));
});

test("a compressor that is none is named", async () => {
  await expect(createCodec({ compressor: "zstd" as never })).rejects.toThrow(
    'compressor must be "assembly" or "lz4-wasm", got zstd',
  );
});

test("either opens what the other sealed", () => {
  const context = { service: "a", direction: "request", requestId: noise(16) } as const;
  const value = new Array(3000).fill(order);
  for (const from of compressors) {
    const bytes = codecs[from].seal(value, context);
    expect(bytes.length).toBeLessThan(30_000);
    for (const to of compressors) expect(codecs[to].open(bytes, context)).toEqual(value);
  }
});
