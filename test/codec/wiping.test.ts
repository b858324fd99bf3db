import { Buffer } from "node:buffer";
import * as nodeCrypto from "node:crypto";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import {
  type Codec,
  type CodecContext,
  createCodec,
  formatServiceKey,
  generateServiceKey,
  importKey,
} from "../../build/codec/index.js";
import { hchacha20, type NativeCrypto } from "../../build/codec/native-aead.js";
import { loadSodium } from "../../build/codec/sodium.js";

// The memories that the codecs of a test make.
const memories: WebAssembly.Memory[] = [];
const { Instance } = WebAssembly;
const recording = new Proxy(Instance, {
  construct(target, args) {
    const instance = Reflect.construct(target, args) as WebAssembly.Instance;
    memories.push(instance.exports.memory as WebAssembly.Memory);
    return instance;
  },
});
Reflect.set(WebAssembly, "Instance", recording);
afterEach(() => {
  memories.length = 0;
});
afterAll(() => {
  Reflect.set(WebAssembly, "Instance", Instance);
});
const sodium = await loadSodium();

/** Everything that WASM can see: codecs' memories and libsodium's heap. */
function areas(): Buffer[] {
  const buffers = memories.map((memory) => Buffer.from(memory.buffer));
  return [...buffers, Buffer.from(sodium.HEAPU8.buffer)];
}

/** As `toStrictEqual` says, in a thousandth of the time where they are long. */
const areSame = (one: unknown, other: Uint8Array) =>
  one instanceof Uint8Array && Buffer.compare(one, other) === 0;
const isSeen = (needle: Uint8Array) => areas().some((area) => area.indexOf(needle) >= 0);
const random = (size: number) => Uint8Array.from(nodeCrypto.randomBytes(size));

const context: CodecContext = {
  service: "orders.price",
  direction: "request",
  requestId: random(16),
};
const replyContext: CodecContext = { ...context, direction: "reply" };

/** The keys of an agreed request, by OpenSSL, and its service's secret. */
function agreedKeys(request: Uint8Array, serviceSecret: Uint8Array): Uint8Array[] {
  const der = (prefix: string, bytes: Uint8Array) => ({
    key: Buffer.concat([Buffer.from(prefix, "hex"), bytes]),
    format: "der" as const,
  });
  const privateKey = nodeCrypto.createPrivateKey({
    ...der("302e020100300506032b656e04220420", serviceSecret),
    type: "pkcs8",
  });
  const clientPublic = request.subarray(44, 76);
  const publicKey = nodeCrypto.createPublicKey({
    ...der("302a300506032b656e032100", clientPublic),
    type: "spki",
  });
  const own = nodeCrypto.createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const shared = nodeCrypto.diffieHellman({ privateKey, publicKey });
  const hash = nodeCrypto.createHash("blake2b512").update(shared).update(clientPublic);
  const halves = hash.update(own.subarray(12)).digest();
  return [Uint8Array.from(shared), halves.slice(0, 32), halves.slice(32)];
}

/** What XChaCha20 derives of a key for one message. */
function subkeyOf(secret: Uint8Array, request: Uint8Array): Uint8Array {
  return hchacha20(nodeCrypto as unknown as NativeCrypto, secret, request.slice(20, 36));
}

// Around the least body worth compressing, the crossover of the engines, and newBytes' border.
const CROSSOVER = 1000;
const sizes = [0, 1, 64, 127, 128, 999, 1000, 1001, 3950, 4000, 4096, 4100, 20_000, 300_000];

const engines = {
  wasm: { engine: "wasm" },
  native: { engine: "native" },
  "both, by size": { engine: "auto", nativeFrom: CROSSOVER },
} as const;
const compressors = ["assembly", "lz4-wasm"] as const;
const kinds = Object.keys(engines).flatMap((engine) =>
  compressors.map((compressor) => ({ engine: engine as keyof typeof engines, compressor })),
);

/** A body of about so many bytes that has the marker as text and as bytes, and half of noise. */
function bodyOf(marker: string, size: number) {
  const half = size >> 1;
  const noise = Buffer.concat([Buffer.from(marker), random(half)]);
  return { marker, noise: new Uint8Array(noise), text: "x".repeat(size - half) };
}

describe.each(kinds)("$engine, $compressor", ({ engine, compressor }) => {
  const options = { ...engines[engine], compressor };

  test("closed, no key and no plain text is left", async () => {
    const secret = random(32);
    const serviceKey = await generateServiceKey();
    const serviceSecret = Buffer.from(formatServiceKey(serviceKey).split(".")[2], "base64url");
    const shared = await createCodec({ ...options, keys: [await importKey(secret)] });
    const client = await createCodec({
      ...options,
      servicePublicKeys: { "*": serviceKey.publicKey },
    });
    const worker = await createCodec({ ...options, serviceKeys: [serviceKey] });
    const secrets: Uint8Array[] = [secret, serviceSecret];
    const markers: Buffer[] = [];
    for (const size of sizes) {
      const marker = nodeCrypto.randomBytes(20).toString("hex");
      markers.push(Buffer.from(marker));
      const body = bodyOf(marker, size);
      const bytes = shared.seal(body, context);
      expect(shared.open(bytes, context)).toStrictEqual(body);
      secrets.push(subkeyOf(secret, bytes));
      const request = client.seal(body, context);
      const opened = worker.openRequest(request, context);
      expect(client.open(opened.seal(opened.value), replyContext)).toStrictEqual(body);
      const agreed = agreedKeys(request, serviceSecret);
      secrets.push(...agreed, subkeyOf(agreed[2], request));
      const damaged = client.seal(body, context);
      damaged[damaged.length - 1] ^= 1;
      expect(() => worker.open(damaged, context)).toThrow("TAMPERED");
      const packed = shared.pack(body);
      shared.unpack(packed);
      shared.decompress(shared.compress(packed), { maxSize: packed.length });
    }
    // The search finds what there is to find: else it would prove nothing.
    expect(memories.length).toBeGreaterThanOrEqual(3);
    expect(isSeen(secret)).toBe(true);
    expect(isSeen(secrets[4])).toBe(true);
    expect(isSeen(markers.at(-1) as Buffer)).toBe(true);
    for (const codec of [shared, client, worker]) codec.close();
    expect(secrets.map(isSeen)).toEqual(secrets.map(() => false));
    expect(markers.map(isSeen)).toEqual(markers.map(() => false));
  });

  test("closed by the value's own code, nothing that it packed afterwards is left", async () => {
    for (const act of ["pack", "seal", "sealAsync"] as const) {
      const codec = await createCodec({ ...options, keys: [await importKey(random(32))] });
      const marker = nodeCrypto.randomBytes(20).toString("hex");
      let isPacked = false;
      const value = {
        get first() {
          codec.close();
          return 1;
        },
        marker,
        get last() {
          isPacked = isSeen(Buffer.from(marker));
          return codec.isSealed;
        },
      };
      await expect((async () => codec[act](value, context))()).rejects.toThrow("CLOSED");
      expect(isPacked).toBe(true);
      expect(isSeen(Buffer.from(marker))).toBe(false);
    }
  });

  test("a session that ended is wiped, in its time", async () => {
    vi.useFakeTimers();
    try {
      const serviceKey = await generateServiceKey();
      const serviceSecret = Buffer.from(formatServiceKey(serviceKey).split(".")[2], "base64url");
      const client = await createCodec({
        ...options,
        servicePublicKeys: { "*": serviceKey.publicKey },
        agreementAgeMaxMs: 1000,
        agreementGraceMs: 500,
      });
      const [shared, reply, request] = agreedKeys(client.seal("x", context), serviceSecret);
      expect([shared, reply, request].map(isSeen)).toEqual([false, true, true]);
      vi.advanceTimersByTime(1000);
      expect([shared, reply, request].map(isSeen)).toEqual([false, true, false]);
      vi.advanceTimersByTime(500);
      expect([shared, reply, request].map(isSeen)).toEqual([false, false, false]);
      client.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test("a client that a service forgets is wiped", async () => {
    const serviceKey = await generateServiceKey();
    const serviceSecret = Buffer.from(formatServiceKey(serviceKey).split(".")[2], "base64url");
    const servicePublicKeys = { "*": serviceKey.publicKey };
    const worker = await createCodec({
      ...options,
      serviceKeys: [serviceKey],
      agreementSessionsMax: 1,
    });
    const ask = async () => {
      const client = await createCodec({ ...options, servicePublicKeys });
      const request = client.seal("x", context);
      client.close();
      return { request, keys: agreedKeys(request, serviceSecret).slice(1) };
    };
    const [one, two, forged] = [await ask(), await ask(), await ask()];
    worker.open(one.request, context);
    expect(one.keys.map(isSeen)).toEqual([true, true]);
    worker.open(two.request, context);
    expect(one.keys.map(isSeen)).toEqual([false, false]);
    forged.request[80] ^= 1;
    expect(() => worker.open(forged.request, context)).toThrow("TAMPERED");
    expect(forged.keys.map(isSeen)).toEqual([false, false]);
    worker.setServiceKeys([await generateServiceKey()]);
    expect([...two.keys, serviceSecret].map(isSeen)).toEqual([false, false, false]);
    worker.close();
  });

  test("a result is in a buffer of its own size, and holds nothing of others", async () => {
    const key = await importKey(random(32));
    const serviceKey = await generateServiceKey();
    const codec = await createCodec({ ...options, keys: [key] });
    const plain = await createCodec(options);
    const client = await createCodec({
      ...options,
      servicePublicKeys: { "*": serviceKey.publicKey },
    });
    const worker = await createCodec({ ...options, serviceKeys: [serviceKey] });
    const marker = Buffer.from(nodeCrypto.randomBytes(20).toString("hex"));
    const isOwn = (bytes: Uint8Array) => {
      expect(bytes.byteLength).toBe(bytes.buffer.byteLength);
      expect(Buffer.from(bytes.buffer).includes(marker)).toBe(false);
      return bytes;
    };
    const binOf = (value: unknown, lender?: Uint8Array) => {
      const { noise } = value as { noise: Uint8Array };
      // unpack(), and open() in clear, lend of the bytes that they are given.
      if (noise.buffer !== lender?.buffer) isOwn(noise);
    };
    const all: Codec[] = [codec, plain, client, worker];
    for (const size of sizes) {
      // What went before, larger than what follows, in every area that there is.
      const before = bodyOf(marker.toString(), size * 2 + 100);
      for (const one of [codec, plain]) one.open(one.seal(before, replyContext), replyContext);
      const asked = worker.openRequest(client.seal(before, context), context);
      client.open(asked.seal(asked.value), replyContext);
      for (const one of all) one.decompress(one.compress(one.pack(before)), { maxSize: 1e6 });

      const body = bodyOf("other", size);
      const packed = isOwn(codec.pack(body));
      binOf(codec.unpack(packed), packed);
      const block = isOwn(codec.compress(packed));
      isOwn(codec.decompress(block, { maxSize: packed.length }));
      isOwn(codec.decompress(block, { maxSize: packed.length * 2, size: packed.length }));
      binOf(codec.open(isOwn(codec.seal(body, context)), context));
      const clear = isOwn(plain.seal(body, context));
      binOf(plain.open(clear, context), clear);
      const opened = worker.openRequest(isOwn(client.seal(body, context)), context);
      binOf(opened.value);
      binOf(client.open(isOwn(opened.seal(opened.value)), replyContext));
    }
    for (const one of all) one.close();
  });

  test("every byte of memory that came uncleared is written", async () => {
    const key = await importKey(random(32));
    const codec = await createCodec({ ...options, keys: [key] });
    const plain = await createCodec(options);
    const { allocUnsafeSlow } = Buffer;
    let fill = 0;
    let count = 0;
    const spy = vi.spyOn(Buffer, "allocUnsafeSlow").mockImplementation((size) => {
      count++;
      return allocUnsafeSlow(size).fill(fill);
    });
    try {
      for (const size of [...sizes, ...Array.from({ length: 80 }, (_, index) => 4000 + index)]) {
        const bodies = [random(size), "x".repeat(size)];
        for (const body of bodies) {
          const results = [0xa5, 0x5a].map((byte) => {
            fill = byte;
            // Sealed, the tag vouches for each byte; in clear, they are the same both times.
            const opened = codec.open(codec.seal(body, context), context);
            const isSame = typeof body === "string" ? opened === body : areSame(opened, body);
            expect([size, isSame]).toEqual([size, true]);
            return Buffer.from(plain.seal(body, context));
          });
          expect(results[0].equals(results[1])).toBe(true);
        }
      }
    } finally {
      spy.mockRestore();
    }
    expect(count).toBeGreaterThan(100);
    for (const one of [codec, plain]) one.close();
  });
});
