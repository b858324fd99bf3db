// Writes codec.json from the specification (docs/codec.md) with stock libraries and none of the
// codec's own code, so that the vectors are a second implementation: node test/vectors/make-codec.mjs
import { createHash, createPrivateKey, createPublicKey, diffieHellman } from "node:crypto";
import { writeFileSync } from "node:fs";
import { ExtData, ExtensionCodec, encode } from "@msgpack/msgpack";
import sodium from "libsodium-wrappers";

await sodium.ready;
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytesOf = (text) => new TextEncoder().encode(text);
const secret = Uint8Array.from({ length: 32 }, (_, index) => 0x80 + index);
const keyId = Buffer.from(
  sodium.crypto_generichash(32, Buffer.concat([bytesOf("wasmq-key-id-1"), secret]), null),
).readUInt32LE(0);
const keyText = `wasmq-key-1.${keyId.toString(16).padStart(8, "0")}.${Buffer.from(secret).toString("base64url")}`;
const extensionCodec = new ExtensionCodec();

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function u(width, value) {
  const bytes = Buffer.alloc(width);
  bytes.writeUIntLE(value, 0, width);
  return bytes;
}

const requestId = Uint8Array.from({ length: 16 }, (_, index) => index * 17);
const base = { service: "orders.price", direction: "request", requestId, headers: new Uint8Array() };

// docs/codec.md 8. X25519 and BLAKE2b-512 are OpenSSL's, so that the codec's, libsodium's crypto_kx,
// is checked against another implementation.
const x25519Der = (prefix, bytes) => Buffer.concat([Buffer.from(prefix, "hex"), bytes]);
const privateOf = (bytes) =>
  createPrivateKey({ key: x25519Der("302e020100300506032b656e04220420", bytes), format: "der", type: "pkcs8" });
const publicOf = (bytes) =>
  createPublicKey({ key: x25519Der("302a300506032b656e032100", bytes), format: "der", type: "spki" });
const publicBytesOf = (secretBytes) =>
  createPublicKey(privateOf(secretBytes)).export({ format: "der", type: "spki" }).subarray(12);
const serviceSecret = Uint8Array.from({ length: 32 }, (_, index) => 0x11 + index);
const clientSecret = Uint8Array.from({ length: 32 }, (_, index) => 0x61 + 3 * index);
const servicePublic = publicBytesOf(serviceSecret);
const clientPublic = publicBytesOf(clientSecret);
const servicePublicId = Buffer.from(
  sodium.crypto_generichash(32, Buffer.concat([bytesOf("wasmq-public-key-id-1"), servicePublic]), null),
).readUInt32LE(0);
const shared = diffieHellman({ privateKey: privateOf(clientSecret), publicKey: publicOf(servicePublic) });
const halves = createHash("blake2b512").update(shared).update(clientPublic).update(servicePublic).digest();
const textOf = (prefix, id, bytes) =>
  `${prefix}.${id.toString(16).padStart(8, "0")}.${Buffer.from(bytes).toString("base64url")}`;
const agreement = {
  serviceKey: textOf("wasmq-service-key-1", servicePublicId, serviceSecret),
  publicKey: textOf("wasmq-public-key-1", servicePublicId, servicePublic),
  id: servicePublicId,
  clientSecret: hex(clientSecret),
  clientPublicKey: hex(clientPublic),
  replyKey: hex(halves.subarray(0, 32)),
  requestKey: hex(halves.subarray(32)),
};

/** docs/codec.md 11: the dictionary's name, as its field and as text. */
function nameOf(dictionary) {
  const hash = sodium.crypto_generichash(32, Buffer.concat([bytesOf("wasmq-dictionary-1"), dictionary]), null);
  const field = Buffer.from(hash.subarray(0, 8));
  return { field, text: field.readBigUInt64LE().toString(16).padStart(16, "0") };
}

/**
 * docs/codec.md 1 and 2. `block`, when given, is the LZ4 block of `packed`; `dictionary` what it may
 * refer to.
 */
function envelopeOf({ packed, block, context = base, counter = 0, isSealed = true, isAgreed = false, dictionary }) {
  const fields = Buffer.concat([
    dictionary === undefined ? Buffer.alloc(0) : nameOf(dictionary).field,
    isAgreed ? clientPublic : Buffer.alloc(0),
  ]);
  const service = bytesOf(context.service);
  const target = Buffer.concat([u(1, context.direction === "request" ? 1 : 2), u(2, service.length), service]);
  const header = Buffer.concat([
    u(1, 1),
    u(1, (block ? 1 : 0) | (isSealed ? 2 : 0) | (dictionary ? 8 : 0) | (isAgreed ? 0x10 : 0)),
    u(2, 0),
    u(4, packed.length),
    u(4, crc32(target)),
    u(4, crc32(context.requestId)),
    u(4, isAgreed ? servicePublicId : isSealed ? keyId : 0),
  ]);
  const body = block ?? packed;
  if (!isSealed) return { header, associated: Buffer.alloc(0), envelope: Buffer.concat([header, fields, body]) };
  const session = isAgreed ? clientPublic.subarray(0, 16) : Buffer.alloc(16, 0x5a);
  const nonce = Buffer.concat([session, u(6, counter), u(2, 0)]);
  const key = isAgreed ? halves.subarray(32) : secret;
  const associated = Buffer.concat([header, fields, target, context.requestId, u(4, context.headers.length), context.headers]);
  const sealed = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(body, associated, null, nonce, key);
  return { header, associated, envelope: Buffer.concat([header, nonce, fields, sealed]) };
}

const contextOf = ({ service, direction, requestId: id, headers }) => ({
  service,
  direction,
  requestId: hex(id),
  headers: hex(headers),
});

const order = { orderId: "A-10023", quantity: 3, price: 19.99, customer: { id: 991, name: "Zoë" }, tags: ["new"] };
const repeated = "a".repeat(300);
// 4 literals, a match of 294 at offset 1, then 5 literals, by hand.
const repeatedBlock = Buffer.concat([Buffer.from("4fda012c610100ff14", "hex"), Buffer.from("50", "hex"), bytesOf("aaaaa")]);
const reply = { ...base, direction: "reply", headers: bytesOf("status=OK") };

// All of the value's text is in the dictionary, 5 bytes before its end: d9 2c and the text, by hand.
const dictionary = bytesOf("The quick brown fox jumps over the lazy dog.\0\0\0\0\0");
const sentence = "The quick brown fox jumps over the lazy dog.";
// 2 literals, a match of 39 at offset 2 + 49, which leaves out the last 5: they are literals.
const sentenceBlock = Buffer.concat([Buffer.from("2fd92c330014", "hex"), Buffer.from("50", "hex"), bytesOf(" dog.")]);

const opens = [
  { name: "an order", value: order, context: base, counter: 0 },
  { name: "a reply with headers", value: { total: 59.97 }, context: reply, counter: 1 },
  { name: "compressed", value: repeated, block: repeatedBlock, context: base, counter: 2 },
  { name: "a service beyond ASCII", value: null, context: { ...base, service: "价格.é" }, counter: 2 ** 40 },
  { name: "with a dictionary", value: sentence, block: sentenceBlock, context: base, counter: 3, dictionary },
  { name: "an offer of a dictionary", value: order, context: base, counter: 4, dictionary },
  { name: "plain mode, compressed with a dictionary", value: sentence, block: sentenceBlock, context: base, isSealed: false, dictionary },
  { name: "plain mode", value: order, context: base, isSealed: false },
  { name: "plain mode, compressed", value: repeated, block: repeatedBlock, context: base, isSealed: false },
].map(({ name, value, block, context, counter, isSealed = true, dictionary }) => {
  const packed = encode(value);
  const { header, associated, envelope } = envelopeOf({ packed, block, context, counter, isSealed, dictionary });
  return {
    name,
    value,
    packed: hex(packed),
    ...(block ? { block: hex(block) } : {}),
    isSealed,
    ...(dictionary ? { dictionary: nameOf(dictionary).text } : {}),
    context: contextOf(context),
    header: hex(header),
    associated: hex(associated),
    envelope: hex(envelope),
  };
});

const good = envelopeOf({ packed: encode(order), counter: 3 }).envelope;
const plain = envelopeOf({ packed: encode(order), isSealed: false }).envelope;
function changed(bytes, at, value) {
  const copy = Buffer.from(bytes);
  copy.set([].concat(value), at);
  return copy;
}
const refuse = (name, code, envelope, context = base) => ({
  name,
  code,
  context: contextOf(context),
  envelope: hex(envelope),
});
const refusals = [
  refuse("nothing", "TRUNCATED", Buffer.alloc(0)),
  refuse("half a header", "TRUNCATED", good.subarray(0, 10)),
  refuse("no tag", "TRUNCATED", good.subarray(0, 59)),
  refuse("another version", "BAD_VERSION", changed(good, 0, 2)),
  refuse("a reserved flag: RAW", "BAD_FLAGS", changed(good, 1, 0x06)),
  refuse("a dictionary without its field", "TRUNCATED", changed(good, 1, 0x0a).subarray(0, 67)),
  refuse("another dictionary", "UNKNOWN_DICTIONARY", envelopeOf({ packed: encode(sentence), block: sentenceBlock, counter: 6, dictionary: bytesOf("not this one") }).envelope),
  refuse("another name for the dictionary", "TAMPERED", changed(envelopeOf({ packed: encode(sentence), block: sentenceBlock, counter: 7, dictionary }).envelope, 44, 1)),
  refuse("a reserved byte", "BAD_FLAGS", changed(good, 3, 1)),
  refuse("sealed without a key id", "BAD_FLAGS", changed(good, 16, [0, 0, 0, 0])),
  refuse("1 GiB claimed", "TOO_LARGE", changed(good, 4, [0, 0, 0, 0x40])),
  refuse("a byte too many", "SIZE_MISMATCH", Buffer.concat([good, u(1, 0)])),
  refuse("not sealed, to a codec with keys", "UNSEALED", plain),
  refuse("another key's id", "UNKNOWN_KEY", changed(good, 16, [1, 2, 3, 4])),
  refuse("for another service", "REDIRECTED", good, { ...base, service: "orders.cancel" }),
  refuse("a request taken for a reply", "REDIRECTED", good, { ...base, direction: "reply" }),
  refuse("for another request", "SWAPPED", good, { ...base, requestId: new Uint8Array(16) }),
  refuse("other headers", "TAMPERED", good, { ...base, headers: bytesOf("x") }),
  refuse("the nonce changed", "TAMPERED", changed(good, 43, 1)),
  refuse("the ciphertext changed", "TAMPERED", changed(good, 44, good[44] ^ 1)),
  refuse("the tag changed", "TAMPERED", changed(good, good.length - 1, good.at(-1) ^ 0x80)),
  refuse("a sealed block that is none", "BAD_BLOCK", envelopeOf({ packed: encode(repeated), block: Buffer.from("10610000", "hex"), counter: 4 }).envelope),
  refuse("a sealed value that is none", "RESERVED_BYTE", envelopeOf({ packed: Buffer.from("c1", "hex"), counter: 5 }).envelope),
];

const agreed = envelopeOf({ packed: encode(order), isAgreed: true }).envelope;
agreement.opens = [
  { name: "an order", value: order, envelope: hex(agreed), context: contextOf(base) },
  {
    name: "compressed",
    value: repeated,
    envelope: hex(envelopeOf({ packed: encode(repeated), block: repeatedBlock, isAgreed: true, counter: 1 }).envelope),
    context: contextOf(base),
  },
];
agreement.refusals = [
  refuse("cut off in the public key", "TRUNCATED", agreed.subarray(0, 60)),
  refuse("AGREED, but not SEALED", "BAD_FLAGS", changed(agreed, 1, 0x10)),
  refuse("AGREED taken for a reply", "BAD_FLAGS", agreed, { ...base, direction: "reply" }),
  refuse("another service key's id", "UNKNOWN_KEY", changed(agreed, 16, [1, 2, 3, 4])),
  refuse("a nonce of another session", "BAD_AGREEMENT", changed(agreed, 20, agreed[20] ^ 1)),
  refuse("the public key changed", "TAMPERED", changed(agreed, 75, agreed[75] ^ 1)),
  refuse("a public key of order 1", "BAD_AGREEMENT", changed(changed(agreed, 44, new Array(32).fill(0)), 20, new Array(16).fill(0))),
  refuse("sealed under a shared key", "UNKNOWN_KEY", good),
  refuse("not sealed", "UNSEALED", plain),
];

const messagepack = [
  ["c1", "RESERVED_BYTE"],
  ["", "TRUNCATED"],
  ["92 01", "TRUNCATED"],
  ["dd ffffffff", "TRUNCATED"],
  ["a2 61", "TRUNCATED"],
  ["01 02", "TRAILING_BYTES"],
  ["81 c0 01", "BAD_KEY"],
  ["81 90 01", "BAD_KEY"],
  ["d5ff 0000", "BAD_TIMESTAMP"],
  ["d7ff ee6b280000000000", "BAD_TIMESTAMP"],
  ["91".repeat(65) + "01", "TOO_DEEP"],
].map(([bytes, code]) => ({ bytes: bytes.replaceAll(" ", ""), code }));

const packs = [null, true, 0, -1, 127, 128, 65535, 65536, 4294967296, -33, -2147483649, 1.5, "", "Zoë 🔑", "x".repeat(32), [], [1, [2, [3]]], {}, { a: 1, b: { c: [null] } }]
  .map((value) => ({ value, bytes: hex(encode(value)) }));
packs.push({ ext: { type: 5, data: "0102" }, bytes: hex(encode(new ExtData(5, Uint8Array.of(1, 2)), { extensionCodec })) });
packs.push({ date: "2023-11-14T22:13:20.123Z", bytes: hex(encode(new Date(1_700_000_000_123), { extensionCodec })) });

const blocks = [
  { bytes: "00", plain: "" },
  { bytes: "5061626364 65".replaceAll(" ", ""), plain: hex(bytesOf("abcde")) },
  { bytes: hex(repeatedBlock), plain: hex(encode(repeated)) },
  ...["", "5061", "11610000", "1061000010 61", "106102001061", "1061 0100", "1161"].map((bytes) => ({
    bytes: bytes.replaceAll(" ", ""),
    code: "BAD_BLOCK",
  })),
];

const vectors = { format: "docs/codec.md", key: { text: keyText, id: keyId, secret: hex(secret) }, dictionary: { bytes: hex(dictionary), digest: nameOf(dictionary).text }, opens, refusals, agreement, messagepack, packs, blocks };
writeFileSync(new URL("codec.json", import.meta.url), `${JSON.stringify(vectors, null, 1)}\n`);
