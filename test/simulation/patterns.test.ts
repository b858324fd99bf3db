import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { Core } from "../../build/core/core.js";
import { Surveys } from "../../build/core/surveys.js";
import { Tasks } from "../../build/core/tasks/tasks.js";
import { type PatternClasses, simulatePatterns } from "./patterns.ts";

// WASMQ_SEED=42 replays one run.
const { WASMQ_SEED } = process.env;
const seeds =
  WASMQ_SEED === undefined ? Array.from({ length: 200 }, (_, i) => i + 1) : [Number(WASMQ_SEED)];

function run(classes: PatternClasses, seed: number) {
  try {
    return simulatePatterns(classes, seed);
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}

test(`tasks and surveys keep their promises over ${seeds.length} seeds`, () => {
  const met = new Map<string, number>();
  const digests = new Set<string>();
  for (const seed of seeds) {
    const { digest, log } = run({ Core, Tasks, Surveys }, seed);
    digests.add(digest);
    for (const [event, count] of log.met) met.set(event, (met.get(event) ?? 0) + count);
  }
  expect(digests.size).toBe(seeds.length);
  expect(run({ Core, Tasks, Surveys }, seeds[0]).digest).toBe([...digests][0]);
  if (seeds.length === 1) return;
  for (const event of [
    "task begun",
    "task done",
    "task failed",
    "task overdue",
    "task sent back",
    "survey ended",
  ]) {
    expect(met.get(event) ?? 0, event).toBeGreaterThan(seeds.length);
  }
});

// Bugs on purpose: the compiled code with one piece of text replaced.
const mutants = [
  ["tasks/tasks.js", "this.#byKey.get(key)", "undefined", "a task pushed again is another"],
  ["tasks/tasks.js", "++task.failedCount >= task", "++task.failedCount > task", "one attempt more"],
  ["tasks/tasks.js", "this.#outcomes = [];\n", "this.#outcomes = [];\n outcomes.pop();\n", "lost"],
  [
    "tasks/task-queue.js",
    "if (after === undefined)\n                line.tail = task;",
    "line.tail = task;",
    "what is behind is lost",
  ],
  ["expiry.js", "task.isOverdue = true;", "", "asked again and again"],
  ["expiry.js", "task.isOverdue = false;", "", "ended unasked"],
  ["expiry.js", "requests.deadlineMs[slot] = Infinity;", ";", "time runs while it waits"],
  ["surveys.js", "survey.waiting.delete(worker);", "", "no end"],
] as const;

test.each(mutants)("finds a mutant of %s: %s -> %s (%s)", async (file, find, replace) => {
  const build = fileURLToPath(new URL("../../build/", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "wqp-"));
  try {
    for (const room of ["core", "base"]) {
      cpSync(join(build, room), join(folder, room), { recursive: true });
    }
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    const path = join(folder, "core", file);
    const text = readFileSync(path, "utf8");
    expect(text.split(find)).toHaveLength(2);
    writeFileSync(
      path,
      text.replace(find, () => replace),
    );
    const load = (name: string) =>
      import(/* @vite-ignore */ pathToFileURL(join(folder, "core", name)).href);
    const files = ["core.js", "tasks/tasks.js", "surveys.js"];
    const classes = Object.assign({}, ...(await Promise.all(files.map(load))));
    const isFound = seeds.slice(0, 50).some((seed) => {
      try {
        simulatePatterns(classes, seed);
        return false;
      } catch {
        return true;
      }
    });
    expect(isFound).toBe(true);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
