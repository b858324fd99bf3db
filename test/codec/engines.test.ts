import * as nodeCrypto from "node:crypto";
import { hchacha, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import sodium from "libsodium-wrappers";
import { afterAll, describe, expect, test, vi } from "vitest";
import { type Aead, copySecret } from "../../build/codec/aead.js";
import { newBytes } from "../../build/codec/assets.js";
import { measureCrossover } from "../../build/codec/crossover.js";
import { Engines } from "../../build/codec/engines.js";
import { createCodec, generateKey } from "../../build/codec/index.js";
import {
  hchacha20,
  NativeAead,
  type NativeCrypto,
  SESSIONS_COUNT_MAX,
} from "../../build/codec/native-aead.js";
import { loadSodium, type SodiumExports } from "../../build/codec/sodium.js";
import { SodiumAead } from "../../build/codec/sodium-aead.js";
import { damaged, expectCode, hex, order, toHex } from "./support.js";

const crypto = nodeCrypto as unknown as NativeCrypto;
const exports = await loadSodium();
const NATIVE_FROM = 1000;

const engines: Record<string, () => Aead<unknown>> = {
  "libsodium in WASM": () => new SodiumAead(exports) as Aead<unknown>,
  "node:crypto": () => new NativeAead(crypto) as Aead<unknown>,
  "both, by size": () =>
    new Engines({ sodium: exports, crypto, choice: "auto", nativeFrom: NATIVE_FROM }),
  "WASM alone": () =>
    new Engines({ sodium: exports, crypto: undefined, choice: "auto", nativeFrom: undefined }),
};

const random = (size: number) => Uint8Array.from(nodeCrypto.randomBytes(size));

interface Message {
  plain: Uint8Array;
  associated: Uint8Array;
  nonce: Uint8Array;
}

function messageOf(size: number): Message {
  return { plain: random(size), associated: random(60), nonce: random(24) };
}

/** An engine and a key in it, the way a codec uses them. */
class Party {
  readonly aead: Aead<unknown>;
  readonly key: unknown;

  constructor(name: string, secret: Uint8Array) {
    this.aead = engines[name]();
    this.key = this.aead.addKey(secret);
  }

  seal({ plain, associated, nonce }: Message, filler = 0): Uint8Array {
    const target = new Uint8Array(plain.length + 16 + 2).fill(filler);
    this.aead.encrypt(plain, associated, nonce, this.key, target, 1);
    expect([target[0], target[target.length - 1]]).toEqual([filler, filler]);
    return target.slice(1, -1);
  }

  open(sealed: Uint8Array, { associated, nonce }: Message): Uint8Array | undefined {
    const plain = this.aead.decrypt(sealed, associated, nonce, this.key)?.slice();
    this.aead.settle();
    return plain;
  }
}

/** The independent implementation: noble-ciphers, in JavaScript. */
function referenceSeal({ plain, associated, nonce }: Message, secret: Uint8Array): Uint8Array {
  return xchacha20poly1305(secret, nonce, associated).encrypt(plain);
}

// draft-irtf-cfrg-xchacha-03, A.3.1.
const draft = {
  secret: Uint8Array.from({ length: 32 }, (_, index) => 0x80 + index),
  nonce: Uint8Array.from({ length: 24 }, (_, index) => 0x40 + index),
  associated: hex("50515253c0c1c2c3c4c5c6c7"),
  plain: new TextEncoder().encode(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the " +
      "future, sunscreen would be it.",
  ),
  sealed:
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb" +
    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452" +
    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9" +
    "21f9664c97637da9768812f615c68b13b52e" +
    "c0875924c1c7987947deafd8780acf49",
};

describe.each(Object.keys(engines))("%s", (name) => {
  const secret = random(32);
  const party = new Party(name, secret);
  const others = Object.keys(engines).map((other) => new Party(other, secret));
  afterAll(() => {
    for (const { aead, key } of [party, ...others]) {
      aead.dropKey(key);
      aead.free();
    }
  });

  test("the draft's vector", () => {
    const own = new Party(name, draft.secret);
    expect(toHex(own.seal(draft))).toBe(draft.sealed);
    expect(own.open(hex(draft.sealed), draft)).toStrictEqual(draft.plain);
  });

  const sizes = [0, 1, 15, 16, 17, 63, 64, 65, 127, 255, 999, 1000, 1001, 4096, 65_537, 1 << 20];
  test.each(sizes)("%i bytes: as noble-ciphers, and open with every engine", (size) => {
    const message = messageOf(size);
    const sealed = party.seal(message);
    expect(Buffer.compare(sealed, referenceSeal(message, secret))).toBe(0);
    // Whatever was in the target before is gone.
    expect(Buffer.compare(sealed, party.seal(message, 0xa5))).toBe(0);
    for (const other of others) {
      expect(Buffer.compare(other.open(sealed, message) ?? Buffer.from("no"), message.plain)).toBe(
        0,
      );
    }
  });

  test("many sizes and sessions mixed", () => {
    const sessions = Array.from({ length: 5 }, () => random(24));
    for (let index = 0; index < 300; index++) {
      const message = messageOf((index * 37) % 2500);
      const nonce = sessions[index % 5].slice();
      nonce[16] = index;
      nonce[17] = index >> 8;
      message.nonce = nonce;
      message.associated = random(index % 90);
      const sealed = party.seal(message);
      expect(Buffer.compare(sealed, referenceSeal(message, secret))).toBe(0);
      expect(party.open(sealed, message)).toStrictEqual(message.plain);
    }
  });

  test.each([0, 40, NATIVE_FROM])("%i bytes, any of them changed", (size) => {
    const message = messageOf(size);
    const sealed = party.seal(message);
    for (const spoilt of size > 100 ? everyByteChanged(sealed) : damaged(sealed)) {
      if (spoilt.length >= 16) expect(party.open(spoilt, message)).toBeUndefined();
    }
    expect(party.open(sealed, message)).toStrictEqual(message.plain);
    expect(party.open(new Uint8Array([...sealed, 0]), message)).toBeUndefined();
  });

  test.each([40, NATIVE_FROM])("%i bytes, other nonce, associated data or key", (size) => {
    const message = messageOf(size);
    const sealed = party.seal(message);
    for (const associated of everyByteChanged(message.associated)) {
      expect(party.open(sealed, { ...message, associated })).toBeUndefined();
    }
    for (const nonce of everyByteChanged(message.nonce)) {
      expect(party.open(sealed, { ...message, nonce })).toBeUndefined();
    }
    const empty = { ...message, associated: new Uint8Array() };
    expect(party.open(sealed, empty)).toBeUndefined();
    expect(party.open(party.seal(empty), empty)).toStrictEqual(message.plain);
    expect(new Party(name, random(32)).open(sealed, message)).toBeUndefined();
    expect(party.open(sealed, message)).toStrictEqual(message.plain);
  });

  test("neither input nor key material is written to", () => {
    const message = messageOf(2000);
    const before = { ...message, plain: message.plain.slice(), nonce: message.nonce.slice() };
    const sealed = party.seal(message);
    const copy = sealed.slice();
    party.open(sealed, message);
    expect(message).toStrictEqual(before);
    expect(sealed).toStrictEqual(copy);
  });

  test("bytes of shared memory", () => {
    const message = messageOf(2000);
    const shared = new Uint8Array(new SharedArrayBuffer(2016));
    shared.set(party.seal(message));
    expect(party.open(shared, message)).toStrictEqual(message.plain);
  });
});

function* everyByteChanged(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at++) {
    const copy = bytes.slice();
    copy[at] ^= 1 << (at & 7);
    yield copy;
  }
}

describe("HChaCha20", () => {
  test("the draft's vector, 2.2.1", () => {
    const key = Uint8Array.from({ length: 32 }, (_, index) => index);
    const subkey = hchacha20(crypto, key, hex("000000090000004a0000000031415927"));
    expect(toHex(subkey)).toBe("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
  });

  test("as noble-ciphers, whatever carries and borrows", () => {
    const words = (bytes: Uint8Array) => new Uint32Array(bytes.slice().buffer);
    const sigma = words(new TextEncoder().encode("expand 32-byte k"));
    for (let index = 0; index < 500; index++) {
      const key = index === 0 ? new Uint8Array(32).fill(255) : random(32);
      const input = index < 2 ? new Uint8Array(16).fill(255) : random(16);
      const expected = new Uint32Array(8);
      hchacha(sigma, words(key), words(input), expected);
      expect(toHex(hchacha20(crypto, key, input))).toBe(toHex(new Uint8Array(expected.buffer)));
    }
  });
});

describe("subkeys", () => {
  const counted = () => {
    const createCipheriv = vi.fn(crypto.createCipheriv);
    const aead = new NativeAead({ ...crypto, createCipheriv } as unknown as NativeCrypto);
    const derivations = () => createCipheriv.mock.calls.filter(([c]) => c === "chacha20").length;
    return { aead, derivations };
  };

  test("are derived once a session, both ways", () => {
    const { aead, derivations } = counted();
    const secret = random(32);
    const key = aead.addKey(secret);
    const message = messageOf(100);
    for (let counter = 0; counter < 10; counter++) {
      message.nonce[23] = counter;
      const sealed = new Uint8Array(116);
      aead.encrypt(message.plain, message.associated, message.nonce, key, sealed, 0);
      aead.decrypt(sealed, message.associated, message.nonce, key);
    }
    expect(derivations()).toBe(2);
  });

  test("stay bounded under a flood of sessions, of holders of the key or not", () => {
    const { aead, derivations } = counted();
    const secret = random(32);
    const key = aead.addKey(secret);
    const open = (sealed: Uint8Array, { associated, nonce }: Message) =>
      aead.decrypt(sealed, associated, nonce, key);
    const honest = messageOf(10);
    const honestSealed = referenceSeal(honest, secret);
    expect(open(honestSealed, honest)).toBeDefined();
    for (let index = 0; index < 2 * SESSIONS_COUNT_MAX; index++) {
      expect(open(honestSealed, { ...honest, nonce: random(24) })).toBeUndefined();
    }
    // Forgers are not remembered, and drive nobody out.
    expect(key.sessions.size).toBe(1);
    const before = derivations();
    expect(open(honestSealed, honest)).toBeDefined();
    expect(derivations()).toBe(before);
    // A forged body of a known session leaves its subkey as it is.
    expect(
      open(
        honestSealed.map((byte) => byte ^ 1),
        honest,
      ),
    ).toBeUndefined();
    expect(open(honestSealed, honest)).toBeDefined();
    const second = messageOf(10);
    expect(open(referenceSeal(second, secret), second)).toBeDefined();
    const subkeys = [...key.sessions.values()].map(({ subkey }) => subkey);
    for (let index = 0; index < SESSIONS_COUNT_MAX; index++) {
      const message = messageOf(10);
      expect(open(referenceSeal(message, secret), message)).toBeDefined();
    }
    expect(key.sessions.size).toBe(SESSIONS_COUNT_MAX);
    for (const subkey of subkeys) expect(subkey).toStrictEqual(new Uint8Array(32));
    expect(open(honestSealed, honest)).toBeDefined();
  });

  test("and the key, and the plain text, are wiped", () => {
    const { aead } = counted();
    const secret = random(32);
    const key = aead.addKey(secret);
    const message = messageOf(100);
    const sealed = new Uint8Array(116);
    aead.encrypt(message.plain, message.associated, message.nonce, key, sealed, 0);
    const plain = aead.decrypt(sealed, message.associated, message.nonce, key);
    expect(plain).toStrictEqual(message.plain);
    aead.settle();
    // Node 22 also gives the memory back.
    const isGone = plain?.buffer.byteLength === 0 || plain?.every((byte) => byte === 0);
    expect(isGone).toBe(true);
    const wiped = [key.secret, key.sending?.subkey, key.receiving?.subkey];
    aead.dropKey(key);
    for (const bytes of wiped) expect(bytes).toStrictEqual(new Uint8Array(32));
    expect([key.sending, key.receiving, key.sessions.size]).toEqual([undefined, undefined, 0]);
    // The caller's secret is the caller's.
    expect(secret.some((byte) => byte !== 0)).toBe(true);
    expect(copySecret(secret)).toStrictEqual(secret);
  });
});

describe("where node:crypto cannot", () => {
  type Unchecked = (...all: unknown[]) => { final(): Uint8Array };
  const noChacha20 = {
    ...crypto,
    createCipheriv(cipher: string, ...rest: unknown[]) {
      if (cipher === "chacha20") throw new Error("Unknown cipher");
      return (crypto.createCipheriv as (...all: unknown[]) => unknown)(cipher, ...rest);
    },
  };
  const noChacha = {
    createCipheriv: () => {
      throw new Error("disabled for FIPS");
    },
    createDecipheriv: crypto.createDecipheriv,
  };
  const wrongBlock = {
    ...crypto,
    createCipheriv(cipher: string, ...rest: unknown[]) {
      const real = (crypto.createCipheriv as (...all: unknown[]) => never)(cipher, ...rest);
      if (cipher !== "chacha20") return real;
      return { update: () => random(64) };
    },
  };
  const noTagCheck = {
    ...crypto,
    createDecipheriv(...all: unknown[]) {
      const real = (crypto.createDecipheriv as unknown as Unchecked)(...all);
      real.final = () => Buffer.alloc(0);
      return real;
    },
  };
  const given = { "no node:crypto": undefined, noChacha20, noChacha, wrongBlock, noTagCheck };

  test.each(Object.entries(given))("%s: WASM serves alone, and says so", (_, broken) => {
    const parts = { sodium: exports, crypto: broken as unknown as NativeCrypto | undefined };
    const alone = new Engines({ ...parts, choice: "auto", nativeFrom: 100 });
    expect([alone.choice, alone.nativeFrom]).toEqual(["wasm", Number.POSITIVE_INFINITY]);
    const key = alone.addKey(draft.secret);
    const sealed = new Uint8Array(draft.plain.length + 16);
    alone.encrypt(draft.plain, draft.associated, draft.nonce, key, sealed, 0);
    expect(toHex(sealed)).toBe(draft.sealed);
    alone.dropKey(key);
    alone.free();
    expect(() => new Engines({ ...parts, choice: "native", nativeFrom: undefined })).toThrow(
      'engine must be "auto" or "wasm" here',
    );
  });
});

describe("the codec's choice", async () => {
  const key = await generateKey();
  const context = {
    service: "a",
    direction: "request",
    requestId: random(16),
  } as const;
  const codecs = {
    wasm: await createCodec({ keys: [key], engine: "wasm" }),
    native: await createCodec({ keys: [key], engine: "native" }),
    fixed: await createCodec({ keys: [key], nativeFrom: 500 }),
    auto: await createCodec({ keys: [key] }),
  };

  test("is visible", async () => {
    const choices = Object.values(codecs).map(({ engine }) => engine);
    expect(choices.slice(0, 3)).toEqual(["wasm", "native", "auto"]);
    const { wasm, native, fixed, auto } = codecs;
    const none = Number.POSITIVE_INFINITY;
    expect([wasm.nativeFrom, native.nativeFrom, fixed.nativeFrom]).toEqual([none, 0, 500]);
    // Measured, once a process.
    expect(auto.nativeFrom).toBeGreaterThanOrEqual(1024);
    expect((await createCodec()).nativeFrom).toBe(auto.nativeFrom);
  });

  test("makes no difference to what is sealed and opened", () => {
    const values = [null, order, "x".repeat(430), random(440), random(5000), random(20_000)];
    for (const value of values) {
      for (const from of Object.values(codecs)) {
        const bytes = from.seal(value, context);
        expect(bytes.buffer.byteLength).toBe(bytes.length);
        const spoilt = bytes.slice();
        spoilt[spoilt.length - 1] ^= 1;
        for (const to of Object.values(codecs)) {
          expectCode("TAMPERED", () => to.open(spoilt, context));
          expect(to.open(bytes, context)).toStrictEqual(value);
          expectCode("REPLAYED", () => to.open(bytes, context));
        }
      }
    }
  });

  test("is checked", async () => {
    await expect(createCodec({ engine: "fast" as never })).rejects.toThrow(
      'engine must be "auto", "wasm" or "native", got fast',
    );
    await expect(createCodec({ nativeFrom: -1 })).rejects.toThrow("nativeFrom must be an integer");
    await expect(createCodec({ nativeFrom: 9, engine: "wasm" })).rejects.toThrow(
      'nativeFrom goes with engine "auto", got engine "wasm"',
    );
  });

  test("plain mode has none to make", async () => {
    const clear = await createCodec({ isCompressing: false });
    const value = random(20_000);
    const bytes = clear.seal(value, context);
    expect(toHex(bytes.subarray(20))).toBe(toHex(clear.pack(value)));
    expect(clear.open(bytes, context)).toStrictEqual(value);
  });
});

describe("the crossover", () => {
  /** An engine that takes so long for a call. */
  const slow = (microseconds: (size: number) => number): Aead<number> => ({
    addKey: () => 0,
    dropKey: () => {},
    encrypt: (plain) => {
      now += microseconds(plain.length) / 1000;
    },
    decrypt: () => undefined,
    settle: () => {},
    free: () => {},
  });
  let now = 0;
  const measure = (native: (size: number) => number, wasm: (size: number) => number) => {
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
    try {
      return measureCrossover(slow(native), slow(wasm));
    } finally {
      clock.mockRestore();
    }
  };

  test("is the first size at which native is faster", () => {
    for (const [equalAt, expected] of [
      [100, 1024],
      [1500, 2048],
      [2500, 3072],
      [5000, 6144],
      [15_000, 16_384],
      [17_000, Number.POSITIVE_INFINITY],
    ]) {
      const measured = measure(
        (size) => (equalAt + size / 10) / 10_000,
        (size) => (size * 1.1) / 10_000,
      );
      expect([equalAt, measured]).toEqual([equalAt, expected]);
    }
  });

  test("is the default when the time is up", () => {
    expect(
      measure(
        () => 1000,
        () => 2000,
      ),
    ).toBe(4096);
  });
});

test("uncleared memory is of exactly its size", () => {
  for (const size of [0, 1, 4095, 4096, 4097, 100_000]) {
    const bytes = newBytes(size);
    expect(bytes).toHaveLength(size);
    expect(bytes.buffer.byteLength).toBe(size);
    expect(bytes.constructor).toBe(Uint8Array);
  }
});

test("no key or subkey stays in libsodium's heap, and none leaves it", async () => {
  const secret = random(32);
  const both = new Engines({ sodium: exports, crypto, choice: "auto", nativeFrom: 1000 });
  const held = both.addKey(secret);
  const message = messageOf(900);
  const sealed = new Uint8Array(916);
  both.encrypt(message.plain, message.associated, message.nonce, held, sealed, 0);
  expect(Buffer.from(sealed).includes(Buffer.from(secret))).toBe(false);
  const heap = () => (sodium as unknown as { libsodium: SodiumExports }).libsodium.HEAPU8;
  expect(Buffer.from(heap()).includes(Buffer.from(secret))).toBe(true);
  both.dropKey(held);
  both.free();
  expect(Buffer.from(heap()).includes(Buffer.from(secret))).toBe(false);
  expect(Buffer.from(heap()).includes(Buffer.from(sealed.subarray(0, 64)))).toBe(false);
});
