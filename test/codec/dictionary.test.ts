import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeOrders } from "../../bench/codec/orders.mjs";
import { loadCodecModule } from "../../build/codec/assets.js";
import { blockSizeMax } from "../../build/codec/block.js";
import {
  createCodec,
  type Dictionary,
  exportDictionary,
  generateKey,
  importDictionary,
  readEnvelope,
  trainDictionary,
} from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { damaged, expectCode, hex, order, referenceLz4, toHex } from "./support.js";

interface Case {
  name: string;
  dictionary: string;
  digest: string;
  plain: string;
  block: string;
}

// Made by test/vectors/make-dictionary.py with liblz4.
const cases: Case[] = JSON.parse(
  readFileSync(new URL("../vectors/dictionary.json", import.meta.url), "utf8"),
);
const bytesOf = (text: string) => new TextEncoder().encode(text);
const context = { service: "a", direction: "request", requestId: new Uint8Array(16) } as const;
const reply = { ...context, direction: "reply" } as const;

function noise(size: number, seed = 12_345): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

describe("blocks that liblz4 made", () => {
  test.each(cases)("$name", async (vector) => {
    const dictionary = await importDictionary(hex(vector.dictionary), vector.digest);
    const codec = await createCodec({ dictionaries: [dictionary] });
    const { digestText } = dictionary;
    const plain = hex(vector.plain);
    const limits = { maxSize: plain.length, dictionary: digestText };
    for (const size of [undefined, plain.length]) {
      const opened = codec.decompress(hex(vector.block), { ...limits, size });
      expect(toHex(opened)).toBe(vector.plain);
    }
    expectCode("TOO_LARGE", () =>
      codec.decompress(hex(vector.block), { ...limits, maxSize: plain.length - 1 }),
    );
    const block = codec.compress(plain, { dictionary: digestText });
    expect(toHex(codec.decompress(block, limits))).toBe(vector.plain);
    const reference = referenceLz4(block, plain.length, hex(vector.dictionary));
    expect(toHex(Uint8Array.from(reference ?? []))).toBe(vector.plain);
  });
});

const PYTHON = `
import sys, json, lz4.block
for line in sys.stdin:
    case = json.loads(line)
    print(lz4.block.decompress(bytes.fromhex(case["block"]), uncompressed_size=case["size"],
                               dict=bytes.fromhex(case["dictionary"])).hex())
`;
// The system's, where a package manager puts the library, before one that hides it.
const python = ["python3", "/usr/bin/python3"].find(
  (command) => spawnSync(command, ["-c", "import lz4.block"]).status === 0,
);

test.skipIf(python === undefined)("liblz4 opens our blocks", async () => {
  const lines: string[] = [];
  const plains: string[] = [];
  for (const { dictionary: dictionaryHex } of cases) {
    const bytes = hex(dictionaryHex);
    const dictionary = await importDictionary(bytes);
    const codec = await createCodec({ dictionaries: [dictionary] });
    for (const size of [1, 12, 13, 14, 100, 300]) {
      for (const from of [0, Math.max(0, bytes.length - 50)]) {
        const plain = Uint8Array.from([...bytes.subarray(from), ...noise(300)]).subarray(0, size);
        const block = codec.compress(plain, { dictionary: dictionary.digestText });
        lines.push(JSON.stringify({ block: toHex(block), size, dictionary: dictionaryHex }));
        plains.push(toHex(plain));
      }
    }
  }
  const { stdout } = spawnSync(python as string, ["-c", PYTHON], {
    input: lines.join("\n"),
    encoding: "utf8",
  });
  expect(stdout.trim().split("\n")).toEqual(plains);
});

describe("a dictionary", () => {
  test("has a size, and the digest it was said to have", async () => {
    const bytes = bytesOf("the least");
    const dictionary = await importDictionary(bytes);
    expect(dictionary.size).toBe(9);
    expect(dictionary.digestText).toMatch(/^[0-9a-f]{16}$/);
    await importDictionary(bytes, dictionary.digestText);
    const bad = [
      [new Uint8Array(7), undefined, "8..65536 bytes, got 7"],
      [new Uint8Array(65_537), undefined, "8..65536 bytes, got 65537"],
      [bytes, "0123456789abcdef", `the digest is ${dictionary.digestText}, not 0123456789abcdef`],
    ] as const;
    for (const [given, digestText, words] of bad) {
      await expect(importDictionary(given, digestText)).rejects.toMatchObject({
        code: "DICTIONARY_INVALID",
        message: expect.stringContaining(words),
      });
    }
    await expect(importDictionary("x" as never)).rejects.toThrow("bytes must be a Uint8Array");
  });

  test("is a copy, comes out as a copy, and is not shown", async () => {
    const bytes = bytesOf("secret samples");
    const dictionary = await importDictionary(bytes);
    bytes.fill(0);
    exportDictionary(dictionary).fill(0);
    expect(exportDictionary(dictionary)).toEqual(bytesOf("secret samples"));
    expect(inspect(dictionary) + JSON.stringify(dictionary) + dictionary).not.toContain("secret");
  });

  test("options of the wrong kind are named", async () => {
    const dictionary = await importDictionary(bytesOf("the least"));
    const refused = async (options: object, words: string) =>
      expect(createCodec(options as never)).rejects.toThrow(words);
    await refused({ dictionaries: dictionary }, "dictionaries must be an array, got object");
    await refused({ dictionaries: [{}] }, "dictionary must be a Dictionary, got object");
    await refused({ dictionaries: [dictionary, dictionary] }, "twice");
    await refused(
      { dictionaries: [dictionary], compressor: "lz4-wasm" },
      'dictionaries go with compressor "assembly", got "lz4-wasm"',
    );
    const many = Array.from({ length: 17 }, (_, index) => importDictionary(noise(8, index)));
    await refused({ dictionaries: await Promise.all(many) }, "at most 16, got 17");
    const codec = await createCodec({ dictionaries: [dictionary] });
    const other = { dictionary: "0123456789abcdef" };
    expect(() => codec.compress(noise(9), other)).toThrow("dictionary must be the digest of one");
    expect(() => codec.seal(1, { ...context, ...other })).toThrow("context.dictionary must be");
    expect(() => codec.decompress(noise(9), { maxSize: 9, ...other })).toThrow(RangeError);
  });
});

describe("sealed bodies", async () => {
  const key = await generateKey();
  const packed = (await createCodec()).pack(order);
  const ours = await importDictionary(packed);
  const other = await importDictionary(Uint8Array.from([...packed, 1]));
  const both = await createCodec({ keys: [key], dictionaries: [ours, other] });
  const none = await createCodec({ keys: [key] });

  test("refer to the first dictionary, or to the one named, or to none", () => {
    expect(both.dictionaryDigests).toEqual([ours.digestText, other.digestText]);
    const expected: [string | null | undefined, string | null][] = [
      [undefined, ours.digestText],
      [other.digestText, other.digestText],
      [null, null],
    ];
    for (const [dictionary, name] of expected) {
      for (const { direction } of [context, reply]) {
        const bytes = both.seal(order, { ...context, direction, dictionary });
        expect(both.dictionaryNamedBy(bytes)).toBe(name);
        expect(bytes.length < packed.length).toBe(name !== null);
        expect(both.open(bytes, { ...context, direction })).toEqual(order);
      }
    }
  });

  test("a small request offers it, a small reply does not", () => {
    const bytes = both.seal(1, context);
    expect(readEnvelope(bytes).isCompressed).toBe(false);
    expect(both.dictionaryNamedBy(bytes)).toBe(ours.digestText);
    expect(none.open(bytes, context)).toBe(1);
    expect(none.dictionaryNamedBy(bytes)).toBe(null);
    expect(both.dictionaryNamedBy(both.seal(1, reply))).toBe(null);
  });

  test("are refused by name where it is not held, and may be opened later", async () => {
    const bytes = both.seal(order, context);
    const words = expectCode("UNKNOWN_DICTIONARY", () => none.open(bytes, context));
    expect(words).toContain(`compressed with ${ours.digestText}, dictionaries held: none`);
    const late = await createCodec({ keys: [key], dictionaries: [other] });
    for (let time = 0; time < 2; time++) {
      expectCode("UNKNOWN_DICTIONARY", () => late.open(bytes, context));
    }
    // Whoever cannot seal learns nothing of which are held.
    bytes[44] ^= 1;
    expectCode("TAMPERED", () => both.open(bytes, context));
    expectCode("TAMPERED", () => none.open(bytes, context));
  });

  test("in plain mode too", async () => {
    const codec = await createCodec({ dictionaries: [ours] });
    const bytes = codec.seal(order, context);
    expect(codec.open(bytes, context)).toEqual(order);
    const without = await createCodec();
    expectCode("UNKNOWN_DICTIONARY", () => without.open(bytes, context));
  });

  test("each bit turned and each prefix: refused", () => {
    for (const bytes of damaged(both.seal(order, context))) {
      expect(() => both.open(bytes, context)).toThrow();
    }
  });

  test("a getter that seals meanwhile takes nothing from the body around it", () => {
    let inner: Uint8Array | undefined;
    const value = {
      ...order,
      get nested() {
        inner = both.seal(order, { ...context, dictionary: other.digestText });
        return "after";
      },
    };
    const bytes = both.seal(value, context);
    expect(both.open(bytes, context)).toEqual({ ...order, nested: "after" });
    expect(both.open(inner as Uint8Array, context)).toEqual(order);
  });

  test("of every size, large ones without it, and after memory was given back", () => {
    for (const count of [0, 1, 2, 60, 150, 3000, 100_000, 1]) {
      const value = new Array(count).fill(order);
      const bytes = both.seal(value, context);
      expect(both.open(bytes, context)).toEqual(value);
    }
    const bytes = both.seal(order, context);
    expect(bytes.length).toBeLessThan(packed.length);
    expect(both.open(bytes, context)).toEqual(order);
  });

  test("compress() uses it for bytes of any size", () => {
    const letters = noise(150_000).map((byte) => 97 + (byte % 3));
    for (const size of [0, 1, 1000, 65_535, 65_536, 65_600, 150_000]) {
      const plain = letters.subarray(0, size);
      const options = { dictionary: other.digestText };
      const block = both.compress(plain, options);
      const limits = { maxSize: size, ...options };
      expect(Buffer.compare(both.decompress(block, limits), plain)).toBe(0);
    }
  });

  test("nothing of it is left in memory after close()", async () => {
    const memory = new LinearMemory(await loadCodecModule());
    const text = bytesOf("words that must not stay");
    memory.hold(text.length, (offset) => memory.u8.set(text, offset));
    const held = () => Buffer.from(memory.u8.buffer).includes("must not stay");
    expect(held()).toBe(true);
    memory.wipe();
    expect(held()).toBe(false);
  });
});

describe("the module's own bounds", async () => {
  const SLACK_SIZE = 64;
  const CANARY = 0xa5;
  const memory = new LinearMemory(await loadCodecModule());
  const { exports } = memory;
  const indexSize = exports.indexSize();

  /** The areas of a call with their slack, and canaries around all of them. */
  function among(dictionary: Uint8Array, first: Uint8Array, size: number) {
    const index = memory.top + 1024;
    const offset = index + indexSize + 1024;
    const source = offset + dictionary.length + SLACK_SIZE + 1024;
    const target = source + first.length + SLACK_SIZE + 1024;
    const end = target + size + SLACK_SIZE + 1024;
    memory.reserve(memory.top, end - memory.top);
    memory.u8.fill(CANARY, memory.top, end);
    memory.u8.set(dictionary, offset);
    memory.u8.set(first, source);
    exports.indexDictionary(offset, dictionary.length, index);
    const check = (result: number) => {
      const isWhole = (from: number, to: number) =>
        memory.u8.subarray(from, to).every((byte) => byte === CANARY);
      expect(isWhole(memory.top, index)).toBe(true);
      expect(isWhole(index + indexSize, offset)).toBe(true);
      expect(isWhole(offset + dictionary.length, source)).toBe(true);
      expect(isWhole(source + first.length, target)).toBe(true);
      expect(isWhole(target + size + SLACK_SIZE, end)).toBe(true);
      expect(
        Buffer.compare(memory.u8.subarray(offset, offset + dictionary.length), dictionary),
      ).toBe(0);
      return { result, bytes: memory.u8.slice(target, target + Math.max(result, 0)) };
    };
    return { index, offset, source, target, check };
  }

  function compress(dictionary: Uint8Array, plain: Uint8Array, capacity: number) {
    const { index, offset, source, target, check } = among(dictionary, plain, capacity);
    const { length } = plain;
    return check(
      exports.compressUsing(source, length, target, capacity, offset, dictionary.length, index),
    );
  }

  function decompress(dictionary: Uint8Array, block: Uint8Array, size: number) {
    const { offset, source, target, check } = among(dictionary, block, size);
    return check(
      exports.decompressUsing(source, block.length, target, size, offset, dictionary.length),
    );
  }

  function walk(dictionary: Uint8Array, block: Uint8Array, size: number): number {
    return exports.blockSize(memory.place(block), block.length, size, dictionary.length);
  }

  const words = bytesOf('"orderId":"A-","quantity":,"currency":"EUR","customer":{"name":"');
  const dictionaries: [string, Uint8Array][] = [
    ["words", words],
    ["eight bytes", words.subarray(0, 8)],
    ["zeros", new Uint8Array(300)],
    ["64 KiB of noise", noise(65_536)],
  ];

  test.each(dictionaries)("%s: every size to 200 comes back", (_, dictionary) => {
    for (let size = 0; size <= 200; size++) {
      for (const whole of [
        dictionary.subarray(0, 200),
        dictionary.subarray(-200),
        dictionary.subarray(-7),
        words,
      ]) {
        const plain = Uint8Array.from([...whole, ...noise(20), ...whole, ...whole]).subarray(
          0,
          size,
        );
        const { bytes: block } = compress(dictionary, plain, blockSizeMax(plain.length));
        expect(decompress(dictionary, block, size).bytes).toEqual(plain);
        expect(walk(dictionary, block, size)).toBe(plain.length);
      }
    }
  });

  test.each(dictionaries)(
    "%s: every capacity and target size, and none is passed",
    (_, dictionary) => {
      const plain = Uint8Array.from([...dictionary.subarray(-100), ...noise(30), ...words]);
      const whole = compress(dictionary, plain, blockSizeMax(plain.length)).bytes;
      for (let capacity = 0; capacity <= whole.length + 2; capacity++) {
        const { result, bytes } = compress(dictionary, plain, capacity);
        if (capacity < whole.length) expect(result).toBeLessThan(0);
        else expect(bytes).toEqual(whole);
      }
      for (let size = 0; size <= plain.length + 2; size++) {
        const { result, bytes } = decompress(dictionary, whole, size);
        if (size < plain.length) expect(result).toBeLessThan(0);
        else expect(bytes).toEqual(plain);
      }
    },
  );

  test("damaged blocks: decompressor, walk and reference agree", () => {
    const plain = Uint8Array.from([...words.subarray(-40), ...noise(20), ...words.subarray(0, 30)]);
    const { bytes: block } = compress(words, plain, 200);
    for (const one of damaged(block)) {
      const { result, bytes } = decompress(words, one, 300);
      const expected = referenceLz4(one, 300, words);
      expect(result < 0 ? undefined : [...bytes]).toEqual(expected);
      expect(result).toBe(walk(words, one, 300));
    }
  });

  test("generated blocks, matches from the dictionary into the plain bytes among them", () => {
    let validCount = 0;
    let acrossCount = 0;
    const sequence = fc.tuple(fc.uint8Array({ maxLength: 14 }), fc.nat(120), fc.nat(14));
    fc.assert(
      fc.property(
        fc.constantFrom(words, words.subarray(0, 8), words.subarray(0, 20)),
        fc.array(sequence, { maxLength: 10 }),
        fc.nat(300),
        (dictionary, sequences, size) => {
          let at = 0;
          let isAcross = false;
          const bytes = sequences.flatMap(([literals, back, match]) => {
            at += literals.length;
            isAcross ||= back > at && match + 4 > back - at;
            at += match + 4;
            return [(literals.length << 4) | match, ...literals, back & 255, back >> 8];
          });
          const block = Uint8Array.from([...bytes, 0x10, 7]);
          const { result, bytes: plain } = decompress(dictionary, block, size);
          const expected = referenceLz4(block, size, dictionary);
          expect(result < 0 ? undefined : [...plain]).toEqual(expected);
          expect(Math.max(-1, result)).toBe(Math.max(-1, walk(dictionary, block, size)));
          if (expected !== undefined) validCount++;
          if (expected !== undefined && isAcross) acrossCount++;
        },
      ),
      { numRuns: 4000 },
    );
    expect(validCount).toBeGreaterThan(300);
    expect(acrossCount).toBeGreaterThan(50);
  });

  test("what calls before left in the table changes no block", () => {
    const plain = Uint8Array.from([...words, ...noise(40), ...words]);
    const expected = compress(words, plain, 300).bytes;
    for (let before = 0; before < 400_000; before += 4001) {
      exports.forgetPositions(2 ** 32 - 1 - before);
      for (let round = 0; round < 3; round++) {
        expect(compress(words, plain, 300).bytes).toEqual(expected);
        compress(words, noise(70_000), 80_000);
      }
    }
  });

  test("sizes below nothing are refused", () => {
    const { top } = memory;
    expect(exports.compressUsing(top, -1, top + 4096, 100, top, 8, top)).toBeLessThan(0);
    expect(exports.compressUsing(top, 10, top + 4096, -1, top, 8, top)).toBeLessThan(0);
    expect(exports.decompressUsing(top, -1, top + 4096, 100, top, 8)).toBeLessThan(0);
    expect(exports.decompressUsing(top, 10, top + 4096, -1, top, 8)).toBeLessThan(0);
  });
});

describe("orders that it was not made of", () => {
  test.each([
    ["random ids", 2],
    ["words", 3.5],
  ])("%s: %s times smaller at least", async (family, ratio) => {
    const codec = await createCodec();
    const samples = makeOrders(family, 2000, 11).map((order) => codec.pack(order));
    const fresh = makeOrders(family, 256, 999).map((order) => codec.pack(order));
    const bytesOf = (list: readonly Uint8Array[]) => list.reduce((sum, one) => sum + one.length, 0);
    for (const size of [16_384, 65_536]) {
      const trained = await trainDictionary(samples, { size });
      const using = await createCodec({ dictionaries: [trained] });
      const blocks = fresh.map((plain) =>
        using.compress(plain, { dictionary: trained.digestText }),
      );
      expect(bytesOf(fresh) / bytesOf(blocks)).toBeGreaterThan(ratio);
    }
  });
});

describe("training", async () => {
  const codec = await createCodec();
  const random = noise(100_000, 99);
  let next = 0;
  const below = (end: number) => (random[next++ % random.length] * 256 + random[next++]) % end;
  const samples = (kind: string, count: number) =>
    Array.from({ length: count }, () =>
      codec.pack({
        [`${kind}Id`]: below(60_000),
        [`${kind}State`]: ["accepted", "packed", "shipped"][below(3)],
        note: `${kind} of ${below(50)} parts`,
      }),
    );
  const ratio = async (some: readonly Uint8Array[], dictionary: Dictionary) => {
    const trained = await createCodec({ dictionaries: [dictionary] });
    const options = { dictionary: dictionary.digestText };
    const sum = (list: readonly Uint8Array[]) => list.reduce((all, { length }) => all + length, 0);
    return sum(some) / sum(some.map((sample) => trained.compress(sample, options)));
  };

  test("finds what samples share, where the last ones alone would not do", async () => {
    const kinds = ["order", "invoice", "parcel", "customer", "refund", "supplier"];
    // Sorted by kind: the last bytes are all of one.
    const sorted = kinds.flatMap((kind) => samples(kind, 60));
    const fresh = kinds.flatMap((kind) => samples(kind, 10));
    const size = 1024;
    const trained = await trainDictionary(sorted, { size });
    expect(trained.size).toBeLessThanOrEqual(size);
    const all = Buffer.concat(sorted);
    const last = await importDictionary(all.subarray(all.length - size));
    expect(await ratio(fresh, trained)).toBeGreaterThan(2);
    expect(await ratio(fresh, trained)).toBeGreaterThan(1.3 * (await ratio(fresh, last)));
  });

  test("is the same each time", async () => {
    const some = samples("order", 100);
    const [one, other] = [await trainDictionary(some), await trainDictionary(some)];
    expect(one.digestText).toBe(other.digestText);
  });

  test("of samples that share nothing, or are tiny, there is a dictionary all the same", async () => {
    for (const size of [1, 5, 6, 1000]) {
      const some = Array.from({ length: 9 }, (_, index) => noise(size, index + 1));
      expect((await trainDictionary(some, { size: 256 })).size).toBeGreaterThanOrEqual(8);
    }
  });

  test("arguments of the wrong kind are named", async () => {
    const some = samples("order", 8);
    await expect(trainDictionary(some, { size: 255 })).rejects.toThrow("size must be an integer");
    await expect(trainDictionary(some.slice(1))).rejects.toThrow("samples must be 8 or more");
    await expect(trainDictionary(["x"] as never)).rejects.toThrow("samples[0] must be");
    await expect(trainDictionary("x" as never)).rejects.toThrow("samples must be an array");
  });
});
