import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bench, benchModule, expectPositive, judged, type Report, type Row } from "./run.js";

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
        expect(row, "of a quick run").not.toHaveProperty("isMet");
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

  test("tells what is met and missed, but not of a quick run", async () => {
    const { codecText } = await benchModule("codec/text.mjs");
    const { codecChapter } = await benchModule("codec/page.mjs");
    const { reportPage } = await benchModule("lib/page.mjs");
    const rows = judged(codec.rows);
    const settings = { ...codec.settings, isQuick: false };
    const full: string = reportPage({ ...codec, settings }, [codecChapter(rows, settings)]);
    const count = (isMet: boolean) => rivalsIn(rows).filter((row) => row.isMet === isMet).length;
    expect(full.match(/class="met"/g) ?? []).toHaveLength(count(true));
    expect(full.match(/<td class="unmet"/g) ?? []).toHaveLength(count(false));
    expect(codecText(rows, settings)).toContain(
      `targets: ${count(true)} met, ${count(false)} missed`,
    );
    expect(page).not.toMatch(/class="(un)?met"|targets met|Missed/);
    expect(text).not.toMatch(/\d met|missed/);
  });

  test("makes a page of its own with a bar and the figures of every row", () => {
    const rivals = rivalsIn(codec.rows);
    expect(page.match(/<title>[^<]*half of the rounds/g)).toHaveLength(rivals.length);
    for (const row of codec.rows) expect(page).toContain(`<h3>${row.operation} `);
    for (const { name } of codec.contenders!) expect(page).toContain(`<dt>${name}</dt>`);
    expect(page).not.toMatch(/<script|<link|<img|src=|url\(|https?:|@import/);
    expect(page.match(/<(svg|table|tbody|section|article)\b/g)!.length).toBe(
      page.match(/<\/(svg|table|tbody|section|article)>/g)!.length,
    );
  });
});

test("a bar is as long for twice as fast as for half as fast, and ends at the axis' end", async () => {
  const { axisOf, barPlot } = await import(
    new URL("../../bench/lib/plots.mjs", import.meta.url).href
  );
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
