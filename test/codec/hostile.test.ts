import { describe, expect, test } from "vitest";
import { loadCodecModule } from "../../build/codec/assets.js";
import { createCodec, generateKey } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { Unpacker } from "../../build/codec/unpacker.js";
import { damaged, expectCode, hex, isAccepted, samples } from "./support.js";

const codec = await createCodec();
const context = { service: "s", direction: "request", requestId: new Uint8Array(16) } as const;

describe.each(Object.entries(samples))("%s, every truncation and every bit turned", (_, value) => {
  test("unpack", () => {
    const bytes = codec.pack(value);
    let index = 0;
    for (const spoilt of damaged(bytes)) {
      const accepted = isAccepted(() => codec.unpack(spoilt));
      // A prefix of a message is never a message.
      if (index++ < bytes.length) expect(accepted).toBe(false);
    }
    expect(codec.unpack(bytes)).toStrictEqual(value);
  });

  test("decompress", () => {
    const plain = codec.pack(value);
    const block = codec.compress(plain);
    for (const spoilt of damaged(block)) {
      isAccepted(() => codec.decompress(spoilt, { maxSize: 4096 }));
    }
    expect(codec.decompress(block, { maxSize: 4096 })).toStrictEqual(plain);
  });

  test("open, in plain mode", () => {
    const bytes = codec.seal(value, context);
    let index = 0;
    for (const spoilt of damaged(bytes)) {
      const accepted = isAccepted(() => codec.open(spoilt, context));
      if (index++ < bytes.length) expect(accepted).toBe(false);
    }
    expect(codec.open(bytes, context)).toStrictEqual(value);
  });

  test("open, sealed: nothing is accepted", async () => {
    const sealing = await createCodec({ keys: [await generateKey()] });
    const bytes = sealing.seal(value, context);
    for (const spoilt of damaged(bytes)) {
      expect(isAccepted(() => sealing.open(spoilt, context))).toBe(false);
    }
    expect(sealing.open(bytes, context)).toStrictEqual(value);
    sealing.close();
  });
});

describe("claims", () => {
  const claims = ["dd ffffffff", "df ffffffff", "dc ffff", "de ffff", "db ffffffff", "c6 40000000"];

  test.each([...claims, "c9 ffffffff 01", "9f dd 3fffffff", "81 a161 df 7fffffff"])(
    "%s is refused before anything is allocated",
    async (claim) => {
      const memory = new LinearMemory(await loadCodecModule());
      const unpacker = new Unpacker(memory, 64);
      const sizeBefore = memory.u8.length;
      for (const tail of [0, 3, 1000]) {
        const bytes = new Uint8Array([...hex(claim), ...new Uint8Array(tail)]);
        expectCode("TRUNCATED", () => unpacker.unpack(memory.place(bytes), bytes.length));
      }
      expect(memory.u8.length).toBe(sizeBefore);
    },
  );

  test("nested claims, each of all that is left", () => {
    const bytes = new Uint8Array(60_000);
    for (let level = 0; level < 60; level++) {
      bytes.set([0xdd, 0, 0, 0xe0, 0], level * 5);
    }
    expectCode("TRUNCATED", () => codec.unpack(bytes));
  });

  test("memory that a large value took is given back", async () => {
    const memory = new LinearMemory(await loadCodecModule());
    const unpacker = new Unpacker(memory, 64);
    const bytes = new Uint8Array(8_000_005).fill(0xc0);
    bytes.set([0xdd, 0, 0x7a, 0x12, 0]);
    const top = memory.enter();
    const value = unpacker.unpack(memory.place(bytes), bytes.length) as unknown[];
    expect(value.length).toBe(8_000_000);
    expect(memory.u8.length).toBeGreaterThan(64_000_000);
    memory.leave(top);
    expect(memory.u8.length).toBeLessThan(2_000_000);
    const again = new Uint8Array([0x81, 0xa1, 0x61, 1]);
    expect(unpacker.unpack(memory.place(again), 4)).toStrictEqual({ a: 1 });
    expect(unpacker.unpack(memory.place(again), 4)).toStrictEqual({ a: 1 });
  });

  test("an envelope's plain size is checked before its payload is looked at", async () => {
    const own = await createCodec({ sizeMax: 4096 });
    const bytes = own.seal("x".repeat(3000), context);
    new DataView(bytes.buffer).setUint32(4, 2 ** 30, true);
    expectCode("TOO_LARGE", () => own.open(bytes, context));
    new DataView(bytes.buffer).setUint32(4, 4000, true);
    expectCode("SIZE_MISMATCH", () => own.open(bytes, context));
    new DataView(bytes.buffer).setUint32(4, 1, true);
    expectCode("SIZE_MISMATCH", () => own.open(bytes, context));
  });
});
