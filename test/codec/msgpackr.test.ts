import fc from "fast-check";
import { addExtension, isNativeAccelerationEnabled, Packr, Unpackr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { createCodec, ExtData } from "../../build/codec/index.js";
import { value } from "./arbitrary.js";
import { expectAlike, families, mapLeaves } from "./families.js";

// msgpackr, a second independent implementation of MessagePack. Where the two mean different things
// by a value, the functions and tests below say so: they make of a value what the other side makes of it.
const codec = await createCodec();
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });
const runs = { numRuns: 2000 };

const isSafe = (value: bigint) => value > -(2n ** 53n) && value < 2n ** 53n;

/** What msgpackr reads, as we read it. */
function ofTheirReading(value: unknown): unknown {
  return mapLeaves(value, (leaf) => {
    // Integers of 64 bits are BigInts to it however small they are.
    if (typeof leaf === "bigint") return isSafe(leaf) ? Number(leaf) : leaf;
    // Bytes are a Buffer to it.
    if (Buffer.isBuffer(leaf)) return Uint8Array.from(leaf);
    return leaf;
  });
}

/** What we pack, as it is once msgpackr has written it. */
function afterTheirWriting(value: unknown): unknown {
  return mapLeaves(value, (leaf) => {
    // It writes -0 as the integer 0.
    if (Object.is(leaf, -0)) return 0;
    return leaf;
  });
}

test("its native addon is active, as it is for its users", () => {
  expect(isNativeAccelerationEnabled).toBe(true);
});

describe("each reads what the other writes", () => {
  function bothWays(given: unknown): void {
    const bytes = codec.pack(given);
    const back = codec.unpack(bytes);
    expectAlike(ofTheirReading(unpackr.unpack(bytes)), back);
    expectAlike(codec.unpack(packr.pack(given)), afterTheirWriting(back));
  }

  test("generated values", () => {
    fc.assert(fc.property(value, bothWays), runs);
  });

  test.each(families)("%s", (_, values) => {
    for (const given of values) bothWays(given);
  });

  test("integers of 64 bits", () => {
    const wide = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(fc.array(wide), (given) => {
        const back = codec.unpack(codec.pack(given));
        expect(back).toEqual(given.map((wide) => (isSafe(wide) ? Number(wide) : wide)));
        expect(ofTheirReading(unpackr.unpack(codec.pack(given)))).toEqual(back);
        expect(codec.unpack(packr.pack(given))).toEqual(back);
      }),
      runs,
    );
  });
});

describe("what means different things to the two", () => {
  test("undefined: nil in an array, no property in an object; an ext 0 of msgpackr's by default", () => {
    expect(unpackr.unpack(codec.pack([undefined, { a: undefined, b: 1 }]))).toEqual([
      null,
      { b: 1 },
    ]);
    expect(codec.unpack(packr.pack([undefined, { a: undefined }]))).toEqual([null, { a: null }]);
    const own = new Packr({ useRecords: false }).pack(undefined);
    expect(codec.unpack(own)).toEqual(new ExtData(0, Uint8Array.of(0)));
  });

  test("float 32: read as the number that it is", () => {
    const short = new Packr({ useRecords: false, useFloat32: 1 });
    fc.assert(
      fc.property(fc.array(fc.double()), (given) => {
        // Integers stay integers, -0 becomes one, and what is far from 0 stays a float 64.
        expect(codec.unpack(short.pack(given))).toEqual(
          given.map((number) => {
            if (Number.isInteger(number)) return number + 0;
            return number >= -(2 ** 31) && number < 2 ** 32 ? Math.fround(number) : number;
          }),
        );
      }),
      runs,
    );
  });

  test("dates: milliseconds, before 1970 and after 2514", () => {
    fc.assert(
      fc.property(fc.date({ noInvalidDate: true }), (given) => {
        expect(unpackr.unpack(codec.pack(given))).toEqual(given);
        expect(codec.unpack(packr.pack(given))).toEqual(given);
      }),
      runs,
    );
  });

  test("ext: a type that msgpackr was told of", () => {
    addExtension({
      Class: ExtData,
      type: 5,
      pack: ({ data }: ExtData) => Buffer.from(data),
      unpack: (data: Uint8Array) => new ExtData(5, Uint8Array.from(data)),
    });
    const extending = new Packr({ useRecords: false });
    for (const size of [0, 1, 2, 3, 4, 8, 12, 16, 17, 255, 256, 65_535, 65_536]) {
      const given = [new ExtData(5, new Uint8Array(size).fill(size))];
      expect(extending.unpack(codec.pack(given))).toEqual(given);
      expect(codec.unpack(extending.pack(given))).toEqual(given);
    }
  });

  test("Map: an object to us; with mapsAsObjects to msgpackr too", () => {
    const given = new Map<string | number, unknown>([
      ["a", 1],
      [2, "b"],
    ]);
    expect(unpackr.unpack(codec.pack(given))).toEqual({ a: 1, 2: "b" });
    expect(codec.unpack(packr.pack(given))).toEqual({ a: 1, 2: "b" });
  });

  test("__proto__: an own property to us, renamed by msgpackr", () => {
    const given = JSON.parse('{"__proto__":1}');
    expect(unpackr.unpack(codec.pack(given))).toEqual({ __proto_: 1 });
    expect(Object.keys(codec.unpack(packr.pack(given)) as object)).toEqual(["__proto__"]);
  });

  test("a lone surrogate: U+FFFD to us, on both ways out", () => {
    expect(unpackr.unpack(codec.pack(["a\ud800b", "\udc00".repeat(50)]))).toEqual([
      "a\ufffdb",
      "\ufffd".repeat(50),
    ]);
  });

  test("records are msgpackr's own, and no map to anyone else", () => {
    const recording = new Packr({ useRecords: true });
    // d4 72: an ext of its own, then values beyond the one.
    expect(() => codec.unpack(recording.pack({ a: 1, b: 2 }))).toThrow("TRAILING_BYTES");
  });
});
