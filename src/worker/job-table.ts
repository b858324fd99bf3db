import type { Job } from "./job.js";

/** What names a request, of an id or a record. */
interface RequestId {
  sessionLow: number;
  sessionHigh: number;
  sequence: number;
}

/** The jobs that are not answered yet, by the whole id of their request. */
export class JobTable {
  size = 0;
  /** Jobs by most of their id; the few that share that are linked. */
  readonly #heads = new Map<number, Job>();

  find(id: RequestId): Job | undefined {
    let job = this.#heads.get(keyOf(id));
    while (job !== undefined && !job.isSameRequest(id)) job = job.nextOfKey;
    return job;
  }

  /** Adds a job whose request is not in the table. */
  add(job: Job): void {
    const key = keyOf(job.id);
    job.nextOfKey = this.#heads.get(key);
    this.#heads.set(key, job);
    this.size++;
  }

  delete(job: Job): void {
    const key = keyOf(job.id);
    const head = this.#heads.get(key);
    if (head === job) {
      if (job.nextOfKey === undefined) this.#heads.delete(key);
      else this.#heads.set(key, job.nextOfKey);
    } else {
      let before = head;
      while (before !== undefined && before.nextOfKey !== job) before = before.nextOfKey;
      if (before === undefined) return;
      before.nextOfKey = job.nextOfKey;
    }
    job.nextOfKey = undefined;
    this.size--;
  }

  *[Symbol.iterator](): Iterator<Job> {
    for (const head of this.#heads.values()) {
      for (let job: Job | undefined = head; job !== undefined; ) {
        // Read first: whoever is given the job may delete it.
        const next: Job | undefined = job.nextOfKey;
        yield job;
        job = next;
      }
    }
  }
}

function keyOf({ sessionLow, sequence }: RequestId): number {
  return (sequence % 2 ** 20) * 2 ** 32 + sessionLow;
}
