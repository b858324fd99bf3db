// PROTOCOL.md and layout.ts say the same.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Status } from "../../build/base/status.js";
import * as layout from "../../build/wire/layout.js";

const text = readFileSync(new URL("../../src/wire/PROTOCOL.md", import.meta.url), "utf8");

/** Rows of the table under a heading, cells trimmed. */
function tableOf(heading: string): string[][] {
  const section = text.split(new RegExp(`^###? ${heading}`, "m"))[1].split(/^##/m)[0];
  return section
    .split("\n")
    .filter((line) => line.startsWith("|") && !line.startsWith("|-"))
    .slice(1)
    .map((line) =>
      line
        .slice(1, -1)
        .split(" | ")
        .map((cell) => cell.replace(/^\||\|$/g, "").trim()),
    );
}

/** The names in capitals of a cell, in order. */
const namesIn = (cell: string) => cell.match(/[A-Z][A-Z_]+/g) ?? [];

describe("ordinals", () => {
  const rows = tableOf("1.3 Kinds");

  it("of the kinds in use are those of the table", () => {
    const found: Record<string, number> = {};
    for (const [ordinals, kinds] of rows) {
      if (kinds.includes("reserved") || /-/.test(ordinals)) continue;
      found[kinds] = Number(ordinals);
    }
    expect(found).toEqual(layout.Kind);
  });

  it("are given once, to reserved kinds too", () => {
    const taken = new Map<number, string>();
    for (const [ordinals, kinds] of rows) {
      const numbers = /^(\d+)-(\d+)$/.test(ordinals)
        ? range(...(ordinals.split("-").map(Number) as [number, number]))
        : ordinals.split(", ").map(Number);
      const names = namesIn(kinds);
      if (!ordinals.includes("-"))
        expect(names.slice(0, numbers.length).length).toBe(numbers.length);
      for (const number of numbers) {
        expect(number).toBeLessThan(256);
        expect(taken.has(number), `${number} twice`).toBe(false);
        taken.set(number, kinds);
      }
    }
    expect(taken.size).toBeGreaterThan(150);
  });
});

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

describe("numbers", () => {
  it("of the statuses are those of the page", () => {
    const line = text.split("### 1.4 Status")[1].split("##")[0];
    const found = [...line.matchAll(/(\d+) ([A-Z_]+)/g)].map(([, n, name]) => [name, Number(n)]);
    expect(Object.fromEntries(found)).toEqual(Status);
  });

  it("of offsets and sizes are those of the diagrams", () => {
    // The offsets above each diagram, by the name of the field that begins there.
    const offsets = (kind: string): Record<string, number> => {
      const line = text.split("\n").findIndex((each) => each.includes(`| ${kind} | flags`));
      const [above, drawn] = text.split("\n").slice(line - 1, line + 1);
      // An offset stands over the bar that opens its field; some bars share one.
      const found: Record<string, number> = {};
      for (const match of above.matchAll(/\d+/g)) {
        const bar = drawn.indexOf("|", Math.max(0, (match.index as number) - 1));
        const name = /^\|\s*(\w+)/.exec(drawn.slice(bar))?.[1];
        if (name !== undefined) found[name] = Number(match[0]);
      }
      return found;
    };
    const l = layout;
    expect(offsets("1")).toMatchObject({ session: 8, concurrency: 16, services: l.HELLO_SIZE });
    expect(offsets("2")).toMatchObject({
      broker: 8,
      inFlightMax: 16,
      recordMax: 20,
    });
    expect(text).toContain(`as 512 more. ${l.WELCOME_SIZE} bytes.`);
    expect(offsets("3")).toMatchObject({ record: 8, reasonSize: 12, reason: l.ERROR_SIZE });
    expect(offsets("16")).toMatchObject({
      priority: l.AT_A,
      attempts: l.AT_B,
      size: l.AT_SIZE,
      id: l.AT_SESSION,
      timeoutMs: l.AT_TIMEOUT,
      serviceSize: l.AT_SERVICE_SIZE,
      frameCount: l.AT_FRAME_COUNT,
      headersSize: l.AT_HEADERS_SIZE,
      service: l.REQUEST_SIZE,
    });
    expect(offsets("17")).toMatchObject({
      serviceTimeUs: l.AT_SERVICE_TIME,
      frameCount: l.AT_FRAME_COUNT,
      headersSize: l.AT_HEADERS_SIZE,
      headers: l.REPLY_SIZE,
    });
    expect(offsets("18")).toMatchObject({
      retryAfterMs: l.AT_RETRY_AFTER,
      reasonSize: l.AT_REASON_SIZE,
      reason: l.FAILURE_SIZE,
    });
    expect(offsets("24")).toMatchObject({ place: l.REPLY_SIZE, body: l.REPLY_SIZE + l.PLACE_SIZE });
    expect(text).toContain(`headersSize u16 = ${l.PLACE_SIZE}`);
    expect(offsets("25")).toMatchObject({ partsMax: l.ID_END, bytesMax: l.ID_END + 8 });
    expect(l.STREAM_CREDIT_SIZE).toBe(l.ID_END + 16);
    for (const [kind, size] of [
      ["CREDIT", l.CREDIT_SIZE],
      ["DRAIN", l.DRAIN_SIZE],
      ["BYE", l.BYE_SIZE],
      ["PING", l.PING_SIZE],
    ]) {
      expect(text).toMatch(new RegExp(`^${kind} +\\| \\d+ \\| flags .* size u32 = ${size} `, "m"));
    }
    expect(offsets("32")).toMatchObject({
      topicSize: l.AT_A,
      frameCount: l.AT_B,
      publisher: l.AT_PUBLISHER,
      sequence: l.AT_SEQUENCE,
      confirm: l.AT_CONFIRM,
      topic: l.EVENT_SIZE,
    });
    expect(offsets("33")).toMatchObject({ queueMax: 12, pattern: l.SUBSCRIBE_SIZE });
    expect(text).toContain(`flag of value ${l.EventFlag.ANSWER}`);
    expect(text).toContain(`It says so when there are ${l.TAKEN_BYTES / 1024} KiB`);
    expect(text).toContain(`is ${l.PUBLISH_WINDOW_BYTES / 1024 / 1024} MiB at most`);
    expect(text).toContain("slot u32 | generation u32 |");
    expect([l.AT_SLOT, l.AT_GENERATION, l.ID_END, l.CANCEL_SIZE]).toEqual([24, 28, 32, 32]);
  });

  it("of limits are those of the page", () => {
    expect(Buffer.from([layout.MAGIC & 0xff, layout.MAGIC >> 8]).toString()).toBe("WQ");
    expect(text).toContain(`\`version\` is ${layout.VERSION}.`);
    expect(text).toContain("a body of 8 KiB and more a frame of its own");
    expect(layout.FRAME_BYTES_MIN).toBe(8192);
    expect(text).toContain(`each frame but one counted as ${layout.FRAME_COST} more`);
    expect(text).toContain("8 KiB at most");
    expect(layout.HEADERS_BYTES_MAX).toBe(8192);
    expect(text).toContain(`\`priority\`: 0 first, ${layout.PRIORITY_MAX} last`);
    expect(text).toContain(`0x${layout.NO_RECORD.toString(16)}`);
    expect(text).toContain(`service \`${layout.DEFAULT_SERVICE}\``);
    const flags = [...text.matchAll(/bit (\d)\s+([A-Z_]+)/g)].map(([, bit, name]) => [
      name,
      1 << Number(bit),
    ]);
    expect(Object.fromEntries(flags)).toEqual({
      ONE_THREAD: layout.HELLO_ONE_THREAD,
      ...layout.Flag,
    });
    const roles = /`role`: (\d) client, (\d) worker, (\d) pulse/.exec(text) as RegExpExecArray;
    expect({
      CLIENT: Number(roles[1]),
      WORKER: Number(roles[2]),
      PULSE: Number(roles[3]),
    }).toEqual(layout.Role);
  });
});
