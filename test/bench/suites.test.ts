import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import {
  bench,
  benchModule,
  env,
  expectPositive,
  folder,
  judged,
  main,
  type Row,
  report,
  root,
} from "./run.js";

test("suite core has every scenario, and what was asked was answered", () => {
  const { rows } = report("core");
  expect(rows.length).toBe(9);
  for (const row of rows) {
    expectPositive(row, ["cyclesPerSecond", "ratio", "sent"]);
    expect(row).toMatchObject({ answered: row.sent, failed: 0 });
  }
  // Of the first row its rate is promised, of what differs in one thing from it the ratio.
  const isPromised = ({ target, cyclesTarget }: Row) => (target ?? cyclesTarget) !== undefined;
  expect(rows.filter(isPromised).length).toBe(1 + 6);
  expect(rows.filter((row) => row.isMet !== undefined)).toEqual([]);
});

test("suite pubsub: every event is heard by everyone, whoever carries it", () => {
  const { rows } = report("pubsub");
  const measured = rows.filter(({ absent }) => absent === undefined);
  expect(new Set(measured.map(({ scenario }) => scenario)).size).toBe(3);
  for (const row of measured) {
    expectPositive(row, ["eventsPerSecond", "sent"]);
    expect(row).toMatchObject({ answered: row.sent, wrong: 0 });
  }
  expect(rows.filter(({ contender }) => contender === "wasmq").length).toBe(3);
  expect(rows.filter(({ contender }) => contender === "PUB/SUB").length).toBe(3);
});

test("suite overload: each request has its outcome, whatever is offered, and none is held at the end", () => {
  const { rows } = report("overload");
  expect(rows.length).toBe(1);
  expectPositive(rows[0], ["sent", "capacityPerSecond", "goodput", "honestShareLeast"]);
  expect(rows[0]).toMatchObject({ answered: rows[0].sent, held: 0 });
});

test("prints tables without --json, and what is met and missed where it is not quick", async () => {
  const { status, stdout } = bench("core", "--quick");
  expect(status).toBe(0);
  expect(stdout).toContain("| workers | services |");
  expect(stdout).toContain("no targets: a quick run says nothing about speed");
  expect(stdout).not.toMatch(/MISSED|\d met/);
  const { coreText } = await benchModule("core/text.mjs");
  const [first, ...others] = report("core").rows;
  const text: string = coreText([{ ...first, isMet: false }, ...judged(others)], {});
  expect(text).toMatch(/1 workers, 1 services, 0 queued +\| +[\d,]+\/s \| 1,500,000\/s \| MISSED /);
  expect(text).toMatch(/targets: \d met, \d missed/);
});

test("names the argument that it does not understand", () => {
  const { status, stderr } = bench("--rounds", "many");
  expect(status, "as of all of wasmq's commands").toBe(2);
  expect(stderr).toBe("bench: --rounds must be 1..99, got many\n");
  for (const wrong of [["brocker"], ["--loud"], ["broker", "--only", "nobody"]]) {
    expect(bench(...wrong).status).toBe(2);
  }
  expect(bench("brocker").stderr).toContain("got brocker");
  expect(bench("--only", "chain/nobody").stderr).toContain("or TABLE/SECTION, got chain/nobody");
  expect(bench("--html", "nowhere/x.html").stderr).toContain("no folder nowhere for nowhere/x");
  expect(bench("core", "--html", "x.html").stderr).toBe(
    "bench: --html is of suites codec and broker, got core\n",
  );
  expect(bench("broker", "--only", "nobody").stderr).toContain("plain, got nobody");
  expect(bench("broker", "codec", "--only", "plain").stderr).toContain("got both");
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
