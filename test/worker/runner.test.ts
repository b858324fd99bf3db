import { expect, it } from "vitest";
import type { Codec } from "../../build/codec/index.js";
import type { Answers } from "../../build/worker/answers.js";
import type { Job } from "../../build/worker/job.js";
import { JobTable } from "../../build/worker/job-table.js";
import { Runner } from "../../build/worker/runner.js";

const LINE = 50_000;

it("runs a long line of what is done at once one after the other, not one within the other", async () => {
  const jobs = new JobTable();
  const failures: unknown[] = [];
  const order: number[] = [];
  const answers = {
    jobs,
    answer: (job: Job, failed: unknown) => {
      jobs.delete(job);
      if (failed !== undefined) failures.push(failed);
    },
  } as unknown as Answers;
  const runner = new Runner({ brokers: [], concurrency: 1 }, {} as Codec, answers, () => {});
  const jobOf = (sequence: number, handler: () => unknown) =>
    ({
      sessionLow: 1,
      sessionHigh: 1,
      sequence,
      isListed: false,
      options: { handler },
      open: () => undefined,
      seal: () => undefined,
      keep: () => {},
    }) as unknown as Job;
  let release = () => {};
  const slow = () => new Promise<void>((resolve) => (release = resolve));
  runner.start(jobOf(1, slow));
  for (let i = 0; i < LINE; i++) runner.start(jobOf(2 + i, () => void order.push(i)));
  expect(runner.stats).toMatchObject({ running: 1, waiting: LINE });
  release();
  for (let turn = 0; turn < 100 && jobs.size > 0; turn++) await undefined;
  expect(failures).toEqual([]);
  expect(jobs.size).toBe(0);
  expect(order).toEqual(Array.from({ length: LINE }, (_, i) => i));
  expect(runner.stats).toMatchObject({ running: 0, waiting: 0 });
});
