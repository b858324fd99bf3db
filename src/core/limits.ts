import { assert } from "../base/assert.js";
import { shown } from "../base/check.js";
import { RECORD_BYTES_CEILING } from "../base/record-sizes.js";
import type { TopicLimits } from "./topics/topics.js";

/** What is taken next from a queue: see `ServiceLimits.queueOrder`. */
export type QueueOrder = "fifo" | "newest-first-when-overloaded";

/** What bounds the queue of one service; each service may have its own. */
export interface ServiceLimits {
  /** Requests that may wait for one service; those given back by a lost worker come on top. */
  readonly queueCountMax: number;
  /** Bytes that may wait for one service. */
  readonly queueBytesMax: number;
  /** How long a request may wait for a worker before it is refused. */
  readonly queueWaitMsMax: number;
  /**
   * How long a request may wait for a service that no worker serves. Where it is not given, no longer than
   * `queueWaitMsMax`.
   */
  readonly absentWaitMs: number;
  /**
   * A client may fill a queue up to this many times the space that is still free
   * (the dynamic threshold of Choudhury and Hahne, 1998): whatever one client offers,
   * some space is left for the next.
   */
  readonly queueShare: number;
  /**
   * When requests waited longer than the target for a whole interval, the queue stands: until it moves
   * again, what waited more than twice the target is refused, and what would have to (see
   * wait-control.ts). Priorities above the default and what a worker gave back are spared. A target
   * of 0 turns it off, and client credit with it.
   */
  readonly codelTargetMs: number;
  readonly codelIntervalMs: number;
  /** Up to so many waiting requests a queue is short: nobody is refused for its wait, or held back. */
  readonly queueShortCount: number;
  /**
   * What one client's turn at a queue earns it, in bytes, and the least that a request costs. Small
   * requests go one of each client in turn; large ones share by bytes.
   */
  readonly fairQuantumBytes: number;
  /**
   * "fifo": what one client asks of one service at one priority is handed out in the order it came.
   * "newest-first-when-overloaded": in that order but while the queue stands; then the newest first,
   * whose client still waits for it.
   */
  readonly queueOrder: QueueOrder;
}

/** Every bound of the broker's core. All sizes in bytes, all times in milliseconds. */
export interface Limits extends ServiceLimits, TopicLimits {
  /** Requests the broker holds at once, queued and in flight. */
  readonly requestsMax: number;
  /** Bytes of all requests the broker holds at once, tasks not among them. */
  readonly requestBytesMax: number;
  /** Requests one client may have queued and in flight. */
  readonly clientInFlightMax: number;
  /** What client credit leaves a client under any load. */
  readonly clientCreditMin: number;
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
  codelTargetMs: 250,
  codelIntervalMs: 500,
  queueShortCount: 64,
  fairQuantumBytes: 16 * 1024,
  queueOrder: "fifo",
  clientInFlightMax: 32_768,
  clientCreditMin: 4,
  recordBytesMax: 16 * 1024 * 1024,
  servicesMax: 4_096,
  workerServicesMax: 1_024,
  concurrencyMax: 65_535,
  attemptsDefault: 3,
  timeoutMsMax: 24 * 3_600_000,
  lookAheadMs: 2,
  lookAheadMax: 8_192,
  subscriptionsMax: 131_072,
  clientSubscriptionsMax: 16_384,
  // As many of four tokens or so, no two alike.
  subscriptionBytesMax: 256 * 1024 * 1024,
  clientSubscriptionBytesMax: 32 * 1024 * 1024,
  eventQueueCountMax: 65_536,
  clientEventBytesMax: 16 * 1024 * 1024,
  eventBytesMax: 128 * 1024 * 1024,
  eventWindowBytes: 1024 * 1024,
  retainedCountMax: 65_536,
  retainedBytesMax: 64 * 1024 * 1024,
};

const QUEUE_ORDERS: readonly QueueOrder[] = ["fifo", "newest-first-when-overloaded"];
const MAY_BE_ZERO = new Set<keyof Limits>(["lookAheadMs", "lookAheadMax", "codelTargetMs"]);
/** What columns and wire can hold, where that is less than 2^31. */
const CEILINGS = [
  ["attemptsDefault", 255],
  ["concurrencyMax", 65_535],
  ["recordBytesMax", RECORD_BYTES_CEILING],
] as const;

/**
 * The defaults with `overrides` laid over them.
 * Throws RangeError where a value is not a whole number in its range or two limits
 * contradict each other.
 */
export function resolveLimits(overrides: Partial<Limits> = {}): Limits {
  const limits = overlay("limits", defaultLimits, overrides);
  checkRelations(limits, (key) => `limits.${key}`);
  for (const [key, most] of CEILINGS) {
    if (limits[key] <= most) continue;
    throw new RangeError(`limits.${key} must be 1..${most}, got ${limits[key]}`);
  }
  return limits;
}

/** `limits` with those of `overrides` that are given, checked; `where` names them in errors. */
export function overlay(where: string, limits: Limits, overrides: Partial<Limits>): Limits {
  const result: Record<string, unknown> = { ...limits };
  for (const [key, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(defaultLimits, key))
      throw new RangeError(`${where}: unknown limit "${key}"`);
    if (value === undefined) continue;
    if (key === "queueOrder") {
      if (!QUEUE_ORDERS.includes(value as QueueOrder)) {
        throw new RangeError(
          `${where}.queueOrder must be one of ${QUEUE_ORDERS.join(", ")}, got ${shown(value)}`,
        );
      }
    } else {
      const least = MAY_BE_ZERO.has(key as keyof Limits) ? 0 : 1;
      const number = value as number;
      if (!Number.isSafeInteger(number) || number < least || number > 2 ** 31) {
        const got = shown(value);
        throw new RangeError(`${where}.${key} must be a whole number ${least}..2^31, got ${got}`);
      }
    }
    result[key] = value;
  }
  if (overrides.absentWaitMs === undefined) {
    result.absentWaitMs = Math.min(limits.absentWaitMs, result.queueWaitMsMax as number);
  }
  return result as unknown as Limits;
}

/** Throws RangeError where two limits contradict each other; `nameOf` says what they are called in it. */
export function checkRelations(limits: Limits, nameOf: (key: keyof Limits) => string): void {
  const ordered: [keyof Limits, keyof Limits][] = [
    ["queueCountMax", "requestsMax"],
    ["queueBytesMax", "requestBytesMax"],
    ["clientInFlightMax", "requestsMax"],
    ["recordBytesMax", "queueBytesMax"],
    ["workerServicesMax", "servicesMax"],
    ["absentWaitMs", "queueWaitMsMax"],
    ["queueWaitMsMax", "timeoutMsMax"],
    ["clientSubscriptionsMax", "subscriptionsMax"],
    ["clientSubscriptionBytesMax", "subscriptionBytesMax"],
    ["clientEventBytesMax", "eventBytesMax"],
  ];
  for (const [lesser, greater] of ordered) {
    if (limits[lesser] > limits[greater]) {
      const most = `${nameOf(greater)} (${limits[greater]})`;
      throw new RangeError(`${nameOf(lesser)} (${limits[lesser]}) must not exceed ${most}`);
    }
  }
}

/** Priorities are 0 (first) to 7 (last); a request that says none has the middle one. */
export const PRIORITY_COUNT = 8;
export const PRIORITY_DEFAULT = 4;

assert(PRIORITY_DEFAULT < PRIORITY_COUNT, "the default priority is one of them");
