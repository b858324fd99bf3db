import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";

// The benches are run small, so that they cannot rot. How fast is not asked here.

const root = fileURLToPath(new URL("..", import.meta.url));
const main = join(root, "bench/main.mjs");
// What a run leaves behind would be in here.
const folder = mkdtempSync(join(tmpdir(), "wqt-"));
const env = { ...process.env, TMPDIR: folder };

const DEPTHS = [1, 64, 256, 2048];
const OPERATIONS = ["pack", "unpack", "compress", "decompress", "seal", "open"];

interface Row {
  suite: string;
  scenario: string;
  contender: string;
  operation: string;
  [figure: string]: unknown;
}

interface Report {
  version: number;
  machine: { node: string; cores: number; packages: Record<string, string> };
  rows: Row[];
}

beforeAll(() => {
  const built = spawnSync(process.execPath, [join(root, "scripts/build.mjs"), "--if-stale"]);
  expect(built.status, String(built.stderr)).toBe(0);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function bench(...args: string[]) {
  return spawnSync(process.execPath, [main, ...args], { cwd: root, env, encoding: "utf8" });
}

function report(...args: string[]): Report {
  const { status, stdout, stderr } = bench(...args, "--quick", "--json");
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

function expectPositive(row: Row, names: readonly string[]): void {
  for (const name of names) {
    expect(row[name], `${name} of ${JSON.stringify(row)}`).toBeGreaterThan(0);
  }
}

test("suite broker has every row, and every request was answered with what was sent", () => {
  const { version, machine, rows } = report("broker");
  expect(version).toBe(1);
  expect(machine.node).toBe(process.versions.node);
  expect(machine.packages.zeromq).toMatch(/^\d+\./);
  const keys = rows.map((row) => `${row.scenario}/${row.contender}/${row.depth}/${row.workers}`);
  for (const depth of DEPTHS) {
    expect(keys).toContain(`64 B, in clear/wasmq/${depth}/1`);
    expect(keys).toContain(`64 B, in clear/naive/${depth}/1`);
    expect(keys).toContain(`order, sealed/wasmq/${depth}/1`);
    expect(keys).toContain(`order, sealed/naive, JSON + AES-GCM/${depth}/1`);
  }
  expect(keys).toContain("64 B, in clear/wasmq/256/4");
  expect(keys).toContain("64 B, in clear/naive/256/4");
  for (const row of rows) {
    expectPositive(row, ["requestsPerSecond", "p50Us", "p99Us", "ratio", "sent"]);
    expect(row).toMatchObject({ answered: row.sent, failed: 0, wrong: 0 });
    expect(row.p99Us).toBeGreaterThanOrEqual(row.p50Us as number);
  }
});

test("suite codec has every operation on every kind of value, for both contenders", () => {
  const { rows } = report("codec");
  const kinds = new Set(rows.map((row) => row.scenario));
  expect(kinds.size).toBeGreaterThanOrEqual(7);
  for (const scenario of kinds) {
    for (const contender of ["wasmq", "built-in"]) {
      const own = rows.filter((row) => row.scenario === scenario && row.contender === contender);
      expect(own.map((row) => row.operation)).toEqual(expect.arrayContaining(OPERATIONS));
    }
  }
  for (const row of rows)
    expectPositive(row, ["callUs", "megabytesPerSecond", "ratio", "valueBytes"]);
});

test("suite core has every scenario, and what was asked was answered", () => {
  const { rows } = report("core");
  expect(rows.length).toBe(9);
  for (const row of rows) {
    expectPositive(row, ["cyclesPerSecond", "ratio", "sent"]);
    expect(row).toMatchObject({ answered: row.sent, failed: 0 });
  }
});

test("suite overload: each request has its outcome, whatever is offered, and none is held at the end", () => {
  const { rows } = report("overload");
  expect(rows.length).toBe(1);
  expectPositive(rows[0], ["sent", "capacityPerSecond", "goodput", "honestShareLeast"]);
  expect(rows[0]).toMatchObject({ answered: rows[0].sent, held: 0 });
});

test("prints tables without --json", () => {
  const { status, stdout } = bench("core", "--quick");
  expect(status).toBe(0);
  expect(stdout).toContain("| workers | services |");
});

test("names the argument that it does not understand", () => {
  const { status, stderr } = bench("--rounds", "many");
  expect(status).toBe(1);
  expect(stderr).toBe("bench: --rounds must be 1..99, got many\n");
  expect(bench("brocker").stderr).toContain("got brocker");
});

test("Ctrl-C ends every process and leaves nothing behind", async () => {
  const run = spawn(process.execPath, [main, "broker", "--seconds", "30"], {
    cwd: root,
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void run.kill("SIGKILL"));
  const exit = new Promise((resolve) => run.once("exit", (code) => resolve(code)));
  // The first line says that the parties stand and are being measured.
  await new Promise((resolve) => run.stderr.once("data", resolve));
  const children = childrenOf(run.pid as number);
  run.kill("SIGINT");
  expect(await exit).toBe(130);
  expect(children.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
});

/** Where the system tells: none elsewhere. */
function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(file)) return [];
  const pids = readFileSync(file, "utf8").trim().split(/\s+/).map(Number);
  expect(pids.length).toBeGreaterThan(0);
  return pids;
}
