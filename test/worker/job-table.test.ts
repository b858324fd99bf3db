import fc from "fast-check";
import { expect, test } from "vitest";
import type { Job } from "../../build/worker/job.js";
import { JobTable } from "../../build/worker/job-table.js";

interface Id {
  sessionLow: number;
  sessionHigh: number;
  sequence: number;
}

function jobOf(id: Id): Job {
  return { ...id } as unknown as Job;
}

test("each job is found by its whole id, those that share a home too", () => {
  // Few low words, and sequences that differ above the key's bits alone.
  const id = fc.record({
    sessionLow: fc.integer({ min: 1, max: 2 }),
    sessionHigh: fc.integer({ min: 1, max: 3 }),
    sequence: fc.constantFrom(5, 5 + 2 ** 20, 5 + 2 ** 40),
  });
  const step = fc.record({ id, isAdding: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const table = new JobTable();
      const twin = new Map<string, Job>();
      for (const { id, isAdding } of steps) {
        const key = JSON.stringify(id);
        expect(table.find(id)).toBe(twin.get(key));
        const known = twin.get(key);
        if (isAdding && known === undefined) {
          const job = jobOf(id);
          table.add(job);
          twin.set(key, job);
        } else if (!isAdding && known !== undefined) {
          table.delete(known);
          twin.delete(key);
        }
        expect(table.size).toBe(twin.size);
        expect(new Set(table)).toEqual(new Set(twin.values()));
      }
    }),
  );
});
