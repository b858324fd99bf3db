// FrameReader and encodeMessage against a reference that is short and slow, for any messages, cut anywhere, read
// where the next are read.
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  Blocks,
  FRAME_HEAD_BYTES,
  OWN_FRAME_BYTES_MIN,
  outgoing,
} from "../../build/base/blocks.js";
import { encodeCommand, encodeMessage } from "../../build/zmtp/encode.js";
import { FrameReader } from "../../build/zmtp/frames.js";
import { seedOfRun } from "../broker/processes.js";

const seed = seedOfRun();
const runs = { seed, numRuns: 200 };

/** A frame's bytes by RFC 23; `isLong` where that is not due by the size. */
function frameOf(flags: number, body: Uint8Array, isLong = false): Buffer {
  if (body.length < 256 && !isLong) return Buffer.from([flags, body.length, ...body]);
  const head = Buffer.alloc(9);
  head[0] = flags | 2;
  head.writeBigUInt64BE(BigInt(body.length), 1);
  return Buffer.concat([head, body]);
}

/** A message's bytes, its frames each in the form that is due, or, of those of `longAt`, in the long one. */
function referenceOf(parts: readonly Uint8Array[], isLong: (index: number) => boolean): Buffer {
  return Buffer.concat(
    parts.map((part, index) => frameOf(index < parts.length - 1 ? 1 : 0, part, isLong(index))),
  );
}

const marked = (size: number, mark: number) => {
  const bytes = Buffer.allocUnsafeSlow(size);
  for (let at = 0; at < size; at++) bytes[at] = mark + at * 7 + (at >> 8);
  return bytes;
};

const edges = [255, 256, 4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537];
const size = fc.oneof(
  { weight: 12, arbitrary: fc.nat(40) },
  { weight: 4, arbitrary: fc.nat(5000) },
  { weight: 3, arbitrary: fc.constantFrom(...edges) },
  { weight: 1, arbitrary: fc.nat(100_000) },
);
const part = fc.record({ size, mark: fc.nat(255), isLong: fc.boolean() });
const command = fc.record({
  name: fc.constantFrom("PING", "PONG", "X", "LATER"),
  size: fc.oneof(fc.nat(20), fc.nat(240)),
});
/** Commands may stand before each part. */
const item = fc.record({
  parts: fc.array(fc.record({ part, commands: fc.array(command, { maxLength: 1 }) }), {
    minLength: 1,
    maxLength: 6,
  }),
});
const traffic = fc.array(item, { minLength: 1, maxLength: 6 });
/** How much is read at a time, over and over. */
const cuts = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 70_000 })),
  { minLength: 1, maxLength: 8 },
);

type Told = { parts: Buffer[] } | { command: string; data: string };
type Items = typeof traffic extends fc.Arbitrary<infer Value> ? Value : never;

function told(items: Items): { bytes: Buffer; expected: Told[] } {
  const chunks: Buffer[] = [];
  const expected: Told[] = [];
  for (const { parts } of items) {
    for (const [index, { part: of, commands }] of parts.entries()) {
      for (const { name, size: bytes } of commands) {
        const data = marked(bytes, bytes);
        chunks.push(encodeCommand(name, data));
        expected.push({ command: name, data: data.toString("hex") });
      }
      const more = index < parts.length - 1 ? 1 : 0;
      chunks.push(frameOf(more, marked(of.size, of.mark), of.isLong));
    }
    expected.push({ parts: parts.map(({ part: of }) => marked(of.size, of.mark)) });
  }
  return { bytes: Buffer.concat(chunks), expected };
}

/** Blocks that are taken and not given back. */
let lent: Set<ArrayBufferLike>;

beforeEach(() => {
  lent = new Set();
  const { take, giveBack } = Blocks.prototype;
  vi.spyOn(Blocks.prototype, "take").mockImplementation(function (this: Blocks, bytes: number) {
    const block = take.call(this, bytes);
    // Nobody has it: it is not lent twice.
    expect(lent.has(block.buffer)).toBe(false);
    expect(block.length).toBeGreaterThanOrEqual(bytes);
    lent.add(block.buffer);
    return block;
  });
  vi.spyOn(Blocks.prototype, "giveBack").mockImplementation(function (
    this: Blocks,
    bytes: Uint8Array,
  ) {
    if (this.has(bytes)) expect(lent.delete(bytes.buffer)).toBe(true);
    giveBack.call(this, bytes);
  });
});

afterEach(() => {
  vi.restoreAllMocks();
});

describe("what is read", () => {
  it("is the same wherever it is cut, from one buffer that is written over", () => {
    fc.assert(
      fc.property(traffic, cuts, fc.boolean(), (items, pieces, hasHead) => {
        const { bytes, expected } = told(items);
        const head = hasHead ? [Buffer.from("id")] : [];
        let next = 0;
        const kept: { part: Buffer; copy: Buffer }[] = [];
        const reader = new FrameReader(
          -1,
          {
            onMessage: (parts) => {
              const wanted = expected[next++] as { parts: Buffer[] };
              expect(parts.slice(0, head.length)).toEqual(head);
              expect(parts.length - head.length).toBe(wanted.parts.length);
              for (const [index, each] of wanted.parts.entries()) {
                const got = parts[index + head.length];
                expect(got.equals(each)).toBe(true);
                if (got.length >= OWN_FRAME_BYTES_MIN) kept.push({ part: got, copy: each });
              }
            },
            onCommand: (name, data) => {
              expect({ command: name, data: data.toString("hex") }).toEqual(expected[next++]);
            },
          },
          head,
        );
        const shared = Buffer.allocUnsafeSlow(70_000);
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const chunk = shared.subarray(0, pieces[i % pieces.length]);
          const read = bytes.copy(chunk, 0, at, Math.min(at + chunk.length, bytes.length));
          expect(reader.read(chunk.subarray(0, read))).toBe(undefined);
          shared.fill(0xdd);
          at += read;
        }
        expect(next).toBe(expected.length);
        // All messages are whole: nothing is held for them, and what may be kept is what it was.
        expect(lent.size).toBe(0);
        for (const { part: got, copy } of kept) {
          expect(got.equals(copy)).toBe(true);
          expect(got.buffer.byteLength).toBe(got.length);
        }
      }),
      runs,
    );
  });

  it("takes memory for what has come, not for what was announced", () => {
    const announced = fc.oneof(fc.nat(70_000), fc.integer({ min: 0, max: 2 ** 30 }));
    fc.assert(
      fc.property(announced, fc.nat(3000), fc.nat(10), (bytes, come, partCount) => {
        const slow = vi.spyOn(Buffer, "allocUnsafeSlow");
        try {
          const reader = new FrameReader(-1, { onMessage() {}, onCommand() {} });
          // Parts before it, each in a read of its own.
          for (let i = 0; i < partCount; i++) reader.read(frameOf(1, marked(5, i)));
          const head = Buffer.alloc(9);
          head[0] = 2;
          head.writeBigUInt64BE(BigInt(bytes), 1);
          reader.read(head);
          if (bytes > come) for (let i = 0; i < come; i += 100) reader.read(Buffer.alloc(100, 1));
          let taken = 0;
          for (const [sizeOf] of slow.mock.calls) taken += sizeOf;
          expect(taken).toBeLessThanOrEqual(16_384 + 5 * come + 5 * partCount);
          reader.stop();
          expect(lent.size).toBe(0);
        } finally {
          slow.mockRestore();
        }
      }),
      runs,
    );
  });

  it("takes no block for commands, however many of them, and however they are cut", () => {
    const reader = new FrameReader(-1, { onMessage() {}, onCommand() {} });
    const body = Buffer.concat([Buffer.from("\x05READY", "latin1"), Buffer.alloc(8000)]);
    const bytes = frameOf(4, body);
    for (let i = 0; i < 100; i++) {
      reader.read(Buffer.from(bytes.subarray(0, 6000)));
      reader.read(Buffer.from(bytes.subarray(6000)));
    }
    expect(lent.size).toBe(0);
  });

  it("gives back what an unfinished message has when it stops, also while a message is told", () => {
    for (const isWhole of [false, true]) {
      const reader: FrameReader = new FrameReader(-1, {
        onMessage: (parts) => {
          reader.stop();
          expect(parts.map(({ length }) => length)).toEqual([30_000, 3]);
        },
        onCommand() {},
      });
      const bytes = Buffer.concat([frameOf(1, marked(30_000, 1)), frameOf(0, marked(3, 2))]);
      reader.read(Buffer.from(bytes.subarray(0, 20_000)));
      reader.read(Buffer.from(bytes.subarray(20_000, isWhole ? bytes.length : 29_000)));
      if (!isWhole) expect(lent.size).toBe(1);
      reader.stop();
      expect(lent.size).toBe(0);
    }
  });
});

describe("what is written", () => {
  /** Where a part lies: by itself, or in a block of `outgoing`, behind the one before or in a new one. */
  const place = fc.constantFrom("own", "behind", "anew");
  const parts = fc.array(fc.record({ size, mark: fc.nat(255), place }), {
    minLength: 1,
    maxLength: 12,
  });

  it("is what the reference writes, wherever the parts lie, and is read back", () => {
    fc.assert(
      fc.property(parts, (all) => {
        let block: Buffer = Buffer.alloc(0);
        let used = 0;
        const message = all.map(({ size: bytes, mark, place: where }) => {
          const content = marked(bytes, mark);
          if (where === "own" || bytes > 100_000) return content;
          if (where === "anew" || used + FRAME_HEAD_BYTES + bytes > block.length) {
            block = outgoing.take(Math.max(bytes + FRAME_HEAD_BYTES, 16_384));
            used = 0;
          }
          const start = used + FRAME_HEAD_BYTES;
          used = start + bytes;
          content.copy(block, start);
          return block.subarray(start, used);
        });
        const isOutgoing = message.map((each) => outgoing.has(each));
        const isInPlace = isOutgoing[0] || isOutgoing[1] === true;
        const pieces = encodeMessage(message);
        // In place each frame has the long form: there is room for that before it.
        const expected = referenceOf(
          all.map(({ size: bytes, mark }) => marked(bytes, mark)),
          () => isInPlace,
        );
        expect(Buffer.concat(pieces).equals(expected)).toBe(true);
        // As few as may be: a copied part is none of its own, nor are those that stand behind each other.
        expect(pieces.length).toBeLessThanOrEqual(2 * all.length);
        const read: string[] = [];
        const reader = new FrameReader(-1, {
          onMessage: (back) => read.push(...back.map((each) => each.toString("hex"))),
          onCommand() {},
        });
        reader.read(Buffer.concat(pieces));
        expect(read).toEqual(
          all.map(({ size: bytes, mark }) => marked(bytes, mark).toString("hex")),
        );
        for (const each of message) outgoing.giveBack(each);
        expect(lent.size).toBe(0);
      }),
      runs,
    );
  });

  it("copies no large part", () => {
    const large = marked(70_000, 1);
    expect(encodeMessage([Buffer.from("x"), large]).at(-1)).toBe(large);
    const block = outgoing.take(20_000);
    const inBlock = block.subarray(FRAME_HEAD_BYTES, 10_000);
    const pieces = encodeMessage([inBlock, large]);
    expect(pieces[0].buffer).toBe(block.buffer);
    expect(pieces.at(-1)).toBe(large);
    outgoing.giveBack(block);
  });
});
