import type { Task } from "./task.js";

/**
 * Where tasks are kept. Tasks are acknowledged once the store says that it has them, which may be
 * much later than it was told: a durable one commits many at once. What is told of one task, it is told
 * in order.
 */
export interface TaskStore {
  /** Keeps a new task; then `Tasks.onKept`, or `Tasks.onNotKept`, now or later. */
  keep(task: Task): void;
  /** An attempt failed, or it died or was retried: `state`, `failedCount`, `dueMs`, `reason` changed. */
  note(task: Task): void;
  /** It is done, or dropped from the dead letters. */
  drop(task: Task): void;
  /** The tasks that are kept from before, each to `Tasks.restore`; called once, before the rest. */
  load(restore: (task: Task) => void): void;
}

/** Keeps tasks as long as the process lives: they are in memory anyway. */
export class MemoryTaskStore implements TaskStore {
  /** Who waits to hear that a task is kept; set by whoever puts the two together. */
  onKept: (task: Task) => void = () => {};

  keep(task: Task): void {
    this.onKept(task);
  }

  note(): void {}

  drop(): void {}

  load(): void {}
}
