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

it("keeps streams apart from what concurrency auto finds out: each has a place beside, up to the most", async () => {
  const told: number[] = [];
  const jobs = new JobTable();
  const answers = { jobs, answer: (job: Job) => jobs.delete(job) } as unknown as Answers;
  const options = { brokers: [], concurrency: "auto", concurrencyMax: 12 } as const;
  const runner = new Runner(options, {} as Codec, answers, () => told.push(runner.concurrency));
  const ends: (() => void)[] = [];
  const streamOf = (sequence: number) =>
    ({
      sessionLow: 1,
      sessionHigh: 1,
      sequence,
      isListed: false,
      options: { handler: async function* () {} },
      open: () => undefined,
      stream: { run: () => new Promise<void>((resolve) => ends.push(resolve)) },
      keep: () => {},
    }) as unknown as Job;
  for (let i = 1; i <= 6; i++) runner.start(streamOf(i));
  for (let turn = 0; turn < 100 && ends.length < 6; turn++) await undefined;
  expect(told).toEqual([9, 10, 11, 12]);
  for (const end of ends) end();
  for (let turn = 0; turn < 100 && jobs.size > 0; turn++) await undefined;
  expect(told.slice(4)).toEqual([11, 10, 9, 8]);
  expect(runner.stats).toMatchObject({ running: 0, concurrency: 8 });
});
