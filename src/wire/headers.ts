import { HEADERS_BYTES_MAX } from "./layout.js";
import { readText } from "./text.js";

/** Metadata of a request, in clear: trace ids, tenants, locales. Not for secrets. */
export type Headers = Readonly<Record<string, string>>;

const NO_BYTES = new Uint8Array(0);

/**
 * PROTOCOL 3.2: `| keySize u8 | key | valueSize u16 | value | ...`.
 * Throws TypeError for values that are no strings, RangeError where they are too long.
 */
export function encodeHeaders(headers: Headers | undefined): Uint8Array {
  if (headers === undefined) return NO_BYTES;
  if (typeof headers !== "object" || headers === null) {
    throw new TypeError(`headers must be an object of strings, got ${typeof headers}`);
  }
  const parts: Buffer[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(headers)) {
    if (typeof value !== "string") {
      throw new TypeError(`headers.${key} must be a string, got ${typeof value}`);
    }
    const keyBytes = Buffer.from(key);
    const valueBytes = Buffer.from(value);
    if (keyBytes.length < 1 || keyBytes.length > 255) {
      throw new RangeError(`headers: a key must be 1..255 bytes, got ${keyBytes.length}`);
    }
    size += 3 + keyBytes.length + valueBytes.length;
    if (size > HEADERS_BYTES_MAX) {
      throw new RangeError(`headers must be ${HEADERS_BYTES_MAX} bytes at most, got ${size}`);
    }
    const sizes = [Buffer.alloc(1), Buffer.alloc(2)];
    sizes[0].writeUInt8(keyBytes.length);
    sizes[1].writeUInt16LE(valueBytes.length);
    parts.push(sizes[0], keyBytes, sizes[1], valueBytes);
  }
  return Buffer.concat(parts);
}

/** The headers in `bytes`, or undefined where they are malformed. A key's last value wins. */
export function decodeHeaders(bytes: Uint8Array): Headers | undefined {
  const headers: Record<string, string> = {};
  let at = 0;
  while (at < bytes.length) {
    const keySize = bytes[at];
    const valueSizeAt = at + 1 + keySize;
    if (keySize === 0 || valueSizeAt + 2 > bytes.length) return undefined;
    const valueSize = bytes[valueSizeAt] | (bytes[valueSizeAt + 1] << 8);
    const valueAt = valueSizeAt + 2;
    if (valueAt + valueSize > bytes.length) return undefined;
    const key = readText(bytes, at + 1, keySize);
    const value = readText(bytes, valueAt, valueSize);
    if (key === undefined || value === undefined) return undefined;
    // An own property whatever the key: "__proto__" too.
    Object.defineProperty(headers, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
    at = valueAt + valueSize;
  }
  return headers;
}
