import { checkRelations, type Limits, overlay, type ServiceLimits } from "./limits.js";

/**
 * Limits of some services that differ from those of the rest, by name: `orders.price` for one,
 * `orders.*` for all whose names begin so, `*` for all.
 */
export type ServiceOverrides = Readonly<Record<string, Partial<ServiceLimits>>>;

const OVERRIDABLE: readonly (keyof ServiceLimits)[] = [
  "queueCountMax",
  "queueBytesMax",
  "queueWaitMsMax",
  "absentWaitMs",
  "queueShare",
  "codelTargetMs",
  "codelIntervalMs",
  "queueShortCount",
  "fairQuantumBytes",
  "queueOrder",
];

function isOfService(name: string): boolean {
  return OVERRIDABLE.includes(name as keyof ServiceLimits);
}

/** Which limits a service has: those of its own name, else of the longest pattern that fits. */
export class ServiceRules {
  readonly #limits: Limits;
  readonly #exact = new Map<string, ServiceLimits>();
  /** Patterns without their star, longest first. */
  readonly #prefixes: { prefix: string; limits: ServiceLimits }[] = [];

  /** Throws RangeError for what is no limit of a service, TypeError for a pattern that is none. */
  constructor(limits: Limits, overrides: ServiceOverrides = {}) {
    this.#limits = limits;
    for (const [pattern, own] of Object.entries(overrides)) {
      const where = `services[${JSON.stringify(pattern)}]`;
      const star = pattern.indexOf("*");
      if (pattern === "" || (star !== -1 && star !== pattern.length - 1)) {
        throw new TypeError(`${where}: a pattern is a name, or its beginning and a *`);
      }
      if (typeof own !== "object" || own === null || Array.isArray(own)) {
        throw new TypeError(`${where} must be an object of limits`);
      }
      for (const name of Object.keys(own)) {
        if (isOfService(name)) continue;
        const there = OVERRIDABLE.join(", ");
        throw new RangeError(`${where}: "${name}" is no limit of a service; there are ${there}`);
      }
      const resolved = overlay(where, limits, own);
      checkRelations(resolved, (key) => `${isOfService(key) ? where : "limits"}.${key}`);
      if (star === -1) this.#exact.set(pattern, resolved);
      else this.#prefixes.push({ prefix: pattern.slice(0, -1), limits: resolved });
    }
    this.#prefixes.sort((one, other) => other.prefix.length - one.prefix.length);
  }

  /** Asked once for each service that becomes known. */
  of(name: string): ServiceLimits {
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    return this.#prefixes.find(({ prefix }) => name.startsWith(prefix))?.limits ?? this.#limits;
  }
}
