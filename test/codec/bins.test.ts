import { expect, test } from "vitest";
import { copyRemaining, findLargeBins, remainingSize } from "../../build/codec/bins.js";
import { createCodec, ExtData, generateKey } from "../../build/codec/index.js";
import { damaged, expectCode, isAccepted } from "./support.js";

const codec = await createCodec();
const context = { service: "s", direction: "request", requestId: new Uint8Array(16) } as const;

function bytesOf(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => index * 7);
}

test("bins of more than 64 bytes share memory with the message, smaller ones do not", () => {
  for (const size of [0, 1, 64, 65, 255, 256, 4096, 65_535, 65_536, 100_000]) {
    const value = { name: "file", data: bytesOf(size), after: [1.5, "x", null] };
    const packed = codec.pack(value);
    // A view into a larger buffer, as what is cut out of a received frame.
    const frame = new Uint8Array(packed.length + 11);
    frame.set(packed, 5);
    const bytes = frame.subarray(5, 5 + packed.length);
    const back = codec.unpack(bytes) as typeof value;
    expect(back).toStrictEqual(value);
    expect(back.data.constructor).toBe(Uint8Array);
    expect(back.data.buffer === frame.buffer).toBe(size > 64);
  }
  const ext = codec.unpack(codec.pack(new ExtData(5, bytesOf(9000)))) as ExtData;
  expect(ext).toStrictEqual(new ExtData(5, bytesOf(9000)));
});

test("several large bins, small ones and other values between them", () => {
  const big = bytesOf(5000);
  const value = [big, { a: bytesOf(3), b: bytesOf(70), c: { d: bytesOf(70_000) } }, "zé", -5, big];
  expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
  // With values the walk does not go into, and with more than it looks at.
  for (const other of [
    new Date(5),
    new ExtData(-128, bytesOf(4)),
    new Array(40).fill(bytesOf(70)),
  ]) {
    const mixed = { other, big, more: other };
    expect(codec.unpack(codec.pack(mixed))).toStrictEqual(mixed);
  }
});

test("an ext that looks like a stand-in is the caller's", () => {
  const ext = new ExtData(-128, new Uint8Array([0, 0, 0, 0]));
  const value = [ext, bytesOf(20_000)];
  expect(findLargeBins(codec.pack(value))).toBeUndefined();
  expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
});

test("what stands in for the bins is as long as was said", () => {
  const bytes = codec.pack([1, bytesOf(5000), "two", bytesOf(100)]);
  const bins = findLargeBins(bytes) ?? expect.unreachable();
  expect(bins.map(({ from, end }) => end - from)).toStrictEqual([5000, 100]);
  const size = remainingSize(bytes, bins);
  const target = new Uint8Array(size + 8).fill(0xee);
  copyRemaining(bytes, bins, target, 4);
  const expected = "94 01 d68000000000 a374776f d68000000001".replaceAll(" ", "");
  expect(Buffer.from(target).toString("hex")).toBe(`eeeeeeee${expected}eeeeeeee`);
});

test("damaged messages with a large bin are refused as any others are", () => {
  const bytes = codec.pack({ name: "file", data: new Uint8Array(9000) });
  const head = bytes.length - 9000;
  for (let size = 0; size < bytes.length; size += size < head + 3 ? 1 : 997) {
    expect(isAccepted(() => codec.unpack(bytes.slice(0, size)))).toBe(false);
  }
  for (const spoilt of damaged(bytes.slice(0, head))) {
    const whole = new Uint8Array(bytes.length);
    whole.set(spoilt);
    isAccepted(() => codec.unpack(whole));
  }
  const asKey = new Uint8Array([0x81, 0xc5, 0x24, 0, ...new Uint8Array(9216), 1]);
  expect(expectCode("BAD_KEY", () => codec.unpack(asKey))).toContain("at byte 1");
  const behind = new Uint8Array([...bytes, 1]);
  expect(expectCode("TRAILING_BYTES", () => codec.unpack(behind))).toContain(`${bytes.length})`);
});

test("nothing of shared memory is lent", () => {
  const packed = codec.pack([bytesOf(9000)]);
  const shared = new Uint8Array(new SharedArrayBuffer(packed.length));
  shared.set(packed);
  const [data] = codec.unpack(shared) as [Uint8Array];
  shared.fill(0);
  codec.pack(new Uint8Array(9000));
  expect(data).toStrictEqual(bytesOf(9000));
});

test("what open() gives is lent by the caller's bytes or its own, never the codec's", async () => {
  const sealing = await createCodec({ keys: [await generateKey()] });
  const plain = await createCodec({ isCompressing: false });
  const value = { data: bytesOf(20_000) };
  const zeros = { data: new Uint8Array(20_000) };
  for (const own of [sealing, plain, codec]) {
    for (const each of [value, zeros]) {
      const bytes = own.seal(each, context);
      const back = own.open(bytes, context) as typeof value;
      own.seal(value, context);
      own.pack(new Uint8Array(30_000).fill(0xff));
      expect(back).toStrictEqual(each);
      expect(back.data.buffer === bytes.buffer).toBe(own === plain);
    }
  }
  sealing.close();
  expect(codec.unpack(codec.pack(value))).toStrictEqual(value);
});
