import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

// The benches are run small, so that they cannot rot. How fast is not asked here.

const root = fileURLToPath(new URL("..", import.meta.url));
const main = join(root, "bench/main.mjs");
// What a run leaves behind would be in here.
const folder = mkdtempSync(join(tmpdir(), "wqt-"));
const env = { ...process.env, TMPDIR: folder };

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
/** Of suite codec: each table with how many kinds of values it has, and who is there always. */
const CODEC_TABLES = {
  messagepack: { sections: 10, operations: 4, always: ["JSON"] },
  lz4: { sections: 4, operations: 4, always: ["lz4-wasm"] },
  encryption: {
    sections: 6,
    operations: 3,
    always: ["libsodium-wrappers", "node chacha20-poly1305", "node aes-256-gcm"],
  },
  chain: { sections: 5, operations: 2, always: ["A"] },
};

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
      if (row.operation !== "requests/s") continue;
      expectPositive(row, ["sent"]);
      expect(row).toMatchObject({ answered: row.sent, failed: 0, wrong: 0 });
    }
  });

  test("every target is told: its figure, what was promised, and whether it is met", () => {
    const promises = rows.filter((row) => row.target !== undefined);
    // All but the three of a depth that was not asked for.
    expect(promises.length).toBe(14);
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

describe("suite codec", () => {
  // Not in the folder that must be empty in the end.
  const outputs = mkdtempSync(join(tmpdir(), "wqt-"));
  const json = join(outputs, "codec.json");
  const html = join(outputs, "codec.html");
  let text: string;
  let page: string;
  let codec: Report;

  beforeAll(() => {
    const { status, stdout, stderr } = bench("codec", "--quick", "--json", json, "--html", html);
    expect(status, stderr).toBe(0);
    text = stdout;
    codec = JSON.parse(readFileSync(json, "utf8"));
    page = readFileSync(html, "utf8");
  }, 300_000);

  afterAll(() => {
    rmSync(outputs, { recursive: true, force: true });
  });

  const rivalsIn = (rows: Row[]) => rows.filter((row) => !row.isOurs && row.absent === undefined);

  test.each(Object.entries(CODEC_TABLES))("has all of table %s", (table, expected) => {
    const rows = codec.rows.filter((row) => row.table === table);
    const keys = new Set(rows.map((row) => `${row.scenario}/${row.operation}`));
    expect(new Set(rows.map((row) => row.scenario)).size).toBe(expected.sections);
    expect(keys.size).toBe(expected.sections * expected.operations);
    for (const key of keys) {
      const group = rows.filter((row) => `${row.scenario}/${row.operation}` === key);
      const ours = group.filter((row) => row.isOurs);
      expect(ours.map((row) => row.contender)).toEqual(["wasmq"]);
      expectPositive(ours[0], ["callUs", "valueBytes", "values"]);
      for (const row of rivalsIn(group)) {
        expectPositive(row, ["callUs", "ratio", "ratioLow", "ratioHigh"]);
        expect(row.isMet).toBe(
          row.target === undefined ? undefined : (row.ratio as number) >= (row.target as number),
        );
      }
    }
    const there = new Set(rows.map((row) => row.contender));
    for (const name of expected.always) expect(there).toContain(name);
  });

  test("names who takes part with versions, and says how to install who does not", () => {
    const contenders = codec.contenders!;
    expect(contenders.map(({ name }) => name)).toContain("msgpackr");
    for (const { name, version, absent } of contenders) {
      if (absent === undefined) expect(text).toContain(`${name} ${version}`);
      else expect(text).toContain(`${name} (${absent})`);
    }
    const isMissing = contenders.some(({ absent }) => absent !== undefined);
    expect(text.includes("npm ci --prefix bench")).toBe(isMissing);
  });

  test("leaves nobody out in silence", () => {
    const { contenders, rows } = codec;
    for (const { name, absent } of contenders!) {
      if (absent === undefined) continue;
      const told = rows.filter((row) => row.absent !== undefined);
      // By itself, or as a part of a stack.
      expect(told.some((row) => `${row.contender} ${row.absent}`.includes(name))).toBe(true);
    }
  });

  test("makes a page of its own with a bar and the figures of every row", () => {
    const rivals = rivalsIn(codec.rows);
    expect(page.match(/<title>[^<]*half of the rounds/g)).toHaveLength(rivals.length);
    for (const isMet of [true, false]) {
      const count = rivals.filter((row) => row.isMet === isMet).length;
      expect(page.match(isMet ? /class="met"/g : /<td class="unmet"/g) ?? []).toHaveLength(count);
    }
    for (const row of codec.rows) expect(page).toContain(`${row.operation}</h3>`);
    for (const { name } of codec.contenders!) expect(page).toContain(`<dt>${name}</dt>`);
    expect(page).not.toMatch(/<script|<link|<img|src=|url\(|https?:|@import/);
    expect(page.match(/<(svg|table|tbody|section|article)\b/g)!.length).toBe(
      page.match(/<\/(svg|table|tbody|section|article)>/g)!.length,
    );
  });
});

test("a bar is as long for twice as fast as for half as fast, and ends at the axis' end", async () => {
  const { axisOf, barPlot } = await import(new URL("../bench/lib/plots.mjs", import.meta.url).href);
  const axis = axisOf([1 / 1000, 1.5, 1000]);
  expect(axis).toEqual({ low: -3, high: 5 });
  const barOf = (ratio: number) => {
    const plot: string = barPlot({ ratio, ratioLow: ratio, ratioHigh: ratio }, axis);
    const [, kind, x, width] = /<rect class="(\w+)" x="([\d.]+)" y="4" width="([\d.]+)"/.exec(
      plot,
    )!;
    return {
      kind,
      from: Number(x),
      to: Number(x) + Number(width),
      hasArrow: plot.includes("<path"),
    };
  };
  const twice = barOf(2);
  const half = barOf(0.5);
  expect([twice.kind, half.kind]).toEqual(["faster", "slower"]);
  expect(half.to).toBeCloseTo(twice.from, 0);
  expect(half.to - half.from).toBeCloseTo(twice.to - twice.from, 0);
  expect(twice.hasArrow).toBe(false);
  expect(barOf(1000)).toEqual({ ...barOf(32), hasArrow: true });
  expect(barOf(1 / 1000)).toEqual({ ...barOf(1 / 8), hasArrow: true });
});

test("suite core has every scenario, and what was asked was answered", () => {
  const { rows } = report("core");
  expect(rows.length).toBe(9);
  for (const row of rows) {
    expectPositive(row, ["cyclesPerSecond", "ratio", "sent"]);
    expect(row).toMatchObject({ answered: row.sent, failed: 0 });
  }
  // Of the first row its rate is promised, of what differs in one thing from it the ratio.
  expect(rows.filter((row) => row.isMet !== undefined).length).toBe(1 + 6);
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
  expect(stdout).toMatch(
    /1 workers, 1 services, 0 queued +\| +[\d,]+\/s \| 1,500,000\/s \| (met|MISSED) /,
  );
  expect(stdout).toMatch(/targets: \d met, \d missed/);
});

test("names the argument that it does not understand", () => {
  const { status, stderr } = bench("--rounds", "many");
  expect(status).toBe(1);
  expect(stderr).toBe("bench: --rounds must be 1..99, got many\n");
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
