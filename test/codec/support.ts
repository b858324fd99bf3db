import { expect } from "vitest";
import { type CodecContext, CodecError, type CodecErrorCode } from "../../build/codec/index.js";

/** Runs it and expects a CodecError of this code; returns its message. */
export function expectCode(code: CodecErrorCode, run: () => unknown): string {
  let value: unknown;
  try {
    value = run();
  } catch (error) {
    expect(error).toBeInstanceOf(CodecError);
    expect((error as CodecError).code).toBe(code);
    return (error as CodecError).message;
  }
  return expect.unreachable(`expected ${code}, got the value ${String(value).slice(0, 100)}`);
}

/** Whether it gave a value; a CodecError is fine too, anything else is a failure. */
export function isAccepted(run: () => unknown): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if (error instanceof CodecError) return false;
    throw error;
  }
}

export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(" ", ""), "hex"));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Each prefix of the bytes, then the bytes with each single bit turned. */
export function* damaged(bytes: Uint8Array): Generator<Uint8Array> {
  for (let size = 0; size < bytes.length; size++) yield bytes.slice(0, size);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const copy = bytes.slice();
    copy[bit >> 3] ^= 1 << (bit & 7);
    yield copy;
  }
}

/**
 * A slow LZ4 block decoder, by the letter of lz4_Block_format.md; undefined for a bad block. The
 * dictionary is what was decoded before.
 */
export function referenceLz4(
  block: Uint8Array,
  sizeMax: number,
  dictionary: Uint8Array = new Uint8Array(),
): number[] | undefined {
  const plain: number[] = [...dictionary];
  const most = dictionary.length + sizeMax;
  let at = 0;
  const length = (nibble: number): number => {
    let total = nibble;
    if (nibble < 15) return total;
    for (;;) {
      const extra = block[at++];
      if (extra === undefined) return Number.NaN;
      total += extra;
      if (extra < 255) return total;
    }
  };
  while (at < block.length) {
    const token = block[at++];
    const literalCount = length(token >> 4);
    if (!(at + literalCount <= block.length)) return undefined;
    for (let index = 0; index < literalCount; index++) plain.push(block[at++]);
    if (plain.length > most) return undefined;
    if (at === block.length) {
      return (token & 15) === 0 ? plain.slice(dictionary.length) : undefined;
    }
    if (at + 2 > block.length) return undefined;
    const offset = block[at] | (block[at + 1] << 8);
    at += 2;
    const matchCount = length(token & 15) + 4;
    if (Number.isNaN(matchCount) || offset === 0 || offset > plain.length) return undefined;
    if (plain.length + matchCount > most) return undefined;
    for (let index = 0; index < matchCount; index++) plain.push(plain[plain.length - offset]);
  }
  return undefined;
}

export const order = {
  orderId: "A-10023",
  sku: "SKU-99812",
  quantity: 3,
  price: 19.99,
  currency: "EUR",
  customer: { id: 991, name: "Zoë" },
  tags: ["new", "gift"],
  express: true,
  note: null,
};

/** Something of every MessagePack family, small enough to turn every bit. */
export const samples: Record<string, unknown> = {
  order,
  numbers: [0, -1, 127, 128, -33, 65_536, -70_000, 2 ** 40, -(2 ** 40), 1.5, 2n ** 63n, -0],
  text: { "": "", "clé 🔑": "日本語のテキスト", long: "x".repeat(40) },
  bytes: [new Uint8Array([1, 2, 3]), new Date(1_700_000_000_123), new Date(-1), new Date(0)],
  nested: [[[[]]], { a: { b: { c: {} } } }, [null, true, false]],
  repeated: Array.from({ length: 12 }, (_, index) => ({ name: "item", index, ok: true })),
};

/** A context as the vectors have it, bytes in hex. */
export interface ContextVector {
  service: string;
  direction: "request" | "reply";
  requestId: string;
  headers: string;
}

export function contextOf(vector: ContextVector): CodecContext {
  return { ...vector, requestId: hex(vector.requestId), headers: hex(vector.headers) };
}
