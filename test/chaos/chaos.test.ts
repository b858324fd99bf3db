import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const main = fileURLToPath(new URL("main.mjs", import.meta.url));

// A short one; `npm run chaos -- --seconds 600` is the real one.
test("4 seconds of chaos: every request is accounted for", () => {
  const seed = process.env.WASMQ_SEED ?? String(Math.floor(Math.random() * 2 ** 32));
  const args = [main, "--seconds", "4", "--rate", "600", "--seed", seed];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  console.log(stdout);
  expect(stderr).toBe("");
  expect(status).toBe(0);
});
