import { expect, test } from "vitest";
import { defaultLimits, type Limits, resolveLimits } from "../../build/core/limits.js";

test("without overrides, the defaults; a given value replaces its default alone", () => {
  expect(resolveLimits()).toEqual(defaultLimits);
  expect(resolveLimits({ attemptsDefault: 1, lookAheadMax: undefined })).toEqual({
    ...defaultLimits,
    attemptsDefault: 1,
  });
});

test("the defaults are not changed by what is resolved from them", () => {
  const before = { ...defaultLimits };
  resolveLimits({ requestsMax: 200_000 });
  expect(defaultLimits).toEqual(before);
});

test("a value out of range names the limit and the value", () => {
  for (const name of Object.keys(defaultLimits) as (keyof Limits)[]) {
    if (name === "queueOrder") continue;
    const mayBeZero = ["lookAheadMs", "lookAheadMax", "codelTargetMs"].includes(name);
    const bad: unknown[] = [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31 + 1, "7", null];
    if (!mayBeZero) bad.push(0);
    for (const value of bad) {
      const resolve = () => resolveLimits({ [name]: value } as Partial<Limits>);
      expect(resolve, `${name} ${value}`).toThrow(RangeError);
      expect(resolve).toThrow(`limits.${name} must be a whole number`);
      expect(resolve).toThrow(`got ${value === "7" ? '"7"' : value}`);
    }
  }
  expect(resolveLimits({ lookAheadMs: 0, lookAheadMax: 0 }).lookAheadMax).toBe(0);
});

const relations: [keyof Limits, keyof Limits][] = [
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
for (const [lesser, greater] of relations) {
  test(`${lesser} must not exceed ${greater}`, () => {
    const value = (defaultLimits[greater] as number) + 1;
    const resolve = () => resolveLimits({ [lesser]: value });
    expect(resolve).toThrow(RangeError);
    expect(resolve).toThrow(
      `limits.${lesser} (${value}) must not exceed limits.${greater} (${defaultLimits[greater]})`,
    );
    const equal = { [lesser]: defaultLimits[greater] } as Partial<Limits>;
    expect(resolveLimits(equal)[lesser]).toBe(defaultLimits[greater]);
  });
}

test("absentWaitMs is no longer than queueWaitMsMax where it is not given", () => {
  expect(resolveLimits({ queueWaitMsMax: 100 }).absentWaitMs).toBe(100);
  expect(resolveLimits({ queueWaitMsMax: 8000 }).absentWaitMs).toBe(defaultLimits.absentWaitMs);
  expect(() => resolveLimits({ queueWaitMsMax: 100, absentWaitMs: 101 })).toThrow(
    "limits.absentWaitMs (101) must not exceed limits.queueWaitMsMax (100)",
  );
});

test("what the columns and the wire hold bounds attempts and concurrency", () => {
  expect(() => resolveLimits({ attemptsDefault: 256 })).toThrow(
    "limits.attemptsDefault must be 1..255, got 256",
  );
  expect(() => resolveLimits({ concurrencyMax: 65_536 })).toThrow(
    "limits.concurrencyMax must be 1..65535, got 65536",
  );
  // A client that has not been welcomed yet takes no larger message.
  const large = { requestBytesMax: 2 ** 30, queueBytesMax: 2 ** 30 };
  expect(() => resolveLimits({ ...large, recordBytesMax: 511 * 2 ** 20 + 1 })).toThrow(
    "limits.recordBytesMax must be 1..535822336, got 535822337",
  );
  expect(resolveLimits({ ...large, recordBytesMax: 511 * 2 ** 20 }).recordBytesMax).toBe(535822336);
});

test("a queue's order is one of two", () => {
  expect(resolveLimits({ queueOrder: "newest-first-when-overloaded" }).queueOrder).toMatch(
    /newest/,
  );
  expect(() => resolveLimits({ queueOrder: "lifo" as never })).toThrow(
    'limits.queueOrder must be one of fifo, newest-first-when-overloaded, got "lifo"',
  );
});

test("an unknown name is refused", () => {
  expect(() => resolveLimits({ queueMax: 5 } as Partial<Limits>)).toThrow(
    'limits: unknown limit "queueMax"',
  );
});
