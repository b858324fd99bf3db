import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Log } from "../../build/cli/log.js";
import { SecurityLog } from "../../build/cli/security-log.js";

type Line = Record<string, unknown> & { msg: string };

let lines: Line[];
let log: SecurityLog;

beforeEach(() => {
  vi.useFakeTimers();
  lines = [];
  const warn = (fields: object, msg: string) => void lines.push({ ...fields, msg });
  log = new SecurityLog({ warn } as unknown as Log);
});
afterEach(() => void vi.useRealTimers());

function refuse(remote: string, what = "mechanism"): void {
  const status = "UNAUTHENTICATED";
  log.add({ status, what, reason: `it is ${what}`, key: "", name: "", remote });
}

it("tells once in ten seconds what one address tries again each second, and how often it was", () => {
  for (let second = 0; second < 60; second++) {
    refuse(`10.0.0.1:${40_000 + second}`);
    vi.advanceTimersByTime(1_000);
  }
  expect(lines).toHaveLength(7);
  expect(lines[0]).toEqual({
    ...{ status: "UNAUTHENTICATED", what: "mechanism", remote: "10.0.0.1:40000" },
    msg: "refused: it is mechanism",
  });
  expect(lines[1]).toMatchObject({ remote: "10.0.0.1:40009", count: 9 });
  const told = lines.reduce((sum, { count = 1 }) => sum + (count as number), 0);
  expect(told).toBe(60);
});

it("tells another address and another reason at once, and the same anew after a quiet while", () => {
  refuse("10.0.0.1:1");
  refuse("10.0.0.2:1");
  refuse("10.0.0.1:2", "revoked");
  expect(lines).toHaveLength(3);
  vi.advanceTimersByTime(10_000);
  refuse("10.0.0.1:3");
  expect(lines).toHaveLength(4);
  expect(lines[3]).not.toHaveProperty("count");
});

it("stays bounded, whoever comes from however many addresses", () => {
  for (let host = 0; host < 5_000; host++) refuse(`10.0.${host >> 8}.${host & 255}:1`);
  expect(lines).toHaveLength(20);
  expect(vi.getTimerCount()).toBeLessThanOrEqual(1024 + 1);
  vi.advanceTimersByTime(1_000);
  expect(lines.at(-1)).toEqual({ count: 4_980, msg: "refused: more than are logged" });
});
