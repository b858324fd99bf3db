import { checkOptions, type OptionNames, wholeNumber } from "../base/check.js";
import { Status, type StatusCode } from "../base/status.js";

/** How long a request waits before it is sent again. */
export interface BackoffOptions {
  /**
   * The n-th wait is between 0 and the least of `backoffMsMax` and `backoffMsMin` x 2^(n-1), beyond
   * what the refusal asked for. Defaults 20 and 2000.
   */
  backoffMsMin?: number;
  backoffMsMax?: number;
}

/** How a client sends again what was refused. */
export interface RetryOptions extends BackoffOptions {
  /** Retries allowed for each reply that comes, 0..1. Default 0.2. */
  budgetRatio?: number;
  /** Retries allowed each second beside these, 0..1000000. Default 10. */
  budgetPerSecond?: number;
}

const backoffOptionNames: OptionNames<BackoffOptions> = { backoffMsMin: true, backoffMsMax: true };

export const retryOptionNames: OptionNames<RetryOptions> = {
  ...backoffOptionNames,
  budgetRatio: true,
  budgetPerSecond: true,
};

/** What the wire says of a request that failed, as far as it matters here. */
export interface Refusal {
  status: StatusCode;
  /** No worker began on it. */
  untouched: boolean;
  attempts: number;
  retryAfterMs: number;
}

/** What is to be known of the request itself. */
export interface Retried {
  /** undefined: it is not retried. */
  readonly backoff: Required<BackoffOptions> | undefined;
  /** Whether running it again does no harm. */
  readonly isIdempotent: boolean;
  readonly deadlineMs: number;
  /** How often it was retried. */
  retryCount: number;
  /** How often it may still be handed to a worker. */
  attempts: number;
}

/**
 * Retries for the next while, after Finagle's RetryBudget: each reply adds `ratio` of one, time adds
 * `perSecond`, and what is not used fades. So a client that is refused everything asks little
 * more often than it would anyway, and the retries of many do not keep an overload going.
 *
 * Instead of Finagle's window of 10 slices, tokens decay with a time constant of 10 s: with replies
 * at a steady rate there are at most 10 s worth of them to spend at once.
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #perMs: number;
  #tokens: number;
  #replyCount = 0;
  #sinceMs: number;

  constructor(ratio: number, perSecond: number, nowMs: number) {
    this.#ratio = ratio;
    this.#perMs = perSecond / 1000;
    this.#tokens = this.#perMs * WINDOW_MS;
    this.#sinceMs = nowMs;
  }

  onReply(): void {
    this.#replyCount++;
  }

  /** Takes a retry out of the budget; false where there is none left. */
  take(nowMs: number): boolean {
    const elapsedMs = Math.max(nowMs - this.#sinceMs, 0);
    const kept = Math.exp(-elapsedMs / WINDOW_MS);
    const earned = this.#replyCount * this.#ratio;
    // As if the replies had come evenly over the time since: the early ones have faded by now.
    const fresh = elapsedMs === 0 ? earned : (earned / elapsedMs) * WINDOW_MS * (1 - kept);
    this.#tokens = this.#tokens * kept + this.#perMs * WINDOW_MS * (1 - kept) + fresh;
    this.#replyCount = 0;
    this.#sinceMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

const WINDOW_MS = 10_000;
const BACKOFF_DEFAULT = { backoffMsMin: 20, backoffMsMax: 2_000 };

/**
 * Which failed requests are sent again, and when: what no worker began on, and, of requests that may
 * run twice, also what did. Pure: time and chance are passed in.
 */
export class RetryPolicy {
  readonly backoff: Required<BackoffOptions> | undefined;
  readonly #budget: RetryBudget;
  readonly #random: () => number;

  /** Throws RangeError for options that are none. `random`: numbers from 0 to below 1. */
  constructor(options: false | RetryOptions = {}, nowMs = 0, random: () => number = Math.random) {
    const given = options === false ? {} : options;
    this.backoff = options === false ? undefined : backoffOf(given, BACKOFF_DEFAULT);
    this.#random = random;
    const ratio = between("retry.budgetRatio", given.budgetRatio ?? 0.2, 1);
    const perSecond = between("retry.budgetPerSecond", given.budgetPerSecond ?? 10, 1_000_000);
    this.#budget = new RetryBudget(ratio, perSecond, nowMs);
  }

  /** The back-off of a request that says something of its own. */
  backoffFor(options: false | BackoffOptions | undefined): Required<BackoffOptions> | undefined {
    if (options === undefined) return this.backoff;
    if (options === false) return undefined;
    checkOptions("retry", options, backoffOptionNames);
    return backoffOf(options, this.backoff ?? BACKOFF_DEFAULT);
  }

  onReply(): void {
    this.#budget.onReply();
  }

  /**
   * How long `request`, which was refused, waits until it is sent again; undefined when that is all.
   * Counts the retry and the attempts made.
   */
  waitMs(request: Retried, refusal: Refusal, nowMs: number): number | undefined {
    const { backoff } = request;
    if (backoff === undefined || !isWorthIt(refusal, request.isIdempotent)) return undefined;
    // Never above its attempts, whoever counts: a failure that names none was one at least.
    const attempts = refusal.untouched ? 0 : Math.max(refusal.attempts, 1);
    if (attempts >= request.attempts) return undefined;
    const { backoffMsMin, backoffMsMax } = backoff;
    // "Full jitter" (Brooker, Exponential Backoff And Jitter, AWS 2015), behind what was asked for:
    // to wait for the greater of the two would bring all those back at once that were refused at once.
    const ceilingMs = Math.min(backoffMsMax, backoffMsMin * 2 ** request.retryCount);
    const waitMs = refusal.retryAfterMs + this.#random() * ceilingMs;
    // Waiting for nothing would only tell the caller later.
    if (nowMs + waitMs >= request.deadlineMs) return undefined;
    if (!this.#budget.take(nowMs)) return undefined;
    request.retryCount++;
    request.attempts -= attempts;
    return waitMs;
  }
}

/** Whether another try may end differently, and does no harm. */
function isWorthIt({ status, untouched }: Refusal, isIdempotent: boolean): boolean {
  switch (status) {
    case Status.RESOURCE_EXHAUSTED:
    case Status.UNAVAILABLE:
      return untouched || isIdempotent;
    case Status.ABORTED:
    case Status.INTERNAL:
      return isIdempotent;
    default:
      return false;
  }
}

function backoffOf(
  options: BackoffOptions,
  defaults: Required<BackoffOptions>,
): Required<BackoffOptions> {
  const least = options.backoffMsMin ?? defaults.backoffMsMin;
  const most = options.backoffMsMax ?? Math.max(defaults.backoffMsMax, least);
  wholeNumber("retry.backoffMsMin", least, 1, 3_600_000);
  wholeNumber("retry.backoffMsMax", most, least, 3_600_000);
  return { backoffMsMin: least, backoffMsMax: most };
}

function between(name: string, value: number, most: number): number {
  if (typeof value === "number" && value >= 0 && value <= most) return value;
  throw new RangeError(`${name} must be a number 0..${most}, got ${value}`);
}
