import { inspect } from "node:util";
import sodium from "libsodium-wrappers";
import { expect, test } from "vitest";
import {
  CodecError,
  CodecKey,
  formatKey,
  generateKey,
  importKey,
  parseKey,
} from "../../build/codec/index.js";

await sodium.ready;

async function expectInvalid(make: Promise<unknown>): Promise<void> {
  const error = await make.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(CodecError);
  expect(error.code).toBe("KEY_INVALID");
}

test("a key's text reads back as the same key", async () => {
  const key = await generateKey();
  const text = formatKey(key);
  expect(text).toMatch(/^wasmq-key-1\.[0-9a-f]{8}\.[\w-]{43}$/);
  for (const spelled of [text, `\n ${text} \r\n`]) {
    const again = await parseKey(spelled);
    expect(again).toBeInstanceOf(CodecKey);
    expect(again.id).toBe(key.id);
    expect(formatKey(again)).toBe(text);
  }
  expect(formatKey(await generateKey())).not.toBe(text);
});

test("the id is the beginning of a BLAKE2b of the secret", async () => {
  const secret = new Uint8Array(32).map((_, index) => index);
  const key = await importKey(secret);
  const domain = new TextEncoder().encode("wasmq-key-id-1");
  const hash = sodium.crypto_generichash(32, new Uint8Array([...domain, ...secret]), null);
  expect(key.id).toBe(new DataView(hash.buffer, hash.byteOffset).getUint32(0, true));
  const text = formatKey(key);
  secret.fill(0);
  expect(formatKey(key)).toBe(text);
});

test("text that is no key", async () => {
  const text = formatKey(await generateKey());
  const [prefix, id, secret] = text.split(".");
  const other = formatKey(await generateKey()).split(".");
  const spoilt = [
    "",
    "wasmq-key-1",
    `${prefix}.${id}`,
    `${text}.`,
    `wasmq-key-2.${id}.${secret}`,
    `${prefix}.${id.toUpperCase()}x.${secret}`,
    `${prefix}.${other[1]}.${secret}`,
    `${prefix}.${id}.${secret.slice(1)}`,
    `${prefix}.${id}.${secret}A`,
    `${prefix}.${id}.${secret.slice(0, 42)}!`,
    `${prefix}.${id}.${secret.slice(0, 42)}B`,
  ];
  for (const one of spoilt) await expectInvalid(parseKey(one));
  await expectInvalid(parseKey(undefined as never));
  await expectInvalid(importKey(new Uint8Array(31)));
  await expectInvalid(importKey("x".repeat(32) as never));
});

test("an error does not repeat a secret, nor does a key show it", async () => {
  const key = await generateKey();
  const [prefix, , secret] = formatKey(key).split(".");
  const error = await parseKey(`${prefix}.00000000.${secret}`).catch((reason) => reason);
  expect(error.message).not.toContain(secret.slice(0, 8));
  const shown = `${key} ${inspect(key, { showHidden: true, depth: 9 })} ${JSON.stringify(key)}`;
  expect(shown).toContain(key.idText);
  expect(shown).not.toContain(secret.slice(0, 8));
  expect(() => formatKey({ id: key.id } as never)).toThrow("key must be a CodecKey");
});
