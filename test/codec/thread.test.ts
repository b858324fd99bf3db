import { spawnSync } from "node:child_process";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import {
  type Codec,
  type CodecContext,
  CodecError,
  type CodecErrorCode,
  type CodecOptions,
  createCodec,
  generateKey,
  readEnvelope,
} from "../../build/codec/index.js";
import { order, toHex } from "./support.js";

const key = await generateKey();
const requestId = Uint8Array.from({ length: 16 }, (_, index) => index);
const context: CodecContext = { service: "orders.list", direction: "reply", requestId };
const large = Array.from({ length: 2000 }, (_, index) => ({ ...order, index }));

/** The threads that codecs made, oldest first. */
const threads: Worker[] = [];
const postMessage = Worker.prototype.postMessage;
const posted: { what: string }[] = [];
/** Called before each message to a thread. */
let onPost: ((thread: Worker, message: { what: string }) => void) | undefined;
Worker.prototype.postMessage = function (this: Worker, ...args: unknown[]) {
  if (!threads.includes(this)) threads.push(this);
  posted.push(args[0] as never);
  onPost?.(this, args[0] as never);
  return postMessage.apply(this, args as never);
};
const countOf = (what: string) => posted.filter((message) => message.what === what).length;
const ended = (thread: Worker) =>
  new Promise<void>((resolve) => thread.once("exit", () => resolve()));

const codecs: Codec[] = [];
async function codecOf(options: CodecOptions = {}): Promise<Codec> {
  const codec = await createCodec({ keys: [key], ...options });
  codecs.push(codec);
  return codec;
}

afterEach(async () => {
  for (const codec of codecs.splice(0)) codec.close();
  onPost = undefined;
  threads.length = 0;
  posted.length = 0;
});

async function refusal(promise: Promise<unknown>): Promise<CodecErrorCode> {
  const error = await promise.then(
    () => expect.unreachable("it was accepted"),
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(CodecError);
  return error.code;
}

const kinds: Record<string, CodecOptions> = {
  "engine auto": {},
  "libsodium alone": { engine: "wasm" },
  "node:crypto alone": { engine: "native" },
  "lz4-wasm": { compressor: "lz4-wasm" },
  uncompressed: { isCompressing: false },
};

describe.each(Object.entries(kinds))("%s", (_, options) => {
  test("the thread's envelopes are as any, and open in it", async () => {
    const [sender, receiver] = [await codecOf(options), await codecOf(options)];
    const other = await codecOf();
    const bytes = await sender.sealAsync(large, context);
    expect(bytes.buffer.byteLength).toBe(bytes.length);
    const { plainSize, isCompressed } = readEnvelope(bytes);
    expect(plainSize).toBeGreaterThan(65_536);
    expect(isCompressed).toBe(options.isCompressing !== false);
    expect(other.open(bytes, context)).toStrictEqual(large);
    expect(await receiver.openAsync(bytes, context)).toStrictEqual(large);
    expect(await receiver.openAsync(sender.seal(large, context), context)).toStrictEqual(large);
    expect([countOf("seal"), countOf("open")]).toEqual([1, 2]);
    expect(threads).toHaveLength(2);
  });
});

test("plain mode: compressed in the thread, and visibly not sealed", async () => {
  const plain = await createCodec();
  codecs.push(plain);
  const bytes = await plain.sealAsync(large, context);
  expect(readEnvelope(bytes)).toMatchObject({ isSealed: false, isCompressed: true });
  expect(await plain.openAsync(bytes, context)).toStrictEqual(large);
  expect(await plain.openAsync(bytes, context)).toStrictEqual(large);
  expect([countOf("seal"), countOf("open")]).toEqual([1, 2]);
});

test("below threadFrom no thread is made, at Infinity never", async () => {
  const text = "x".repeat(65_536 - 3);
  const codec = await codecOf();
  const bytes = codec.seal(text, context);
  expect(codec.threadFrom).toBe(65_536);
  expect(codec.isLarge(bytes)).toBe(true);
  const shorter = text.slice(1);
  expect(codec.sealSoon(shorter, context)).toBeInstanceOf(Uint8Array);
  const small = await codec.sealAsync(shorter, context);
  expect(codec.isLarge(small)).toBe(false);
  expect(await codec.openAsync(small, context)).toBe(shorter);
  const never = await codecOf({ threadFrom: Number.POSITIVE_INFINITY });
  expect(await never.openAsync(await never.sealAsync(large, context), context)).toStrictEqual(
    large,
  );
  expect(posted).toEqual([]);
  const sealing = codec.sealSoon(text, context);
  expect(sealing).toBeInstanceOf(Promise);
  await sealing;
  await expect(createCodec({ threadFrom: 4095 })).rejects.toThrow("threadFrom must be");
});

test("the bytes given stay the caller's, the value may change at once", async () => {
  const codec = await codecOf();
  const value = { list: large.slice(), blob: new Uint8Array(100_000).fill(7) };
  const own = { ...context, requestId: requestId.slice() };
  const sealing = codec.sealAsync(value, own);
  value.list.length = 0;
  value.blob.fill(0);
  own.requestId.fill(9);
  const bytes = await sealing;
  const before = toHex(bytes);
  const opening = codec.openAsync(bytes, context);
  expect(toHex(bytes)).toBe(before);
  bytes.fill(0);
  expect(await opening).toStrictEqual({ list: large, blob: new Uint8Array(100_000).fill(7) });
});

test("one sequence of nonces, in the thread and out of it", async () => {
  const codec = await codecOf();
  const sealed = await Promise.all(
    Array.from({ length: 20 }, (_, index) => codec.sealAsync(index % 2 ? large : index, context)),
  );
  const nonces = sealed.map((bytes) => toHex(bytes.subarray(20, 44)));
  expect(new Set(nonces).size).toBe(20);
  expect(new Set(nonces.map((nonce) => nonce.slice(0, 32))).size).toBe(1);
  const opened = await Promise.all(sealed.map((bytes) => codec.openAsync(bytes, context)));
  expect(opened).toStrictEqual(sealed.map((_, index) => (index % 2 ? large : index)));
});

test("each cause keeps its reason, and only what verified is remembered", async () => {
  const codec = await codecOf();
  const bytes = codec.seal(large, context);
  const spoilt = bytes.slice();
  spoilt[spoilt.length - 1] ^= 1;
  expect(await refusal(codec.openAsync(spoilt, context))).toBe("TAMPERED");
  expect(await refusal(codec.openAsync(bytes, { ...context, service: "x" }))).toBe("REDIRECTED");
  const other = { ...context, requestId: new Uint8Array(16) };
  expect(await refusal(codec.openAsync(bytes, other))).toBe("SWAPPED");
  const claiming = bytes.slice();
  claiming.fill(255, 4, 8);
  expect(await refusal(codec.openAsync(claiming, context))).toBe("TOO_LARGE");
  // Twice at once: one of them is the second.
  const both = await Promise.allSettled([
    codec.openAsync(bytes, context),
    codec.openAsync(bytes, context),
  ]);
  expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  expect(await refusal(codec.openAsync(bytes, context))).toBe("REPLAYED");
  expect(() => codec.open(bytes, context)).toThrow("REPLAYED");
  const stranger = await codecOf({ keys: [await generateKey()] });
  expect(await refusal(stranger.openAsync(bytes, context))).toBe("UNKNOWN_KEY");
  await expect(codec.openAsync(bytes, {} as never)).rejects.toThrow(TypeError);
  await expect(codec.sealAsync(large, {} as never)).rejects.toThrow(TypeError);
  await expect(codec.sealAsync(large, { ...context, service: "" })).rejects.toThrow(RangeError);
  expect(await refusal(codec.sealAsync([large, () => {}], context))).toBe("UNENCODABLE");
});

test("keys follow: new ones open and seal, those left out do not", async () => {
  const next = await generateKey();
  const codec = await codecOf();
  const early = await codec.sealAsync(large, context);
  codec.setKeys([next, key]);
  const late = await codec.sealAsync(large, context);
  expect([early, late].map((bytes) => readEnvelope(bytes).keyId)).toEqual([key.id, next.id]);
  const receiver = await codecOf();
  expect(await refusal(receiver.openAsync(late, context))).toBe("UNKNOWN_KEY");
  receiver.setKeys([key, next]);
  expect(await receiver.openAsync(late, context)).toStrictEqual(large);
  receiver.setKeys([next]);
  expect(await refusal(receiver.openAsync(early, context))).toBe("UNKNOWN_KEY");
  // Two of the sender's, and two of the receiver's: a key that is not held needs no thread.
  expect(countOf("keys")).toBe(4);
});

describe("the thread ends", () => {
  test("what it had is opened here, or lost with a reason; what waited goes to another", async () => {
    const codec = await codecOf();
    // It has shown that it works.
    const bytes = codec.seal(large, context);
    await codec.openAsync(bytes, context);
    const [thread] = threads;
    const sealed = Array.from({ length: 4 }, () => codec.seal(large, context));
    const opening = Promise.all(sealed.map((each) => codec.openAsync(each, context)));
    const sealing = Array.from({ length: 4 }, () => codec.sealAsync(large, context));
    void thread.terminate();
    expect(await opening).toStrictEqual([large, large, large, large]);
    for (const each of await Promise.all(sealing)) {
      expect(codec.open(each, context)).toStrictEqual(large);
    }
    expect(threads).toHaveLength(2);
  });

  test("values that were in it are lost, and say so; those that waited are sealed", async () => {
    const codec = await codecOf();
    await codec.sealAsync(large, context);
    onPost = (thread, { what }) => {
      if (what === "seal" && thread === threads[0]) void thread.terminate();
    };
    const sealing = Array.from({ length: 4 }, () => codec.sealAsync(large, context));
    const results = await Promise.allSettled(sealing);
    const codes = results.map((each) =>
      each.status === "rejected" ? (each.reason as CodecError).code : "sealed",
    );
    expect(codes).toEqual(["THREAD_LOST", "THREAD_LOST", "sealed", "sealed"]);
  });

  test("again and again: the work is still done", async () => {
    const codec = await codecOf();
    for (let round = 0; round < 5; round++) {
      const bytes = codec.seal(round, context);
      const sealed = await codec.sealAsync(large, context);
      const end = ended(threads[round]);
      void threads[round].terminate();
      expect(await codec.openAsync(sealed, context)).toStrictEqual(large);
      expect(codec.open(bytes, context)).toBe(round);
      await end;
    }
  });

  test("before it ever did anything: the caller's thread does all from then on", async () => {
    const codec = await codecOf();
    onPost = (thread) => void thread.terminate();
    const bytes = codec.seal(large, context);
    expect(await codec.openAsync(bytes, context)).toStrictEqual(large);
    posted.length = 0;
    expect(codec.sealSoon(large, context)).toBeInstanceOf(Uint8Array);
    expect(posted).toEqual([]);
  });
});

describe("close()", () => {
  test("settles all that is on its way, and the thread ends by itself", async () => {
    const codec = await codecOf();
    const bytes = await codec.sealAsync(large, context);
    const end = ended(threads[0]);
    const pending = [
      ...Array.from({ length: 5 }, () => codec.sealAsync(large, context)),
      codec.openAsync(bytes, context),
    ];
    const codes = Promise.all(pending.map(refusal));
    codec.close();
    expect(await codes).toEqual(new Array(6).fill("CLOSED"));
    await end;
    expect(await refusal(codec.sealAsync(large, context))).toBe("CLOSED");
    expect(await refusal(codec.openAsync(bytes, context))).toBe("CLOSED");
    expect(threads).toHaveLength(1);
  });

  test("while the thread starts", async () => {
    const codec = await codecOf();
    const pending = [codec.sealAsync(large, context), codec.sealAsync(large, context)];
    const codes = Promise.all(pending.map(refusal));
    codec.close();
    expect(await codes).toEqual(["CLOSED", "CLOSED"]);
  });
});

test("what waits is bounded: beyond 64 MiB the caller's own thread does it", async () => {
  const codec = await codecOf({ isCompressing: false });
  const blob = new Uint8Array(8 * 1024 * 1024);
  const all = Array.from({ length: 12 }, () => codec.sealSoon(blob, context));
  const inThread = all.filter((each) => each instanceof Promise).length;
  // None has been posted yet: eight wait, the others were done at once.
  expect(inThread).toBe(7);
  const nonces = (await Promise.all(all)).map((bytes) => toHex(bytes.subarray(20, 44)));
  expect(new Set(nonces).size).toBe(12);
});

test("a process waits for a body in the thread, and for nothing else of it", () => {
  const index = new URL("../../build/codec/index.js", import.meta.url);
  const script = `
    import { createCodec, generateKey } from ${JSON.stringify(index.href)};
    const codec = await createCodec({ keys: [await generateKey()] });
    const context = { service: "a", direction: "reply", requestId: new Uint8Array(16) };
    const value = "x".repeat(1e6);
    codec.sealAsync(value, context).then(async (bytes) => {
      const isSame = (await codec.openAsync(bytes, context)) === value;
      process.stdout.write(isSame ? "same" : "other");
    });`;
  const result = spawnSync(process.execPath, ["--input-type=module", "-e", script]);
  expect(result.stderr.toString()).toBe("");
  expect([result.status, result.stdout.toString()]).toEqual([0, "same"]);
});
