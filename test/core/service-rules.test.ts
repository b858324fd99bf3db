import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { resolveLimits } from "../../build/core/limits.js";
import { type ServiceOverrides, ServiceRules } from "../../build/core/service-rules.js";
import { Scene } from "./scene.ts";

const limits = resolveLimits();

test("its own name, else the longest pattern, else the limits of all", () => {
  const rules = new ServiceRules(limits, {
    "*": { queueCountMax: 1 },
    "orders.*": { queueCountMax: 2, codelTargetMs: 0 },
    "orders.price.*": { queueCountMax: 3 },
    "orders.price": { queueCountMax: 4 },
  });
  const countMax = (name: string) => rules.of(name).queueCountMax;
  expect(["", "o", "orders", "orders.", "orders.x", "orders.price", "orders.price.x"].map(countMax)) //
    .toEqual([1, 1, 1, 2, 2, 4, 3]);
  // Each is laid over the limits of all, not over a shorter pattern.
  expect(rules.of("orders.x").codelTargetMs).toBe(0);
  expect(rules.of("orders.price.x").codelTargetMs).toBe(limits.codelTargetMs);
  expect(new ServiceRules(limits).of("x")).toBe(limits);
});

test("what the README shows as a config file is taken", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const shown = /```json\n(\{ "limits".*?)```/s.exec(readme)![1];
  const config = JSON.parse(shown) as { limits: object; services: ServiceOverrides };
  const rules = new ServiceRules(resolveLimits(config.limits), config.services);
  expect(rules.of("orders.price").queueWaitMsMax).toBe(2000);
});

test("absentWaitMs of a service is no longer than its queueWaitMsMax where it is not given", () => {
  const rules = new ServiceRules(resolveLimits({ absentWaitMs: 700 }), {
    short: { queueWaitMsMax: 500 },
    long: { queueWaitMsMax: 900 },
  });
  expect(rules.of("short").absentWaitMs).toBe(500);
  expect(rules.of("long").absentWaitMs).toBe(700);
});

const wrong: [string, unknown, string][] = [
  ["orders.*", { queueCountMax: 0 }, 'services["orders.*"].queueCountMax must be a whole number'],
  ["a", { queueWaitMsMax: 1e9 }, 'services["a"].queueWaitMsMax (1000000000) must not exceed'],
  ["a", { absentWaitMs: 11_000 }, 'services["a"].absentWaitMs (11000) must not exceed'],
  [
    "a",
    { queueCountMax: 200_000 },
    'services["a"].queueCountMax (200000) must not exceed limits.requestsMax (131072)',
  ],
  [
    "a",
    { queueBytesMax: 5 },
    'limits.recordBytesMax (16777216) must not exceed services["a"].queueBytesMax (5)',
  ],
  [
    "a",
    { requestsMax: 5 },
    'services["a"]: "requestsMax" is no limit of a service; there are queue',
  ],
  ["a", { queueOrder: "lifo" }, 'services["a"].queueOrder must be one of fifo'],
  ["a*b", {}, 'services["a*b"]: a pattern is a name, or its beginning and a *'],
  ["", {}, 'services[""]: a pattern is a name'],
  ["a", 7, 'services["a"] must be an object of limits'],
];
for (const [pattern, own, message] of wrong) {
  test(`${JSON.stringify(pattern)}: ${JSON.stringify(own)} is refused`, () => {
    const overrides = { [pattern]: own } as ServiceOverrides;
    expect(() => new ServiceRules(limits, overrides)).toThrow(message);
  });
}

test("the core keeps to them", () => {
  const overrides = { "orders.*": { queueCountMax: 2, absentWaitMs: 30, queueWaitMsMax: 30 } };
  const scene = new Scene({}, 0, overrides);
  scene.client(1);
  for (const sequence of [1, 2]) scene.ask(1, sequence, { service: "orders.price" });
  expect(scene.ask(1, 3, { service: "orders.price" })).toEqual(["fail c1#3 RESOURCE_EXHAUSTED"]);
  for (const sequence of [4, 5, 6]) {
    expect(scene.ask(1, sequence, { service: "other" })).toEqual([`hold c1#${sequence}`]);
  }
  expect(scene.pass(30)).toEqual([
    ...["fail c1#2 NOT_FOUND", "release c1#2", "fail c1#1 NOT_FOUND", "release c1#1"],
  ]);
});
