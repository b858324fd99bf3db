import { expect, test } from "vitest";
import { Topics } from "../../build/core/topics/topics.js";
import { simulateTopics } from "./topics.ts";
import { loadTopicsMutant, topicsMutants } from "./topics-mutants.ts";

// As in simulation.test.ts: WASMQ_SEED=42 replays one run; WASMQ_SEEDS=5000 runs as many.
const { WASMQ_SEED, WASMQ_SEEDS = "300" } = process.env;
const STEPS = 400;

const seeds =
  WASMQ_SEED === undefined
    ? Array.from({ length: Number(WASMQ_SEEDS) }, (_, index) => index + 1)
    : [Number(WASMQ_SEED)];

const EVENTS = ["event", "retained", "kept", "dropped", "disconnected", "late", "missed", "cut"];

function failureOf(TopicsUnderTest: typeof Topics, seed: number): Error | undefined {
  try {
    simulateTopics(TopicsUnderTest, seed, STEPS);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

test(`each subscription gets what it is owed, or is told what it lost, over ${seeds.length} seeds`, {
  timeout: 600_000,
}, () => {
  const met = new Map<string, number>();
  const digests = new Map<number, string>();
  for (const seed of seeds) {
    try {
      const { digest, log } = simulateTopics(Topics, seed, STEPS);
      digests.set(seed, digest);
      for (const [event, count] of log.met) met.set(event, (met.get(event) ?? 0) + count);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  expect(new Set(digests.values()).size).toBe(seeds.length);
  for (const seed of seeds.slice(0, 10)) {
    expect(simulateTopics(Topics, seed, STEPS).digest).toBe(digests.get(seed));
  }
  if (seeds.length < 100) return;
  for (const event of EVENTS) {
    expect(met.get(event) ?? 0, event).toBeGreaterThan(seeds.length / 10);
  }
});

// Were the simulation to become blind, these would tell.
test.each(topicsMutants)("finds $name", async (mutant) => {
  const TopicsUnderTest = await loadTopicsMutant(mutant);
  for (let seed = 1; seed <= 40; seed++) {
    const failure = failureOf(TopicsUnderTest, seed);
    if (failure === undefined) continue;
    console.log(`${mutant.name}: seed ${seed}: ${failure.message}`);
    return;
  }
  expect.fail("not found within 40 seeds");
});
