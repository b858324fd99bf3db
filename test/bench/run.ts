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
  settings: Record<string, unknown>;
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

/** A module of the bench, which is JavaScript. */
export function benchModule(path: string) {
  return import(new URL(`../../bench/${path}`, import.meta.url).href);
}

/**
 * The same rows as of a run that is not quick, whose targets are met or missed: what is measured here says
 * nothing of that, but it must be told.
 */
export function judged(rows: readonly Row[]): Row[] {
  return rows.map((row) => {
    const isJudged = row.target !== undefined && row.ratio !== undefined;
    return isJudged ? { ...row, isMet: (row.ratio as number) >= (row.target as number) } : row;
  });
}

export function expectPositive(row: Row, names: readonly string[]): void {
  for (const name of names) {
    expect(row[name], `${name} of ${JSON.stringify(row)}`).toBeGreaterThan(0);
  }
}
