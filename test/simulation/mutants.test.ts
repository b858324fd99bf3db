import { expect, test } from "vitest";
import { loadMutant, mutants } from "./mutants.ts";
import { failureOf, STEPS_DEFAULT } from "./simulate.ts";

// Were the simulation to become blind, these would tell.
test.each(mutants)("finds $name", async (mutant) => {
  const core = await loadMutant(mutant);
  for (let seed = 1; seed <= mutant.seedsMax; seed++) {
    const failure = failureOf(core, seed, STEPS_DEFAULT);
    if (failure === undefined) continue;
    console.log(`${mutant.name}: seed ${seed}, step ${failure.step}: ${failure.what}`);
    return;
  }
  expect.fail(`not found within ${mutant.seedsMax} seeds`);
});
