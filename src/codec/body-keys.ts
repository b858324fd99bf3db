import { SESSION_SIZE } from "./aead.js";
import { ClientSessions } from "./client-sessions.js";
import { type CodecContext, isAsked, isOpenedOnce } from "./context.js";
import type { EngineKey, Engines } from "./engines.js";
import {
  AGREED_FIELD_SIZE,
  agreedAtOf,
  COUNTER_END,
  counterOf,
  type Envelope,
  nonceOf,
  sessionOf,
} from "./envelope.js";
import { CodecError } from "./errors.js";
import { idTextOf } from "./key-text.js";
import type { completeOptions } from "./options.js";
import { ReplayGuard } from "./replay.js";
import { KeyRing } from "./ring.js";
import { type ServiceSession, ServiceSessions } from "./service-sessions.js";
import type { SodiumExports } from "./sodium.js";

/** The key that a body is sealed under, and the nonce it is sealed with. */
export interface Sealing {
  id: number;
  key: EngineKey;
  nonce: Uint8Array;
  /** The client's public key, where the key was agreed on with it and the body must say so. */
  publicKey?: Uint8Array;
}

/** Who says what a body is sealed with: BodyKeys, or in a codec's thread what the codec told it. */
export interface SealingKeys {
  sealing(context: CodecContext, origin: Origin | undefined): Sealing | undefined;
}

/** Who says what opens a body, and remembers what was opened. */
export interface OpeningKeys {
  admit(bytes: Uint8Array, envelope: Envelope, context: CodecContext): EngineKey | undefined;
  sessionOf(bytes: Uint8Array, envelope: Envelope): ServiceSession;
  keep(session: ServiceSession): void;
  drop(session: ServiceSession): void;
  markOpened(bytes: Uint8Array, session: ServiceSession | null, context: CodecContext): void;
}

/** What a request came under: a session with its client, or null, a shared key or none. */
export type Origin = ServiceSession | null;

/**
 * Which key a body is sealed under, and which opens it: a shared one of the ring, one that a client
 * agreed on with a service, or none in plain mode.
 *
 * | body | keys that may open it |
 * |-|-|
 * | request, AGREED | what a service key agreed on with the public key in it |
 * | request | the ring |
 * | reply of a service that `servicePublicKeys` covers | sessions with that public key |
 * | any other reply, and an event | the ring |
 */
export class BodyKeys implements SealingKeys, OpeningKeys {
  readonly ring: KeyRing<EngineKey>;
  readonly clients: ClientSessions;
  readonly services: ServiceSessions;
  readonly #guard: ReplayGuard;

  constructor(
    parts: { sodium: SodiumExports; engines: Engines },
    options: ReturnType<typeof completeOptions>,
  ) {
    this.ring = new KeyRing(parts.engines);
    this.clients = new ClientSessions({
      ...parts,
      ageMaxMs: options.agreementAgeMaxMs,
      countMax: options.agreementCountMax,
      graceMs: options.agreementGraceMs,
    });
    this.services = new ServiceSessions({
      ...parts,
      countMax: options.agreementSessionsMax,
      windowSize: options.replayWindow,
    });
    this.#guard = new ReplayGuard(options.replayWindow, options.replaySessionsMax);
  }

  /** Whether there is no key of any kind: plain mode. */
  get isEmpty(): boolean {
    return this.ring.isEmpty && this.clients.isEmpty && this.services.isEmpty;
  }

  /**
   * What to seal a body with; undefined in plain mode.
   *
   * @param origin of the request that the body answers; undefined where that is not known
   * @throws CodecError `NO_KEY`: with any key given, nothing goes in clear
   */
  sealing(context: CodecContext, origin: Origin | undefined): Sealing | undefined {
    const { service, direction } = context;
    if (isAsked(context)) {
      const agreed = this.clients.next(service);
      if (agreed !== undefined) return agreed;
    } else if (direction === "reply" && origin) {
      return this.#answering(origin);
    } else if (direction === "reply" && origin === undefined && !this.services.isEmpty) {
      const reason = "a codec with service keys seals a reply by what openRequest() returned";
      throw new CodecError("NO_KEY", reason);
    }
    const sealing = this.ring.next();
    if (sealing === undefined && !this.isEmpty) {
      throw new CodecError("NO_KEY", `no key given is for the ${direction} of ${service}`);
    }
    return sealing;
  }

  #answering(origin: ServiceSession): Sealing {
    const session = this.services.revive(origin);
    if (session === undefined) {
      const reason = `service key ${idTextOf(origin.serviceKeyId)} is held no more`;
      throw new CodecError("NO_KEY", reason);
    }
    return { id: session.replyId, key: session.replyKey, nonce: session.replyNonces.next() };
  }

  /**
   * The key that opens a body; undefined in plain mode, and for one that is AGREED, whose key
   * sessionOf() has. Refuses, before any work is done for it, what no key held can open.
   *
   * @throws CodecError `UNSEALED`, `UNKNOWN_KEY`, `BAD_FLAGS`, `BAD_AGREEMENT`
   */
  admit(bytes: Uint8Array, envelope: Envelope, context: CodecContext): EngineKey | undefined {
    const { isSealed, isAgreed, keyId } = envelope;
    if (!isSealed) {
      if (this.isEmpty) return undefined;
      throw new CodecError("UNSEALED", "the body is not sealed, and this codec holds keys");
    }
    if (isAgreed) {
      this.#admitAgreed(bytes, envelope, context);
      return undefined;
    }
    const key = this.#find(keyId, context);
    if (key === undefined) throw this.#unknownKey(keyId);
    return key;
  }

  #admitAgreed(bytes: Uint8Array, { flags, keyId }: Envelope, context: CodecContext): void {
    if (!isAsked(context)) {
      // Or whoever has the public key of a service that asks others could answer for these.
      throw new CodecError("BAD_FLAGS", `no ${context.direction} is AGREED`);
    }
    if (!this.services.holds(keyId)) throw this.#unknownKey(keyId);
    const publicAt = agreedAtOf(flags);
    const nonce = nonceOf(bytes);
    for (let at = 0; at < SESSION_SIZE; at++) {
      if (nonce[at] === bytes[publicAt + at]) continue;
      const reason = "the nonce does not begin with the first 16 bytes of the public key";
      throw new CodecError("BAD_AGREEMENT", reason);
    }
  }

  #find(keyId: number, { service, direction }: CodecContext): EngineKey | undefined {
    if (direction === "reply" && !this.clients.isEmpty) {
      const agreed = this.clients.findReply(keyId, service);
      // A holder of a shared key is not whom the public key stands for.
      if (agreed !== undefined || this.clients.covers(service)) return agreed;
    }
    return this.ring.find(keyId);
  }

  #unknownKey(keyId: number): CodecError {
    const ids = [...this.ring.ids, ...this.services.ids];
    const held = ids.map(idTextOf).join(", ") || "none";
    return new CodecError("UNKNOWN_KEY", `sealed under ${idTextOf(keyId)}, keys held: ${held}`);
  }

  /**
   * The session of an admitted body that is AGREED, to be given to services.keep() once its tag has
   * verified, else to services.drop().
   *
   * @throws CodecError `BAD_AGREEMENT`
   */
  sessionOf(bytes: Uint8Array, { flags, keyId }: Envelope): ServiceSession {
    const at = agreedAtOf(flags);
    const session = this.services.agree(keyId, bytes.subarray(at, at + AGREED_FIELD_SIZE));
    if (session !== undefined) return session;
    throw new CodecError("BAD_AGREEMENT", "the public key in it is a point of small order");
  }

  /** The tag of the session's body has verified. */
  keep(session: ServiceSession): void {
    this.services.keep(session);
  }

  /** The tag of the session's body has not verified. */
  drop(session: ServiceSession): void {
    this.services.drop(session);
  }

  /** Whether a body of this context is sealed under the ring's key, or in clear where there is none. */
  isOfRing(context: CodecContext, origin: Origin | undefined): boolean {
    if (context.direction === "event") return true;
    if (isAsked(context)) return !this.clients.covers(context.service);
    return !origin && (origin === null || this.services.isEmpty);
  }

  /**
   * Whether a body is opened by a key of the ring, or in plain mode by none: all that the codec's
   * thread knows of. The decision is admit()'s, with all keys, so that the thread is asked nothing
   * that it would grant and this codec would not.
   *
   * @throws CodecError as admit() does
   */
  isOpenedByRing(bytes: Uint8Array, envelope: Envelope, context: CodecContext): boolean {
    const key = this.admit(bytes, envelope, context);
    if (!envelope.isSealed) return true;
    return key !== undefined && key === this.ring.find(envelope.keyId);
  }

  /**
   * Marks a body whose tag has verified as opened, unless its context lets it be opened again.
   *
   * @throws CodecError `BAD_COUNTER`, `REPLAYED`, `STALE`
   */
  markOpened(bytes: Uint8Array, session: ServiceSession | null, context: CodecContext): void {
    const counter = counterOf(bytes);
    if (counter >= COUNTER_END) {
      throw new CodecError("BAD_COUNTER", `the nonce's counter ${counter} is 2^48 or more`);
    }
    if (!isOpenedOnce(context)) return;
    const freshness =
      session === null ? this.#guard.mark(sessionOf(bytes), counter) : session.window.mark(counter);
    if (freshness === "REPLAYED") {
      throw new CodecError("REPLAYED", `message ${counter} of its session was opened before`);
    }
    if (freshness === "STALE") {
      throw new CodecError("STALE", `message ${counter} is older than the replay window`);
    }
  }

  /** Wipes all keys. */
  clear(): void {
    this.ring.clear();
    this.clients.clear();
    this.services.clear();
  }
}
