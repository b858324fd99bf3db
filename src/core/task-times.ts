/** What a task has beside what a request has: its time runs from when a worker has it. */
export interface TaskTime {
  /** What an attempt may take. */
  readonly attemptMs: number;
  /** Its worker was told that this is over. */
  isOverdue: boolean;
}

/** Which requests are tasks, by slot. No columns of their own: a broker of requests alone has nothing to look at. */
export class TaskTimes {
  readonly #times = new Map<number, TaskTime>();

  /** Of the task in `slot`; undefined where it is a request like others. */
  at(slot: number): TaskTime | undefined {
    return this.#times.size === 0 ? undefined : this.#times.get(slot);
  }

  has(slot: number): boolean {
    return this.#times.size > 0 && this.#times.has(slot);
  }

  slots(): Iterable<number> {
    return this.#times.keys();
  }

  add(slot: number, attemptMs: number): void {
    this.#times.set(slot, { attemptMs, isOverdue: false });
  }

  /** Whether it was one. */
  delete(slot: number): boolean {
    return this.#times.size > 0 && this.#times.delete(slot);
  }
}
