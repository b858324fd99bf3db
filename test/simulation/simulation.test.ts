import { expect, test } from "vitest";
import { Core } from "../../build/core/core.js";
import { simulate } from "./simulate.ts";

// WASMQ_SEED=42 replays one run; WASMQ_SEEDS=5000 runs as many. Each seed is a handful of brokers with
// small limits and a mixture of events of its own, so that limits are met.
const { WASMQ_SEED, WASMQ_SEEDS = "400" } = process.env;

const seeds =
  WASMQ_SEED === undefined
    ? Array.from({ length: Number(WASMQ_SEEDS) }, (_, index) => index + 1)
    : [Number(WASMQ_SEED)];

const EVENTS = [
  ...["dispatch", "hold", "release", "reply", "drained", "look-ahead", "run", "redelivery"],
  ...["abort CANCELLED", "abort DEADLINE_EXCEEDED"],
  ...["fail DEADLINE_EXCEEDED", "fail RESOURCE_EXHAUSTED", "fail UNAVAILABLE", "fail NOT_FOUND"],
  ...["fail INVALID_ARGUMENT", "fail INTERNAL"],
  "stale",
  ...["refuse UNAUTHENTICATED", "refuse INVALID_ARGUMENT", "refuse PERMISSION_DENIED"],
  ...["stream-part", "grant", "stream ended", "stream broken"],
  ...["resent", "remembered", "unread", "healed", "probed"],
];

const digests = new Map<number, string>();

test(`the core keeps its promises over ${seeds.length} seeds`, { timeout: 600_000 }, () => {
  const met = new Map<string, number>();
  for (const seed of seeds) {
    const { digest, log } = simulate(Core, seed);
    digests.set(seed, digest);
    for (const [event, count] of log.met) met.set(event, (met.get(event) ?? 0) + count);
  }
  expect(new Set(digests.values()).size).toBe(seeds.length);
  if (seeds.length < 100) return;
  for (const event of EVENTS) {
    expect(met.get(event) ?? 0, event).toBeGreaterThan(seeds.length / 10);
  }
  // These take a death in mid-stream, and another worker in time.
  for (const event of ["stream lost", "stream begun anew"]) {
    expect(met.get(event) ?? 0, event).toBeGreaterThan(seeds.length / 100);
  }
  // Told each 100 ms at most, and a seed's time is short.
  expect(met.get("credit") ?? 0, "credit").toBeGreaterThan(0);
});

test("the same seed has the same effects", () => {
  for (const seed of seeds.slice(0, 10)) {
    expect(simulate(Core, seed).digest, `seed ${seed}`).toBe(digests.get(seed));
  }
});
