import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("examples/pubsub.mjs says what it says", async () => {
  const path = fileURLToPath(new URL("../../examples/pubsub.mjs", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [path]);
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual([
    "heard by 1",
    "prices.gold 61.2 (number 1, 0 missed)",
    "prices.tin 0.03 (number 1, 0 missed)",
    "prices.gold 61.4 (number 2, 0 missed)",
    "prices.gold 61.4 (kept: true)",
    "ticks: 991 missed, 991 dropped",
    "weather.bern rain",
    "",
  ]);
});
