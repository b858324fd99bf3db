// The baseline: what Node has without a dependency. JSON, deflate at its fastest, AES-256-GCM.
//
//   | flags u8 | nonce 12 B | body, encrypted | tag 16 B |     sealed
//   | flags u8 | body |                                       in clear
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";

const CIPHER = "aes-256-gcm";
const NONCE_SIZE = 12;
const TAG_SIZE = 16;
const DEFLATED = 1;
/** As web servers have it: below this, deflate costs more than it saves. */
const DEFLATED_SIZE_MIN = 1024;
const FAST = { level: 1 };

export class BuiltinCodec {
  #key;
  #deflatedSizeMin;
  #nonce = randomBytes(NONCE_SIZE);

  /**
   * @param {string | undefined} secret 32 bytes in base64; none: in clear
   * @param {number} [deflatedSizeMin] smaller bodies are not deflated
   */
  constructor(secret, deflatedSizeMin = DEFLATED_SIZE_MIN) {
    this.#deflatedSizeMin = deflatedSizeMin;
    this.#key = secret === undefined ? undefined : Buffer.from(secret, "base64");
  }

  /** @param {any} value */
  pack(value) {
    return Buffer.from(JSON.stringify(withText(value)));
  }

  /** @param {Uint8Array} bytes */
  unpack(bytes) {
    return withBytes(JSON.parse(bytes.toString()));
  }

  /** @param {Uint8Array} bytes */
  compress(bytes) {
    return deflateRawSync(bytes, FAST);
  }

  /** @param {Uint8Array} bytes @param {{ maxSize: number }} limits */
  decompress(bytes, { maxSize }) {
    return inflateRawSync(bytes, { maxOutputLength: maxSize });
  }

  /** @param {unknown} value @param {Uint8Array} [associated] */
  seal(value, associated) {
    let body = this.pack(value);
    const flags = Buffer.alloc(1);
    if (body.length >= this.#deflatedSizeMin) {
      body = this.compress(body);
      flags[0] = DEFLATED;
    }
    if (this.#key === undefined) return Buffer.concat([flags, body]);
    // Counted up from a random start, which is cheaper than a random one for each.
    for (let at = 0; at < NONCE_SIZE && ++this.#nonce[at] === 256; at++);
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce);
    if (associated !== undefined) cipher.setAAD(associated);
    const sealed = cipher.update(body);
    cipher.final();
    return Buffer.concat([flags, this.#nonce, sealed, cipher.getAuthTag()]);
  }

  /** @param {Buffer} bytes @param {Uint8Array} [associated] */
  open(bytes, associated) {
    let body = bytes.subarray(1);
    if (this.#key !== undefined) {
      const nonce = bytes.subarray(1, 1 + NONCE_SIZE);
      const decipher = createDecipheriv(CIPHER, this.#key, nonce);
      if (associated !== undefined) decipher.setAAD(associated);
      decipher.setAuthTag(bytes.subarray(bytes.length - TAG_SIZE));
      body = decipher.update(bytes.subarray(1 + NONCE_SIZE, bytes.length - TAG_SIZE));
      decipher.final();
    }
    return this.unpack(bytes[0] === DEFLATED ? inflateRawSync(body) : body);
  }
}

// JSON has no bytes. A replacer would slow down all values; here only `data` ever holds some.

/** @param {any} value */
function withText(value) {
  return Buffer.isBuffer(value.data) ? { ...value, data: value.data.toString("base64") } : value;
}

/** @param {any} value */
function withBytes(value) {
  if (typeof value.data === "string") value.data = Buffer.from(value.data, "base64");
  return value;
}
