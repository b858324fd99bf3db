import { encode } from "@msgpack/msgpack";
import { describe, expect, test } from "vitest";
import { createCodec } from "../../build/codec/index.js";
import { expectCode, toHex } from "./support.js";

// Arrays of numbers and of strings go through the module in blocks; item by item the same value is
// written by other code, and an implementation of others by a third.
const codec = await createCodec();
const itemHex = (item: unknown) => toHex(codec.pack([item])).slice(2);

function expectRun(items: unknown[]): void {
  const packed = toHex(codec.pack(items));
  const head = items.length < 16 ? 2 : items.length < 65_536 ? 6 : 10;
  expect(packed.slice(head)).toBe(items.map(itemHex).join(""));
}

describe("numbers", () => {
  const edges = [0, -0, 0.5, -0.25, Number.NaN, Infinity, -Infinity, 1e300, 5e-324];
  for (const power of [5, 7, 8, 15, 16, 30, 31, 32, 52, 53, 54, 63]) {
    for (const near of [-1, 0, 1]) edges.push(2 ** power + near, -(2 ** power) + near);
  }

  test("each at each place of a pair, next to each other", () => {
    expectRun(edges);
    for (const a of edges) expectRun([1.5, 1.5, ...edges.flatMap((b) => [a, b]), 2.5]);
  });

  test("at the borders of blocks, and broken off by something else", () => {
    for (const count of [8, 4095, 4096, 4097, 8192, 70_000]) {
      const items: unknown[] = Array.from({ length: count }, (_, i) => (i % 3 ? i : i + 0.5));
      expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
      items[count - 1] = "x";
      expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
      items[count >> 1] = undefined;
      expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
    }
  });
});

describe("strings", () => {
  const texts = [
    "",
    "a",
    "é",
    "日",
    "🔑",
    "\ud83d",
    "\udd11",
    "x\ud83d",
    "\udd11x",
    "日本語日本語",
  ];
  for (const count of [7, 8, 15, 16, 17, 30, 31, 32, 33, 85, 86, 127, 128, 255, 256, 257]) {
    texts.push("a".repeat(count), "é".repeat(count), "日".repeat(count), `a${"🔑".repeat(count)}b`);
    texts.push(`${"x".repeat(count)}日本語y`, `${"日本".repeat(count)}z`);
  }

  test("of every width, next to each other: no pair is made of two strings' halves", () => {
    expectRun(texts);
    for (const a of texts.slice(0, 12)) expectRun(texts.flatMap((b) => [a, b]));
  });

  test("at the borders of blocks, long ones, and broken off by something else", () => {
    for (const count of [8, 4096, 4097, 9000]) {
      const items: unknown[] = Array.from({ length: count }, (_, i) => `${i} é`.repeat(i % 9));
      expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
      for (const size of [16_383, 16_384, 16_385, 70_000]) {
        for (const letter of ["a", "日"]) items[count - 2] = letter.repeat(size);
        expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
      }
      items[count - 1] = 7;
      expect(toHex(codec.pack(items))).toBe(toHex(encode(items)));
    }
  });
});

test("getters and proxies among the items may use the codec, grow its memory, or throw", () => {
  for (const make of [(i: number) => i + 0.5, (i: number) => `text ${i}`]) {
    const items = Array.from({ length: 100 }, (_, index) => make(index));
    const busy = new Proxy(items, {
      get(target, name, receiver) {
        if (name === "50") codec.unpack(codec.pack(["z".repeat(5_000_000), new Array(90).fill(9)]));
        return Reflect.get(target, name, receiver);
      },
    });
    expect(codec.unpack(codec.pack([busy, "end"]))).toStrictEqual([items, "end"]);
    Object.defineProperty(items, 70, {
      get() {
        throw new Error("mine");
      },
    });
    expect(() => codec.pack(items)).toThrow("mine");
    expect(codec.unpack(codec.pack([1, 2]))).toStrictEqual([1, 2]);
  }
});

test("sizeMax holds for runs", async () => {
  const own = await createCodec({ sizeMax: 1024 });
  expect(own.pack(new Array(113).fill(0.5)).length).toBe(1020);
  expectCode("TOO_LARGE", () => own.pack(new Array(114).fill(0.5)));
  expect(own.pack(new Array(170).fill("äaaa")).length).toBe(1023);
  expectCode("TOO_LARGE", () => own.pack(new Array(171).fill("äaaa")));
  expectCode("TOO_LARGE", () => own.pack(new Array(9).fill("日".repeat(40))));
});
