import { crc32 } from "node:zlib";
import { compressSync, uncompressSync } from "lz4-napi";
import { Packr } from "msgpackr";
import sodium from "sodium-native";
import type { CodecContext } from "../../build/codec/index.js";

// The whole chain by docs/codec.md with other people's libraries and no code of ours: msgpackr,
// lz4-napi, sodium-native.

const packr = new Packr({ useRecords: false, mapsAsObjects: true });
const NONCE_SIZE = 24;
const TAG_SIZE = 16;

/** A block without a size before it; lz4-napi puts one there, a u32. */
export function compressBlock(plain: Uint8Array): Buffer {
  return compressSync(Buffer.from(plain)).subarray(4);
}

/** The bytes of a block of which the size is known. */
export function decompressBlock(block: Uint8Array, size: number): Buffer {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32LE(size);
  return uncompressSync(Buffer.concat([prefix, block]));
}

/** docs/codec.md 2 without the header: | direction u8 | serviceSize u16 | service |. */
function targetOf({ service, direction }: CodecContext): Buffer {
  const name = Buffer.from(service);
  const head = Buffer.alloc(3);
  head.writeUInt8(direction === "request" ? 1 : 2, 0);
  head.writeUInt16LE(name.length, 1);
  return Buffer.concat([head, name]);
}

function associatedOf(header: Uint8Array, context: CodecContext): Buffer {
  const { requestId, headers = new Uint8Array() } = context;
  const headersSize = Buffer.alloc(4);
  headersSize.writeUInt32LE(headers.length);
  return Buffer.concat([header, targetOf(context), requestId, headersSize, headers]);
}

/** One end of a wire that has a secret and none of our code. */
export class StockParty {
  readonly #secret: Buffer;
  readonly #keyId: number;
  readonly #nonce = Buffer.alloc(NONCE_SIZE);
  #counter = 0;

  constructor(secret: Uint8Array, session: Uint8Array) {
    this.#secret = Buffer.from(secret);
    const hash = Buffer.alloc(32);
    sodium.crypto_generichash(hash, Buffer.concat([Buffer.from("wasmq-key-id-1"), secret]));
    this.#keyId = hash.readUInt32LE(0) || 1;
    this.#nonce.set(session);
  }

  open(envelope: Uint8Array, context: CodecContext): unknown {
    const bytes = Buffer.from(envelope);
    const header = bytes.subarray(0, 20);
    const flags = header.readUInt8(1);
    if (header.readUInt8(0) !== 1 || (flags & ~1) !== 2) throw new Error("not ours to open");
    if (header.readUInt32LE(8) !== crc32(targetOf(context))) throw new Error("redirected");
    if (header.readUInt32LE(12) !== crc32(context.requestId)) throw new Error("swapped");
    if (header.readUInt32LE(16) !== this.#keyId) throw new Error("another key");
    const nonce = bytes.subarray(20, 44);
    const sealed = bytes.subarray(44);
    const body = Buffer.alloc(sealed.length - TAG_SIZE);
    const associated = associatedOf(header, context);
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      body,
      null,
      sealed,
      associated,
      nonce,
      this.#secret,
    );
    const size = header.readUInt32LE(4);
    const packed = (flags & 1) !== 0 ? decompressBlock(body, size) : body;
    if (packed.length !== size) throw new Error(`${packed.length} bytes, not ${size}`);
    return packr.unpack(packed);
  }

  seal(value: unknown, context: CodecContext, isCompressing: boolean): Uint8Array {
    const packed = packr.pack(value);
    const body = isCompressing ? compressBlock(packed) : packed;
    const header = Buffer.alloc(20);
    header.writeUInt8(1, 0);
    header.writeUInt8(isCompressing ? 3 : 2, 1);
    header.writeUInt32LE(packed.length, 4);
    header.writeUInt32LE(crc32(targetOf(context)), 8);
    header.writeUInt32LE(crc32(context.requestId), 12);
    header.writeUInt32LE(this.#keyId, 16);
    this.#nonce.writeBigUInt64LE(BigInt(this.#counter++), 16);
    const sealed = Buffer.alloc(body.length + TAG_SIZE);
    const associated = associatedOf(header, context);
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
      sealed,
      body,
      associated,
      null,
      this.#nonce,
      this.#secret,
    );
    return Uint8Array.from(Buffer.concat([header, this.#nonce, sealed]));
  }
}
