import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { createCodec, ExtData } from "../../build/codec/index.js";
import { expectCode, hex, toHex } from "./support.js";

const codec = await createCodec();
const packed = (value: unknown) => toHex(codec.pack(value));
const unpacked = (text: string) => codec.unpack(hex(text));

describe("arrays and maps", () => {
  test.each([
    [0, "90"],
    [15, "9f"],
    [16, "dc0010"],
    [65_535, "dcffff"],
    [65_536, "dd00010000"],
  ])("array of %i", (count, head) => {
    const value = new Array(count).fill(7);
    expect(packed(value)).toBe(head + "07".repeat(count));
    expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  });

  test.each([
    [0, "80"],
    [15, "8f"],
    [16, "de0010"],
    [65_535, "deffff"],
    [65_536, "df00010000"],
  ])("map of %i", (count, head) => {
    const value = Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));
    expect(packed(value).slice(0, head.length)).toBe(head);
    expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  });

  test("undefined is nil, and left out as a property", () => {
    expect(packed(undefined)).toBe("c0");
    expect(packed([undefined, 1])).toBe("92c001");
    expect(packed({ a: undefined, b: 1 })).toBe("81a16201");
    expect(packed(new Map([["a", undefined]]))).toBe("81a161c0");
    expect(packed(new Array(2))).toBe("92c0c0");
  });

  test.each([16, 17, 31, 40, 65_536])("the head of %i shrinks with what is left out", (count) => {
    const entries = Array.from({ length: count }, (_, i) => [`k${i}`, i % 2 ? undefined : i]);
    const value = Object.fromEntries(entries);
    const kept = Object.fromEntries(entries.filter(([, item]) => item !== undefined));
    expect(packed([value, "end"])).toBe(packed([kept, "end"]));
    expect(codec.unpack(codec.pack(value))).toStrictEqual(kept);
  });

  test("Map is a map; numbers as keys arrive as properties", () => {
    const entries: [unknown, number][] = [
      ["a", 1],
      [2, 3],
      [4n, 5],
    ];
    expect(packed(new Map(entries))).toBe("83a161010203cf000000000000000405");
    expect(unpacked("82 01 a161 cb3ff8000000000000 c3")).toStrictEqual({ 1: "a", 1.5: true });
    expect(unpacked("81 cf ffffffffffffffff c0")).toStrictEqual({ "18446744073709551615": null });
    expectCode("UNENCODABLE", () => codec.pack(new Map([[{}, 1]])));
    for (const key of ["c0", "c2", "c40161", "90", "80", "d40100", "d6ff00000000"]) {
      expectCode("BAD_KEY", () => unpacked(`81 ${key} 01`));
    }
  });

  test("of duplicate keys the last one wins", () => {
    expect(unpacked("82 a161 01 a161 02")).toStrictEqual({ a: 2 });
  });

  test("keys of any length, met again and again", () => {
    for (let round = 0; round < 3; round++) {
      for (const size of [0, 1, 2, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 100]) {
        const value = { [`${"k".repeat(size)}`]: size, [`${"é".repeat(size)}!`]: -size };
        expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
      }
    }
  });

  test("a flood of keys, far more than are remembered, mixed with known ones", () => {
    const value = Object.fromEntries(
      Array.from({ length: 30_000 }, (_, i) => [`key-${i * 7919}`, { id: i, name: "n" }]),
    );
    expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  });

  test("a message that fails leaves no key half remembered", () => {
    expectCode("TRUNCATED", () => unpacked("84 a3666f6f 01 a3626172 02 a362617a 03"));
    const value = { foo: 1, bar: 2, baz: 3 };
    expect(unpacked("83 a3666f6f 01 a3626172 02 a362617a 03")).toStrictEqual(value);
  });
});

test("inherited names are own properties, never the prototype", () => {
  for (let round = 0; round < 2; round++) {
    for (const name of [...Object.getOwnPropertyNames(Object.prototype), "prototype"]) {
      const bytes = codec.pack(new Map([[name, { polluted: true }]]));
      const value = codec.unpack(bytes) as Record<string, unknown>;
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
      expect(Object.keys(value)).toStrictEqual([name]);
      const expected = { writable: true, enumerable: true, configurable: true };
      expect(Reflect.getOwnPropertyDescriptor(value, name)).toMatchObject(expected);
      expect(toHex(codec.pack(value))).toBe(toHex(bytes));
    }
  }
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

describe("what has no packing", () => {
  test.each([
    ["function", () => 1],
    ["symbol", Symbol("s")],
    ["Error", new TypeError("lost")],
    ["Promise", Promise.resolve(1)],
    ["Set", new Set([1])],
    ["RegExp", /x/],
    ["WeakMap", new WeakMap()],
    ["Number", Object(1)],
    ["Date", runInNewContext("new Date(0)")],
  ])("%s", (kind, value) => {
    const message = expectCode("UNENCODABLE", () => codec.pack({ list: [0, { x: value }] }));
    expect(message).toContain(kind);
    expect(message).toContain("$.list[1].x");
  });

  function nest(depth: number): unknown {
    let value: unknown = 1;
    for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { a: value };
    return value;
  }

  test("cycles, and depth", () => {
    const inner: Record<string, unknown> = {};
    const cyclic = { a: [inner] };
    inner.back = cyclic;
    expectCode("CYCLIC", () => codec.pack(cyclic));
    const shared = { x: 1 };
    expect(codec.unpack(codec.pack([shared, shared]))).toStrictEqual([shared, shared]);
    expect(codec.unpack(codec.pack(nest(64)))).toStrictEqual(nest(64));
    expectCode("TOO_DEEP", () => codec.pack(nest(65)));
    expectCode("TOO_DEEP", () => codec.unpack(new Uint8Array(100_000).fill(0x91)));
  });

  test.each([1, 64, 512])("depthMax %i holds both ways", async (depthMax) => {
    const own = await createCodec({ depthMax });
    const bytes = new Uint8Array([...new Array(depthMax).fill(0x91), 1]);
    expect(toHex(own.pack(own.unpack(bytes)))).toBe(toHex(bytes));
    expectCode("TOO_DEEP", () => own.unpack(new Uint8Array([0x91, ...bytes])));
    expectCode("TOO_DEEP", () => own.pack([own.unpack(bytes)]));
  });
});

describe("objects of classes", () => {
  test("own enumerable properties, or what toJSON returns", () => {
    class Point {
      x = 1;
      get sum() {
        return this.x + 1;
      }
    }
    class Own {
      toJSON() {
        return this;
      }
    }
    const bare = Object.assign(Object.create(null), { a: 1 });
    expect(codec.unpack(codec.pack(new Point()))).toStrictEqual({ x: 1 });
    expect(codec.unpack(codec.pack(new URL("http://a.b/c")))).toBe("http://a.b/c");
    expect(codec.unpack(codec.pack(bare))).toStrictEqual({ a: 1 });
    expectCode("CYCLIC", () => codec.pack(new Own()));
  });

  test("toJSON, getters and proxies may use the same codec, or throw", () => {
    class Inner {
      toJSON() {
        const bytes = codec.pack({ inner: ["x".repeat(300_000)] });
        return (codec.unpack(bytes) as { inner: string[] }).inner[0].length;
      }
    }
    class Thrower {
      toJSON() {
        throw new Error("mine");
      }
    }
    const value = { before: "b".repeat(50), at: new Inner(), list: [new Inner(), 3], after: "z" };
    const expected = { before: "b".repeat(50), at: 300_000, list: [300_000, 3], after: "z" };
    expect(codec.unpack(codec.pack(value))).toStrictEqual(expected);
    expect(codec.unpack(codec.pack(new Inner()))).toBe(300_000);
    const proxied = new Proxy([1, 2, 3], {
      get: (target, key, receiver) => {
        codec.pack("clobber".repeat(1000));
        return Reflect.get(target, key, receiver);
      },
    });
    const listed = codec.unpack(codec.pack(["first", proxied, "last"]));
    expect(listed).toStrictEqual(["first", [1, 2, 3], "last"]);
    for (const row of [[1, 2, 3, 4, 5, 6, 7, 8], "abcdefghi".split(""), new Array(9).fill(null)]) {
      let readCount = 0;
      const busy = new Proxy(row, {
        get: (target, key, receiver) => {
          // The first time it is read its array's head is written, and nothing else.
          if (key === "0" && readCount++ === 0) codec.pack({ of: "another" });
          return Reflect.get(target, key, receiver);
        },
      });
      expect(packed(busy)).toBe(packed(row));
      expect(readCount).toBeLessThanOrEqual(2);
    }
    expect(() => codec.pack(["start", new Thrower()])).toThrow("mine");
    expect(codec.unpack(codec.pack(value))).toStrictEqual(expected);
  });
});

test("results are the caller's own, sized exactly", () => {
  const first = codec.pack(["a", 1]);
  const copy = first.slice();
  codec.pack(["zzzzzzzzz", 2]);
  expect(first).toStrictEqual(copy);
  expect(first.buffer.byteLength).toBe(first.length);
  const bytes = codec.pack([new Uint8Array([1, 2, 3])]);
  const [inner] = codec.unpack(bytes) as [Uint8Array];
  bytes.fill(0);
  codec.pack(new Uint8Array(100));
  expect(inner).toStrictEqual(new Uint8Array([1, 2, 3]));
  // A Buffer that is a part of Node's pool is read in its own bounds.
  expect(codec.unpack(Buffer.from("93010203", "hex"))).toStrictEqual([1, 2, 3]);
});

test("sizeMax holds both ways", async () => {
  const own = await createCodec({ sizeMax: 1024 });
  const fitting = [
    "x".repeat(1021),
    new Uint8Array(1021),
    new Array(1021).fill(1),
    new ExtData(1, new Uint8Array(1020)),
  ];
  for (const value of fitting) {
    const bytes = own.pack(value);
    expect(bytes.length).toBe(1024);
    expect(own.unpack(bytes)).toStrictEqual(value);
  }
  const passing = [
    "x".repeat(1022),
    new Uint8Array(1022),
    new Array(1022).fill(1),
    new ExtData(1, new Uint8Array(1021)),
    new Array(500).fill("xyz"),
    new Array(2 ** 32 - 1),
    "x".repeat(2 ** 28),
  ];
  for (const value of passing) expectCode("TOO_LARGE", () => own.pack(value));
  expectCode("TOO_LARGE", () => own.unpack(new Uint8Array(1025)));
});

test("arguments of the wrong kind are named", async () => {
  const named = "depthMax must be an integer of 1..512, got 0";
  await expect(createCodec({ depthMax: 0 })).rejects.toThrow(named);
  await expect(createCodec({ sizeMax: 2 ** 28 })).rejects.toThrow(/sizeMax .* got 268435456/);
  expect(() => codec.unpack("text" as never)).toThrow("bytes must be a Uint8Array, got string");
});
