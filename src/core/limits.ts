import { assert } from "../base/assert.js";

/** Every bound of the broker's core. All sizes in bytes, all times in milliseconds. */
export interface Limits {
  /** Requests the broker holds at once, queued and in flight. */
  readonly requestsMax: number;
  /** Bytes of all requests the broker holds at once. */
  readonly requestBytesMax: number;
  /** Requests that may wait for one service; those given back by a lost worker come on top. */
  readonly queueCountMax: number;
  /** Bytes that may wait for one service. */
  readonly queueBytesMax: number;
  /** How long a request may wait for a worker before it is refused. */
  readonly queueWaitMsMax: number;
  /** How long a request may wait for a service that no worker serves. */
  readonly absentWaitMs: number;
  /**
   * A client may fill a queue up to this many times the space that is still free
   * (the dynamic threshold of Choudhury and Hahne, 1998): whatever one client offers,
   * some space is left for the next.
   */
  readonly queueShare: number;
  /** Requests one client may have queued and in flight. */
  readonly clientInFlightMax: number;
  /** One request or reply, with its header. */
  readonly recordBytesMax: number;
  /** Services the broker knows at once; half of them may be names that only clients asked for. */
  readonly servicesMax: number;
  /** Services one worker may serve. */
  readonly workerServicesMax: number;
  /** The largest `concurrency` a worker may announce. */
  readonly concurrencyMax: number;
  /** Attempts for a request that does not say how many. */
  readonly attemptsDefault: number;
  /** The deadline of a request that does not say one, and the longest that one may say. */
  readonly timeoutMsMax: number;
  /** How much work, in time, a worker may be handed beyond its concurrency. */
  readonly lookAheadMs: number;
  /** How many requests a worker may be handed beyond its concurrency. */
  readonly lookAheadMax: number;
}

export const defaultLimits: Limits = {
  requestsMax: 131_072,
  requestBytesMax: 128 * 1024 * 1024,
  queueCountMax: 65_536,
  queueBytesMax: 64 * 1024 * 1024,
  queueWaitMsMax: 10_000,
  absentWaitMs: 5_000,
  queueShare: 8,
  clientInFlightMax: 32_768,
  recordBytesMax: 16 * 1024 * 1024,
  servicesMax: 4_096,
  workerServicesMax: 1_024,
  concurrencyMax: 65_535,
  attemptsDefault: 3,
  timeoutMsMax: 24 * 3_600_000,
  lookAheadMs: 2,
  lookAheadMax: 8_192,
};

/**
 * The defaults with `overrides` laid over them.
 * Throws RangeError where a value is not a whole number in its range or two limits
 * contradict each other.
 */
export function resolveLimits(overrides: Partial<Limits> = {}): Limits {
  const limits = { ...defaultLimits };
  for (const [name, value] of Object.entries(overrides) as [keyof Limits, unknown][]) {
    if (!Object.hasOwn(defaultLimits, name))
      throw new RangeError(`limits: unknown limit "${name}"`);
    if (value === undefined) continue;
    const least = name === "lookAheadMs" || name === "lookAheadMax" ? 0 : 1;
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > 2 ** 31) {
      throw new RangeError(`limits.${name} must be a whole number ${least}..2^31, got ${value}`);
    }
    limits[name] = value as number;
  }
  const ordered: [keyof Limits, keyof Limits][] = [
    ["queueCountMax", "requestsMax"],
    ["queueBytesMax", "requestBytesMax"],
    ["clientInFlightMax", "requestsMax"],
    ["recordBytesMax", "queueBytesMax"],
    ["workerServicesMax", "servicesMax"],
    ["absentWaitMs", "queueWaitMsMax"],
    ["queueWaitMsMax", "timeoutMsMax"],
  ];
  for (const [lesser, greater] of ordered) {
    if (limits[lesser] > limits[greater]) {
      throw new RangeError(
        `limits.${lesser} (${limits[lesser]}) must not exceed limits.${greater} (${limits[greater]})`,
      );
    }
  }
  if (limits.attemptsDefault > 255) {
    throw new RangeError(`limits.attemptsDefault must be 1..255, got ${limits.attemptsDefault}`);
  }
  if (limits.concurrencyMax > 65_535) {
    throw new RangeError(`limits.concurrencyMax must be 1..65535, got ${limits.concurrencyMax}`);
  }
  return limits;
}

/** Priorities are 0 (first) to 7 (last); a request that says none has the middle one. */
export const PRIORITY_COUNT = 8;
export const PRIORITY_DEFAULT = 4;

assert(PRIORITY_DEFAULT < PRIORITY_COUNT, "the default priority is one of them");
