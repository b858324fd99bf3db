import { PRIORITY_COUNT } from "../limits.js";
import { PriorityTurns } from "../priority-turns.js";
import type { Holder } from "./holders.js";
import type { Task } from "./task.js";

const RATE_WINDOW_MS = 1000;

interface Line {
  head: Task | undefined;
  tail: Task | undefined;
}

/** The tasks of one name. */
export class TaskQueue {
  /** All but dead letters, and their bytes. */
  count = 0;
  bytes = 0;
  /** Who pushed the first of them. */
  opener: Holder | undefined;
  readyCount = 0;
  delayedCount = 0;
  givenCount = 0;
  /** Oldest first. */
  readonly dead = new Set<Task>();
  deadBytes = 0;
  /** Nothing is given to the core before: it refused the last one. */
  restUntilMs = 0;
  readonly counts = { pushed: 0, done: 0, failed: 0, dead: 0 };
  readonly #lines: Line[] = Array.from({ length: PRIORITY_COUNT }, () => ({
    head: undefined,
    tail: undefined,
  }));
  /** The priorities at which some are ready. */
  #occupied = 0;
  readonly #turns = new PriorityTurns();
  #rateSinceMs = 0;
  #rateSinceCount = 0;
  #ratePerMs = 0;

  constructor(readonly name: string) {}

  get isEmpty(): boolean {
    return this.count === 0 && this.dead.size === 0;
  }

  /** Puts a task behind those of its priority. */
  push(task: Task): void {
    const line = this.#lines[task.pushed.priority];
    task.state = "ready";
    task.givenAs = 0;
    task.next = undefined;
    if (line.tail === undefined) line.head = task;
    else line.tail.next = task;
    line.tail = task;
    this.#occupied |= 1 << task.pushed.priority;
    this.readyCount++;
  }

  /**
   * Puts tasks that were taken, and of which nothing came, before those of their priority, in the order in which they were
   * taken, others put back before among them. They are sorted in place.
   */
  putBack(tasks: Task[]): void {
    tasks.sort((one, other) => one.givenAs - other.givenAs);
    // The last one put in each line: the next belongs behind it.
    const places: (Task | undefined)[] = new Array(PRIORITY_COUNT).fill(undefined);
    for (const task of tasks) {
      const { priority } = task.pushed;
      const line = this.#lines[priority];
      let before = places[priority];
      let after = before === undefined ? line.head : before.next;
      // What was never given has 0.
      while (after !== undefined && after.givenAs > 0 && after.givenAs < task.givenAs) {
        before = after;
        after = after.next;
      }
      task.state = "ready";
      task.next = after;
      if (before === undefined) line.head = task;
      else before.next = task;
      if (after === undefined) line.tail = task;
      this.#occupied |= 1 << priority;
      places[priority] = task;
    }
    this.readyCount += tasks.length;
  }

  take(): Task | undefined {
    if (this.#occupied === 0) return undefined;
    const priority = this.#turns.next(this.#occupied);
    const line = this.#lines[priority];
    const task = line.head as Task;
    line.head = task.next;
    if (line.head === undefined) {
      line.tail = undefined;
      this.#occupied &= ~(1 << priority);
    }
    task.next = undefined;
    this.readyCount--;
    return task;
  }

  onDone(nowMs: number): void {
    this.counts.done++;
    const elapsedMs = nowMs - this.#rateSinceMs;
    if (elapsedMs < RATE_WINDOW_MS) return;
    const count = this.counts.done - this.#rateSinceCount;
    if (elapsedMs < RATE_WINDOW_MS * 10) this.#ratePerMs = count / elapsedMs;
    this.#rateSinceCount = this.counts.done;
    this.#rateSinceMs = nowMs;
  }

  /** When a tenth of what is here should be done, by its recent rate. */
  get retryAfterMs(): number {
    if (this.#ratePerMs === 0) return 1000;
    return Math.min(Math.max(Math.ceil(this.count / 10 / this.#ratePerMs), 10), 10_000);
  }
}
