import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the example of a survey does what it says", async () => {
  const path = fileURLToPath(new URL("../../examples/survey.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 50_000 });
  expect(stdout.trim().split("\n")).toEqual([
    "asked 3",
    "one is well",
    "one cannot say: INTERNAL, handler failed: unwell",
    "did not answer: 1",
  ]);
});
