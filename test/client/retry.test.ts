import { expect, test } from "vitest";
import { Status, type StatusCode } from "../../build/base/status.js";
import { type Retried, RetryBudget, RetryPolicy } from "../../build/client/retry.js";

const backoff = { backoffMsMin: 20, backoffMsMax: 2000 };

function requestOf(some: Partial<Retried> = {}): Retried {
  return {
    backoff,
    isIdempotent: false,
    deadlineMs: 30_000,
    retryCount: 0,
    attempts: 3,
    ...some,
  };
}

function refusal(status: StatusCode, some = {}) {
  return { status, untouched: true, attempts: 0, retryAfterMs: 0, ...some };
}

const full = refusal(Status.RESOURCE_EXHAUSTED);
const ran = { untouched: false, attempts: 1 };

test("what no worker began is retried when there may be room later, and nothing else", () => {
  const policy = new RetryPolicy({}, 0, () => 0.5);
  const retried = Object.entries(Status).filter(
    ([, status]) => policy.waitMs(requestOf(), refusal(status), 0) !== undefined,
  );
  expect(retried.map(([name]) => name)).toEqual(["RESOURCE_EXHAUSTED", "UNAVAILABLE"]);
});

test("what may have run is retried only if it is idempotent, within its attempts", () => {
  const policy = new RetryPolicy({}, 0, () => 0.5);
  const retriedOf = (some: Partial<Retried>, attempts: number) =>
    Object.entries(Status)
      .filter(([, status]) => {
        const told = refusal(status, { untouched: false, attempts });
        return policy.waitMs(requestOf(some), told, 0) !== undefined;
      })
      .map(([name]) => name);
  expect(retriedOf({}, 1)).toEqual([]);
  const idempotent = ["RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE"];
  expect(retriedOf({ isIdempotent: true }, 1)).toEqual(idempotent);
  expect(retriedOf({ isIdempotent: true }, 3)).toEqual([]);
  expect(retriedOf({ isIdempotent: true, attempts: 1 }, 1)).toEqual([]);
  // A broker that does not say made one at least.
  expect(retriedOf({ isIdempotent: true, attempts: 1 }, 0)).toEqual([]);
  const request = requestOf({ isIdempotent: true });
  policy.waitMs(request, refusal(Status.INTERNAL, { ...ran, attempts: 2 }), 0);
  expect(request.attempts).toBe(1);
});

test("waits grow by doubling up to the most, each drawn from 0 on", () => {
  for (const draw of [0, 0.5, 1]) {
    const policy = new RetryPolicy({}, 0, () => draw);
    const request = requestOf();
    const waits = Array.from({ length: 9 }, () => policy.waitMs(request, full, 0));
    const ceilings = [20, 40, 80, 160, 320, 640, 1280, 2000, 2000];
    expect(waits).toEqual(ceilings.map((ms) => ms * draw));
    expect(request.retryCount).toBe(9);
  }
});

test("retry-after is waited for in full, the jitter behind it", () => {
  const policy = new RetryPolicy({}, 0, () => 0.5);
  const told = { ...full, retryAfterMs: 700 };
  expect(policy.waitMs(requestOf(), told, 0)).toBe(710);
});

test("where the wait would outlast the deadline there is none", () => {
  const policy = new RetryPolicy({}, 0, () => 0.5);
  const told = { ...full, retryAfterMs: 5000 };
  expect(policy.waitMs(requestOf({ deadlineMs: 5010 }), told, 0)).toBeUndefined();
  expect(policy.waitMs(requestOf({ deadlineMs: 5011 }), told, 0)).toBe(5010);
});

test("retry: false, of the client or of the request; a request's own back-off", () => {
  const policy = new RetryPolicy(false);
  expect(policy.backoff).toBeUndefined();
  expect(policy.waitMs(requestOf({ backoff: undefined }), full, 0)).toBeUndefined();
  expect(policy.backoffFor({ backoffMsMin: 5 })).toEqual({ backoffMsMin: 5, backoffMsMax: 2000 });
  const other = new RetryPolicy({ backoffMsMin: 50, backoffMsMax: 60 });
  expect(other.backoffFor(undefined)).toEqual({ backoffMsMin: 50, backoffMsMax: 60 });
  expect(other.backoffFor(false)).toBeUndefined();
  expect(other.backoffFor({ backoffMsMin: 100 })).toEqual({ backoffMsMin: 100, backoffMsMax: 100 });
});

test("options out of range are refused by name", () => {
  expect(() => new RetryPolicy({ backoffMsMin: 0 })).toThrow("retry.backoffMsMin");
  expect(() => new RetryPolicy({ backoffMsMin: 9, backoffMsMax: 8 })).toThrow("retry.backoffMsMax");
  expect(() => new RetryPolicy({ budgetRatio: 1.1 })).toThrow(
    "retry.budgetRatio must be a number 0..1, got 1.1",
  );
  expect(() => new RetryPolicy({ budgetPerSecond: -1 })).toThrow("retry.budgetPerSecond");
});

/** How many retries the budget gives at `nowMs`. */
function drain(budget: RetryBudget, nowMs: number): number {
  let count = 0;
  while (budget.take(nowMs)) count++;
  return count;
}

test("the budget is a fifth of the replies and ten a second", () => {
  const budget = new RetryBudget(0.2, 10, 0);
  // What it begins with: ten seconds of the second part.
  expect(drain(budget, 0)).toBe(100);
  for (let i = 0; i < 1000; i++) budget.onReply();
  expect(drain(budget, 0)).toBe(200);
  let count = 0;
  for (let nowMs = 10; nowMs <= 60_000; nowMs += 10) {
    for (let i = 0; i < 10; i++) budget.onReply();
    count += drain(budget, nowMs);
  }
  // 1000 replies a second for a minute: 200 + 10 a second, less the little that fades at once.
  expect(count).toBeGreaterThan(0.98 * 60 * 210);
  expect(count).toBeLessThanOrEqual(60 * 210);
});

test("what is not spent fades: after an hour of replies there are ten seconds of them", () => {
  const budget = new RetryBudget(0.2, 10, 0);
  for (let second = 1; second <= 3600; second++) {
    for (let i = 0; i < 100; i++) budget.onReply();
    if (second % 60 === 0) budget.take(second * 1000);
  }
  const left = drain(budget, 3_600_000);
  expect(left).toBeGreaterThan(290);
  expect(left).toBeLessThanOrEqual(300);
  // And a quiet hour leaves the floor's alone.
  expect(drain(budget, 2 * 3_600_000)).toBe(100);
});

test("a client that is refused everything retries as often as the budget says", () => {
  const policy = new RetryPolicy({ budgetRatio: 0.2, budgetPerSecond: 0 }, 0, () => 0.5);
  expect(policy.waitMs(requestOf(), full, 0)).toBeUndefined();
  for (let i = 0; i < 25; i++) policy.onReply();
  const waits = Array.from({ length: 10 }, () => policy.waitMs(requestOf(), full, 0));
  expect(waits.filter((wait) => wait !== undefined)).toHaveLength(5);
});
