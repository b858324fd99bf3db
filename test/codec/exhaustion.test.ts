import { describe, expect, test, vi } from "vitest";
import { loadCodecModule } from "../../build/codec/assets.js";
import { createCodec, importDictionary } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Packer } from "../../build/codec/packer.js";
import { Unpacker } from "../../build/codec/unpacker.js";
import { expectCode } from "./support.js";

// Memory and the stack may run out at any call. What comes after it must be as if it had not.

const codec = await createCodec();
const module = await loadCodecModule();

function newUnpacker() {
  const memory = new LinearMemory(module);
  return { memory, unpacker: new Unpacker(memory, 64) };
}

const runsOut = () => {
  throw new RangeError("Maximum call stack size exceeded");
};

describe("where a message could not be copied, nothing is lent of it", () => {
  const own = { file: new Uint8Array(300).fill(0x42) };
  const packed = codec.pack(own);
  const others = {
    "of few bytes": codec.pack({ file: new Uint8Array(300).fill(0x99) }),
    "about a bin": codec.pack({ file: new Uint8Array(9000).fill(0x99) }),
  };

  test.each(Object.entries(others))("one %s", (_, other) => {
    for (const step of ["copy", "room", "reserve"] as const) {
      const { memory, unpacker } = newUnpacker();
      const spy = vi.spyOn(memory, step).mockImplementationOnce(runsOut);
      let isRefused = false;
      try {
        unpacker.unpackLent(other);
      } catch {
        isRefused = true;
      }
      // The bins of a large one are stepped over, and the rest needs no copy().
      expect(isRefused).toBe(step !== "copy" || other.length < 8192);
      spy.mockRestore();
      const value = unpacker.unpack(memory.copy(packed), packed.length);
      expect(value).toStrictEqual(own);
    }
  });
});

describe("strings and shapes are told as they are", () => {
  const strings = (round: number) => [`one ${round}`, `one ${round}`, { [`key ${round}`]: "two" }];

  test("after a parse that was cut off, or whose result was", () => {
    const { memory, unpacker } = newUnpacker();
    const read = (value: unknown) => {
      const bytes = codec.pack(value);
      return unpacker.unpack(memory.copy(bytes), bytes.length);
    };
    const { exports } = memory;
    for (let round = 0; round < 40; round++) {
      const value = Array.from({ length: 20 }, () => strings(round));
      memory.exports = {
        ...exports,
        parse(offset, size, depthMax) {
          exports.parse(offset, size, depthMax);
          return runsOut();
        },
      };
      expect(() => read(value)).toThrow(RangeError);
      memory.exports = exports;
      expect(read(value)).toStrictEqual(value);
      const spy = vi.spyOn(unpacker, "value").mockImplementationOnce(runsOut);
      const next = [value, strings(-1 - round), strings(-1 - round)];
      expectCode("OUT_OF_MEMORY", () => read(next));
      spy.mockRestore();
      expect(read(next)).toStrictEqual(next);
    }
  });

  test("when that is cut off too", () => {
    const { memory, unpacker } = newUnpacker();
    const value = [strings(0), strings(0), strings(0)];
    const bytes = codec.pack(value);
    const read = () => unpacker.unpack(memory.copy(bytes), bytes.length);
    const spy = vi.spyOn(unpacker, "value").mockImplementation(runsOut);
    expectCode("OUT_OF_MEMORY", read);
    spy.mockRestore();
    const { exports } = memory;
    memory.exports = { ...exports, forget: runsOut };
    expect(read).toThrow(RangeError);
    memory.exports = exports;
    expect(read()).toStrictEqual(value);
  });

  test("after a parse that was cut off once the memory had grown", () => {
    const { memory, unpacker } = newUnpacker();
    const bytes = codec.pack({ text: "some text" });
    const { exports } = memory;
    memory.exports = {
      ...exports,
      parse() {
        exports.memory.grow(1);
        return runsOut();
      },
    };
    expect(() => unpacker.unpack(memory.copy(bytes), bytes.length)).toThrow(RangeError);
    memory.exports = exports;
    const size = exports.memory.buffer.byteLength;
    expect(unpacker.unpack(memory.copy(bytes), bytes.length)).toStrictEqual({ text: "some text" });
    expect(exports.memory.buffer.byteLength).toBe(size);
  });

  test("after the stack ran out anywhere", async () => {
    let refusedCount = 0;
    for (let pad = 0; pad < 24; pad++) {
      const own = await createCodec({ engine: "wasm" });
      const values = Array.from({ length: 60 }, (_, i) => [strings(i), [strings(i)]]);
      const messages = values.map((value) => codec.pack(value));
      atStackEnd(pad, messages.length, (index) => {
        try {
          own.unpack(messages[index]);
        } catch {
          refusedCount++;
        }
      });
      for (const [index, bytes] of messages.entries()) {
        expect(own.unpack(bytes)).toStrictEqual(values[index]);
      }
      own.close();
    }
    expect(refusedCount).toBeGreaterThan(0);
  });
});

describe("memory", () => {
  test("that cannot be made anew loses no value, and goes on as it is", async () => {
    const dictionary = await importDictionary(Buffer.from("some words of a dictionary"));
    const own = await createCodec({ dictionaries: [dictionary], sizeMax: 2 ** 26 });
    const large = new Uint8Array(20_000_000).fill(7);
    const text = "some words of a dictionary, and some more words of a dictionary";
    const { Instance } = WebAssembly;
    let failedCount = 0;
    for (const isGrowing of [false, true]) {
      Reflect.set(
        WebAssembly,
        "Instance",
        new Proxy(Instance, {
          construct(target, args) {
            failedCount++;
            if (!isGrowing) throw new RangeError("could not allocate memory");
            const { exports } = Reflect.construct(target, args) as WebAssembly.Instance;
            const memory = { buffer: (exports.memory as WebAssembly.Memory).buffer, grow: runsOut };
            return { exports: { ...exports, memory } };
          },
        }),
      );
      try {
        const packed = own.pack([large, large]);
        expect(packed.length).toBe(2 * large.length + 11);
      } finally {
        Reflect.set(WebAssembly, "Instance", Instance);
      }
      const bytes = new TextEncoder().encode(text);
      const [dictionaryDigest] = own.dictionaryDigests;
      const block = own.compress(bytes, { dictionary: dictionaryDigest });
      const back = own.decompress(block, { maxSize: 100, dictionary: dictionaryDigest });
      expect(back).toStrictEqual(bytes);
      expect(own.unpack(own.pack([text, text]))).toStrictEqual([text, text]);
    }
    expect(failedCount).toBe(2);
    own.close();
  });

  test("is not asked for where offsets would be negative", () => {
    const { memory } = newUnpacker();
    const size = memory.u8.length;
    expectCode("OUT_OF_MEMORY", () => memory.reserve(2 ** 30 + 100, 2 ** 30));
    expect(memory.u8.length).toBe(size);
  });
});

test("a packer that the stack ran out on packs on", () => {
  const value = { some: 1, keys: "abc" };
  for (let pad = 0; pad < 24; pad++) {
    const memory = new LinearMemory(module);
    const packer = new Packer(memory, 64, 1 << 20);
    atStackEnd(pad, 30, () => {
      try {
        packer.pack(value);
      } catch {
        // It may.
      }
    });
    for (let round = 0; round < 400; round++) packer.pack(value);
    // Another one in its place would have learned nothing here.
    expect(packer.cacheCounts.writers).toBe(1);
  }
});

/** Runs it `count` times, with a frame more of stack each time; `pad` makes frames of other sizes. */
function atStackEnd(pad: number, count: number, run: (index: number) => void): void {
  // Once with all the stack there is, for to compile it takes a lot.
  run(0);
  const state = { index: 1 };
  const names = Array.from({ length: pad }, (_, index) => `a${index}`);
  const source = `return function descend(depth) {
    ${names.map((name, index) => `let ${name} = ${index} + depth;`).join(" ")}
    try { descend(depth + 1); } catch {}
    if (state.index < ${count}) run(state.index++);
    return ${names.join(" + ") || "0"};
  }`;
  new Function("run", "state", source)(run, state)(0);
}
