// One attempt of a task at its worker, and the next one that takes it over.
import { expect, test } from "vitest";
import { performance } from "../../build/link/clock.js";
import type { RequestRecord } from "../../build/wire/request-record.js";
import type { Service } from "../../build/worker/job.js";
import { TaskJob } from "../../build/worker/task-job.js";

const service: Service = { handler: () => {}, number: 1, isGenerator: false };

function recordOf(attempt: number, timeoutMs: number): RequestRecord {
  const id = { sessionLow: 1, sessionHigh: 2, sequence: 3, slot: attempt, generation: 1 };
  const held = { bytes: new Uint8Array(8), at: 0, size: 8, frames: [] };
  const rest = { service: "q", flags: 0, attempts: 0, bodyOffset: 0, headersSize: 0, held };
  return { ...id, ...rest, priority: attempt, timeoutMs } as unknown as RequestRecord;
}

test("a run that another attempt takes over has its number and its time", () => {
  const nowMs = performance.now();
  const job = new TaskJob(undefined, service, recordOf(1, 1), nowMs - 1000);
  job.keepDeadline();
  expect(job.over).toMatchObject({ status: "DEADLINE_EXCEEDED", isUntouched: true });
  job.takeOver(recordOf(2, 3_600_000), nowMs);
  expect(job.attempt).toBe(2);
  expect(job.timeLeftMs).toBeGreaterThan(3_000_000);
  expect(job.over).toBeUndefined();
});

test("one that is over after its turn came is not said to be untouched", () => {
  const job = new TaskJob(undefined, { ...service, raw: true }, recordOf(1, 1), 0);
  job.open(undefined as never);
  expect(job.over?.isUntouched).toBe(false);
});
