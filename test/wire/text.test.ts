import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeHeaders, encodeHeaders } from "../../build/wire/headers.js";
import { isServiceName, NameCache, readText } from "../../build/wire/text.js";

function read(names: NameCache, bytes: Uint8Array): string | undefined {
  return names.read(bytes, 0, bytes.length);
}

describe("service names", () => {
  it("are 1 to 255 bytes of UTF-8 without control characters", () => {
    const names = new NameCache();
    const cases: [string, boolean][] = [
      ["", false],
      ["a", true],
      [" ", true],
      ["a".repeat(255), true],
      ["a".repeat(256), false],
      ["é".repeat(127) + "a", true],
      ["é".repeat(128), false],
      ["a\u0000", false],
      ["\u001f", false],
      ["a\u007fb", false],
      ["数.🦉", true],
      ["\ufeffbom", true],
      ["__proto__", true],
    ];
    for (const [name, isOne] of cases) {
      expect(isServiceName(name), JSON.stringify(name)).toBe(isOne);
      // Twice: from the bytes, and from what is remembered.
      for (let i = 0; i < 2; i++) {
        expect(read(names, Buffer.from(name))).toBe(isOne ? name : undefined);
      }
    }
  });

  it("are never taken from bytes that are not UTF-8", () => {
    const names = new NameCache();
    for (const bytes of [[0xff], [0xc3], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xc0, 0xaf]]) {
      expect(read(names, Uint8Array.from(bytes))).toBeUndefined();
      expect(readText(Uint8Array.from(bytes), 0, bytes.length)).toBeUndefined();
    }
  });

  it("are read right whatever displaced them: far more names than places", () => {
    const names = new NameCache();
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5000; i++) {
        const name = `service.${i}`;
        expect(read(names, Buffer.from(name))).toBe(name);
      }
    }
  });

  it("are found in the middle of other bytes", () => {
    const names = new NameCache();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(40), fc.nat(40), (bytes, a, b) => {
        const at = Math.min(a, bytes.length);
        const size = Math.min(b, bytes.length - at);
        const copy = Buffer.from(bytes.subarray(at, at + size));
        expect(names.read(bytes, at, size)).toBe(read(new NameCache(), copy));
      }),
    );
  });

  it("do not change with the message they were read from, nor keep it", () => {
    const names = new NameCache();
    const message = Buffer.from("orders.price");
    expect(read(names, message)).toBe("orders.price");
    message.write("ORDERS.PRICE");
    expect(read(names, Buffer.from("orders.price"))).toBe("orders.price");
    expect(read(names, message)).toBe("ORDERS.PRICE");
  });

  it("keep no message in memory", async () => {
    const names = new NameCache();
    const collect = globalThis.gc ?? (await collector());
    const held: WeakRef<ArrayBuffer>[] = [];
    for (let i = 0; i < 20; i++) {
      const frame = Buffer.alloc(100_000);
      frame.write(`name.${i}`);
      names.read(frame, 0, 7 + String(i).length - 2);
      held.push(new WeakRef(frame.buffer));
    }
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    expect(held.filter((ref) => ref.deref() !== undefined).length).toBeLessThan(5);
    expect(names.read(Buffer.from("name.3"), 0, 6)).toBe("name.3");
  });
});

async function collector(): Promise<() => void> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc");
}

describe("headers", () => {
  const text = fc.string({ maxLength: 100, unit: "grapheme" });
  const key = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" });

  it("are decoded as they were encoded", () => {
    const lists = fc.array(fc.tuple(key, text), { maxLength: 10 });
    fc.assert(
      fc.property(lists, (list) => {
        const headers = Object.fromEntries(list);
        expect(decodeHeaders(encodeHeaders(headers))).toEqual(headers);
      }),
    );
  });

  it("may be absent", () => {
    expect(encodeHeaders(undefined).length).toBe(0);
    expect(encodeHeaders({}).length).toBe(0);
    expect(decodeHeaders(new Uint8Array(0))).toEqual({});
  });

  it("named __proto__ are headers like others", () => {
    const headers = JSON.parse('{"__proto__":"evil","constructor":"c"}') as Record<string, string>;
    const decoded = decodeHeaders(encodeHeaders(headers));
    expect(Object.entries(decoded ?? {})).toEqual(Object.entries(headers));
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).evil).toBeUndefined();
  });

  it("of the same key: the last wins", () => {
    const one = encodeHeaders({ k: "1" });
    const two = encodeHeaders({ k: "2" });
    expect(decodeHeaders(Buffer.concat([one, two]))).toEqual({ k: "2" });
  });

  it("are 8 KiB at most, a key 1 to 255 bytes, a value a string", () => {
    expect(encodeHeaders({ k: "v".repeat(8192 - 4) }).length).toBe(8192);
    expect(() => encodeHeaders({ k: "v".repeat(8192 - 3) })).toThrow(
      new RangeError("headers must be 8192 bytes at most, got 8193"),
    );
    expect(encodeHeaders({ ["k".repeat(255)]: "" }).length).toBe(258);
    expect(() => encodeHeaders({ ["é".repeat(128)]: "" })).toThrow(
      new RangeError("headers: a key must be 1..255 bytes, got 256"),
    );
    expect(() => encodeHeaders({ "": "v" })).toThrow(RangeError);
    expect(() => encodeHeaders({ n: 5 } as never)).toThrow(
      new TypeError("headers.n must be a string, got number"),
    );
  });

  it("cut short anywhere are none, or those before the cut", () => {
    const bytes = encodeHeaders({ trace: "é1", b: "", ccc: "誰" });
    const whole: number[] = [];
    for (let size = 0; size < bytes.length; size++) {
      const decoded = decodeHeaders(bytes.subarray(0, size));
      if (decoded !== undefined) whole.push(size);
    }
    expect(whole).toEqual([0, 11, 15]);
  });

  it("of random bytes are headers or none", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const decoded = decodeHeaders(bytes);
        for (const value of Object.values(decoded ?? {})) expect(typeof value).toBe("string");
      }),
      { numRuns: 2000 },
    );
  });
});
