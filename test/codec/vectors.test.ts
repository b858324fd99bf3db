import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type CodecErrorCode,
  createCodec,
  ExtData,
  importDictionary,
  importKey,
  parseKey,
  parsePublicKey,
  parseServiceKey,
} from "../../build/codec/index.js";
import { type ContextVector, contextOf, expectCode, hex, toHex } from "./support.js";

// Made by test/vectors/make-codec.mjs from the specification, without the codec.
const vectors = JSON.parse(readFileSync(new URL("../vectors/codec.json", import.meta.url), "utf8"));
const key = await parseKey(vectors.key.text);
const dictionary = await importDictionary(hex(vectors.dictionary.bytes));
const plain = await createCodec();

interface OpenVector {
  name: string;
  value: unknown;
  packed: string;
  isSealed: boolean;
  dictionary?: string;
  context: ContextVector;
  header: string;
  envelope: string;
}

test("the key's id and the dictionary's digest", () => {
  expect(key.id).toBe(vectors.key.id);
  expect(dictionary.digestText).toBe(vectors.dictionary.digest);
});

describe("opens", () => {
  test.each(vectors.opens as OpenVector[])("$name", async (vector) => {
    const codec = await createCodec({
      keys: vector.isSealed ? [key] : undefined,
      dictionaries: vector.dictionary === undefined ? [] : [dictionary],
    });
    const context = contextOf(vector.context);
    expect(codec.open(hex(vector.envelope), context)).toStrictEqual(vector.value);
    // Sealed again it has the same header; where nothing is random, the same bytes.
    const again = codec.seal(vector.value, context);
    expect(toHex(again.subarray(0, 20))).toBe(vector.header);
    if (!vector.isSealed && !vector.name.includes("compressed")) {
      expect(toHex(again)).toBe(vector.envelope);
    }
  });
});

interface RefusalVector {
  name: string;
  code: CodecErrorCode;
  context: ContextVector;
  envelope: string;
}

describe("refuses", () => {
  test.each(vectors.refusals as RefusalVector[])("$name: $code", async (vector) => {
    const codec = await createCodec({ keys: [key], dictionaries: [dictionary] });
    expectCode(vector.code, () => codec.open(hex(vector.envelope), contextOf(vector.context)));
  });

  test.each(vectors.messagepack as { bytes: string; code: CodecErrorCode }[])(
    "MessagePack $bytes: $code",
    ({ bytes, code }) => {
      expectCode(code, () => plain.unpack(hex(bytes)));
    },
  );
});

describe("agreed by OpenSSL", async () => {
  const { agreement } = vectors;
  const serviceKey = await parseServiceKey(agreement.serviceKey);
  const worker = () => createCodec({ serviceKeys: [serviceKey] });

  test("the public key and its id", async () => {
    expect(serviceKey.id).toBe(agreement.id);
    expect((await parsePublicKey(agreement.publicKey)).id).toBe(agreement.id);
  });

  test.each(agreement.opens as OpenVector[])("opens and answers $name", async (vector) => {
    const context = contextOf(vector.context);
    const request = (await worker()).openRequest(hex(vector.envelope), context);
    expect(request.value).toStrictEqual(vector.value);
    const replyKey = await importKey(hex(agreement.replyKey));
    const reply = request.seal("yes");
    const client = await createCodec({ keys: [replyKey] });
    expect(client.open(reply, { ...context, direction: "reply", headers: undefined })).toBe("yes");
  });

  test.each(agreement.refusals as RefusalVector[])("refuses $name: $code", async (vector) => {
    const codec = await worker();
    expectCode(vector.code, () => codec.open(hex(vector.envelope), contextOf(vector.context)));
  });
});

test("packs", () => {
  for (const vector of vectors.packs) {
    let value = vector.value;
    if (vector.ext !== undefined) value = new ExtData(vector.ext.type, hex(vector.ext.data));
    if (vector.date !== undefined) value = new Date(vector.date);
    expect(toHex(plain.pack(value))).toBe(vector.bytes);
    expect(plain.unpack(hex(vector.bytes))).toStrictEqual(value);
  }
});

test("blocks", () => {
  for (const vector of vectors.blocks) {
    const run = () => plain.decompress(hex(vector.bytes), { maxSize: 1000 });
    if (vector.code !== undefined) expectCode(vector.code, run);
    else expect(toHex(run())).toBe(vector.plain);
  }
});
