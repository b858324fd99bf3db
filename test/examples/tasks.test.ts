import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the example of push-pull does what it says", async () => {
  const path = fileURLToPath(new URL("../../examples/tasks.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [path], { timeout: 50_000 });
  const lines = stdout.trim().split("\n");
  expect(lines.filter((line) => /^pushed \w+: 32 digits of id$/.test(line))).toHaveLength(3);
  expect(lines.filter((line) => /^attempt [123] for nobody fails$/.test(line))).toHaveLength(3);
  expect(lines.filter((line) => line.startsWith("sent to")).sort()).toEqual([
    "sent to ada",
    "sent to grace",
    "sent to nobody",
  ]);
  expect(lines).toContain("dead after 3 attempts: handler failed: no such mailbox");
  expect(lines.at(-2)).toBe("retried: 1");
});
