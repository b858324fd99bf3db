import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { createCodec, ExtData } from "../../build/codec/index.js";
import { textBytes, WebText } from "../../build/codec/text.js";
import { expectCode, hex, toHex } from "./support.js";

const codec = await createCodec();
const packed = (value: unknown) => toHex(codec.pack(value));
const unpacked = (text: string) => codec.unpack(hex(text));

/** Both ways. */
function same(value: unknown, text: string): void {
  expect(packed(value)).toBe(text.replaceAll(" ", ""));
  expect(unpacked(text)).toStrictEqual(value);
}

test("nil and booleans", () => {
  same(null, "c0");
  same(false, "c2");
  same(true, "c3");
});

test("integers take the shortest width, at each of its ends", () => {
  same(0, "00");
  same(127, "7f");
  same(128, "cc 80");
  same(255, "cc ff");
  same(256, "cd 0100");
  same(65_535, "cd ffff");
  same(65_536, "ce 00010000");
  same(2 ** 31 - 1, "ce 7fffffff");
  same(2 ** 31, "ce 80000000");
  same(2 ** 32 - 1, "ce ffffffff");
  same(2 ** 32, "cf 0000000100000000");
  same(2 ** 53 - 1, "cf 001fffffffffffff");
  same(-1, "ff");
  same(-32, "e0");
  same(-33, "d0 df");
  same(-128, "d0 80");
  same(-129, "d1 ff7f");
  same(-32_768, "d1 8000");
  same(-32_769, "d2 ffff7fff");
  same(-(2 ** 31), "d2 80000000");
  same(-(2 ** 31) - 1, "d3 ffffffff7fffffff");
  same(-5_000_000_000, "d3 fffffffed5fa0e00");
  same(-(2 ** 53) + 1, "d3 ffe0000000000001");
});

test("integers beyond 2^53 are BigInts, both ways", () => {
  same(2n ** 53n, "cf 0020000000000000");
  same(2n ** 63n, "cf 8000000000000000");
  same(2n ** 64n - 1n, "cf ffffffffffffffff");
  same(-(2n ** 53n), "d3 ffe0000000000000");
  same(-(2n ** 63n), "d3 8000000000000000");
  expect(packed(5n)).toBe("cf0000000000000005");
  expect(unpacked("cf 0000000000000005")).toBe(5);
  expect(unpacked("d3 ffffffffffffffff")).toBe(-1);
  for (const value of [2n ** 64n, -(2n ** 63n) - 1n]) {
    expect(expectCode("INT_RANGE", () => codec.pack({ a: [value] }))).toContain("$.a[0]");
  }
});

test("floats", () => {
  same(1.5, "cb 3ff8000000000000");
  same(-0, "cb 8000000000000000");
  same(Number.NaN, "cb 7ff8000000000000");
  same(Number.POSITIVE_INFINITY, "cb 7ff0000000000000");
  same(Number.NEGATIVE_INFINITY, "cb fff0000000000000");
  same(2 ** 53, "cb 4340000000000000");
  same(Number.MAX_VALUE, "cb 7fefffffffffffff");
  same(Number.MIN_VALUE, "cb 0000000000000001");
  expect(unpacked("ca 3fc00000")).toBe(1.5);
  expect(unpacked("ca 80000000")).toBe(-0);
  expect(unpacked("ca 7f800000")).toBe(Number.POSITIVE_INFINITY);
  expect(unpacked("ca 7fc00000")).toBeNaN();
});

describe("strings", () => {
  test.each([
    [0, "a0"],
    [1, "a1"],
    [31, "bf"],
    [32, "d920"],
    [255, "d9ff"],
    [256, "da0100"],
    [65_535, "daffff"],
    [65_536, "db00010000"],
  ])("of %i bytes", (size, head) => {
    const value = "x".repeat(size);
    expect(packed(value)).toBe(head + "78".repeat(size));
    expect(codec.unpack(codec.pack(value))).toBe(value);
  });

  test.each([10, 11, 16, 24, 25, 85, 86, 90, 21_845, 21_846, 30_000])(
    "%i characters of one, two, three and four bytes",
    (count) => {
      for (const character of ["a", "é", "日", "🔑"]) {
        const value = character.repeat(count);
        const bytes = codec.pack(value);
        const plain = new TextEncoder().encode(value);
        const headSize = plain.length < 32 ? 1 : plain.length < 256 ? 2 : 3;
        const headIsWide = plain.length >= 65_536 ? 5 : headSize;
        expect(bytes.length).toBe(headIsWide + plain.length);
        expect(toHex(bytes.subarray(headIsWide))).toBe(toHex(plain));
        expect(codec.unpack(bytes)).toBe(value);
      }
    },
  );

  test("lone surrogates become U+FFFD", () => {
    expect(codec.unpack(codec.pack("a\ud800b"))).toBe("a\ufffdb");
    expect(codec.unpack(codec.pack("\udc00".repeat(30)))).toBe("\ufffd".repeat(30));
    expect(codec.unpack(codec.pack({ "k\ud800": 1 }))).toStrictEqual({ "k\ufffd": 1 });
  });

  test("UTF-8 that is not valid becomes U+FFFD as TextDecoder has it; a BOM stays", () => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    for (const text of ["ff", "c3", "e282", "f09f94", "eda080", "c080", "f4908080", "efbbbf61"]) {
      const bytes = hex(text);
      const message = new Uint8Array([0xa0 | bytes.length, ...bytes]);
      const value = decoder.decode(bytes);
      expect(codec.unpack(message)).toBe(value);
      expect(codec.unpack(new Uint8Array([0x81, ...message, 1]))).toStrictEqual({ [value]: 1 });
    }
  });

  test("the platform's means and the web's agree", () => {
    const buffer = new ArrayBuffer(256);
    const bytes = new Uint8Array(buffer);
    for (const text of [textBytes(buffer), new WebText(buffer)]) {
      for (const value of ["", "plain", "é日🔑", "\ufeffbom", "x\ud800y", "z".repeat(100)]) {
        const size = text.write(value, 7);
        const expected = new TextEncoder().encode(value);
        expect(bytes.slice(7, 7 + size)).toStrictEqual(expected);
        expect(text.utf8(7, 7 + size)).toBe(value.replace("\ud800", "\ufffd"));
      }
      bytes.set([0x61, 0x62, 0x63], 7);
      expect(text.latin1(7, 10)).toBe("abc");
      bytes.set([0xf0, 0x9f, 0x94, 0x20], 7);
      expect(text.utf8(7, 11)).toBe("\ufffd ");
    }
  });
});

describe("bytes", () => {
  test.each([
    [0, "c400"],
    [255, "c4ff"],
    [256, "c50100"],
    [65_535, "c5ffff"],
    [65_536, "c600010000"],
  ])("bin of %i", (size, head) => {
    const value = new Uint8Array(size).fill(0xab);
    expect(packed(value)).toBe(head + "ab".repeat(size));
    expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  });

  test("Buffer, ArrayBuffer and DataView are bin, and come back as Uint8Array", () => {
    const bytes = new Uint8Array([1, 2, 3]);
    expect(packed(Buffer.from(bytes))).toBe("c403010203");
    expect(packed(bytes.buffer)).toBe("c403010203");
    expect(packed(new DataView(bytes.buffer, 1, 2))).toBe("c4020203");
    expect(packed(runInNewContext("new Uint8Array([1, 2, 3])"))).toBe("c403010203");
    const view = "new DataView(new Uint8Array([9, 1, 2, 3, 9]).buffer, 1, 3)";
    expect(packed(runInNewContext(view))).toBe("c403010203");
    const back = unpacked("c403010203") as Uint8Array;
    expect(Object.getPrototypeOf(back)).toBe(Uint8Array.prototype);
    expect(back.buffer.byteLength).toBe(3);
  });

  test("other typed arrays are arrays of numbers", () => {
    expect(packed(new Float64Array([1, 0.5]))).toBe("9201cb3fe0000000000000");
    expect(packed(new Int16Array([-1, 2]))).toBe("92ff02");
    expect(packed(new BigUint64Array([1n]))).toBe("91cf0000000000000001");
  });
});

describe("ext", () => {
  test.each([
    [1, "d405"],
    [2, "d505"],
    [4, "d605"],
    [8, "d705"],
    [16, "d805"],
    [0, "c70005"],
    [3, "c70305"],
    [255, "c7ff05"],
    [256, "c8010005"],
    [65_535, "c8ffff05"],
    [65_536, "c90001000005"],
  ])("of %i bytes", (size, head) => {
    const value = new ExtData(5, new Uint8Array(size).fill(9));
    expect(packed(value)).toBe(head + "09".repeat(size));
    expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  });

  test("types are -128..127", () => {
    same(new ExtData(-128, hex("07")), "d4 80 07");
    same(new ExtData(-2, hex("07")), "d4 fe 07");
    same(new ExtData(0, hex("07")), "d4 00 07");
    same(new ExtData(127, hex("07")), "d4 7f 07");
    expect(() => new ExtData(128, hex("00"))).toThrow("must be an integer of -128..127, got 128");
    for (const data of ["abc", [1], { length: 3 }, new Uint16Array(1), undefined]) {
      expect(() => new ExtData(1, data as never)).toThrow(`a Uint8Array, got ${typeof data}`);
    }
  });

  test("timestamps in three widths", () => {
    same(new Date(0), "d6ff 00000000");
    same(new Date((2 ** 32 - 1) * 1000), "d6ff ffffffff");
    same(new Date(1), "d7ff 003d090000000000");
    same(new Date(2 ** 32 * 1000), "d7ff 0000000100000000");
    const last = (999_000_000n << 34n) | (2n ** 34n - 1n);
    same(new Date(2 ** 34 * 1000 - 1), `d7ff ${last.toString(16)}`);
    same(new Date(2 ** 34 * 1000), "c70cff 00000000 0000000400000000");
    same(new Date(-1), "c70cff 3b8b87c0 ffffffffffffffff");
    same(new Date(8.64e15), "c70cff 00000000 000007dba8218000");
    same(new Date(-8.64e15), "c70cff 00000000 fffff82457de8000");
    // What is below a millisecond is lost.
    expect(unpacked("d7ff 003d090c00000005")).toStrictEqual(new Date(5001));
    expectCode("UNENCODABLE", () => codec.pack(new Date(Number.NaN)));
  });

  test("timestamps that are none, or that no Date can hold", () => {
    for (const text of ["d4ff00", "d5ff0000", `d8ff${"00".repeat(16)}`, "c700ff", "c703ff000000"]) {
      expectCode("BAD_TIMESTAMP", () => unpacked(text));
    }
    expectCode("BAD_TIMESTAMP", () => unpacked("d7ff ee6b280000000000"));
    expectCode("BAD_TIMESTAMP", () => unpacked("c70cff 3b9aca00 0000000000000000"));
    const far = "c70cff 00000000 000007dba8218001";
    same(new ExtData(-1, hex(far.slice(6))), far);
  });
});

test("each first byte alone: a value, or a clear refusal", () => {
  for (let first = 0; first < 256; first++) {
    const bytes = new Uint8Array([first]);
    if (first < 0x80) expect(codec.unpack(bytes)).toBe(first);
    else if (first >= 0xe0) expect(codec.unpack(bytes)).toBe(first - 256);
    else if (first === 0x80) expect(codec.unpack(bytes)).toStrictEqual({});
    else if (first === 0x90) expect(codec.unpack(bytes)).toStrictEqual([]);
    else if (first === 0xa0) expect(codec.unpack(bytes)).toBe("");
    else if (first === 0xc0) expect(codec.unpack(bytes)).toBe(null);
    else if (first === 0xc2 || first === 0xc3) expect(codec.unpack(bytes)).toBe(first === 0xc3);
    else expectCode(first === 0xc1 ? "RESERVED_BYTE" : "TRUNCATED", () => codec.unpack(bytes));
  }
  expectCode("TRUNCATED", () => codec.unpack(new Uint8Array()));
  expectCode("RESERVED_BYTE", () => unpacked("81 c1 01"));
  expect(expectCode("TRAILING_BYTES", () => unpacked("9101 02"))).toContain("at byte 2");
});
