import { copySecret } from "./aead.js";
import { agreeAsService } from "./agreement.js";
import type { EngineKey, Engines } from "./engines.js";
import { NonceSequence } from "./envelope.js";
import { idTextOf } from "./key-text.js";
import { secretIdOf } from "./keys.js";
import { ReplayWindow } from "./replay.js";
import { publicKeyBytes, type ServiceKey, serviceSecretBytes } from "./service-keys.js";
import type { SodiumExports } from "./sodium.js";

interface HeldKey {
  id: number;
  publicKey: Uint8Array;
  secret: Uint8Array;
}

/** What a service agreed on with one of its clients. */
export interface ServiceSession {
  /** Service key and the client's public key, two bytes a character. */
  name: string;
  serviceKeyId: number;
  servicePublicKey: Uint8Array;
  clientPublicKey: Uint8Array;
  /** Opens its requests. */
  key: EngineKey;
  /** The id that replies go under. */
  replyId: number;
  replyKey: EngineKey;
  replyNonces: NonceSequence;
  /** Its requests have one session of nonces, and so one window. */
  window: ReplayWindow;
  isWiped: boolean;
}

/** What a codec with service keys has counted. */
export interface AgreementStats {
  /** Keys agreed on, each an X25519, whether or not the body then opened. */
  agreed: number;
  /** Clients' sessions remembered now. */
  sessions: number;
  /** Sessions forgotten for others; their next request is agreed on anew. */
  evicted: number;
}

/**
 * The service's side of key agreement: its own keys, and what it agreed on with the clients it heard
 * of last. A session is remembered once a body of it has verified: who just sends public keys
 * drives nobody out.
 */
export class ServiceSessions {
  readonly #sodium: SodiumExports;
  readonly #engines: Engines;
  readonly #countMax: number;
  readonly #windowSize: number;
  #keys = new Map<number, HeldKey>();
  /** The least recent first. */
  readonly #sessions = new Map<string, ServiceSession>();
  #last: ServiceSession | undefined;
  #agreedCount = 0;
  #evictedCount = 0;

  constructor(parts: {
    sodium: SodiumExports;
    engines: Engines;
    countMax: number;
    windowSize: number;
  }) {
    this.#sodium = parts.sodium;
    this.#engines = parts.engines;
    this.#countMax = parts.countMax;
    this.#windowSize = parts.windowSize;
  }

  get ids(): number[] {
    return [...this.#keys.keys()];
  }

  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  get stats(): AgreementStats {
    const sessions = this.#sessions.size;
    return { agreed: this.#agreedCount, sessions, evicted: this.#evictedCount };
  }

  /** Whether the service key is one of ours. */
  holds(serviceKeyId: number): boolean {
    return this.#keys.has(serviceKeyId);
  }

  /** Replaces all service keys, or, when it throws, none. */
  replace(keys: readonly ServiceKey[]): void {
    if (!Array.isArray(keys) || keys.length === 0) {
      // An empty list would turn encryption off without anyone having said so.
      const got = keys?.length ?? typeof keys;
      throw new RangeError(`serviceKeys must hold a key or more, got ${got}`);
    }
    const given = new Map<number, ServiceKey>();
    for (const key of keys) {
      serviceSecretBytes(key);
      const other = given.get(key.id);
      if (other !== undefined && !isSame(other, key)) {
        throw new RangeError(`serviceKeys must differ in id, got two of ${idTextOf(key.id)}`);
      }
      given.set(key.id, key);
    }
    const after = new Map<number, HeldKey>();
    for (const [id, key] of given) {
      // A copy: the caller may wipe or change what it gave.
      const secret = copySecret(serviceSecretBytes(key));
      after.set(id, { id, publicKey: publicKeyBytes(key.publicKey), secret });
    }
    for (const session of [...this.#sessions.values()]) {
      const { serviceKeyId, servicePublicKey } = session;
      const held = after.get(serviceKeyId)?.publicKey;
      if (held === undefined || !isSameBytes(held, servicePublicKey)) this.#forget(session);
    }
    for (const { secret } of this.#keys.values()) secret.fill(0);
    this.#keys = after;
    // Now, and not with the first request: it takes some milliseconds.
    this.#engines.prepare();
  }

  /**
   * The session with a client: remembered, or agreed on now, at the cost of an X25519, and then to
   * be given to keep() or to drop(). Undefined for a public key that is none.
   */
  agree(serviceKeyId: number, clientPublicKey: Uint8Array): ServiceSession | undefined {
    const last = this.#last;
    if (last?.serviceKeyId === serviceKeyId && isSameBytes(last.clientPublicKey, clientPublicKey)) {
      return last;
    }
    const name = nameOf(serviceKeyId, clientPublicKey);
    return this.#sessions.get(name) ?? this.#derive(name, serviceKeyId, clientPublicKey);
  }

  #derive(
    name: string,
    serviceKeyId: number,
    clientPublicKey: Uint8Array,
  ): ServiceSession | undefined {
    const own = this.#keys.get(serviceKeyId);
    if (own === undefined) return undefined;
    this.#agreedCount++;
    const agreed = agreeAsService(this.#sodium, own, clientPublicKey);
    if (agreed === undefined) return undefined;
    const { request, reply } = agreed;
    try {
      return {
        name,
        serviceKeyId,
        servicePublicKey: own.publicKey,
        clientPublicKey: Uint8Array.from(clientPublicKey),
        key: this.#engines.addKey(request),
        replyId: secretIdOf(this.#sodium, reply),
        replyKey: this.#engines.addKey(reply),
        replyNonces: new NonceSequence(),
        window: new ReplayWindow(this.#windowSize),
        isWiped: false,
      };
    } finally {
      request.fill(0);
      reply.fill(0);
    }
  }

  /** Remembers a session that a body has verified under, as the most recent. */
  keep(session: ServiceSession): void {
    if (session === this.#last) return;
    // Set again, the session moves to the end: the first of the map is the least recent.
    this.#sessions.delete(session.name);
    this.#sessions.set(session.name, session);
    this.#last = session;
    if (this.#sessions.size <= this.#countMax) return;
    for (const oldest of this.#sessions.values()) {
      this.#evictedCount++;
      this.#forget(oldest);
      break;
    }
  }

  /** Wipes a session that was agreed on for nothing; one that is remembered stays. */
  drop(session: ServiceSession): void {
    if (this.#sessions.get(session.name) !== session) this.#wipe(session);
  }

  /**
   * The session, usable: one that was forgotten since its request came is agreed on again.
   * Undefined when its service key is held no more.
   */
  revive(session: ServiceSession): ServiceSession | undefined {
    if (!session.isWiped) return session;
    const again = this.agree(session.serviceKeyId, session.clientPublicKey);
    if (again !== undefined) this.keep(again);
    return again;
  }

  #forget(session: ServiceSession): void {
    this.#sessions.delete(session.name);
    if (this.#last === session) this.#last = undefined;
    this.#wipe(session);
  }

  #wipe(session: ServiceSession): void {
    session.isWiped = true;
    this.#engines.dropKey(session.key);
    this.#engines.dropKey(session.replyKey);
  }

  /** Wipes all. */
  clear(): void {
    for (const session of this.#sessions.values()) this.#wipe(session);
    this.#sessions.clear();
    this.#last = undefined;
    for (const { secret } of this.#keys.values()) secret.fill(0);
    this.#keys.clear();
  }
}

function nameOf(serviceKeyId: number, publicKey: Uint8Array): string {
  const unit = (at: number) => publicKey[at] | (publicKey[at + 1] << 8);
  return String.fromCharCode(
    serviceKeyId & 0xffff,
    serviceKeyId >>> 16,
    unit(0),
    unit(2),
    unit(4),
    unit(6),
    unit(8),
    unit(10),
    unit(12),
    unit(14),
    unit(16),
    unit(18),
    unit(20),
    unit(22),
    unit(24),
    unit(26),
    unit(28),
    unit(30),
  );
}

function isSame(left: ServiceKey, right: ServiceKey): boolean {
  return isSameBytes(publicKeyBytes(left.publicKey), publicKeyBytes(right.publicKey));
}

function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}
