import { describe, expect, it } from "vitest";
import type { BrokerState } from "../../build/admin/state.js";
import type { StatusName } from "../../build/base/status.js";
import { TopOrder } from "../../build/cli/top-order.js";
import { count, span3, topLines } from "../../build/cli/top-view.js";
import { otherOf, serviceOf, stateOf, timesOf } from "../admin/states.ts";

const PAGE = { columns: 80, rows: Infinity };

const before = stateOf({
  services: [
    serviceOf("orders.price", {
      outcomes: { OK: 1000, UNAVAILABLE: 5 },
      wait: timesOf([0.016, 900], [8.192, 100]),
      service: timesOf([2.048, 1000]),
    }),
  ],
  other: otherOf({ outcomes: { NOT_FOUND: 50 } }),
  faults: { alien: 7 },
  unanswered: 0,
});

const now = stateOf({
  uptimeMs: 12_000,
  requests: 20_000,
  requestBytes: 5 * 1024 * 1024,
  peers: {
    clients: 3,
    plainClients: 1,
    majordomoClients: 0,
    workers: 2,
    plainWorkers: 0,
    majordomoWorkers: 0,
  },
  services: [
    serviceOf("idle"),
    serviceOf("orders.price", {
      queued: 12_345,
      inFlight: 8,
      workers: 2,
      credits: 0,
      outcomes: { OK: 25_000, UNAVAILABLE: 6, DEADLINE_EXCEEDED: 200 },
      wait: timesOf([0.016, 900], [8.192, 300], [null, 1]),
      service: timesOf([2.048, 1200]),
    }),
    serviceOf("gone", { isServed: false, workers: 0, credits: 0, queued: 2 }),
  ],
  other: otherOf({ outcomes: { NOT_FOUND: 53 }, queued: 4 }),
  faults: { alien: 7, malformed: 2 },
  refusals: { "socket-type": 1 },
  process: { ...before.process, loopActiveMs: 1500, loopIdleMs: 10_500 },
});

describe("the table of wasmq top", () => {
  it("shows what grew since the last state", () => {
    expect(topLines(now, before, PAGE)).toEqual([
      "wasmq 1.2.3  ready  up 12s  rss 100M  loop 25%  last 2.0s",
      "clients 3+1 plain  workers 2  held 20.0k of 131k, 5.0M of 128M",
      "not taken: faults 2, connections refused 1",
      "",
      "SERVICE        RATE/S QUEUE FLIGHT WORK CREDIT   W50   W99   S50   S99",
      "orders.price    12.1k 12.3k      8    2      0 7.7ms 8.2ms 1.9ms 2.0ms",
      "gone                0     2      0 none      0     -     -     -     -",
      "idle                0     0      0    1      4     -     -     -     -",
      "(never served)    1.5     4                        -     -     -     -",
      "",
      "no reply from orders.price: DEADLINE_EXCEEDED 100/s, UNAVAILABLE 0.50/s",
      "no reply from (never served): NOT_FOUND 1.5/s",
    ]);
  });

  it.each([
    ["without one", undefined],
    ["of another broker", { ...before, startedAt: "2025-12-31T00:00:00.000Z" }],
  ])("shows the time since the start after a state %s", (_name, earlier) => {
    const lines = topLines(now, earlier, { ...PAGE, columns: 120 });
    expect(lines[0]).toBe("wasmq 1.2.3  ready  up 12s  rss 100M  loop 13%  since start");
    expect(lines[1]).toBe("clients 3+1 plain  workers 2  held 20.0k of 131k, 5.0M of 128M");
    expect(lines[2]).toBe("not taken: faults 9, connections refused 1");
    expect(lines[5]).toMatch(/^orders\.price +2101 12\.3k/);
  });

  it("says when the broker drains, and when nobody serves anything", () => {
    const lines = topLines(stateOf({ isReady: false, isDraining: true }), undefined, PAGE);
    expect(lines[0]).toContain("DRAINING");
    expect(lines.at(-1)).toBe("no worker serves anything yet");
  });

  it("shows a service that was not there before from zero", () => {
    const fresh = stateOf({
      uptimeMs: 11_000,
      services: [serviceOf("a", { outcomes: { OK: 3 } })],
    });
    expect(topLines(fresh, stateOf({}), PAGE)[4]).toMatch(/^a +3 /);
  });

  it("shows what waits for names never served, though none of it ended", () => {
    const waiting = stateOf({ other: otherOf({ queued: 10 }) });
    expect(topLines(waiting, undefined, PAGE).at(-1)).toMatch(/^\(never served\) +0 +10 +-/);
  });

  it("says that there is no answer, and since when", () => {
    const [head] = topLines(now, before, { ...PAGE, goneMs: 7_300 });
    expect(head).toMatch(/^wasmq 1\.2\.3 {2}NO ANSWER for 7s {2}was ready, up 12s /);
  });

  it("calls no wait no time", () => {
    const services = [serviceOf("a", { outcomes: { OK: 9 }, wait: timesOf([0.016, 9]) })];
    const line = topLines(stateOf({ services }), undefined, PAGE)[4];
    expect(line.split(/ +/).slice(6, 8)).toEqual(["0us", "0us"]);
  });

  it("names who fails most first, however busy the others", () => {
    const services = [
      serviceOf("busy", { outcomes: { OK: 9000, INTERNAL: 10 } }),
      serviceOf("failing", { outcomes: { OK: 10, INTERNAL: 500 } }),
    ];
    const lines = topLines(stateOf({ services }), undefined, PAGE);
    expect(lines.slice(-2).map((line) => line.split(":")[0])).toEqual([
      "no reply from failing",
      "no reply from busy",
    ]);
  });

  it.each([
    [80, "SERVICE                  RATE/S QUEUE FLIGHT WORK CREDIT   W50   W99   S50   S99"],
    [79, "SERVICE                  RATE/S QUEUE FLIGHT WORK CREDIT   W50   W99   S50"],
    [60, "SERVICE                  RATE/S QUEUE FLIGHT WORK CREDIT"],
    [31, "SERVICE                  RATE/S"],
    [20, "SERVICE       RATE/S"],
  ])("at %d columns leaves out columns before it cuts names", (columns, titles) => {
    const services = [serviceOf("warehouse.reservations.x", { outcomes: { OK: 1 } })];
    const lines = topLines(stateOf({ services }), undefined, { columns, rows: 20 });
    expect(lines[3]).toBe(titles);
    expect(lines[4].startsWith("warehouse.reservations.x")).toBe(columns >= 31);
  });

  it("keeps rows of nearly equal rates in their places, and moves who is clearly busier", () => {
    const order = new TopOrder();
    const totals: Record<string, number> = { a: 0, b: 0, c: 0 };
    let earlier = stateOf({ services: [] });
    const next = (rates: Record<string, number>) => {
      for (const [name, rate] of Object.entries(rates)) totals[name] += rate;
      const services = Object.entries(totals).map(([name, OK]) =>
        serviceOf(name, { outcomes: { OK } }),
      );
      const later = stateOf({ uptimeMs: earlier.uptimeMs + 1000, services });
      const lines = topLines(later, earlier, PAGE, order);
      // Drawn again, as for another size, it is the same.
      expect(topLines(later, earlier, PAGE, order)).toEqual(lines);
      earlier = later;
      return lines
        .slice(4)
        .map((line) => line[0])
        .join("");
    };
    expect(next({ a: 100, b: 105, c: 10 })).toBe("bac");
    for (let second = 0; second < 20; second++) {
      expect(next(second % 2 === 0 ? { a: 120, b: 90, c: 0 } : { a: 85, b: 110, c: 9 })).toBe(
        "bac",
      );
    }
    let ranks = "";
    for (let second = 0; second < 5; second++) ranks = next({ a: 100, b: 100, c: 500 });
    expect(ranks).toBe("cba");
  });

  it("lets no name reach the terminal as more than text", () => {
    const name = "\u001b[2J\u009b31m\u202e\u2028x";
    const lines = topLines(stateOf({ services: [serviceOf(name)] }), undefined, PAGE);
    expect(lines[4]).toMatch(/^\?\[2J\?31m\?\?x /);
    // What answers may be no broker at all.
    const outcomes = { OK: 1, "\u001b[2J": 1 } as Partial<Record<StatusName, number>>;
    const services = [serviceOf(name, { outcomes })];
    const all = topLines(stateOf({ version: name, services }), undefined, PAGE).join("");
    expect(all).toContain("[2J");
    expect(all).not.toMatch(/\p{C}/u);
  });

  const many = (size: number): BrokerState =>
    stateOf({
      services: Array.from({ length: size }, (_, index) =>
        serviceOf(`${"long.".repeat(20)}${index}`, { outcomes: { OK: size - index, ABORTED: 1 } }),
      ),
    });

  it.each([
    [80, 24],
    [80, 10],
    [60, 8],
    [200, 50],
    [20, 7],
  ])("fits %d columns and %d rows", (columns, rows) => {
    for (const size of [0, 1, 2, 5, 100]) {
      const lines = topLines(many(size), undefined, { columns, rows });
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) expect([...line].length).toBeLessThanOrEqual(columns);
      if (size === 100) expect(lines.filter((line) => /^and \d+ more$/.test(line))).toHaveLength(2);
    }
  });
});

it("writes numbers and times in five characters", () => {
  const counts = [0, 7, 0.04, 0.5, 7.25, 42.4, 312.4, 9999, 12_345, 123_456, 4_500_000, 2e9];
  expect(counts.map(count)).toEqual(
    "0 7 0.04 0.50 7.3 42 312 9999 12.3k 123k 4.5M 2.0G".split(" "),
  );
  const times = [0, 0.016, 0.999, 0.9999, 1.23, 9.99, 250, 999.6, 9_500, 67_108.864, 720_000];
  expect(times.map(span3)).toEqual(
    "0us 16us 999us 1.0ms 1.2ms 10ms 250ms 1.0s 9.5s 67s 12m".split(" "),
  );
  for (let exponent = -3; exponent < 11; exponent += 0.01) {
    expect(count(10 ** exponent).length).toBeLessThanOrEqual(5);
    if (exponent < 8) expect(span3(10 ** exponent).length).toBeLessThanOrEqual(5);
  }
});
