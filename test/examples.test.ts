// Each example runs as its reader would run it.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

/** What an example says, line by line. It finds wasmq as the package that it stands in. */
async function run(name: string): Promise<string[]> {
  const path = fileURLToPath(new URL(`../examples/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [path]);
  return stdout.trim().split("\n");
}

it("examples/streams.mjs", async () => {
  const lines = await run("streams.mjs");
  const primes = ["2", "3", "5", "7", "11", "13", "17", "19"];
  expect(lines).toContain(`all below 30: ${primes.join(" ")} 23 29`);
  const read = lines.filter((line) => line.includes("far ahead"));
  expect(read).toEqual(primes.map((prime) => `${prime}; the handler is not far ahead`));
  const stops = lines.flatMap((line) => /stops after (\d+) primes/.exec(line)?.[1] ?? []);
  expect(stops[0]).toBe("10");
  // The ninth, at which its reader left, and at most four more.
  expect(Number(stops[1])).toBeLessThanOrEqual(13);
});
