import { decode } from "@msgpack/msgpack";
import sodium from "libsodium-wrappers";
import { describe, expect, test } from "vitest";
import { crc32 } from "../../build/codec/context.js";
import {
  type CodecContext,
  type CodecKey,
  createCodec,
  formatKey,
  generateKey,
  readEnvelope,
} from "../../build/codec/index.js";
import { expectCode, hex, order, referenceLz4, toHex } from "./support.js";

await sodium.ready;
const key = await generateKey();
const requestId = hex("000102030405060708090a0b0c0d0e0f");
const context: CodecContext = { service: "orders.price", direction: "request", requestId };
const sender = await createCodec({ keys: [key] });
/** A fresh receiver has seen nothing yet. */
const receiver = () => createCodec({ keys: [key] });

function secretOf(of: CodecKey): Uint8Array {
  return Uint8Array.from(Buffer.from(formatKey(of).split(".")[2], "base64url"));
}

test("CRC-32 is that of zlib", () => {
  expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
});

describe("what is sealed opens again", () => {
  test.each([
    ["order", order],
    ["nothing", null],
    ["large", { list: new Array(5000).fill(order) }],
    ["bytes", crypto.getRandomValues(new Uint8Array(60_000))],
  ])("%s", async (_, value) => {
    const bytes = sender.seal(value, context);
    expect(bytes.buffer.byteLength).toBe(bytes.length);
    expect((await receiver()).open(bytes, context)).toStrictEqual(value);
    // As a part of a larger buffer, as it arrives from a socket.
    const frame = Buffer.concat([Buffer.from("xx"), bytes, Buffer.from("yy")]);
    const part = frame.subarray(2, 2 + bytes.length);
    expect((await receiver()).open(part, context)).toStrictEqual(value);
  });

  test("headers are bound, absent and empty being the same", async () => {
    const headers = new TextEncoder().encode("trace=1");
    const bytes = sender.seal(order, { ...context, headers });
    expectCode("TAMPERED", () => sender.open(bytes, context));
    expect(sender.open(bytes, { ...context, headers })).toStrictEqual(order);
    const bare = sender.seal(order, context);
    expect(sender.open(bare, { ...context, headers: new Uint8Array() })).toStrictEqual(order);
    const long = { ...context, headers: new Uint8Array(100_000).fill(1) };
    expect(sender.open(sender.seal(order, long), long)).toStrictEqual(order);
  });

  test("compression is used where it pays, and may be turned off", async () => {
    const large = new Array(200).fill(order);
    expect(readEnvelope(sender.seal(order, context)).isCompressed).toBe(false);
    expect(readEnvelope(sender.seal(large, context)).isCompressed).toBe(true);
    const plain = await createCodec({ keys: [key], isCompressing: false });
    const bytes = plain.seal(large, context);
    expect(readEnvelope(bytes).isCompressed).toBe(false);
    expect(sender.open(bytes, context)).toStrictEqual(large);
  });
});

// docs/codec.md 6, "When not to compress what you encrypt".
test("a compressed size tells whether a guess stands beside the secret; without, it does not", async () => {
  const filler =
    "Nothing that repeats: 0f9b27c4e1a83d56, qzjxkvw, 7719-2284-5603, HUMPBACK, ~!#%&.";
  const sizesOf = async (isCompressing: boolean) => {
    const codec = await createCodec({ keys: [key], isCompressing });
    const body = (guess: string) => ({ filler, token: "token=s3cr3t-8841-zulu", search: guess });
    return ["token=s3cr3t-8841-zulu", "token=q7wv9x-2056-kilo"].map(
      (guess) => codec.seal(body(guess), context).length,
    );
  };
  const [right, wrong] = await sizesOf(true);
  expect(right).toBeLessThan(wrong);
  const [rightPlain, wrongPlain] = await sizesOf(false);
  expect(rightPlain).toBe(wrongPlain);
});

test("stock libraries open it", async () => {
  const headers = hex("aabbcc");
  const large = new Array(50).fill(order);
  for (const value of [order, large]) {
    const bytes = sender.seal(value, { ...context, headers });
    const service = new TextEncoder().encode(context.service);
    const associated = new Uint8Array([
      ...bytes.subarray(0, 20),
      ...[1, service.length, 0, ...service],
      ...requestId,
      ...[3, 0, 0, 0, ...headers],
    ]);
    const plain = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      null,
      bytes.subarray(44),
      associated,
      bytes.subarray(20, 44),
      secretOf(key),
    );
    const size = new DataView(bytes.buffer).getUint32(4, true);
    const packed = bytes[1] & 1 ? Uint8Array.from(referenceLz4(plain, size) ?? []) : plain;
    expect(packed.length).toBe(size);
    expect(decode(packed)).toStrictEqual(value);
    expect(new DataView(bytes.buffer).getUint32(16, true)).toBe(key.id);
  }
});

describe("each cause has its own reason", () => {
  test("any byte changed", () => {
    const bytes = sender.seal(order, context);
    const codes = new Map<number, string>();
    for (let at = 0; at < bytes.length; at++) {
      const copy = bytes.slice();
      copy[at] ^= 0x40;
      try {
        sender.open(copy, context);
        expect.unreachable(`byte ${at} may be changed`);
      } catch (error) {
        codes.set(at, (error as { code: string }).code);
      }
    }
    const codeAt = (at: number) => codes.get(at);
    expect([0, 1, 2, 3].map(codeAt)).toEqual(["BAD_VERSION", ...new Array(3).fill("BAD_FLAGS")]);
    expect([4, 8, 12, 16].map(codeAt)).toEqual([
      "SIZE_MISMATCH",
      "REDIRECTED",
      "SWAPPED",
      "UNKNOWN_KEY",
    ]);
    for (let at = 20; at < bytes.length; at++) expect(codes.get(at)).toBe("TAMPERED");
    expect(sender.open(bytes, context)).toStrictEqual(order);
  });

  test("REDIRECTED: another service, or the other direction", () => {
    const bytes = sender.seal(order, context);
    const elsewhere = { ...context, service: "orders.cancel" };
    expect(expectCode("REDIRECTED", () => sender.open(bytes, elsewhere))).toContain(
      "the request of orders.cancel",
    );
    expectCode("REDIRECTED", () => sender.open(bytes, { ...context, direction: "reply" }));
  });

  test("SWAPPED: another request", () => {
    const bytes = sender.seal(order, { ...context, direction: "reply" });
    const other = { ...context, direction: "reply", requestId: new Uint8Array(16) } as const;
    expectCode("SWAPPED", () => sender.open(bytes, other));
  });

  test("the hints forged: the tag still refuses", () => {
    const bytes = sender.seal(order, context);
    const other = { ...context, service: "orders.cancel", requestId: new Uint8Array(16) };
    const forged = bytes.slice();
    forged.set(sender.seal(null, other).subarray(8, 16), 8);
    expectCode("TAMPERED", () => sender.open(forged, other));
  });

  test("no two contexts have the same associated data", () => {
    const service = "a";
    const bytes = sender.seal(order, { ...context, service, headers: hex("00") });
    // The same bytes cut elsewhere.
    expectCode("REDIRECTED", () => sender.open(bytes, { ...context, service: "a\0" }));
  });

  test("REPLAYED: opened before", async () => {
    const own = await receiver();
    const bytes = sender.seal(order, context);
    own.open(bytes, context);
    expectCode("REPLAYED", () => own.open(bytes, context));
    expectCode("REPLAYED", () => own.open(bytes.slice(), context));
  });

  test("a refused body does not count as opened", async () => {
    const own = await receiver();
    const bytes = sender.seal(order, context);
    const spoilt = bytes.slice();
    spoilt[bytes.length - 1] ^= 1;
    expectCode("TAMPERED", () => own.open(spoilt, context));
    expectCode("SWAPPED", () => own.open(bytes, { ...context, requestId: new Uint8Array(16) }));
    expect(own.open(bytes, context)).toStrictEqual(order);
    // And a spoilt copy of an opened one is spoilt before it is replayed.
    expectCode("TAMPERED", () => own.open(spoilt, context));
  });

  test("STALE: beyond the window", async () => {
    const own = await createCodec({ keys: [key], replayWindow: 1024 });
    const source = await createCodec({ keys: [key] });
    const all = Array.from({ length: 1026 }, () => source.seal(1, context));
    own.open(all[1025], context);
    expectCode("STALE", () => own.open(all[0], context));
    expectCode("STALE", () => own.open(all[1], context));
    expect(own.open(all[2], context)).toBe(1);
    expectCode("REPLAYED", () => own.open(all[2], context));
  });

  test("UNKNOWN_KEY, both ways, and UNSEALED: there is no downgrade", async () => {
    const plain = await createCodec();
    const stranger = await createCodec({ keys: [await generateKey()] });
    const bytes = sender.seal(order, context);
    expect(expectCode("UNKNOWN_KEY", () => stranger.open(bytes, context))).toContain(key.idText);
    expect(expectCode("UNKNOWN_KEY", () => plain.open(bytes, context))).toContain("held: none");
    expectCode("UNSEALED", () => sender.open(plain.seal(order, context), context));
    const stripped = bytes.slice();
    stripped[1] &= ~2;
    expectCode("BAD_FLAGS", () => sender.open(stripped, context));
    stripped.fill(0, 16, 20);
    expectCode("SIZE_MISMATCH", () => sender.open(stripped, context));
  });

  test("BAD_COUNTER: a sender that does not count as agreed", async () => {
    const bytes = sender.seal(1, context);
    const nonce = new Uint8Array(24).fill(255);
    const service = new TextEncoder().encode(context.service);
    const associated = new Uint8Array([
      ...bytes.subarray(0, 20),
      ...[1, service.length, 0, ...service, ...requestId, 0, 0, 0, 0],
    ]);
    const sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      new Uint8Array([1]),
      associated,
      null,
      nonce,
      secretOf(key),
    );
    const forged = new Uint8Array([...bytes.subarray(0, 20), ...nonce, ...sealed]);
    expectCode("BAD_COUNTER", () => sender.open(forged, context));
  });
});

describe("plain mode", () => {
  test("is visible, and the hints still catch mistakes", async () => {
    const plain = await createCodec();
    expect(plain.isSealed).toBe(false);
    expect(plain.keyIds).toEqual([]);
    const bytes = plain.seal(order, context);
    expect(readEnvelope(bytes)).toMatchObject({ isSealed: false, keyId: 0 });
    expect(toHex(bytes.subarray(20))).toBe(toHex(plain.pack(order)));
    expect(plain.open(bytes, context)).toStrictEqual(order);
    expect(plain.open(bytes, context)).toStrictEqual(order);
    expectCode("REDIRECTED", () => plain.open(bytes, { ...context, service: "x" }));
    expectCode("SWAPPED", () => plain.open(bytes, { ...context, requestId: new Uint8Array(16) }));
    const large = new Array(200).fill(order);
    expect(plain.open(plain.seal(large, context), context)).toStrictEqual(large);
  });
});

describe("rotation", () => {
  test("the first key seals, all open, and one that is left out does not", async () => {
    const next = await generateKey();
    const ends = [await createCodec({ keys: [key] }), await createCodec({ keys: [key] })];
    const [client, worker] = ends;
    const early = client.seal("early", context);
    worker.setKeys([key, next]);
    client.setKeys([next, key]);
    const late = client.seal("late", context);
    expect(readEnvelope(early).keyId).toBe(key.id);
    expect(readEnvelope(late).keyId).toBe(next.id);
    expect(client.keyIds).toEqual([next.id, key.id]);
    expect(worker.open(early, context)).toBe("early");
    expect(worker.open(late, context)).toBe("late");
    expectCode("REPLAYED", () => worker.open(early, context));
    worker.setKeys([next]);
    expectCode("UNKNOWN_KEY", () => worker.open(early, context));
    // A key that returns has forgotten nothing.
    worker.setKeys([next, key]);
    expectCode("REPLAYED", () => worker.open(early, context));
  });

  test("a session lasts as long as its key seals", async () => {
    const own = await receiver();
    const session = () => toHex(own.seal(1, context).subarray(20, 36));
    const first = session();
    own.setKeys([key, await generateKey()]);
    expect(session()).toBe(first);
    own.setKeys([await generateKey(), key]);
    const second = session();
    own.setKeys([key]);
    expect(new Set([first, second, session()]).size).toBe(3);
  });

  test("keys cannot be taken away by accident", async () => {
    const own = await receiver();
    expect(() => own.setKeys([])).toThrow("keys must hold a key or more, got 0");
    await expect(createCodec({ keys: [] })).rejects.toThrow(RangeError);
    expect(() => own.setKeys(["wasmq-key" as never])).toThrow("key must be a CodecKey");
    expect(own.keyIds).toEqual([key.id]);
    own.setKeys([key, key]);
    expect(own.keyIds).toEqual([key.id]);
  });
});

test("many codecs and messages interleaved", async () => {
  const codecs = await Promise.all([receiver(), receiver(), receiver()]);
  const sent: { bytes: Uint8Array; context: CodecContext; value: unknown }[] = [];
  for (let index = 0; index < 600; index++) {
    const from = codecs[index % 3];
    const id = new Uint8Array(16).fill(index & 255);
    const direction = index % 2 ? "request" : "reply";
    const own: CodecContext = { service: `s${index % 7}`, direction, requestId: id };
    const value = { index, pad: "p".repeat((index * 37) % 3000) };
    sent.push({ bytes: from.seal(value, own), context: own, value });
  }
  const copies = sent.map(({ bytes }) => bytes.slice());
  const nonces = new Set(sent.map(({ bytes }) => toHex(bytes.subarray(20, 44))));
  expect(nonces.size).toBe(sent.length);
  for (const [index, { bytes, context: own, value }] of [...sent.entries()].reverse()) {
    expect(codecs[(index + 1) % 3].open(bytes, own)).toStrictEqual(value);
    expect(bytes).toStrictEqual(copies[index]);
  }
});

test("the value's own code may seal, rotate or close", async () => {
  const own = await receiver();
  class Nested {
    toJSON() {
      return (own.open(own.seal({ deep: order }, context), context) as { deep: unknown }).deep;
    }
  }
  const value = { before: "b", nested: new Nested(), after: "a" };
  const expected = { before: "b", nested: order, after: "a" };
  expect(own.open(own.seal(value, context), context)).toStrictEqual(expected);
  class Closer {
    toJSON() {
      own.close();
      return 1;
    }
  }
  expectCode("CLOSED", () => own.seal({ closer: new Closer() }, context));
});

describe("a context with code of its own", () => {
  const nonceOf = (envelope: Uint8Array) => toHex(envelope.subarray(20, 44));
  const fields = ["service", "direction", "requestId", "headers", "dictionary"] as const;

  test.each(["wasm", "native"] as const)("takes no nonce from its body, %s", async (engine) => {
    const own = await createCodec({ keys: [key], engine });
    const inner: Uint8Array[] = [];
    const seals = () => inner.push(own.seal("B".repeat(40), context));
    const plain = { ...context, headers: new Uint8Array(3), dictionary: undefined };
    const contexts: CodecContext[] = fields.map((field) => {
      const get = () => {
        seals();
        return plain[field];
      };
      return Object.defineProperty({ ...plain }, field, { get });
    });
    for (const field of ["headers", "requestId"] as const) {
      class Bytes extends Uint8Array {
        override get length() {
          seals();
          return super.length;
        }
      }
      contexts.push({ ...plain, [field]: new Bytes(plain[field]) });
    }
    for (const one of contexts) {
      const before = inner.length;
      const outer = own.seal("A".repeat(40), one);
      expect(inner.length).toBeGreaterThan(before);
      const nonces = [outer, ...inner].map(nonceOf);
      expect(new Set(nonces).size).toBe(nonces.length);
      const other = await receiver();
      expect(other.open(outer, plain)).toBe("A".repeat(40));
      // Under the nonce that it names, or it would not open.
      for (const envelope of inner.splice(0)) {
        expect(other.open(envelope, context)).toBe("B".repeat(40));
      }
    }
    own.close();
  });

  test("is read once, and is what it was then", async () => {
    const own = await createCodec({ keys: [key], threadFrom: 4096 });
    const reads: string[] = [];
    const once = (direction: CodecContext["direction"]) => {
      reads.length = 0;
      const values: CodecContext = { ...context, direction, headers: new Uint8Array(3) };
      return new Proxy(values, {
        get(target, name, receiver) {
          const isFirst = !reads.includes(String(name));
          reads.push(String(name));
          return isFirst ? Reflect.get(target, name, receiver) : undefined;
        },
      });
    };
    const isReadOnce = () => expect(reads.sort()).toEqual([...fields].sort());
    for (const value of [order, new Array(400).fill(order)]) {
      const sealed = own.seal(value, once("request"));
      isReadOnce();
      const opened = own.openRequest(sealed, once("request"));
      isReadOnce();
      expect(opened.value).toStrictEqual(value);
      const reply = opened.seal(value, new Uint8Array(3));
      expect(own.open(reply, once("reply"))).toStrictEqual(value);
      isReadOnce();
      const soon = await own.sealAsync(value, once("request"));
      isReadOnce();
      const later = await own.openRequestAsync(soon, once("request"));
      isReadOnce();
      const last = await later.sealAsync(value, new Uint8Array(3));
      expect(await own.openAsync(last, once("reply"))).toStrictEqual(value);
      isReadOnce();
    }
    const stream = own.sealStream([new Uint8Array(9)], once("request"));
    isReadOnce();
    const chunks = own.openStream(stream, once("request"));
    isReadOnce();
    for await (const chunk of chunks) expect(chunk).toStrictEqual(new Uint8Array(9));
    const direction = { toString: () => "request" } as never;
    expect(() => own.seal(order, { ...context, direction })).toThrow(TypeError);
    own.close();
  });
});

test("shared bytes are opened as they are when they are given", async () => {
  const own = await createCodec({ keys: [key], threadFrom: 4096 });
  const value = new Array(400).fill(order);
  const open = (how: "open" | "openRequest" | "openAsync" | "openRequestAsync", given: unknown) => {
    const sealed = own.seal(given, context);
    const shared = new Uint8Array(new SharedArrayBuffer(sealed.length));
    shared.set(sealed);
    // Another thread could do it at any moment; here the context does.
    const spoiling = {
      ...context,
      get headers() {
        shared.fill(0);
        return undefined;
      },
    };
    return own[how](shared, spoiling);
  };
  for (const given of [order, value]) {
    expect(open("open", given)).toStrictEqual(given);
    expect(open("openRequest", given)).toMatchObject({ value: given });
    expect(await open("openAsync", given)).toStrictEqual(given);
    expect(await open("openRequestAsync", given)).toMatchObject({ value: given });
  }
  own.close();
});

test("close() wipes the keys and refuses everything after", async () => {
  const own = await receiver();
  const bytes = own.seal(order, context);
  const secret = Buffer.from(secretOf(key));
  const heap = () =>
    Buffer.from((sodium as never as { libsodium: { HEAPU8: Uint8Array } }).libsodium.HEAPU8);
  const occurrences = () => heap().toString("latin1").split(secret.toString("latin1")).length - 1;
  const before = occurrences();
  own.close();
  own.close();
  expect(occurrences()).toBe(before - 1);
  expectCode("CLOSED", () => own.seal(order, context));
  expectCode("CLOSED", () => own.open(bytes, context));
  expectCode("CLOSED", () => own.pack(1));
  expectCode("CLOSED", () => own.unpack(hex("01")));
  expectCode("CLOSED", () => own.compress(hex("01")));
  expectCode("CLOSED", () => own.decompress(hex("1001"), { maxSize: 10 }));
  expectCode("CLOSED", () => own.setKeys([key]));
  expect(own.keyIds).toEqual([]);
  // The others, and the caller's key, are not touched.
  expect((await receiver()).open(bytes, context)).toStrictEqual(order);
});

test.each([
  [{ ...context, service: 7 }, "context.service must be a string, got number"],
  [{ ...context, service: "" }, "context.service must be 1..65535 bytes, got 0"],
  [{ ...context, service: "x".repeat(65_536) }, "1..65535 bytes, got 65536"],
  [{ ...context, service: "\ud800" }, "lone surrogate"],
  [
    { ...context, direction: "up" },
    "context.direction must be one of request, reply, event, task, survey, got up",
  ],
  [{ ...context, requestId: "x" }, "context.requestId must be a Uint8Array, got string"],
  [{ ...context, requestId: hex("00") }, "context.requestId must be 16 bytes, got 1"],
  [{ ...context, headers: {} }, "context.headers must be a Uint8Array, got object"],
  [undefined, "context must be an object, got undefined"],
])("a context that is none: %#", (given, message) => {
  const bytes = sender.seal(order, context);
  expect(() => sender.seal(order, given as CodecContext)).toThrow(message);
  expect(() => sender.open(bytes, given as CodecContext)).toThrow(message);
});
