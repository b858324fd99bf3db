import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CodecError, type CodecErrorCode, createCodec } from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { PieceReader } from "../../build/codec/pieces.js";
import { XxHash32, xxHash32 } from "../../build/codec/xxhash32.js";

interface Vector {
  name: string;
  size: number;
  sha256: string;
  base64: string;
}
const path = new URL("../vectors/lz4-frames.json", import.meta.url);
const vectors: Vector[] = JSON.parse(readFileSync(path, "utf8")).vectors;
const codecs = {
  assembly: await createCodec(),
  "lz4-wasm": await createCodec({ compressor: "lz4-wasm" }),
};
const codec = codecs.assembly;
const hasTool = spawnSync("lz4", ["--version"]).status === 0;

const text = (size: number) =>
  Buffer.from(Array.from({ length: size / 8 }, (_, at) => `row ${at % 9000} `).join("")).subarray(
    0,
    size,
  );
const noise = (size: number) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => Math.imul(at, 2654435761) >>> 23));

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function joined(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = [];
  for await (const piece of source) list.push(piece);
  return Buffer.concat(list);
}

async function refusal(bytes: Uint8Array, limits = {}): Promise<CodecErrorCode> {
  try {
    await joined(codec.decompressStream([bytes], limits));
  } catch (error) {
    expect(error).toBeInstanceOf(CodecError);
    return (error as CodecError).code;
  }
  return expect.unreachable("the frame was accepted");
}

test("xxHash32 is that of the specification, however its bytes come", () => {
  const hashOf = (words: string) => xxHash32(Buffer.from(words)).toString(16);
  // Published values; the tool's frames below check longer ones.
  expect(hashOf("")).toBe("2cc5d05");
  expect(hashOf("a")).toBe("550d7456");
  expect(hashOf("abc")).toBe("32d153ff");
  expect(hashOf("Nobody inspects the spammish repetition")).toBe("e2293b2f");
  const bytes = noise(1000);
  for (let cut = 0; cut < 100; cut++) {
    const hash = new XxHash32();
    for (const piece of pieces(bytes, cut + 1)) hash.update(piece);
    expect(hash.digest()).toBe(xxHash32(bytes));
  }
});

describe("frames that the lz4 tool made", () => {
  test.each(vectors)("$name", async ({ base64, size, sha256 }) => {
    const bytes = Buffer.from(base64, "base64");
    for (const [pieceSize, each] of [
      [1, codecs["lz4-wasm"]],
      [7, codec],
      [5000, codec],
      [1 << 20, codec],
    ] as const) {
      const plain = await joined(each.decompressStream(pieces(bytes, pieceSize)));
      expect(plain.length).toBe(size);
      expect(createHash("sha256").update(plain).digest("hex")).toBe(sha256);
    }
  });

  test("each of them cut anywhere is TRUNCATED", async () => {
    for (const { name, base64 } of vectors) {
      const bytes = Buffer.from(base64, "base64");
      // Where one frame of two ends there is an end.
      if (name === "two frames" || name.startsWith("a frame to be")) continue;
      const step = Math.max(1, Math.floor(bytes.length / 50));
      for (let size = 0; size < bytes.length; size += step) {
        expect(await refusal(bytes.subarray(0, size))).toBe("TRUNCATED");
      }
    }
  });

  test("any byte changed is refused", async () => {
    const { base64, size } = vectors.find(({ name }) => name.startsWith("checksums")) as Vector;
    const bytes = Buffer.from(base64, "base64");
    const step = Math.max(1, Math.floor(bytes.length / 300));
    for (let at = 0; at < bytes.length; at += at < 30 ? 1 : step) {
      const spoilt = Uint8Array.from(bytes);
      spoilt[at] ^= 0x10;
      await refusal(spoilt);
    }
    expect(await refusal(bytes, { sizeMax: size - 1 })).toBe("TOO_LARGE");
  });
});

const contents: [string, Uint8Array][] = [
  ["nothing", new Uint8Array(0)],
  ["a byte", Uint8Array.of(5)],
  ["a block exactly", text(65_536)],
  ["text", text(300_000)],
  ["noise", noise(200_000)],
  ["zeros", new Uint8Array(1 << 20)],
];

describe.each(Object.entries(codecs))("frames that %s makes", (_, own) => {
  test.each(contents)("%s", async (_name, bytes) => {
    for (const pieceSize of [999, 65_536, 1 << 20]) {
      const frame = await joined(own.compressStream(pieces(bytes, pieceSize)));
      for (const other of Object.values(codecs)) {
        const plain = await joined(other.decompressStream(pieces(frame, 1234)));
        expect(Buffer.compare(plain, bytes)).toBe(0);
      }
    }
  });

  test.skipIf(!hasTool).each(contents)("%s: the lz4 tool opens it", async (_name, bytes) => {
    const input = await joined(own.compressStream([bytes]));
    const { status, stdout } = spawnSync("lz4", ["-d", "-c"], { input, maxBuffer: 1 << 24 });
    expect(status).toBe(0);
    expect(Buffer.compare(stdout, bytes)).toBe(0);
  });
});

test("what is not a frame is refused by its reason", async () => {
  const { base64 } = vectors[0];
  const bytes = Buffer.from(base64, "base64");
  const changed = (at: number, byte: number) => Uint8Array.from(bytes).fill(byte, at, at + 1);
  expect(await refusal(Buffer.from("no frame at all"))).toBe("BAD_FRAME");
  expect(await refusal(changed(4, 0x84))).toBe("BAD_FRAME");
  expect(await refusal(changed(5, 0x30))).toBe("BAD_FRAME");
  expect(await refusal(changed(6, bytes[6] ^ 1))).toBe("BAD_FRAME");
  expect(await refusal(Buffer.concat([bytes, Buffer.from("trailing")]))).toBe("BAD_FRAME");
  expect(await refusal(Buffer.concat([bytes, Buffer.from("xx")]))).toBe("TRUNCATED");
  // A block larger than the frame's are, never allocated.
  expect(await refusal(Uint8Array.from(bytes).fill(0x7f, 7, 11))).toBe("BAD_FRAME");
  // With a dictionary id, its header right.
  const descriptor = Uint8Array.of(0x41, 0x40, 1, 0, 0, 0);
  const check = (xxHash32(descriptor) >>> 8) & 0xff;
  const withId = Uint8Array.of(4, 0x22, 0x4d, 0x18, ...descriptor, check, 0, 0, 0, 0);
  expect(await refusal(withId)).toBe("BAD_FRAME");
});

test("64 MiB both ways in less than 1.5 MiB of linear memory", async () => {
  const memories = new Set<LinearMemory>();
  const enter = LinearMemory.prototype.enter;
  LinearMemory.prototype.enter = function (this: LinearMemory) {
    memories.add(this);
    return enter.call(this);
  };
  try {
    const own = await createCodec();
    const bytes = Buffer.concat([text(512 * 1024), noise(512 * 1024)]);
    function* source() {
      for (let index = 0; index < 64; index++) yield* pieces(bytes, 100_000);
    }
    let size = 0;
    for await (const piece of own.decompressStream(own.compressStream(source()))) {
      size += piece.length;
    }
    expect(size).toBe(64 * 1024 * 1024);
    expect(memories.size).toBe(1);
    for (const memory of memories) expect(memory.u8.length).toBeLessThan(1.5 * 1024 * 1024);
  } finally {
    LinearMemory.prototype.enter = enter;
  }
});

test("ended early, or by close(), or by its source: the source is let go", async () => {
  const own = await createCodec();
  let letGo = 0;
  async function* source(bytes: Uint8Array, error?: Error) {
    try {
      yield* pieces(bytes, 1000);
      if (error !== undefined) throw error;
    } finally {
      letGo++;
    }
  }
  const frame = Buffer.from(vectors[0].base64, "base64");
  for await (const _ of own.decompressStream(source(frame))) break;
  for await (const _ of own.compressStream(source(text(500_000)))) if (letGo === 1) break;
  const broken = new Error("the disk is gone");
  await expect(joined(own.compressStream(source(text(10_000), broken)))).rejects.toBe(broken);
  await expect(joined(own.decompressStream(source(frame.subarray(0, 99), broken)))).rejects.toBe(
    broken,
  );
  await expect(joined(own.decompressStream([7 as never]))).rejects.toThrow(TypeError);
  const stream = own.compressStream(source(text(500_000)));
  await stream.next();
  await stream.next();
  own.close();
  await expect(joined(stream)).rejects.toThrow("CLOSED");
  // Left at its first yield, the header, the second had not asked its source yet.
  expect(letGo).toBe(4);
  expect(() => own.compressStream([])).toThrow("CLOSED");
});

test("what comes in small pieces is gathered as it comes, in room for what came", async () => {
  const piece = new Uint8Array(1);
  async function* ones(count: number) {
    for (let index = 0; index < count; index++) {
      // One for all: were pieces held until there are enough, all would be the last one.
      piece[0] = index % 251;
      yield piece;
    }
  }
  const reader = new PieceReader(ones(30_000));
  const first = await reader.take(20_000);
  expect(first).toStrictEqual(Uint8Array.from({ length: 20_000 }, (_, index) => index % 251));
  expect(first.buffer.byteLength).toBe(20_000);
  // More than there is: as much as came, in twice its room at most.
  const rest = await reader.take(2 ** 40);
  expect(rest).toStrictEqual(Uint8Array.from({ length: 10_000 }, (_, i) => (20_000 + i) % 251));
  expect(rest.buffer.byteLength).toBeLessThan(20_000);
  expect(await reader.take(1)).toStrictEqual(new Uint8Array(0));
});
