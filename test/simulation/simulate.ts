// One run of one seed: the world, its weather, its healing; and the report when something does not hold.
import { type Limits, resolveLimits } from "../../build/core/limits.js";
import { Random } from "../random.mjs";
import { heal } from "./heal.ts";
import type { Log } from "./log.ts";
import type { CoreClass } from "./model.ts";
import { Weather } from "./weather.ts";
import { World } from "./world.ts";

export const STEPS_DEFAULT = 500;

/** What a run came to. */
export interface Outcome {
  seed: number;
  steps: number;
  /** Of every effect of every core, every run and every outcome, in order. */
  digest: string;
  /** Requests asked. */
  requests: number;
  log: Log;
}

/** Something did not hold. */
export class Failure extends Error {
  constructor(
    readonly seed: number,
    /** The step at which it was seen; `steps` while it healed. */
    readonly step: number,
    readonly steps: number,
    readonly what: string,
    readonly trace: readonly string[],
    cause: unknown,
  ) {
    const when = step < steps ? `at step ${step}` : "while it healed";
    super(`${what}\nseed ${seed}, ${when} of ${steps}\n${trace.join("\n")}`, { cause });
  }
}

/** Runs one seed, healing included; throws Failure where something does not hold. */
export function simulate(CoreUnderTest: CoreClass, seed: number, steps = STEPS_DEFAULT): Outcome {
  const random = new Random(seed);
  const world = makeWorld(CoreUnderTest, random);
  let step = 0;
  try {
    world.connect();
    const weather = new Weather(world, random);
    for (; step < steps; step++) weather.step();
    heal(world);
  } catch (error) {
    const { message } = error as Error;
    throw new Failure(seed, step, steps, message, world.log.trace, error);
  }
  const digest = world.log.digest.toString(16).padStart(8, "0");
  return { seed, steps, digest, requests: world.ledger.count, log: world.log };
}

/**
 * The fewest steps with which a seed fails: a run of fewer steps is a prefix of the longer one, healed
 * sooner. By bisection, so not the very least where failing comes and goes.
 */
export function shrink(CoreUnderTest: CoreClass, failure: Failure): Failure {
  let best = failure;
  let passing = 0;
  // What was seen at a step needs no step after it.
  let failing = Math.min(failure.steps, failure.step + 1);
  while (passing < failing) {
    const steps = (passing + failing) >> 1;
    const found = failureOf(CoreUnderTest, failure.seed, steps);
    if (found === undefined) passing = steps + 1;
    else {
      best = found;
      failing = steps;
    }
  }
  return best;
}

export function failureOf(
  CoreUnderTest: CoreClass,
  seed: number,
  steps: number,
): Failure | undefined {
  try {
    simulate(CoreUnderTest, seed, steps);
    return undefined;
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
}

function makeWorld(CoreUnderTest: CoreClass, random: Random): World {
  return new World(random, {
    CoreUnderTest,
    limits: smallLimits(random),
    brokerCount: random.pick([1, 1, 2, 3]),
    nowMs: random.pick([0, 0.5, 250, 65_530.25, 1_790_000_000_000]),
    memoryBytes: random.pick([1024, 1 << 17, 1 << 17]),
    hasIdentities: random.chance(50),
    concurrencyMax: random.pick([1, 1, 3]),
  });
}

/** Limits of two and three, so that they are met. */
function smallLimits(random: Random): Limits {
  const requestsMax = 4 + random.below(10);
  return resolveLimits({
    requestsMax,
    clientInFlightMax: Math.min(requestsMax, 2 + random.below(6)),
    queueCountMax: Math.min(requestsMax, 2 + random.below(5)),
    queueShare: 1 + random.below(3),
    requestBytesMax: 300 + random.below(300),
    queueBytesMax: 100 + random.below(200),
    recordBytesMax: 60,
    queueWaitMsMax: 40,
    codelTargetMs: random.pick([0, 1, 1, 3]),
    codelIntervalMs: random.pick([1, 1, 4]),
    queueShortCount: 1,
    queueOrder: random.pick(["fifo", "newest-first-when-overloaded"] as const),
    fairQuantumBytes: random.pick([1, 10, 100]),
    clientCreditMin: 1,
    absentWaitMs: 10 + random.below(30),
    timeoutMsMax: 500,
    servicesMax: 3 + random.below(3),
    workerServicesMax: 3,
    concurrencyMax: 16,
    lookAheadMs: random.pick([0, 5, 50]),
    lookAheadMax: random.below(4),
  });
}
