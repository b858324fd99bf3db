import { SESSION_SIZE } from "./aead.js";
import { agreeAsClient } from "./agreement.js";
import type { EngineKey, Engines } from "./engines.js";
import { NonceSequence } from "./envelope.js";
import { secretIdOf } from "./keys.js";
import { type PublicKey, publicKeyBytes } from "./service-keys.js";
import { type ServiceRule, ServiceRules } from "./service-rules.js";
import type { SodiumExports } from "./sodium.js";

/** Sessions that ended but may get replies yet. */
const ENDED_COUNT_MAX = 1024;
/**
 * The least requests of a session: with so many, the sessions kept cover the 65,536 requests that a
 * client may have under way.
 */
export const AGREEMENT_COUNT_MIN = 64;

/** What a client agreed on with the holder of a service's key, for the services of one rule. */
export interface ClientSession {
  rules: ServiceRules;
  rule: ServiceRule;
  /** Ends it by age; once it has ended, wipes it. */
  timer: Timer | undefined;
  /** What sealing() returns; its nonce is written anew for each. */
  sealing: AgreedSealing;
  nonces: NonceSequence;
  /** The id that replies come under. */
  replyId: number;
  replyKey: EngineKey;
}

type Timer = ReturnType<typeof setTimeout>;

export interface AgreedSealing {
  /** The service key's. */
  id: number;
  key: EngineKey;
  nonce: Uint8Array;
  /** The client's public key of this session. */
  publicKey: Uint8Array;
}

/**
 * The client's side of key agreement: for each public key of a service a session, begun by the
 * first request and ended by age, by count, or when the public keys are replaced.
 */
export class ClientSessions {
  readonly #sodium: SodiumExports;
  readonly #engines: Engines;
  readonly #ageMaxMs: number;
  readonly #countMax: number;
  readonly #graceMs: number;
  #rules: ServiceRules | undefined;
  readonly #current = new Map<ServiceRule, ClientSession>();
  /** The session of the last request, which most often is that of the next one. */
  #last: ClientSession | undefined;
  #lastService = "";
  /** The first to end first. */
  readonly #ended = new Set<ClientSession>();
  readonly #byReplyId = new Map<number, ClientSession>();

  constructor(parts: {
    sodium: SodiumExports;
    engines: Engines;
    ageMaxMs: number;
    countMax: number;
    graceMs: number;
  }) {
    this.#sodium = parts.sodium;
    this.#engines = parts.engines;
    this.#ageMaxMs = parts.ageMaxMs;
    this.#countMax = parts.countMax;
    this.#graceMs = parts.graceMs;
  }

  get isEmpty(): boolean {
    return this.#rules === undefined;
  }

  /** Replaces all public keys, or, when it throws, none. Each begins another session. */
  replace(publicKeys: Readonly<Record<string, PublicKey>>): void {
    const rules = new ServiceRules(publicKeys);
    // Now, and not with the first request: it takes some milliseconds.
    this.#engines.prepare();
    for (const session of this.#current.values()) this.#end(session);
    this.#rules = rules;
  }

  /** Whether requests to the service are sealed by agreement. */
  covers(service: string): boolean {
    return this.#rules?.ruleOf(service) !== undefined;
  }

  /** What the next request to a service is sealed with; undefined where no public key is its. */
  next(service: string): AgreedSealing | undefined {
    let session = this.#last;
    if (session === undefined || service !== this.#lastService) {
      const rules = this.#rules;
      const rule = rules?.ruleOf(service);
      if (rules === undefined || rule === undefined) return undefined;
      session = this.#current.get(rule) ?? this.#begin(rules, rule);
    }
    if (session.nonces.counter >= this.#countMax) {
      this.#end(session);
      session = this.#begin(session.rules, session.rule);
    }
    this.#lastService = service;
    this.#last = session;
    session.sealing.nonce = session.nonces.next();
    return session.sealing;
  }

  #begin(rules: ServiceRules, rule: ServiceRule): ClientSession {
    for (;;) {
      const agreed = agreeAsClient(this.#sodium, publicKeyBytes(rule.publicKey));
      const { publicKey, request, reply } = agreed;
      const replyId = secretIdOf(this.#sodium, reply);
      try {
        // One in 2^32 times and sessions: the id would name either of two keys.
        if (this.#byReplyId.has(replyId)) continue;
        const key = this.#engines.addKey(request);
        const session: ClientSession = {
          rules,
          rule,
          sealing: { id: rule.publicKey.id, key, nonce: publicKey, publicKey },
          nonces: new NonceSequence(0, publicKey.subarray(0, SESSION_SIZE)),
          replyId,
          replyKey: this.#engines.addKey(reply),
          timer: undefined,
        };
        session.timer = laterAlone(() => this.#end(session), this.#ageMaxMs);
        this.#current.set(rule, session);
        this.#byReplyId.set(replyId, session);
        return session;
      } finally {
        request.fill(0);
        reply.fill(0);
      }
    }
  }

  /** No more requests; replies to those under way still come. */
  #end(session: ClientSession): void {
    clearTimeout(session.timer);
    this.#current.delete(session.rule);
    if (this.#last === session) this.#last = undefined;
    this.#engines.dropKey(session.sealing.key);
    this.#ended.add(session);
    session.timer = laterAlone(() => this.#wipe(session), this.#graceMs);
    if (this.#ended.size <= ENDED_COUNT_MAX) return;
    for (const oldest of this.#ended) {
      this.#wipe(oldest);
      break;
    }
  }

  #wipe(session: ClientSession): void {
    clearTimeout(session.timer);
    this.#ended.delete(session);
    this.#byReplyId.delete(session.replyId);
    this.#engines.dropKey(session.replyKey);
  }

  /**
   * The key to open a reply of a service with: of a session with the holder of that service's
   * public key, and no other's.
   */
  findReply(id: number, service: string): EngineKey | undefined {
    const session = this.#byReplyId.get(id);
    if (session === undefined || session.rules.ruleOf(service) !== session.rule) return undefined;
    return session.replyKey;
  }

  /** Wipes all. */
  clear(): void {
    for (const session of [...this.#current.values()]) this.#end(session);
    for (const session of [...this.#ended]) this.#wipe(session);
    this.#rules = undefined;
  }
}

/** A timer that keeps no process alive. By timers keys go also where no request comes any more. */
function laterAlone(run: () => void, delayMs: number): Timer {
  const timer = setTimeout(run, delayMs);
  (timer as { unref?(): void }).unref?.();
  return timer;
}
