import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { describe, expect, test } from "vitest";
import {
  type CodecContext,
  CodecError,
  type CodecErrorCode,
  createCodec,
  formatKey,
  generateKey,
  readEnvelope,
} from "../../build/codec/index.js";
import { LinearMemory } from "../../build/codec/linear-memory.js";
import { order, referenceLz4 } from "./support.js";

const key = await generateKey();
const requestId = Uint8Array.from({ length: 16 }, (_, index) => index);
const context: CodecContext = { service: "files.put", direction: "request", requestId };
const KIB = 1024;

/** Text that repeats itself within 64 KiB, but hardly within 4. */
function text(size: number, seed = 1): Uint8Array {
  const words = Array.from({ length: 3000 }, (_, index) =>
    (Math.imul(index + seed * 7919, 2654435761) >>> 0).toString(36),
  );
  const bytes = new Uint8Array(size);
  let at = 0;
  for (let index = 0; at < size; index++) {
    const word = Buffer.from(`${words[index % words.length]} `);
    bytes.set(word.subarray(0, size - at), at);
    at += word.length;
  }
  return bytes;
}

const noise = (size: number) => {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
};

function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(source: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const list: Uint8Array[] = [];
  for await (const piece of source) list.push(piece);
  return list;
}

async function refusal(source: AsyncIterable<Uint8Array>): Promise<CodecErrorCode> {
  try {
    await all(source);
  } catch (error) {
    expect(error).toBeInstanceOf(CodecError);
    return (error as CodecError).code;
  }
  return expect.unreachable("the stream was opened");
}

const same = (left: Uint8Array, right: Uint8Array) =>
  expect(Buffer.compare(left, right), "the bytes are the same").toBe(0);

const kinds = {
  "assembly, sealed": { keys: [key] },
  "assembly, plain": {},
  "lz4-wasm, sealed": { keys: [key], compressor: "lz4-wasm" },
  "libsodium alone": { keys: [key], engine: "wasm" },
  uncompressed: { keys: [key], isCompressing: false },
} as const;

describe.each(Object.entries(kinds))("%s", (_, options) => {
  test.each([
    ["nothing", new Uint8Array(0), 1],
    ["a byte", new Uint8Array([7]), 1],
    ["a chunk exactly", text(4 * KIB), 4 * KIB],
    ["two chunks exactly, in odd pieces", text(8 * KIB), 999],
    ["much, in small pieces", text(300 * KIB), 1000],
    ["much, in one piece", text(300 * KIB), 300 * KIB],
    ["noise", noise(100 * KIB), 70_000],
    ["zeros", new Uint8Array(200 * KIB), 5000],
  ])("%s goes through", async (_name, bytes, size) => {
    for (const chunkSize of [4 * KIB, 64 * KIB, 1024 * KIB]) {
      const [sender, receiver] = [await createCodec(options), await createCodec(options)];
      const envelopes = await all(sender.sealStream(pieces(bytes, size), context, { chunkSize }));
      expect(envelopes.length).toBe(Math.max(1, Math.ceil(bytes.length / chunkSize)));
      for (const envelope of envelopes) {
        expect(envelope.buffer.byteLength).toBe(envelope.length);
        expect(readEnvelope(envelope).plainSize).toBeLessThanOrEqual(chunkSize);
      }
      const opened = await all(receiver.openStream(envelopes, context));
      same(Buffer.concat(opened), bytes);
      for (const piece of opened) expect(piece.buffer.byteLength).toBe(piece.length);
      sender.close();
      receiver.close();
    }
  });
});

test("each opens what the other made", async () => {
  const bytes = text(200 * KIB);
  for (const made of Object.values(kinds)) {
    for (const read of Object.values(kinds)) {
      if ("keys" in made !== "keys" in read) continue;
      const [sender, receiver] = [await createCodec(made), await createCodec(read)];
      const opened = await all(receiver.openStream(sender.sealStream([bytes], context), context));
      same(Buffer.concat(opened), bytes);
    }
  }
});

test("stock code opens it: the nonces, the field, and blocks that refer to the 64 KiB before", async () => {
  const bytes = text(150 * KIB);
  const sender = await createCodec({ keys: [key] });
  // So that the stream does not begin with counter 0.
  for (let index = 0; index < 300; index++) sender.seal(1, context);
  const secret = Uint8Array.from(Buffer.from(formatKey(key).split(".")[2], "base64url"));
  const service = new TextEncoder().encode(context.service);
  let plain = new Uint8Array(0);
  let index = 0;
  let linkedCount = 0;
  let name = "";
  const envelopes = await all(sender.sealStream([bytes], context, { chunkSize: 16 * KIB }));
  for (const envelope of envelopes) {
    const [nonce, field] = [envelope.subarray(20, 44), Buffer.from(envelope.subarray(44, 60))];
    name ||= Buffer.from(nonce.subarray(16)).toString("hex");
    expect(field.subarray(0, 8).toString("hex")).toBe(name);
    expect(field.readUInt32LE(8)).toBe(index++);
    expect(field.readUInt32LE(12)).toBe(index === envelopes.length ? 1 : 0);
    const associated = Uint8Array.from([
      ...envelope.subarray(0, 20),
      ...field,
      ...[1, service.length, 0, ...service, ...requestId, 0, 0, 0, 0],
    ]);
    let body = xchacha20poly1305(secret, nonce, associated).decrypt(envelope.subarray(60));
    const history = plain.subarray(Math.max(0, plain.length - 64 * KIB));
    if (envelope[1] & 1) {
      if (referenceLz4(body, 1 << 20) === undefined) linkedCount++;
      body = Uint8Array.from(referenceLz4(body, 1 << 20, history) ?? []);
    }
    plain = Uint8Array.from(Buffer.concat([plain, body]));
  }
  same(plain, bytes);
  expect(name).toBe("2c01000000000000");
  expect(linkedCount).toBeGreaterThan(4);
});

test("linked blocks are smaller than blocks by themselves", async () => {
  const bytes = text(1024 * KIB);
  const sizeWith = async (compressor: "assembly" | "lz4-wasm") => {
    const codec = await createCodec({ compressor });
    const parts = await all(codec.sealStream([bytes], context, { chunkSize: 8 * KIB }));
    return parts.reduce((sum, { length }) => sum + length, 0);
  };
  expect(await sizeWith("assembly")).toBeLessThan((await sizeWith("lz4-wasm")) / 2);
});

describe.each([
  ["sealed", { keys: [key] }],
  ["plain", {}],
])("what is not the next chunk, %s", (kind, options) => {
  const isSealed = kind === "sealed";
  const stream = async (seed: number) => {
    const codec = await createCodec(options);
    return all(codec.sealStream([text(40 * KIB, seed)], context, { chunkSize: 8 * KIB }));
  };
  const open = async (envelopes: Uint8Array[], limits = {}) => {
    const codec = await createCodec(options);
    return refusal(codec.openStream(envelopes, context, limits));
  };

  test("lost, doubled, reordered, of another stream, cut off, gone on", async () => {
    const one = await stream(1);
    const other = await stream(2);
    expect(one).toHaveLength(5);
    expect(await open(one.slice(1))).toBe("OUT_OF_ORDER");
    expect(await open(one.toSpliced(2, 1))).toBe("OUT_OF_ORDER");
    expect(await open(one.toSpliced(2, 0, one[2]))).toBe("OUT_OF_ORDER");
    expect(await open(one.toSpliced(2, 2, one[3], one[2]))).toBe("OUT_OF_ORDER");
    expect(await open(one.with(2, other[2]))).toBe("OTHER_STREAM");
    expect(await open([...one.slice(0, 4), other[4]])).toBe("OTHER_STREAM");
    expect(await open(one.slice(0, 4))).toBe("TRUNCATED");
    expect(await open([])).toBe("TRUNCATED");
    expect(await open([...one, one[4]])).toBe("TRAILING_BYTES");
    expect(await open([...one, ...other])).toBe("TRAILING_BYTES");
    expect(await open(one, { sizeMax: 40 * KIB - 1 })).toBe("TOO_LARGE");
  });

  test("a body by itself is no chunk, a chunk no body", async () => {
    const codec = await createCodec(options);
    expect(await open([codec.seal(order, context)])).toBe("BAD_FLAGS");
    const [chunk] = await stream(1);
    expect(() => codec.open(chunk, context)).toThrow("BAD_FLAGS: a chunk of a stream");
    for (const flag of [0x04, 0x20]) {
      const half = chunk.slice();
      half[1] &= ~flag;
      expect(() => codec.open(half, context)).toThrow("RAW goes with CHUNK");
    }
  });

  test("two streams of one codec, chunks taken in turn", async () => {
    const codec = await createCodec(options);
    const bytes = [text(40 * KIB, 1), text(40 * KIB, 2)];
    const envelopes: Uint8Array[][] = [[], []];
    const streams = bytes.map((each) => codec.sealStream([each], context, { chunkSize: 8 * KIB }));
    for (let index = 0; index < 5; index++) {
      for (const side of [0, 1]) envelopes[side].push((await streams[side].next()).value as never);
      // And whatever else the codec does meanwhile.
      codec.open(codec.seal(order, context), context);
      codec.decompress(codec.compress(noise(100 * KIB)), { maxSize: 1 << 20 });
    }
    const [first, second] = envelopes;
    for (const index of [1, 2, 3, 4]) {
      expect(await open(first.with(index, second[index]))).toBe("OTHER_STREAM");
    }
    const openings = envelopes.map((each) => codec.openStream(each, context));
    const opened: Uint8Array[][] = [[], []];
    for (let index = 0; index < 5; index++) {
      for (const side of [0, 1]) opened[side].push((await openings[side].next()).value as never);
    }
    for (const side of [0, 1]) {
      same(Buffer.concat(opened[side]), bytes[side]);
      expect((await openings[side].next()).done).toBe(true);
    }
  });

  test("any byte of a chunk changed", async () => {
    const codec = await createCodec(options);
    const whole = await all(codec.sealStream([order.orderId, order.sku].map(Buffer.from), context));
    expect(whole).toHaveLength(1);
    for (let at = 0; at < whole[0].length; at++) {
      const copy = whole[0].slice();
      copy[at] ^= 0x40;
      // In plain mode nobody vouches for the name and the bytes.
      const isFree = !isSealed && (at >= 36 || (at >= 20 && at < 28));
      const receiver = await createCodec(options);
      if (isFree) await all(receiver.openStream([copy], context));
      else await refusal(receiver.openStream([copy], context));
      receiver.close();
    }
  });
});

test("chunk 0 names the stream by its own counter, and the chunks by one session", async () => {
  const codec = await createCodec({ keys: [key] });
  const one = await all(codec.sealStream([text(16 * KIB)], context, { chunkSize: 8 * KIB }));
  const forged = one[0].slice();
  forged[44] ^= 1;
  expect(await refusal(codec.openStream([forged], context))).toBe("OTHER_STREAM");
  // The same in name and place, but of another session.
  const other = await createCodec({ keys: [key] });
  const two = await all(other.sealStream([text(16 * KIB)], context, { chunkSize: 8 * KIB }));
  expect(one[1].subarray(44, 60)).toStrictEqual(two[1].subarray(44, 60));
  expect(await refusal(codec.openStream([one[0], two[1]], context))).toBe("OTHER_STREAM");
});

test("a chunk that is refused is not marked as opened; a stream opens once", async () => {
  const [sender, receiver] = [
    await createCodec({ keys: [key] }),
    await createCodec({ keys: [key] }),
  ];
  const good = await all(sender.sealStream([text(24 * KIB)], context, { chunkSize: 8 * KIB }));
  expect(await refusal(receiver.openStream([good[1], good[0]], context))).toBe("OUT_OF_ORDER");
  const elsewhere = { ...context, service: "files.get" };
  expect(await refusal(receiver.openStream(good, elsewhere))).toBe("REDIRECTED");
  await all(receiver.openStream(good, context));
  expect(await refusal(receiver.openStream(good, context))).toBe("REPLAYED");
});

describe("keys that change in the middle", () => {
  const halfway = async (before: unknown[], after: unknown[]) => {
    const codec = await createCodec(before.length > 0 ? { keys: before as never } : {});
    const stream = codec.sealStream([text(24 * KIB)], context, { chunkSize: 8 * KIB });
    const envelopes = [(await stream.next()).value as Uint8Array];
    codec.setKeys(after as never);
    return { envelopes, stream };
  };

  test("another seals: the stream goes on with its own", async () => {
    const next = await generateKey();
    const { envelopes, stream } = await halfway([key], [next, key]);
    envelopes.push(...(await all(stream)));
    expect(envelopes.map((bytes) => readEnvelope(bytes).keyId)).toEqual([key.id, key.id, key.id]);
    const receiver = await createCodec({ keys: [key] });
    same(Buffer.concat(await all(receiver.openStream(envelopes, context))), text(24 * KIB));
  });

  test("its own is left out: the stream ends with an error, at either end", async () => {
    const next = await generateKey();
    const { stream } = await halfway([key], [next]);
    expect(await refusal(stream)).toBe("UNKNOWN_KEY");
    const sender = await createCodec({ keys: [key] });
    const receiver = await createCodec({ keys: [key] });
    const sealed = sender.sealStream([text(24 * KIB)], context, { chunkSize: 8 * KIB });
    const opening = receiver.openStream(sealed, context);
    await opening.next();
    receiver.setKeys([next]);
    expect(await refusal(opening)).toBe("UNKNOWN_KEY");
  });

  test("there were none: nothing more goes out in clear", async () => {
    const { stream } = await halfway([], [key]);
    expect(await refusal(stream)).toBe("UNSEALED");
  });
});

describe("how a stream ends early", () => {
  /** Counts how often it was asked and whether it was let go. */
  function watched(count: number) {
    const seen = { asked: 0, isLetGo: false };
    async function* source() {
      try {
        for (; seen.asked < count; ) {
          seen.asked++;
          yield text(8 * KIB, seen.asked);
        }
      } finally {
        seen.isLetGo = true;
      }
    }
    return { seen, source: source() };
  }

  test("given up by its reader: the source is let go, the codec goes on", async () => {
    const codec = await createCodec({ keys: [key] });
    const { seen, source } = watched(1000);
    for await (const _ of codec.openStream(codec.sealStream(source, context), context)) break;
    expect(seen.isLetGo).toBe(true);
    // One chunk out, one held back for it may be the last: no more was asked for than that takes.
    expect(seen.asked).toBe(9);
    expect(codec.open(codec.seal(order, context), context)).toStrictEqual(order);
  });

  test("given up before it began: the source was never asked", async () => {
    const codec = await createCodec({ keys: [key] });
    const { seen, source } = watched(10);
    await codec.sealStream(source, context).return(undefined);
    expect(seen.asked).toBe(0);
  });

  test("by an error of the source, which comes through as it is", async () => {
    const codec = await createCodec({ keys: [key] });
    const broken = new Error("the disk is gone");
    async function* source() {
      yield text(8 * KIB);
      throw broken;
    }
    await expect(all(codec.sealStream(source(), context))).rejects.toBe(broken);
    await expect(all(codec.openStream(source(), context))).rejects.toThrow(CodecError);
    await expect(all(codec.sealStream([1] as never, context))).rejects.toThrow(TypeError);
  });

  test("by close(), in the middle and before", async () => {
    const codec = await createCodec({ keys: [key] });
    const { seen, source } = watched(1000);
    const stream = codec.sealStream(source, context);
    const never = codec.sealStream([text(10)], context);
    await stream.next();
    codec.close();
    expect(await refusal(stream)).toBe("CLOSED");
    expect(await refusal(never)).toBe("CLOSED");
    expect(seen.isLetGo).toBe(true);
    expect(() => codec.sealStream([], context)).toThrow("CLOSED");
  });
});

test("arguments are checked at once", async () => {
  const codec = await createCodec();
  expect(() => codec.sealStream(text(10) as never, context)).toThrow("put it in an array");
  expect(() => codec.sealStream(5 as never, context)).toThrow("got number");
  expect(() => codec.openStream(null as never, context)).toThrow(TypeError);
  expect(() => codec.sealStream([], {} as never)).toThrow(TypeError);
  expect(() => codec.sealStream([], context, { chunkSize: 4095 })).toThrow("chunkSize must be");
  expect(() => codec.openStream([], context, { sizeMax: -1 })).toThrow("sizeMax must be");
});

test("64 MiB go through in less than 1.5 MiB of linear memory, two chunks held at most", async () => {
  const memories: LinearMemory[] = [];
  const enter = LinearMemory.prototype.enter;
  LinearMemory.prototype.enter = function (this: LinearMemory) {
    if (!memories.includes(this)) memories.push(this);
    return enter.call(this);
  };
  try {
    const options = { keys: [key] };
    const [sender, receiver] = [await createCodec(options), await createCodec(options)];
    const bytes = Buffer.concat([text(512 * KIB), noise(512 * KIB)]);
    let given = 0;
    function* source() {
      for (let index = 0; index < 64; index++) {
        for (const piece of pieces(bytes, 100_000)) {
          given += piece.length;
          yield piece;
        }
      }
    }
    let taken = 0;
    let heldMax = 0;
    for await (const piece of receiver.openStream(sender.sealStream(source(), context), context)) {
      heldMax = Math.max(heldMax, given - taken);
      const at = taken % bytes.length;
      // Chunks are 64 KiB, so that none goes over the end.
      if (Buffer.compare(piece, bytes.subarray(at, at + piece.length)) !== 0) {
        expect.unreachable(`other bytes at ${taken}`);
      }
      taken += piece.length;
    }
    expect(taken).toBe(64 * 1024 * KIB);
    expect(heldMax).toBeLessThanOrEqual(2 * 64 * KIB + 100_000);
    expect(memories).toHaveLength(2);
    for (const memory of memories) expect(memory.u8.length).toBeLessThan(1.5 * 1024 * KIB);
  } finally {
    LinearMemory.prototype.enter = enter;
  }
});
