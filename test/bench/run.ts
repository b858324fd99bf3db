import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";

// The benches are run small, so that they cannot rot. How fast is not asked here.

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const main = join(root, "bench/main.mjs");
// What a run leaves behind would be in here.
export const folder = mkdtempSync(join(tmpdir(), "wqt-"));
export const env = { ...process.env, TMPDIR: folder };

export interface Row {
  suite: string;
  scenario: string;
  contender: string;
  operation: string;
  [figure: string]: unknown;
}

export interface Report {
  version: number;
  machine: { node: string; cores: number; packages: Record<string, string> };
  contenders?: { name: string; version?: string; absent?: string }[];
  rows: Row[];
}

beforeAll(() => {
  const built = spawnSync(process.execPath, [join(root, "scripts/build.mjs"), "--if-stale"]);
  expect(built.status, String(built.stderr)).toBe(0);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

export function bench(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { cwd: root, env, encoding: "utf8" });
}

export function report(...args: string[]): Report {
  const { status, stdout, stderr } = bench(...args, "--quick", "--json");
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

export function expectPositive(row: Row, names: readonly string[]): void {
  for (const name of names) {
    expect(row[name], `${name} of ${JSON.stringify(row)}`).toBeGreaterThan(0);
  }
}
