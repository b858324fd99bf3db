// npm run simulate: runs seeds of the simulation, and reports a failure with what replays it.
import { parseArgs } from "node:util";
import { Core } from "../../build/core/core.js";
import { Topics } from "../../build/core/topics/topics.js";
import type { CoreClass } from "./model.ts";
import { loadMutant, mutants, requireMutant } from "./mutants.ts";
import { Failure, STEPS_DEFAULT, shrink, simulate } from "./simulate.ts";
import { simulateTopics } from "./topics.ts";

const USAGE = `usage: npm run simulate -- [options]

  --seed S         the seed, or the first of them, default 1
  --seeds COUNT    how many seeds, default 1
  --steps N        steps of each before it heals, default ${STEPS_DEFAULT}
  --topics         publish and subscribe in place of requests
  --mutant NAME    runs the core with this bug in it
  --list-mutants   the bugs there are
  --help`;

/** Returns the exit code: 0 when all held, 1 when something did not. */
export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: "string", default: "1" },
      seeds: { type: "string", default: "1" },
      steps: { type: "string", default: String(STEPS_DEFAULT) },
      topics: { type: "boolean", default: false },
      mutant: { type: "string" },
      "list-mutants": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return say(USAGE);
  if (values["list-mutants"]) {
    return say(mutants.map(({ name, file }) => `${name} (${file})`).join("\n"));
  }
  const first = whole("--seed", values.seed, 0);
  const count = whole("--seeds", values.seeds, 1);
  const steps = whole("--steps", values.steps, 0);
  const { mutant } = values;
  if (values.topics) return runTopics(first, count, steps);
  const core = mutant === undefined ? Core : await loadMutant(requireMutant(mutant));
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { digest, requests } = simulate(core, seed, steps);
      say(`seed ${seed}, ${steps} steps: ${requests} requests, effects ${digest}`);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return report(core, error, mutant);
    }
  }
  return 0;
}

function runTopics(first: number, count: number, steps: number): number {
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { digest } = simulateTopics(Topics, seed, steps);
      say(`seed ${seed}, ${steps} steps, topics: effects ${digest}`);
    } catch (error) {
      console.error((error as Error).message);
      console.error(`\nreplay: npm run simulate -- --topics --seed ${seed} --steps ${steps}`);
      return 1;
    }
  }
  return 0;
}

function report(core: CoreClass, failure: Failure, mutant: string | undefined): number {
  const least = shrink(core, failure);
  console.error(least.message);
  const name = mutant === undefined ? "" : ` --mutant ${mutant}`;
  console.error(`\nreplay: npm run simulate -- --seed ${least.seed} --steps ${least.steps}${name}`);
  return 1;
}

function say(text: string): number {
  console.log(text);
  return 0;
}

function whole(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new RangeError(`${name} must be a whole number from ${least} on, got ${text}`);
  }
  return value;
}
