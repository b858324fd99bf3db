import { expect, test } from "vitest";
import { defaultLimits } from "../../build/core/limits.js";
import { Registry } from "../../build/core/registry.js";
import { Requests } from "../../build/core/requests.js";
import { ServiceRules } from "../../build/core/service-rules.js";
import { Worker } from "../../build/core/workers.js";

function newRegistry(servicesMax: number): Registry {
  return new Registry(new Requests(64), servicesMax, new ServiceRules(defaultLimits));
}

let peer = 0;
function enter(registry: Registry, ...names: string[]): Worker | undefined {
  const pool = registry.requirePool(names);
  if (pool === undefined) return undefined;
  const worker = new Worker(++peer, 1, false, pool);
  registry.enter(worker);
  pool.place(worker);
  return worker;
}

function exit(registry: Registry, worker: Worker): void {
  if (worker.state === "ready") registry.exit(worker);
}

const names = (registry: Registry) => [...registry.services.keys()].sort();

test("a service is found by its name and by its index", () => {
  const registry = newRegistry(4);
  const service = registry.requireService("echo")!;
  expect(registry.requireService("echo")).toBe(service);
  expect(registry.at(service.index)).toBe(service);
  expect(service.isServed).toBe(false);
});

test("no more services than servicesMax", () => {
  const registry = newRegistry(2);
  expect(registry.requireService("a")).toBeDefined();
  expect(registry.requireService("b")).toBeDefined();
  expect(registry.requireService("c")).toBeUndefined();
  expect(names(registry)).toEqual(["a", "b"]);
  expect(enter(registry, "a", "b")).toBeDefined();
  expect(enter(registry, "a", "c")).toBeUndefined();
  expect(names(registry)).toEqual(["a", "b"]);
});

test("a stray is forgotten; what was served, waits or is in flight is not", () => {
  const registry = newRegistry(4);
  const stray = registry.requireService("stray")!;
  registry.forgetIfStray(stray);
  expect(names(registry)).toEqual([]);

  const busy = registry.requireService("busy")!;
  busy.inFlight = 1;
  registry.forgetIfStray(busy);
  expect(names(registry)).toEqual(["busy"]);
  busy.inFlight = 0;
  registry.forgetIfStray(busy);

  exit(registry, enter(registry, "served")!);
  registry.forgetIfStray(registry.requireService("served")!);
  expect(names(registry)).toEqual(["served"]);
});

test("when full, the longest absent makes room", () => {
  const registry = newRegistry(3);
  const first = enter(registry, "first")!;
  const second = enter(registry, "second")!;
  enter(registry, "live");
  exit(registry, second);
  exit(registry, first);
  expect(registry.requireService("x")).toBeDefined();
  expect(names(registry)).toEqual(["first", "live", "x"]);
  // One with work left stays.
  registry.requireService("first")!.inFlight = 1;
  expect(registry.requireService("y")).toBeUndefined();
});

test("a service that is served again and leaves again is the latest absent", () => {
  const registry = newRegistry(2);
  exit(registry, enter(registry, "a")!);
  exit(registry, enter(registry, "b")!);
  exit(registry, enter(registry, "a")!);
  registry.requireService("c");
  expect(names(registry)).toEqual(["a", "c"]);
});

test("a service that is served again is not absent any more", () => {
  const registry = newRegistry(1);
  exit(registry, enter(registry, "a")!);
  enter(registry, "a");
  expect(registry.requireService("b")).toBeUndefined();
  expect(registry.services.get("a")?.isServed).toBe(true);
});

test("churn of names uses no more indexes than there are services at once", () => {
  const registry = newRegistry(8);
  for (let i = 0; i < 5_000; i++) {
    const service = registry.requireService(`stray-${i}`)!;
    expect(service.index).toBeLessThan(8);
    registry.forgetIfStray(service);
    const worker = enter(registry, `served-${i}`, `served-${i + 1}`)!;
    for (const each of worker.pool.services) expect(each.index).toBeLessThan(8);
    exit(registry, worker);
    expect(registry.services.size).toBeLessThanOrEqual(8);
  }
});

test("workers of the same services, in any order or twice, share a pool", () => {
  const registry = newRegistry(8);
  const one = enter(registry, "a", "b")!;
  const two = enter(registry, "b", "a", "b")!;
  expect(two.pool).toBe(one.pool);
  expect(one.pool.workerCount).toBe(2);
  expect(registry.services.get("a")?.pools).toEqual([one.pool]);
  exit(registry, one);
  expect(registry.services.get("a")?.isServed).toBe(true);
  exit(registry, two);
  expect(registry.services.get("a")?.isServed).toBe(false);
  expect(enter(registry, "a", "b")?.pool).not.toBe(one.pool);
});

test("a name cannot be made to look like several", () => {
  const registry = newRegistry(8);
  const two = enter(registry, "a", "b")!;
  const odd = enter(registry, "a\0b")!;
  expect(odd.pool).not.toBe(two.pool);
  expect(odd.pool.services.map(({ name }) => name)).toEqual(["a\0b"]);
});

test("a worker that is refused leaves no service behind", () => {
  const full = newRegistry(2);
  expect(enter(full, "x", "y", "z")).toBeUndefined();
  expect(names(full)).toEqual([]);

  // Here making room for one of its names costs another of them.
  const registry = newRegistry(3);
  exit(registry, enter(registry, "a")!);
  enter(registry, "live");
  for (let i = 0; i < 20; i++) {
    enter(registry, "a", `x-${i}`, `y-${i}`);
    const served = [...registry.services.values()].filter((each) => each.wasServed);
    expect(registry.services.size, "only what was served is known").toBe(served.length);
  }
});
