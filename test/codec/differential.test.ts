import { decode, ExtensionCodec, encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createCodec } from "../../build/codec/index.js";
import { value } from "./arbitrary.js";
import { expectAlike, families } from "./families.js";
import { isAccepted } from "./support.js";

// An independent implementation of MessagePack; fast-check prints the seed of a failure.
const codec = await createCodec();
const extensionCodec = new ExtensionCodec();
const twinEncode = (value: unknown) => encode(value, { extensionCodec, ignoreUndefined: true });
const twinDecode = (bytes: Uint8Array) => decode(bytes, { extensionCodec });

const runs = { numRuns: 2000 };

test("each reads what the other writes", () => {
  fc.assert(
    fc.property(value, (given) => {
      const bytes = codec.pack(given);
      const back = codec.unpack(bytes);
      expect(twinDecode(bytes)).toEqual(back);
      // Not compared with `back`: the twin writes -0 as 0.
      const twins = twinEncode(given);
      expect(codec.unpack(twins)).toEqual(twinDecode(twins));
      expect(codec.pack(back)).toEqual(bytes);
    }),
    runs,
  );
});

test.each(families)("each reads what the other writes: %s", (_, values) => {
  for (const given of values) {
    const bytes = codec.pack(given);
    const back = codec.unpack(bytes);
    expectAlike(twinDecode(bytes), back);
    expectAlike(codec.unpack(twinEncode(given)), back);
  }
});

test("what it packs comes back the same", () => {
  fc.assert(
    fc.property(value, (given) => {
      // A dictionary of fast-check's may have no prototype; what comes back has one.
      expect(codec.unpack(codec.pack(given))).toEqual(given);
    }),
    runs,
  );
});

test("bytes at random, and messages spoilt at random: a value or a CodecError", () => {
  let acceptedCount = 0;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      if (isAccepted(() => codec.unpack(bytes))) acceptedCount++;
    }),
    runs,
  );
  fc.assert(
    fc.property(value, fc.nat(), fc.nat(255), (given, at, byte) => {
      const bytes = codec.pack(given);
      bytes[at % bytes.length] = byte;
      if (isAccepted(() => codec.unpack(bytes))) acceptedCount++;
    }),
    runs,
  );
  expect(acceptedCount).toBeGreaterThan(0);
});
