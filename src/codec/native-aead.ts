import { type Aead, copySecret, SECRET_SIZE, SESSION_SIZE, TAG_SIZE } from "./aead.js";

interface Cipher {
  setAAD(associated: Uint8Array): unknown;
  update(bytes: Uint8Array): Uint8Array;
  final(): Uint8Array;
}

/** What is used of node:crypto. Passed in, for a browser has none and a test has another. */
export interface NativeCrypto {
  createCipheriv(
    cipher: "chacha20-poly1305",
    key: Uint8Array,
    iv: Uint8Array,
    options: { authTagLength: number },
  ): Cipher & { getAuthTag(): Uint8Array };
  createCipheriv(cipher: "chacha20", key: Uint8Array, iv: Uint8Array): Pick<Cipher, "update">;
  createDecipheriv(
    cipher: "chacha20-poly1305",
    key: Uint8Array,
    iv: Uint8Array,
    options: { authTagLength: number },
  ): Cipher & { setAuthTag(tag: Uint8Array): unknown };
}

/** What the nonces of one session share: their first 16 bytes, and the key derived with them. */
interface Session {
  /** The 16 bytes, two a character. */
  name: string;
  subkey: Uint8Array;
}

/** A key and the subkeys derived from it. */
export interface NativeKey {
  secret: Uint8Array;
  sending: Session | undefined;
  receiving: Session | undefined;
  /** All that were received from, the least recent first, `receiving` last. */
  sessions: Map<string, Session>;
}

const CIPHER = "chacha20-poly1305";
const CIPHER_OPTIONS = { authTagLength: TAG_SIZE };
const IV_SIZE = 12;
/** A derived key costs about 3 us to make again. */
export const SESSIONS_COUNT_MAX = 1024;

const BLOCK_SIZE = 64;
const ZEROS = new Uint8Array(BLOCK_SIZE);
const CONSTANTS = new TextEncoder().encode("expand 32-byte k");

/** bytes[at..at+4] - minus[from..from+4], as u32, little-endian, into target. */
function subtract(
  bytes: DataView,
  at: number,
  minus: DataView,
  from: number,
  target: DataView,
  to: number,
): void {
  target.setUint32(to, bytes.getUint32(at, true) - minus.getUint32(from, true), true);
}

/**
 * Frees memory that node:crypto made, now and not when the garbage collector comes by: otherwise
 * each message is written to other memory than the last, which is in no cache. Node 20 cannot.
 */
function giveBack(bytes: Uint8Array): void {
  const buffer = bytes.buffer as ArrayBuffer & { transfer?(size: number): ArrayBuffer };
  // Only what is nobody else's.
  if (buffer.transfer !== undefined && buffer.byteLength === bytes.length) buffer.transfer(0);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * HChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2). A ChaCha20 block is its state after 20 rounds plus
 * the state before them; HChaCha20 is the first and last four words without the addition. There
 * the state had the constants and the 16 bytes, which OpenSSL takes as counter and nonce in one.
 */
export function hchacha20(crypto: NativeCrypto, key: Uint8Array, input: Uint8Array): Uint8Array {
  const block = crypto.createCipheriv("chacha20", key, input).update(ZEROS);
  const subkey = new Uint8Array(new ArrayBuffer(SECRET_SIZE));
  const [blockView, target] = [viewOf(block), viewOf(subkey)];
  const [constants, inputView] = [viewOf(CONSTANTS), viewOf(input)];
  for (let at = 0; at < 16; at += 4) {
    subtract(blockView, at, constants, at, target, at);
    subtract(blockView, 48 + at, inputView, at, target, 16 + at);
  }
  block.fill(0);
  return subkey;
}

/**
 * The engine of node:crypto: IETF ChaCha20-Poly1305 under a subkey of HChaCha20, which is what
 * XChaCha20-Poly1305 is. The subkey is that of a session, so it is derived once for many messages.
 */
export class NativeAead implements Aead<NativeKey> {
  readonly #crypto: NativeCrypto;
  readonly #iv = new Uint8Array(IV_SIZE);
  #plain: Uint8Array | undefined;

  /** @param crypto one whose engine agrees() with another */
  constructor(crypto: NativeCrypto) {
    this.#crypto = crypto;
  }

  addKey(secret: Uint8Array): NativeKey {
    return {
      secret: copySecret(secret),
      sending: undefined,
      receiving: undefined,
      sessions: new Map(),
    };
  }

  dropKey(key: NativeKey): void {
    key.secret.fill(0);
    key.sending?.subkey.fill(0);
    for (const { subkey } of key.sessions.values()) subkey.fill(0);
    key.sessions.clear();
    key.sending = undefined;
    key.receiving = undefined;
  }

  encrypt(
    plain: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: NativeKey,
    target: Uint8Array,
    offset: number,
  ): void {
    const name = nameOf(nonce);
    if (key.sending?.name !== name) {
      key.sending?.subkey.fill(0);
      key.sending = this.#derive(key, nonce, name);
    }
    const iv = this.#ivOf(nonce);
    const cipher = this.#crypto.createCipheriv(CIPHER, key.sending.subkey, iv, CIPHER_OPTIONS);
    cipher.setAAD(associated);
    const sealed = cipher.update(plain);
    target.set(sealed, offset);
    giveBack(sealed);
    cipher.final();
    target.set(cipher.getAuthTag(), offset + plain.length);
  }

  decrypt(
    sealed: Uint8Array,
    associated: Uint8Array,
    nonce: Uint8Array,
    key: NativeKey,
  ): Uint8Array | undefined {
    this.settle();
    const name = nameOf(nonce);
    const known = key.receiving?.name === name ? key.receiving : key.sessions.get(name);
    const session = known ?? this.#derive(key, nonce, name);
    // Shared memory could change between the check and the decryption.
    const bytes = sealed.buffer instanceof ArrayBuffer ? sealed : sealed.slice();
    const size = bytes.length - TAG_SIZE;
    const iv = this.#ivOf(nonce);
    const decipher = this.#crypto.createDecipheriv(CIPHER, session.subkey, iv, CIPHER_OPTIONS);
    decipher.setAAD(associated);
    decipher.setAuthTag(bytes.subarray(size));
    // No Buffer: its slice() is no copy, and would be wiped with it.
    const plain = decipher.update(bytes.subarray(0, size));
    this.#plain = new Uint8Array(plain.buffer, plain.byteOffset, size);
    try {
      decipher.final();
    } catch {
      // What was decrypted is nobody's plain text.
      this.settle();
      if (known === undefined) session.subkey.fill(0);
      return undefined;
    }
    // Only now: who has no key cannot drive out those who have.
    if (session !== key.receiving) remember(key, session);
    return this.#plain;
  }

  settle(): void {
    if (this.#plain === undefined) return;
    this.#plain.fill(0);
    giveBack(this.#plain);
    this.#plain = undefined;
  }

  free(): void {
    this.settle();
    this.#iv.fill(0);
  }

  /** 0000 || nonce[16..24], overwritten by the next call. */
  #ivOf(nonce: Uint8Array): Uint8Array {
    const iv = this.#iv;
    for (let at = 4; at < IV_SIZE; at++) iv[at] = nonce[SESSION_SIZE - 4 + at];
    return iv;
  }

  #derive(key: NativeKey, nonce: Uint8Array, name: string): Session {
    const input = nonce.subarray(0, SESSION_SIZE);
    return { name, subkey: hchacha20(this.#crypto, key.secret, input) };
  }
}

function nameOf(nonce: Uint8Array): string {
  const unit = (at: number) => nonce[at] | (nonce[at + 1] << 8);
  return String.fromCharCode(
    unit(0),
    unit(2),
    unit(4),
    unit(6),
    unit(8),
    unit(10),
    unit(12),
    unit(14),
  );
}

function remember(key: NativeKey, session: Session): void {
  key.receiving = session;
  // Set again, the session moves to the end: the first of the map is the least recent.
  key.sessions.delete(session.name);
  key.sessions.set(session.name, session);
  if (key.sessions.size <= SESSIONS_COUNT_MAX) return;
  for (const [name, { subkey }] of key.sessions) {
    subkey.fill(0);
    key.sessions.delete(name);
    break;
  }
}
