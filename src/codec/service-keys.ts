import { isWeakPublicKey, publicKeyOf } from "./agreement.js";
import { CodecError } from "./errors.js";
import {
  formatText,
  idOf,
  idTextOf,
  type KeyKind,
  keyBytes,
  parseText,
  randomBytes,
} from "./key-text.js";
import { loadSodium, type SodiumExports } from "./sodium.js";

const ID_DOMAIN = new TextEncoder().encode("wasmq-public-key-id-1");
const PUBLIC_KIND: KeyKind = {
  name: "public key",
  prefix: "wasmq-public-key-1",
  domain: ID_DOMAIN,
};
/** Its id is that of its public key. */
const SERVICE_KIND: KeyKind = {
  name: "service key",
  prefix: "wasmq-service-key-1",
  domain: ID_DOMAIN,
};

const bytesOf = new WeakMap<PublicKey, Uint8Array>();
const secretOf = new WeakMap<ServiceKey, Uint8Array>();

/**
 * What a client must know of a service to agree on keys with it: an X25519 public key. No secret.
 * Made by {@link parsePublicKey}, {@link importPublicKey} or {@link generateServiceKey}.
 */
export class PublicKey {
  /** 1..2^32-1, derived from the bytes. */
  readonly id: number;

  /** @internal */
  constructor(id: number, bytes: Uint8Array) {
    this.id = id;
    bytesOf.set(this, bytes);
    Object.freeze(this);
  }

  /** The id as eight hexadecimal digits. */
  get idText(): string {
    return idTextOf(this.id);
  }

  toString(): string {
    return `PublicKey ${this.idText}`;
  }
}

/**
 * The secret half of a service's key pair. Made by {@link generateServiceKey},
 * {@link importServiceKey} or {@link parseServiceKey}. It does not show its secret when it is
 * logged, inspected or serialized; {@link formatServiceKey} does.
 */
export class ServiceKey {
  /** What its clients are given. */
  readonly publicKey: PublicKey;

  /** @internal */
  constructor(publicKey: PublicKey, secret: Uint8Array) {
    this.publicKey = publicKey;
    secretOf.set(this, secret);
    Object.freeze(this);
  }

  /** The public key's. */
  get id(): number {
    return this.publicKey.id;
  }

  /** The id as eight hexadecimal digits. */
  get idText(): string {
    return this.publicKey.idText;
  }

  toString(): string {
    return `ServiceKey ${this.idText}`;
  }
}

/** The bytes themselves, not a copy. */
export function publicKeyBytes(key: PublicKey): Uint8Array {
  const bytes = bytesOf.get(key);
  if (bytes === undefined) throw new TypeError(`public key must be a PublicKey, got ${typeof key}`);
  return bytes;
}

/** The secret itself, not a copy. */
export function serviceSecretBytes(key: ServiceKey): Uint8Array {
  const secret = secretOf.get(key);
  if (secret === undefined) throw new TypeError(`key must be a ServiceKey, got ${typeof key}`);
  return secret;
}

function newPublicKey(sodium: SodiumExports, bytes: Uint8Array): PublicKey {
  return new PublicKey(idOf(sodium, PUBLIC_KIND, bytes), bytes);
}

function newServiceKey(sodium: SodiumExports, secret: Uint8Array): ServiceKey {
  return new ServiceKey(newPublicKey(sodium, publicKeyOf(sodium, secret)), secret);
}

/** A new key pair for a service. */
export async function generateServiceKey(): Promise<ServiceKey> {
  return newServiceKey(await loadSodium(), randomBytes());
}

/**
 * A key pair of a secret of 32 bytes that comes from elsewhere. The bytes are copied; they must be
 * uniformly random.
 *
 * @throws CodecError `KEY_INVALID` when there are not 32
 */
export async function importServiceKey(secret: Uint8Array): Promise<ServiceKey> {
  const copy = keyBytes(SERVICE_KIND, secret);
  return newServiceKey(await loadSodium(), copy);
}

/**
 * A public key of its 32 bytes (RFC 7748, 5), which are copied.
 *
 * @throws CodecError `KEY_INVALID` when there are not 32, or anyone could agree on its behalf
 */
export async function importPublicKey(bytes: Uint8Array): Promise<PublicKey> {
  const copy = keyBytes(PUBLIC_KIND, bytes);
  const sodium = await loadSodium();
  if (isWeakPublicKey(sodium, copy)) {
    throw new CodecError("KEY_INVALID", "a public key must not be a point of small order");
  }
  return newPublicKey(sodium, copy);
}

/** The token for a file: `wasmq-service-key-1.<id, 8 hex>.<secret, base64url>`. Secret! */
export function formatServiceKey(key: ServiceKey): string {
  return formatText(SERVICE_KIND, idTextOf(key.id), serviceSecretBytes(key));
}

/** The token for a file: `wasmq-public-key-1.<id, 8 hex>.<bytes, base64url>`. Not secret. */
export function formatPublicKey(key: PublicKey): string {
  return formatText(PUBLIC_KIND, idTextOf(key.id), publicKeyBytes(key));
}

/**
 * Reads the token of {@link formatServiceKey}; space around it is ignored.
 *
 * @throws CodecError `KEY_INVALID` when the form, the size or the id is wrong
 */
export function parseServiceKey(text: string): Promise<ServiceKey> {
  return parseText(SERVICE_KIND, text, importServiceKey);
}

/**
 * Reads the token of {@link formatPublicKey}; space around it is ignored.
 *
 * @throws CodecError `KEY_INVALID` when the form, the size or the id is wrong
 */
export function parsePublicKey(text: string): Promise<PublicKey> {
  return parseText(PUBLIC_KIND, text, importPublicKey);
}
