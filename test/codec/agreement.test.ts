import { createHash, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { inspect } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type Codec,
  type CodecContext,
  createCodec,
  formatPublicKey,
  formatServiceKey,
  generateKey,
  generateServiceKey,
  importKey,
  importPublicKey,
  importServiceKey,
  parsePublicKey,
  parseServiceKey,
  readEnvelope,
} from "../../build/codec/index.js";
import { expectCode, hex, order, toHex } from "./support.js";

const requestId = hex("000102030405060708090a0b0c0d0e0f");
const context: CodecContext = { service: "orders.price", direction: "request", requestId };
const replyContext: CodecContext = { ...context, direction: "reply" };
const serviceKey = await generateServiceKey();
const otherKey = await generateServiceKey();
const { publicKey } = serviceKey;

const newClient = (options = {}) =>
  createCodec({ servicePublicKeys: { "orders.*": publicKey }, ...options });
const newWorker = (options = {}) => createCodec({ serviceKeys: [serviceKey], ...options });
const publicFieldOf = (bytes: Uint8Array) => toHex(bytes.subarray(44, 76));
const keyIdOf = (bytes: Uint8Array) => readEnvelope(bytes).keyId;

/** Asks, is answered, and gives what each side read. */
function exchange(client: Codec, worker: Codec, value: unknown) {
  const request = client.seal(value, context);
  const opened = worker.openRequest(request, context);
  const reply = opened.seal([opened.value]);
  return { request, reply, asked: opened.value, answered: client.open(reply, replyContext) };
}

afterEach(() => vi.useRealTimers());

describe.each(["wasm", "native"] as const)("engine %s", (engine) => {
  test.each([
    ["order", order],
    ["nothing", null],
    ["large", { list: new Array(2000).fill(order) }],
    ["bytes", crypto.getRandomValues(new Uint8Array(60_000))],
  ])("a client that knows the public key alone asks and is answered: %s", async (_, value) => {
    const client = await newClient({ engine });
    const worker = await newWorker({ engine });
    for (let count = 0; count < 3; count++) {
      const { request, reply, asked, answered } = exchange(client, worker, value);
      expect(asked).toStrictEqual(value);
      expect(answered).toStrictEqual([value]);
      expect(readEnvelope(request)).toMatchObject({ isAgreed: true, keyId: publicKey.id });
      expect(readEnvelope(reply)).toMatchObject({ isAgreed: false, isSealed: true });
      expect(request.length).toBe(request.buffer.byteLength);
    }
    expect(worker.agreements).toEqual({ agreed: 1, sessions: 1, evicted: 0 });
  });
});

/** A codec with the key that replies to this request go under, by OpenSSL's X25519 and BLAKE2b. */
async function replyCodecOf(request: Uint8Array) {
  const [d, x] = [formatServiceKey(serviceKey), formatPublicKey(publicKey)].map(
    (text) => text.split(".")[2],
  );
  const kty = { kty: "OKP", crv: "X25519" };
  const clientPublic = request.subarray(44, 76);
  const clientX = Buffer.from(clientPublic).toString("base64url");
  const shared = diffieHellman({
    privateKey: createPrivateKey({ key: { ...kty, d, x }, format: "jwk" }),
    publicKey: createPublicKey({ key: { ...kty, x: clientX }, format: "jwk" }),
  });
  const hash = createHash("blake2b512").update(shared).update(clientPublic);
  const keys = hash.update(Buffer.from(x, "base64url")).digest();
  return createCodec({ keys: [await importKey(keys.subarray(0, 32))] });
}

test("OpenSSL's X25519 and BLAKE2b agree on the same keys", async () => {
  const client = await newClient();
  const replying = await replyCodecOf(client.seal(order, context));
  expect(client.open(replying.seal("yes", replyContext), replyContext)).toBe("yes");
});

describe("keys", () => {
  test("texts read back as the same keys", async () => {
    const text = formatServiceKey(serviceKey);
    expect(text).toMatch(/^wasmq-service-key-1\.[0-9a-f]{8}\.[\w-]{43}$/);
    const again = await parseServiceKey(` ${text}\n`);
    expect(formatServiceKey(again)).toBe(text);
    expect(again.id).toBe(publicKey.id);
    const publicText = formatPublicKey(publicKey);
    expect(publicText).toMatch(/^wasmq-public-key-1\.[0-9a-f]{8}\.[\w-]{43}$/);
    expect(formatPublicKey(again.publicKey)).toBe(publicText);
    expect(formatPublicKey(await parsePublicKey(publicText))).toBe(publicText);
    expect(again.idText).toBe(publicText.split(".")[1]);
  });

  test("one kind of text is not another, nor is a spoilt one", async () => {
    const texts = [formatServiceKey(serviceKey), formatPublicKey(publicKey)];
    await expect(parseServiceKey(texts[1])).rejects.toMatchObject({ code: "KEY_INVALID" });
    await expect(parsePublicKey(texts[0])).rejects.toMatchObject({ code: "KEY_INVALID" });
    const other = formatPublicKey(otherKey.publicKey).split(".");
    const [prefix, id] = texts[1].split(".");
    const mixed = `${prefix}.${id}.${other[2]}`;
    await expect(parsePublicKey(mixed)).rejects.toMatchObject({ code: "KEY_INVALID" });
    const short = importServiceKey(new Uint8Array(31));
    await expect(short).rejects.toMatchObject({ code: "KEY_INVALID" });
  });

  test("a service key does not show its secret", async () => {
    const secret = formatServiceKey(serviceKey).split(".")[2];
    const options = { showHidden: true, depth: 9 };
    const shown = `${serviceKey} ${inspect(serviceKey, options)} ${JSON.stringify(serviceKey)}`;
    expect(shown).toContain(serviceKey.idText);
    expect(shown).not.toContain(secret.slice(0, 8));
    const error = await parsePublicKey(formatServiceKey(serviceKey)).catch((reason) => reason);
    expect(error.message).not.toContain(secret.slice(0, 8));
  });

  test.each(["keys", "serviceKeys", "servicePublicKeys"])("%s: none is refused", async (name) => {
    const none = name === "servicePublicKeys" ? {} : [];
    await expect(createCodec({ [name]: none })).rejects.toThrow(name);
  });

  test("patterns: exact before prefix, the longest prefix first, a star last", async () => {
    const keys = await Promise.all(Array.from({ length: 4 }, () => generateServiceKey()));
    const [star, wide, narrow, exact] = keys.map((key) => key.publicKey);
    const client = await createCodec({
      servicePublicKeys: { "*": star, "a.*": wide, "a.b.*": narrow, "a.b.c": exact },
    });
    const idFor = (service: string) => keyIdOf(client.seal(1, { ...context, service }));
    expect(["x", "a", "a.x", "a.b", "a.b.x", "a.b.c", "a.b.c.d"].map(idFor)).toEqual(
      [star, star, wide, wide, narrow, exact, narrow].map(({ id }) => id),
    );
    for (const pattern of ["", "a*", "*.a", "a.*.b", "**"]) {
      const made = createCodec({ servicePublicKeys: { [pattern]: star } });
      await expect(made).rejects.toThrow("servicePublicKeys");
    }
    const made = createCodec({ servicePublicKeys: { a: serviceKey as never } });
    await expect(made).rejects.toThrow("public key must be a PublicKey");
  });
});

describe("nothing goes in clear, or under a key of others", () => {
  test("NO_KEY: a service without a public key, and no shared key", async () => {
    const client = await newClient();
    expect(client.isSealed).toBe(true);
    expectCode("NO_KEY", () => client.seal(1, { ...context, service: "users.get" }));
    expectCode("NO_KEY", () => client.seal(1, replyContext));
    const worker = await newWorker();
    expect(worker.isSealed).toBe(true);
    expectCode("NO_KEY", () => worker.seal(1, context));
    expectCode("NO_KEY", () => worker.seal(1, replyContext));
  });

  test("a service without a public key is asked under the shared key", async () => {
    const keys = [await generateKey()];
    const client = await newClient({ keys });
    const worker = await newWorker({ keys });
    const users = { ...context, service: "users.get" };
    const bytes = client.seal(1, users);
    expect(keyIdOf(bytes)).toBe(keys[0].id);
    const opened = worker.openRequest(bytes, users);
    const reply = opened.seal(2);
    expect(keyIdOf(reply)).toBe(keys[0].id);
    expect(client.open(reply, { ...users, direction: "reply" })).toBe(2);
    // A direct seal() does not say what it answers.
    expectCode("NO_KEY", () => worker.seal(1, replyContext));
  });

  test("UNSEALED and UNKNOWN_KEY", async () => {
    const plain = await createCodec();
    const client = await newClient();
    const worker = await newWorker();
    expectCode("UNSEALED", () => worker.open(plain.seal(1, context), context));
    expectCode("UNSEALED", () => client.open(plain.seal(1, replyContext), replyContext));
    const shared = await createCodec({ keys: [await generateKey()] });
    expectCode("UNKNOWN_KEY", () => worker.open(shared.seal(1, context), context));
    const wrong = await createCodec({ serviceKeys: [otherKey] });
    const request = client.seal(1, context);
    expect(expectCode("UNKNOWN_KEY", () => wrong.open(request, context))).toContain(
      otherKey.idText,
    );
    expectCode("UNKNOWN_KEY", () => shared.open(request, context));
  });

  test("a holder of the shared key cannot answer for the service", async () => {
    const keys = [await generateKey()];
    const client = await newClient({ keys });
    const insider = await createCodec({ keys });
    client.seal(1, context);
    expectCode("UNKNOWN_KEY", () => client.open(insider.seal(2, replyContext), replyContext));
    const users = { ...replyContext, service: "users.get" };
    expect(client.open(insider.seal(2, users), users)).toBe(2);
  });

  test("the holder of one service's key cannot answer for another service", async () => {
    const client = await createCodec({
      servicePublicKeys: { "orders.*": publicKey, "orders.pay": otherKey.publicKey },
    });
    const pay = { ...context, service: "orders.pay" };
    client.seal("card", pay);
    // What it agreed on for its own service is good for no other.
    const replying = await replyCodecOf(client.seal(1, context));
    const target = { ...pay, direction: "reply" } as const;
    expectCode("UNKNOWN_KEY", () => client.open(replying.seal(2, target), target));
    expect(client.open(replying.seal(2, replyContext), replyContext)).toBe(2);
  });

  test("who has a public key cannot make replies of it", async () => {
    // One codec that serves and asks: what a stranger seals for it opens as a request alone.
    const keys = [await generateKey()];
    const both = await newWorker({ keys });
    const stranger = await newClient();
    const request = stranger.seal(1, context);
    expectCode("BAD_FLAGS", () => both.open(request, replyContext));
    expect(both.open(request, context)).toBe(1);
  });
});

describe("what is changed is refused", () => {
  test("any byte", async () => {
    const client = await newClient();
    const worker = await newWorker();
    const bytes = client.seal(order, context);
    const codes: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      const copy = bytes.slice();
      copy[at] ^= 0x40;
      try {
        worker.open(copy, context);
        expect.unreachable(`byte ${at} may be changed`);
      } catch (error) {
        codes.push((error as { code: string }).code);
      }
    }
    // The session of the nonce is bound to the first half of the public key.
    expect(new Set(codes.slice(20, 36))).toEqual(new Set(["BAD_AGREEMENT"]));
    expect(new Set(codes.slice(36, 44))).toEqual(new Set(["TAMPERED"]));
    expect(new Set(codes.slice(44, 60))).toEqual(new Set(["BAD_AGREEMENT"]));
    expect(new Set(codes.slice(60))).toEqual(new Set(["TAMPERED"]));
    // Nothing of it is remembered.
    expect(worker.agreements.sessions).toBe(0);
    expect(worker.open(bytes, context)).toStrictEqual(order);
    expectCode("REPLAYED", () => worker.open(bytes, context));
    expectCode("TAMPERED", () =>
      worker.open(client.seal(1, context), { ...context, headers: hex("00") }),
    );
  });

  test("redirected, swapped, truncated, without its flag, with another's public key", async () => {
    const client = await newClient();
    const worker = await newWorker();
    const bytes = client.seal(order, context);
    expectCode("REDIRECTED", () => worker.open(bytes, { ...context, service: "orders.cancel" }));
    expectCode("SWAPPED", () => worker.open(bytes, { ...context, requestId: new Uint8Array(16) }));
    expectCode("TRUNCATED", () => worker.open(bytes.subarray(0, 91), context));
    const stripped = bytes.slice();
    stripped[1] &= ~0x10;
    expectCode("SIZE_MISMATCH", () => worker.open(stripped, context));
    const bare = bytes.slice();
    bare[1] &= ~0x02;
    expectCode("BAD_FLAGS", () => worker.open(bare, context));
    const other = (await newClient()).seal(order, context);
    const swapped = bytes.slice();
    swapped.set(other.subarray(44, 76), 44);
    expectCode("BAD_AGREEMENT", () => worker.open(swapped, context));
    swapped.set(other.subarray(20, 36), 20);
    expectCode("TAMPERED", () => worker.open(swapped, context));
    // The derivations that came before the tag, and only these.
    expect(worker.agreements).toEqual({ agreed: 1, sessions: 0, evicted: 0 });
  });

  // cr.yp.to/ecdh.html#validate: the points of order 1, 2, 4 and 8, and what equals them mod p.
  const smallOrder = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ];
  const highBit = smallOrder.map((point) => {
    const bytes = hex(point);
    bytes[31] |= 0x80;
    return toHex(bytes);
  });
  test.each([...smallOrder, ...highBit])("a point of small order: %s", async (point) => {
    await expect(importPublicKey(hex(point))).rejects.toMatchObject({ code: "KEY_INVALID" });
    const worker = await newWorker();
    const bytes = (await newClient()).seal(1, context);
    bytes.set(hex(point), 44);
    bytes.set(hex(point).subarray(0, 16), 20);
    expect(expectCode("BAD_AGREEMENT", () => worker.open(bytes, context))).toContain("small order");
    expect(worker.agreements.sessions).toBe(0);
  });

  test("a reply is of its request, and opens once", async () => {
    const client = await newClient();
    const worker = await newWorker();
    const { reply } = exchange(client, worker, 1);
    expectCode("REPLAYED", () => client.open(reply, replyContext));
    const request = client.seal(2, context);
    const second = worker.openRequest(request, context).seal(3);
    const other = { ...replyContext, requestId: new Uint8Array(16) };
    expectCode("SWAPPED", () => client.open(second, other));
    const spoilt = second.slice();
    spoilt[spoilt.length - 1] ^= 1;
    expectCode("TAMPERED", () => client.open(spoilt, replyContext));
    expectCode("UNKNOWN_KEY", () => worker.open(second, replyContext));
    const stranger = await newClient();
    stranger.seal(1, context);
    expectCode("UNKNOWN_KEY", () => stranger.open(second, replyContext));
    expect(client.open(second, replyContext)).toBe(3);
  });

  test("a reply binds its headers", async () => {
    const client = await newClient();
    const worker = await newWorker();
    const headers = hex("0102");
    const request = client.seal(1, { ...context, headers });
    const reply = worker.openRequest(request, { ...context, headers }).seal(2, headers);
    expectCode("TAMPERED", () => client.open(reply, replyContext));
    expect(client.open(reply, { ...replyContext, headers })).toBe(2);
  });
});

test("any worker opens any request: the first, the tenth, and a retry elsewhere", async () => {
  const client = await newClient();
  const workers = await Promise.all([newWorker(), newWorker(), newWorker()]);
  for (let index = 0; index < 10; index++) {
    const bytes = client.seal(index, context);
    // The one that had it first died before it answered.
    workers[index % 3].openRequest(bytes, context);
    const again = workers[(index + 1) % 3].openRequest(bytes, context);
    expect(client.open(again.seal(-index), replyContext)).toBe(-index);
  }
});

describe("rotation", () => {
  test("by count, with replies to the session before", async () => {
    const client = await newClient({ agreementCountMax: 64 });
    const worker = await newWorker();
    const requests = Array.from({ length: 130 }, (_, index) => client.seal(index, context));
    const fields = requests.map(publicFieldOf);
    expect(new Set(fields).size).toBe(3);
    expect(new Set(fields.slice(0, 64)).size).toBe(1);
    expect(new Set(fields.slice(64, 128)).size).toBe(1);
    for (const [index, bytes] of requests.entries()) {
      const reply = worker.openRequest(bytes, context).seal(index);
      expect(client.open(reply, replyContext)).toBe(index);
    }
    expect(worker.agreements.agreed).toBe(3);
    await expect(newClient({ agreementCountMax: 63 })).rejects.toThrow("agreementCountMax");
  });

  test("by age; replies come for the time of grace and no longer", async () => {
    vi.useFakeTimers();
    const client = await newClient({ agreementAgeMaxMs: 1000, agreementGraceMs: 300 });
    const worker = await newWorker();
    const [first, second] = [client.seal(1, context), client.seal(2, context)];
    vi.advanceTimersByTime(999);
    const third = client.seal(3, context);
    expect(publicFieldOf(third)).toBe(publicFieldOf(first));
    vi.advanceTimersByTime(1);
    const next = client.seal(4, context);
    expect(publicFieldOf(next)).not.toBe(publicFieldOf(first));
    const replies = [first, second, next].map((bytes) =>
      worker.openRequest(bytes, context).seal("yes"),
    );
    vi.advanceTimersByTime(299);
    expect(client.open(replies[0], replyContext)).toBe("yes");
    vi.advanceTimersByTime(1);
    expectCode("UNKNOWN_KEY", () => client.open(replies[1], replyContext));
    expect(client.open(replies[2], replyContext)).toBe("yes");
    client.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  test("the session before is bounded in number", async () => {
    const client = await newClient({ agreementCountMax: 64 });
    const worker = await newWorker();
    const first = client.seal(0, context);
    // 1024 sessions behind it.
    for (let index = 1; index < 64 * 1025 + 1; index++) client.seal(null, context);
    const reply = worker.openRequest(first, context).seal(1);
    expectCode("UNKNOWN_KEY", () => client.open(reply, replyContext));
    client.close();
  });

  test("of the service's key, without a restart and without a lost request", async () => {
    const client = await newClient();
    const worker = await newWorker();
    const before = client.seal(1, context);
    worker.setServiceKeys([otherKey, serviceKey]);
    expect(worker.serviceKeyIds).toEqual([otherKey.id, serviceKey.id]);
    client.setServicePublicKeys({ "*": otherKey.publicKey });
    const after = client.seal(2, context);
    expect([before, after].map(keyIdOf)).toEqual([serviceKey.id, otherKey.id]);
    for (const bytes of [before, after]) {
      const opened = worker.openRequest(bytes, context);
      expect(client.open(opened.seal(opened.value), replyContext)).toBe(opened.value);
    }
    const late = await newClient();
    const late1 = worker.openRequest(late.seal(1, context), context);
    worker.setServiceKeys([otherKey]);
    expect(worker.agreements.sessions).toBe(1);
    expectCode("UNKNOWN_KEY", () => worker.open(late.seal(1, context), context));
    // Its key is gone: better no answer than one in clear.
    expectCode("NO_KEY", () => late1.seal(1));
  });

  test("what throws changes nothing", async () => {
    const client = await newClient();
    const worker = await newWorker();
    expect(() => worker.setServiceKeys([otherKey, {} as never])).toThrow("ServiceKey");
    expect(() => worker.setServiceKeys([])).toThrow("serviceKeys");
    expect(() => client.setServicePublicKeys({})).toThrow("servicePublicKeys");
    expect(exchange(client, worker, 1).answered).toEqual([1]);
  });
});

describe("what a service remembers", () => {
  test("is bounded; who was forgotten is agreed with anew, and still answered", async () => {
    const worker = await newWorker({ agreementSessionsMax: 2 });
    const clients = await Promise.all([newClient(), newClient(), newClient()]);
    const opened = clients.map((client) => worker.openRequest(client.seal(1, context), context));
    expect(worker.agreements).toEqual({ agreed: 3, sessions: 2, evicted: 1 });
    for (const [index, request] of opened.entries()) {
      expect(clients[index].open(request.seal(index), replyContext)).toBe(index);
    }
    for (const client of clients) expect(exchange(client, worker, 5).answered).toEqual([5]);
    expect(worker.agreements.sessions).toBe(2);
    expect(worker.agreements.agreed).toBeGreaterThan(3);
  });

  test("the least recent goes first", async () => {
    const worker = await newWorker({ agreementSessionsMax: 2 });
    const [one, two, three] = await Promise.all([newClient(), newClient(), newClient()]);
    for (const client of [one, two, one, three, one]) exchange(client, worker, 1);
    expect(worker.agreements).toEqual({ agreed: 3, sessions: 2, evicted: 1 });
  });

  test("is not driven out by public keys that nothing verifies under", async () => {
    const worker = await newWorker({ agreementSessionsMax: 2 });
    const client = await newClient();
    const bytes = client.seal(1, context);
    worker.open(bytes, context);
    for (let count = 0; count < 50; count++) {
      const forged = client.seal(1, context);
      crypto.getRandomValues(forged.subarray(44, 76));
      forged.set(forged.subarray(44, 60), 20);
      expectCode("TAMPERED", () => worker.open(forged, context));
    }
    expect(worker.agreements).toEqual({ agreed: 51, sessions: 1, evicted: 0 });
    expectCode("REPLAYED", () => worker.open(bytes, context));
  });

  test("one client makes no other's messages stale or replayed", async () => {
    // The attacker goes through the counters of its own session, as far as it likes.
    const worker = await newWorker({ replayWindow: 1024 });
    const [victim, attacker] = await Promise.all([newClient(), newClient()]);
    const held = victim.seal("mine", context);
    for (let count = 0; count < 3000; count++) worker.open(attacker.seal(0, context), context);
    expect(worker.open(held, context)).toBe("mine");
    // The victim's session of nonces under the attacker's public key does not even get to a tag.
    const mixed = attacker.seal(0, context);
    mixed.set(held.subarray(20, 36), 20);
    expectCode("BAD_AGREEMENT", () => worker.open(mixed, context));
  });

  test("STALE is of one session", async () => {
    const worker = await newWorker({ replayWindow: 1024 });
    const client = await newClient();
    const all = Array.from({ length: 1026 }, () => client.seal(1, context));
    worker.open(all[1025], context);
    expectCode("STALE", () => worker.open(all[0], context));
    expect(worker.open(all[2], context)).toBe(1);
  });
});

test("closed, neither side does anything more", async () => {
  const client = await newClient();
  const worker = await newWorker();
  const opened = worker.openRequest(client.seal(1, context), context);
  worker.close();
  client.close();
  expectCode("CLOSED", () => opened.seal(1));
  expectCode("CLOSED", () => client.seal(1, context));
  expectCode("CLOSED", () => worker.setServiceKeys([serviceKey]));
  expectCode("CLOSED", () => client.setServicePublicKeys({ "*": publicKey }));
});

test("openRequest() is for requests", async () => {
  const worker = await newWorker();
  expect(() => worker.openRequest(new Uint8Array(20), replyContext)).toThrow("context.direction");
  const plain = await createCodec();
  const opened = plain.openRequest(plain.seal(1, context), context);
  expect(plain.open(opened.seal(2), replyContext)).toBe(2);
});
