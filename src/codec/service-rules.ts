import { type PublicKey, publicKeyBytes } from "./service-keys.js";

/** Which services a public key is of: all whose names match. */
export interface ServiceRule {
  /** A name, `prefix.*`, or `*`. */
  pattern: string;
  publicKey: PublicKey;
}

const NAMES_COUNT_MAX = 1024;

/** The public keys of services, by name: an exact one first, then the longest prefix, then `*`. */
export class ServiceRules {
  readonly #exact = new Map<string, ServiceRule>();
  /** The longest first. */
  readonly #prefixes: { prefix: string; rule: ServiceRule }[] = [];
  readonly #known = new Map<string, ServiceRule | undefined>();

  /** @throws RangeError, TypeError for a pattern that is none, a key that is none, or no rule */
  constructor(publicKeys: Readonly<Record<string, PublicKey>>) {
    if (typeof publicKeys !== "object" || publicKeys === null) {
      throw new TypeError(`servicePublicKeys must be an object, got ${publicKeys}`);
    }
    const entries = Object.entries(publicKeys);
    if (entries.length === 0) {
      // None would turn encryption off without anyone having said so.
      throw new RangeError("servicePublicKeys must name a service or more, got none");
    }
    for (const [pattern, publicKey] of entries) {
      publicKeyBytes(publicKey);
      const rule = { pattern, publicKey };
      const isPrefix = pattern === "*" || pattern.endsWith(".*");
      const name = isPrefix ? pattern.slice(0, -1) : pattern;
      if (pattern === "" || name.includes("*")) {
        const got = JSON.stringify(pattern);
        throw new RangeError(`servicePublicKeys: a name, "prefix.*" or "*", got ${got}`);
      }
      if (isPrefix) this.#prefixes.push({ prefix: name, rule });
      else this.#exact.set(name, rule);
    }
    this.#prefixes.sort((left, right) => right.prefix.length - left.prefix.length);
  }

  /** The rule for a service, always the same object; undefined where none is. */
  ruleOf(service: string): ServiceRule | undefined {
    const known = this.#known.get(service);
    if (known !== undefined || this.#known.has(service)) return known;
    const rule =
      this.#exact.get(service) ??
      this.#prefixes.find(({ prefix }) => service.startsWith(prefix))?.rule;
    // Names may come from outside: forget all rather than keep every name that was ever tried.
    if (this.#known.size >= NAMES_COUNT_MAX) this.#known.clear();
    this.#known.set(service, rule);
    return rule;
  }
}
