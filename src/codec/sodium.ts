import sodium from "libsodium-wrappers";
import { CodecError } from "./errors.js";

/** The exports of libsodium's WASM that are used; sizes of 64 bits come as two halves. */
export interface SodiumExports {
  HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(offset: number): void;
  _crypto_generichash(
    hash: number,
    hashSize: number,
    input: number,
    inputSize: number,
    inputSizeHigh: number,
    key: number,
    keySize: number,
  ): number;
  _crypto_scalarmult_base(publicKey: number, secret: number): number;
  _crypto_scalarmult(shared: number, secret: number, publicKey: number): number;
  _crypto_kx_keypair(publicKey: number, secret: number): number;
  _crypto_kx_client_session_keys(
    receiving: number,
    sending: number,
    clientPublicKey: number,
    clientSecret: number,
    serverPublicKey: number,
  ): number;
  _crypto_kx_server_session_keys(
    receiving: number,
    sending: number,
    serverPublicKey: number,
    serverSecret: number,
    clientPublicKey: number,
  ): number;
  _crypto_aead_xchacha20poly1305_ietf_encrypt(
    sealed: number,
    sealedSizeAt: number,
    plain: number,
    plainSize: number,
    plainSizeHigh: number,
    associated: number,
    associatedSize: number,
    associatedSizeHigh: number,
    secretNonce: number,
    nonce: number,
    key: number,
  ): number;
  _crypto_aead_xchacha20poly1305_ietf_decrypt(
    plain: number,
    plainSizeAt: number,
    secretNonce: number,
    sealed: number,
    sealedSize: number,
    sealedSizeHigh: number,
    associated: number,
    associatedSize: number,
    associatedSizeHigh: number,
    nonce: number,
    key: number,
  ): number;
}

/** libsodium's bare exports, once it is ready. */
export async function loadSodium(): Promise<SodiumExports> {
  await sodium.ready;
  return (sodium as unknown as { libsodium: SodiumExports }).libsodium;
}

/** Memory of libsodium's heap, by offset. */
export function allocate(exports: SodiumExports, size: number): number {
  let offset = 0;
  try {
    offset = exports._malloc(size);
  } catch {
    // Falls through: 0 is no memory either.
  }
  if (offset === 0) throw new CodecError("OUT_OF_MEMORY", `no memory for ${size} bytes`);
  return offset;
}

/** Wipes and frees. */
export function release(exports: SodiumExports, offset: number, size: number): void {
  exports.HEAPU8.fill(0, offset, offset + size);
  exports._free(offset);
}
