import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { newCommand, UsageError } from "./program.js";

/** `wasmq bench`: the suite of the checkout, with the arguments as they are. */
export function benchCommand(title: string): Command {
  return newCommand("bench", title)
    .description("run the bench suite (in a checkout of the repository)")
    .argument("[args...]", "arguments of the suite")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(runBench);
}

async function runBench(args: string[]): Promise<void> {
  const suite = new URL("../../bench/main.mjs", import.meta.url);
  const path = fileURLToPath(suite);
  if (!existsSync(path)) {
    throw new UsageError("the bench suite is not in the package; run it in a checkout of wasmq");
  }
  process.argv = [process.execPath, path, ...args];
  await import(suite.href);
}
