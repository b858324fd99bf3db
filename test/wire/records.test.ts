// Records there and back, and whatever else may stand in their place.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BatchReader, BatchWriter } from "../../build/wire/batch.js";
import { reasonOf, requestIdBytes, writeFailure } from "../../build/wire/request-record.js";
import { readMessage, readRecord, type Shown, unhex, vectors, writeRecord } from "./support.js";

const u8 = fc.integer({ min: 0, max: 0xff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt(0n, 2n ** 64n - 1n).map((value) => value.toString(16).padStart(16, "0"));
const session = fc.bigInt(1n, 2n ** 64n - 1n).map((value) => value.toString(16).padStart(16, "0"));
const status = fc.constantFrom(1, 3, 4, 5, 7, 8, 10, 13, 14, 16);
const serviceName = fc
  .string({ minLength: 1, maxLength: 60, unit: "grapheme" })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: names have none
  .filter((name) => Buffer.byteLength(name) <= 255 && !/[\u0000-\u001f\u007f]/.test(name));
const text = fc.string({ maxLength: 300, unit: "grapheme" });
const headers = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" }), text), {
    maxLength: 6,
    selector: ([key]) => key,
  })
  // Names like "1" come first in an object, whatever their order here.
  .filter((list) => list.every(([key]) => !/^\d+$/.test(key) && Buffer.byteLength(key) <= 255));
const part = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  fc.constantFrom(8191, 8192, 8193, 70_000).map((size) => new Uint8Array(size).fill(7)),
);
const body = fc
  .oneof({ weight: 4, arbitrary: fc.tuple(part) }, fc.array(part, { minLength: 2, maxLength: 5 }))
  .map((parts) => parts.map((bytes) => Buffer.from(bytes).toString("hex")));
const common = {
  session: u64,
  sequence: fc.maxSafeNat().map((n) => String(n + 1 > Number.MAX_SAFE_INTEGER ? n : n + 1)),
  slot: u32,
  generation: u32,
  flags: u8,
};
const record: fc.Arbitrary<Shown> = fc.oneof(
  fc.record({
    kind: fc.constant("HELLO"),
    role: fc.constantFrom(1, 2, 3),
    version: fc.constant(1),
    session,
    concurrency: u32,
    services: fc.array(serviceName, { maxLength: 5 }),
    isOneThread: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("WELCOME"),
    version: fc.constant(1),
    broker: u64,
    inFlightMax: u32,
    recordMax: u32,
  }),
  fc.record({ kind: fc.constant("ERROR"), status, record: u32, reason: text }),
  fc.record({ kind: fc.constant("CREDIT"), credit: u32 }),
  fc.record({ kind: fc.constantFrom("DRAIN", "BYE", "PING") }),
  fc.record({
    kind: fc.constant("REQUEST"),
    ...common,
    priority: fc.integer({ min: 0, max: 7 }),
    attempts: u8,
    timeoutMs: u32,
    service: serviceName,
    headers,
    body,
  }),
  fc.record({
    kind: fc.constant("REPLY"),
    ...common,
    serviceTimeUs: u32,
    headers: fc.constant([]),
    body,
  }),
  fc.record({
    kind: fc.constant("FAILURE"),
    ...common,
    status,
    attempts: u8,
    retryAfterMs: u32,
    reason: text,
  }),
  fc.record({ kind: fc.constant("CANCEL"), ...common, flags: fc.constant(0), status }),
) as fc.Arbitrary<Shown>;

/** Bodies as plain hex, whatever their length. */
function plainHex(shown: Shown | string): Shown | string {
  if (typeof shown === "string" || shown.body === undefined) return shown;
  return { ...shown, body: (shown.body as string[]).map((each) => unhex(each).toString("hex")) };
}

describe("round trips", () => {
  it("a batch of any records is read as it was written", () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), (records) => {
        const writer = new BatchWriter();
        for (const each of records) writeRecord(writer, each);
        expect(writer.count).toBe(records.length);
        const frameBytes = writer.frameBytes;
        const size = writer.size;
        const frames = writer.finish();
        expect(frames[0].length).toBe(size);
        expect(frames.slice(1).reduce((sum, frame) => sum + frame.length, 0)).toBe(frameBytes);
        const read = readMessage(frames);
        expect(read.fault).toBeUndefined();
        expect(read.records.map(plainHex)).toEqual(records);
      }),
      { numRuns: 500 },
    );
  });
});

/** What a reader makes of a message. Throws if it reads outside of the frames given. */
function readGuarded(frames: readonly Buffer[]): ReturnType<typeof readMessage> {
  // Each frame in the middle of a larger buffer of bytes that would be taken for sizes and text.
  const guarded = frames.map((frame) => {
    const around = Buffer.alloc(frame.length + 512, 0xfe);
    frame.copy(around, 256);
    return around.subarray(256, 256 + frame.length);
  });
  const read = readMessage(guarded);
  expect(JSON.stringify(read)).not.toContain("fefefefe");
  return read;
}

const samples = [...vectors.records, ...vectors.malformed].map((vector) => ({
  isValid: "records" in vector,
  frames: vector.frames.map(unhex),
}));

describe("hostile bytes", () => {
  it("every truncation of every sample is a value or a reason", () => {
    let read = 0;
    for (const { frames, isValid } of samples) {
      for (let at = 0; at < frames.length; at++) {
        // The ends of large bodies are all alike.
        const { length } = frames[at];
        for (let size = 0; size < length; size += size > 400 ? 997 : 1) {
          const cut = frames.map((frame, i) => (i === at ? frame.subarray(0, size) : frame));
          const { fault, records } = readGuarded(cut);
          // A truncated batch is never right; a truncated body cannot be told.
          if (isValid && at === 0)
            expect([fault, ...records].some((r) => typeof r === "string")).toBe(true);
          read++;
        }
        const fewer = frames.filter((_, i) => i !== at);
        if (fewer.length > 0) readGuarded(fewer);
      }
    }
    expect(read).toBeGreaterThan(5000);
  });

  it("every flipped bit of every sample is a value or a reason", () => {
    let read = 0;
    for (const { frames } of samples) {
      const [batch] = frames;
      const end = Math.min(batch.length, 260);
      for (let bit = 0; bit < end * 8; bit++) {
        batch[bit >> 3] ^= 1 << (bit & 7);
        readGuarded(frames);
        batch[bit >> 3] ^= 1 << (bit & 7);
        read++;
      }
    }
    expect(read).toBeGreaterThan(20_000);
  }, 30_000);

  it("random bytes behind a good header are values or reasons", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.uint8Array({ maxLength: 10 }), { maxLength: 3 }),
        (count, bytes, more) => {
          const header = Buffer.from([0x57, 0x51, 1, 0, count, 0, 0, 0]);
          readGuarded([Buffer.concat([header, bytes]), ...more.map((each) => Buffer.from(each))]);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("a record in another's place is a value or a reason", () => {
    for (const { frames } of samples) {
      for (let kind = 0; kind < 256; kind += kind < 64 ? 1 : 37) {
        if (frames[0].length <= 8) continue;
        const batch = Buffer.from(frames[0]);
        batch[8] = kind;
        readGuarded([batch, ...frames.slice(1)]);
      }
    }
  });
});

describe("BatchReader", () => {
  it("can be used again after a message that was cut or faulty", () => {
    const reader = new BatchReader();
    const good = samples[0].frames;
    for (const { frames } of samples) {
      reader.open(frames, 0);
      for (let i = 0; i < 3 && reader.next(); i++) if (i === 0) reader.skip();
      reader.close();
      expect(reader.bytes.length + reader.view.byteLength).toBe(0);
      expect(reader.open(good, 0)).toBe(true);
      expect(reader.next()).toBe(true);
      expect(readRecord(reader)).toMatchObject({ kind: "HELLO", role: 1 });
      expect(reader.next()).toBe(false);
      expect(reader.fault).toBeUndefined();
    }
  });

  it("starts at the frame it is told to", () => {
    const frames = [Buffer.from("id"), ...samples[0].frames];
    expect(readMessage(frames, 1)).toMatchObject({ records: [{ kind: "HELLO" }] });
    expect(readMessage(frames, 0)).toEqual({ records: [], fault: "alien" });
  });

  it("stays at its fault", () => {
    const reader = new BatchReader();
    reader.open([Buffer.from("5751010001000000", "hex")], 0);
    expect(reader.next()).toBe(false);
    expect(reader.fault).toBe("malformed");
    expect(reader.next()).toBe(false);
    expect(reader.fault).toBe("malformed");
  });
});

describe("BatchWriter", () => {
  it("keeps what stands in a batch when the batch outgrows its memory", () => {
    const writer = new BatchWriter();
    const memories = new Set<Uint8Array>();
    for (let i = 0; i < 300; i++) {
      const at = writer.reserve(100);
      const { bytes } = writer;
      bytes.fill(i, at, at + 100);
      memories.add(bytes);
    }
    const [message] = writer.finish();
    expect(message.length).toBe(8 + 300 * 100);
    for (let i = 0; i < 300; i++) {
      const at = 8 + i * 100;
      expect(Buffer.alloc(100, i).equals(message.subarray(at, at + 100))).toBe(true);
    }
    // The next message has memory of its own.
    writer.reserve(8);
    writer.bytes.fill(0xee);
    expect(message[8 + 100]).toBe(1);
    expect(memories.size).toBeGreaterThan(3);
  });

  it("does not take much memory for little because the last message was large", () => {
    const writer = new BatchWriter();
    writer.reserve(16 * 1024 * 1024);
    writer.finish();
    writer.reserve(8);
    expect(writer.bytes.length).toBeLessThan(128 * 1024);
  });

  it("holds the largest records, at the start and behind others", () => {
    const size = 16 * 1024 * 1024;
    const big = { kind: "REPLY", session: "01".repeat(8), sequence: "1", slot: 0, generation: 0 };
    const writer = new BatchWriter();
    writeRecord(writer, { kind: "BYE" });
    writeRecord(writer, { ...big, flags: 0, serviceTimeUs: 0, body: [`00*${size}`] });
    writeRecord(writer, { kind: "BYE" });
    expect(writer.frameBytes).toBe(size);
    expect(readMessage(writer.finish())).toMatchObject({ records: { length: 3 } });
    const start = writer.reserve(size);
    expect(start).toBe(8);
    expect(writer.reserve(8)).toBe(8 + size);
  });
});

describe("numbers at their ends", () => {
  it("sequences up to 2^53 - 1 are exact", () => {
    for (const sequence of [1, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
      const id = { sessionLow: 1, sessionHigh: 2, sequence, slot: 0, generation: 0 };
      const bytes = requestIdBytes(id);
      const view = new DataView(bytes.buffer);
      expect(bytes.length).toBe(16);
      expect(view.getBigUint64(0, true)).toBe(2n ** 33n + 1n);
      expect(view.getBigUint64(8, true)).toBe(BigInt(sequence));
      const writer = new BatchWriter();
      writeFailure(writer, id, 0, 13, "", 0);
      expect(readMessage(writer.finish()).records).toMatchObject([{ sequence: String(sequence) }]);
    }
  });

  it("a retry-after that is no whole number, or larger than u32, is one that fits", () => {
    const id = { sessionLow: 1, sessionHigh: 2, sequence: 1, slot: 0, generation: 0 };
    const cases = [
      [0.2, 1],
      [1e12, 0xffffffff],
      [Number.POSITIVE_INFINITY, 0xffffffff],
      [-5, 0],
      [Number.NaN, 0],
    ];
    for (const [given, expected] of cases) {
      const writer = new BatchWriter();
      writeFailure(writer, id, 0, 8, "", given);
      expect(readMessage(writer.finish()).records).toMatchObject([{ retryAfterMs: expected }]);
    }
  });
});

describe("reasons", () => {
  it("are cut between characters at 1 KiB", () => {
    for (const character of ["a", "é", "誰", "🦉"]) {
      for (let lead = 0; lead < 4; lead++) {
        const reason = "x".repeat(lead) + character.repeat(1024);
        const bytes = reasonOf(reason);
        const size = Buffer.byteLength(character);
        expect(bytes.length).toBe(lead + Math.floor((1024 - lead) / size) * size);
        const cut = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
        expect(reason.startsWith(cut)).toBe(true);
      }
    }
    expect(reasonOf("é".repeat(512)).length).toBe(1024);
    expect(reasonOf("").length).toBe(0);
  });

  it("that are no text of Unicode travel as some that is", () => {
    const cut = new TextDecoder("utf-8", { fatal: true }).decode(reasonOf("\ud800".repeat(1000)));
    expect(cut).toBe("\ufffd".repeat(341));
  });
});
