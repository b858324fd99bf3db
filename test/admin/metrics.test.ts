import { expect, it } from "vitest";
import { Metrics } from "../../build/admin/metrics.js";
import type { BrokerState } from "../../build/admin/state.js";
import { otherOf, serviceOf, stateOf, timesOf } from "./states.ts";

const NASTY = 'a"b\\c{}=,é 😀';

/** Lines of `text` that begin so. */
function lines(text: string, start: string): string[] {
  return text.split("\n").filter((line) => line.startsWith(start));
}

const read = (state: Partial<BrokerState>) => new Metrics().text(() => stateOf(state));

it("has a series of each kind for each service, with its name escaped", async () => {
  const times = timesOf([0.016, 5], [0.08, 2], [1.28, 1], [null, 2]);
  const service = serviceOf(NASTY, { queued: 3, oldestWaitMs: 1500, wait: times, service: times });
  const text = await read({ services: [service] });
  const name = String.raw`a\"b\\c{}=,é 😀`;
  expect(text).toContain(`\nwasmq_service_queued{service="${name}"} 3\n`);
  expect(text).toContain(`\nwasmq_service_oldest_wait_seconds{service="${name}"} 1.5\n`);
  for (const kind of ["wait", "service"]) {
    const found = lines(text, `wasmq_request_${kind}_seconds_`);
    const own = found.filter((line) => line.includes(name)).map((line) => line.split(" ").at(-1));
    // 64 us, 128 us and so on: cumulative, and what has no bound only in +Inf.
    expect(own.slice(0, 7)).toEqual(["5", "7", "7", "7", "7", "8", "8"]);
    expect(own.slice(-3)).toEqual(["10", "0.02", "10"]);
    expect(found.find((line) => line.includes('le="+Inf"'))).toContain(" 10");
  }
});

it("counts outcomes by service and status, names never served under none", async () => {
  const services = [serviceOf("a", { outcomes: { OK: 7, UNAVAILABLE: 2 } })];
  const other = otherOf({ outcomes: { NOT_FOUND: 9 } });
  expect(lines(await read({ services, other }), "wasmq_requests_total")).toEqual([
    'wasmq_requests_total{service="a",status="OK"} 7',
    'wasmq_requests_total{service="a",status="UNAVAILABLE"} 2',
    'wasmq_requests_total{service="",status="NOT_FOUND"} 9',
  ]);
});

it("shows what waits for names never served under none", async () => {
  const other = otherOf({ queued: 10, queuedBytes: 500, oldestWaitMs: 1500 });
  const text = await read({ services: [serviceOf("a", { queued: 1 })], other });
  expect(lines(text, "wasmq_service_queued{")).toEqual([
    'wasmq_service_queued{service="a"} 1',
    'wasmq_service_queued{service=""} 10',
  ]);
  expect(text).toContain('\nwasmq_service_queued_bytes{service=""} 500\n');
  expect(text).toContain('\nwasmq_service_oldest_wait_seconds{service=""} 1.5\n');
  // Workers and credit are nobody's.
  expect(lines(text, "wasmq_service_workers{")).toEqual(['wasmq_service_workers{service="a"} 1']);
});

it("writes label values in kebab-case, and bytes apart from numbers", async () => {
  const text = await read({
    topics: { subscriptions: 3, subscriptionBytes: 300, plainPrefixes: 1 },
    topicCounts: { droppedOldest: 4 },
    counts: { refusedAfterWait: 5 },
    tasks: { counts: { deadDropped: 6 }, queues: [] },
    refusals: { "socket-type": 2 },
  });
  expect(lines(text, "wasmq_topics{")).toEqual([
    'wasmq_topics{what="subscriptions"} 3',
    'wasmq_topics{what="plain-prefixes"} 1',
  ]);
  expect(lines(text, "wasmq_topic_bytes{")).toEqual([
    'wasmq_topic_bytes{what="subscriptions"} 300',
  ]);
  for (const line of [
    'wasmq_topic_events_total{event="dropped-oldest"} 4',
    'wasmq_events_total{event="refused-after-wait"} 5',
    'wasmq_tasks_total{event="dead-dropped"} 6',
    'wasmq_limit{limit="request-bytes-max"} 134217728',
    'wasmq_refused_connections_total{reason="socket-type"} 2',
  ]) {
    expect(text).toContain(`\n${line}\n`);
  }
  const labelled = lines(text, "wasmq_").filter((line) => !/status=|service=|version=/.test(line));
  for (const line of labelled) expect(line).not.toMatch(/="[^"]*[A-Z_]/);
});

it("counts parts of streams by service, and shows how many are open", async () => {
  const services = [serviceOf("a", { streams: 2, parts: 7 }), serviceOf("b")];
  const text = await read({ services });
  expect(lines(text, "wasmq_stream_parts_total")).toEqual([
    'wasmq_stream_parts_total{service="a"} 7',
  ]);
  expect(lines(text, "wasmq_service_streams{")).toEqual([
    'wasmq_service_streams{service="a"} 2',
    'wasmq_service_streams{service="b"} 0',
  ]);
});

it("shows the present state alone, however often it is read", async () => {
  const NOBODYS = 'wasmq_service_queued{service=""} 0';
  const metrics = new Metrics();
  const of = (name: string, OK: number) => () =>
    stateOf({ services: [serviceOf(name, { queued: OK, outcomes: { OK } })] });
  const first = await metrics.text(of("a", 1));
  const again = await metrics.text(of("b", 3));
  const queued = [first, again].map((text) => lines(text, "wasmq_service_queued{"));
  expect(queued).toEqual([
    ['wasmq_service_queued{service="a"} 1', NOBODYS],
    ['wasmq_service_queued{service="b"} 3', NOBODYS],
  ]);
  expect(lines(again, "wasmq_requests_total")).toEqual([
    'wasmq_requests_total{service="b",status="OK"} 3',
  ]);
});

it("writes one text for all who ask while it is written, of one state", async () => {
  const metrics = new Metrics();
  let taken = 0;
  const take = () => stateOf({ requests: ++taken });
  const texts = await Promise.all(Array.from({ length: 1000 }, () => metrics.text(take)));
  expect([taken, new Set(texts).size]).toEqual([1, 1]);
  expect(await metrics.text(take)).toContain("\nwasmq_held_requests 2\n");
});

it("writes the next text after one that came to nothing", async () => {
  const metrics = new Metrics();
  const fail = () => {
    throw new Error("no state");
  };
  await expect(metrics.text(fail)).rejects.toThrow("no state");
  expect(await metrics.text(() => stateOf({}))).toContain("\nwasmq_ready 1\n");
});

it("has help and one type for each name, and the process and its event loop", async () => {
  const services = Array.from({ length: 121 }, (_, index) => serviceOf(`a${index}`));
  const text = await read({ services, refusals: { "socket-type": 2 } });
  const types = lines(text, "# TYPE").map((line) => line.split(" ")[2]);
  expect(new Set(types).size).toBe(types.length);
  expect(lines(text, "wasmq_request_wait_seconds_count")).toHaveLength(122);
  const helps = lines(text, "# HELP").map((line) => line.split(" ")[2]);
  expect(helps).toEqual(types);
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    expect(line).toMatch(/^[a-z][a-z0-9_]*(\{.*\})? ([0-9.e+-]+|Nan)$/);
    // The event loop's, when nothing was measured yet; Prometheus reads it as NaN.
    if (line.endsWith("Nan")) expect(line).toMatch(/^nodejs_eventloop_lag_/);
    const name = /^[a-z0-9_]+/.exec(line)?.[0].replace(/_(bucket|sum|count)$/, "") as string;
    expect(types.some((type) => type === name || type === /^[a-z0-9_]+/.exec(line)?.[0])).toBe(
      true,
    );
  }
  const expected = ["process_cpu_seconds_total", "process_resident_memory_bytes"];
  expected.push("nodejs_eventloop_lag_p99_seconds", "wasmq_refused_connections_total");
  expect(types).toEqual(expect.arrayContaining(expected));
});
