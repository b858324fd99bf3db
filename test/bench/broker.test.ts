import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  bench,
  benchModule,
  env,
  expectPositive,
  judged,
  main,
  type Report,
  type Row,
  report,
  root,
} from "./run.js";

const PRODUCTS = ["wasmq", "Proxy", "NATS", "NATS by hand", "naive"];
/** Of suite broker, when `--depths 1,256` is asked for, which is of the first. */
const BROKER_TABLES: Record<string, { depths: number[]; contenders: string[] }> = {
  depth: { depths: [1, 256], contenders: PRODUCTS },
  large: { depths: [64], contenders: PRODUCTS },
  workers: { depths: [256, 2048], contenders: [...PRODUCTS, "wasmq, 1 worker"] },
  clients: { depths: [16], contenders: PRODUCTS },
  sealed: {
    depths: [256, 2048],
    contenders: ["wasmq", "NATS, JSON", "NATS by hand, JSON", "naive, JSON + AES-GCM"],
  },
  plain: { depths: [1], contenders: ["wasmq", "Proxy"] },
};
describe("suite broker beside other products", () => {
  // Not in the folder that must be empty in the end.
  const outputs = mkdtempSync(join(tmpdir(), "wqt-"));
  const json = join(outputs, "broker.json");
  const html = join(outputs, "broker.html");
  let text: string;
  let page: string;
  let broker: Report;
  let rows: Row[];

  beforeAll(() => {
    const { status, stdout, stderr } = bench(
      ...["broker", "--peers", "--quick", "--depths", "1,256", "--json", json, "--html", html],
    );
    expect(status, stderr).toBe(0);
    text = stdout;
    broker = JSON.parse(readFileSync(json, "utf8"));
    page = readFileSync(html, "utf8");
    rows = broker.rows;
  }, 300_000);

  afterAll(() => {
    rmSync(outputs, { recursive: true, force: true });
  });

  test("every reply is what was asked, of each contender in each scenario", () => {
    expect(broker.version).toBe(3);
    expect(broker.machine.node).toBe(process.versions.node);
    expect(broker.machine.packages.zeromq).toMatch(/^\d+\./);
    const keys = rows.map((row) => `${row.table}/${row.depth}/${row.operation}/${row.contender}`);
    expect(new Set(keys).size).toBe(keys.length);
    for (const [table, { depths, contenders }] of Object.entries(BROKER_TABLES)) {
      const own = rows.filter((row) => row.table === table && row.operation === "requests/s");
      const expected = depths.flatMap((depth) => contenders.map((name) => `${depth} ${name}`));
      const found = own.map(({ depth, contender }) => `${depth} ${contender}`);
      expect(found.sort()).toEqual(expected.sort());
    }
    const there = rows.filter((row) => row.absent === undefined);
    for (const row of there) {
      expectPositive(row, ["requestsPerSecond", "p50Us", "p99Us", "clients", "workers"]);
      expect(row.p99Us).toBeGreaterThanOrEqual(row.p50Us as number);
      if (!row.isOurs) expectPositive(row, ["ratio", "ratioLow", "ratioHigh"]);
      expect(row.isMiscounted ?? false, JSON.stringify(row)).toBe(false);
      if (row.operation !== "requests/s") continue;
      expectPositive(row, ["sent"]);
      expect(row).toMatchObject({ answered: row.sent, failed: 0, wrong: 0 });
    }
  });

  test("nothing of a quick run is met or missed, and its descriptions are true of it", () => {
    for (const row of rows) expect(row).not.toHaveProperty("isMet");
    expect(text).not.toMatch(/\b(met|MISSED|missed)\b|\| target/);
    expect(text).toContain("no targets: a quick run says nothing about speed");
    expect(page).not.toMatch(/targets met|Missed|class="(un)?met"|>target<|0<\/b>\/0/);
    for (const shown of [text, page]) {
      expect(shown).toContain("One client and 2 workers, each a process");
      expect(shown).toContain("6 clients with a connection each, 3 in each of 2 processes");
      expect(shown).toContain("3 REQ in one process, 3 REP in another");
      expect(shown).not.toMatch(/4 workers|200 clients|four workers/);
    }
  });

  test("every target is told: its figure, what was promised, and whether it is met", async () => {
    const { brokerText } = await benchModule("broker/text.mjs");
    const { brokerChapter } = await benchModule("broker/page.mjs");
    const { reportPage } = await benchModule("lib/page.mjs");
    const all = judged(rows);
    const settings = { ...broker.settings, isQuick: false };
    const text: string = brokerText(all, settings);
    const promises = all.filter((row) => row.target !== undefined);
    // All but the three of a depth that was not asked for.
    expect(promises.length).toBe(15);
    for (const row of promises) {
      if (row.absent !== undefined) expect(row.isMet).toBeUndefined();
      else expect(row.isMet).toBe((row.ratio as number) >= (row.target as number));
    }
    const told = (result: string) =>
      text.split("\n").filter((line) => new RegExp(`\\dx \\| ${result} *\\|$`).test(line)).length;
    const count = (isMet: boolean | undefined) =>
      promises.filter((row) => row.isMet === isMet).length;
    expect(told("met")).toBe(count(true));
    expect(told("MISSED")).toBe(count(false));
    expect(told("not measured")).toBe(count(undefined));
    expect(text).toContain("4 workers");
    expect(text).toContain("200 clients with a connection each, 50 in each of 4 processes");

    const page: string = reportPage({ ...broker, settings }, [brokerChapter(all, settings)]);
    expect(page).toContain(`<b>${count(true)}</b> of ${count(true) + count(false)} targets met`);
    // A table with nothing promised has no row among those that have, and no count.
    expect(page).not.toContain("<b>0</b>/0");
    const scored = [...page.matchAll(/<li><a href="#(\w+)">[^<]*<\/a> <b>/g)].map(([, id]) => id);
    const withTargets = promises.filter(({ isMet }) => isMet !== undefined);
    expect(new Set(scored)).toEqual(new Set(withTargets.map(({ table }) => table)));
    expect(page.match(/<text class="row"/g) ?? []).toHaveLength(scored.length);
  });

  test("the page has a bar for every figure of another, and says who was there", () => {
    const rivals = rows.filter((row) => !row.isOurs && row.absent === undefined);
    expect(page.match(/<title>[^<]*half of the rounds/g)).toHaveLength(rivals.length);
    for (const table of Object.keys(BROKER_TABLES))
      expect(page).toContain(`<section id="${table}">`);
    for (const { name, version, absent } of broker.contenders!) {
      expect(page).toContain(`<dt>${name}</dt><dd>${absent ?? version}</dd>`);
      expect(text).toContain(absent ?? `beside ${name}: ${version}`);
    }
    expect(page).not.toMatch(/<script|<link|<img|src=|url\(|https?:|@import/);
  });

  test("who is not there is named with the reason", () => {
    const page = join(outputs, "absent.html");
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [
        main,
        ...["broker", "--peers", "--only", "sealed,plain", "--quick", "--json", "--html", page],
      ],
      { cwd: root, env: { ...env, PATH: outputs }, encoding: "utf8" },
    );
    expect(status, stderr).toBe(0);
    const report: Report = JSON.parse(stdout);
    const reason = "there is no nats-server on the path";
    expect(report.contenders).toContainEqual({ name: "NATS", absent: reason });
    expect(new Set(report.rows.map((row) => row.table))).toEqual(new Set(["sealed", "plain"]));
    expect(readFileSync(page, "utf8")).not.toContain("NATS carries JSON");
    const absent = report.rows.filter((row) => row.absent === reason);
    expect(absent.map(({ depth, contender, target }) => [depth, contender, target])).toEqual([
      [256, "NATS, JSON", 2],
      [256, "NATS by hand, JSON", undefined],
      [2048, "NATS, JSON", 2],
      [2048, "NATS by hand, JSON", undefined],
    ]);
    expect(readFileSync(page, "utf8")).toContain(`NATS, JSON (${reason})`);
  });
});

test("without --peers suite broker is beside the naive broker alone", () => {
  const { contenders, rows } = report("broker", "--only", "large");
  expect(contenders).toEqual([]);
  expect(rows.map((row) => row.contender)).toEqual(["wasmq", "naive"]);
});
