import { shown } from "../../base/check.js";

/** What bounds the tasks of a broker, and how they are tried again. Bytes and milliseconds. */
export interface TaskLimits {
  /**
   * Queues known at once. When a new one needs the place, one with nothing in it is forgotten, or else the one with
   * the oldest of dead letters alone, with these.
   */
  readonly queuesMax: number;
  /** Tasks of one queue and of all, dead letters not among them; beyond, pushes are refused. */
  readonly queueCountMax: number;
  readonly countMax: number;
  /** Bytes of these. */
  readonly queueBytesMax: number;
  readonly bytesMax: number;
  /**
   * One client's tasks, and queues, of all together: up to so many times what is free (as `queueShare` of services'
   * queues). Whatever one pushes, something is left for the next.
   */
  readonly ownerShare: number;
  /** Dead letters of one queue; beyond, its oldest are dropped. */
  readonly deadCountMax: number;
  readonly deadQueueBytesMax: number;
  /** Bytes of the dead letters of all queues. */
  readonly deadBytesMax: number;
  /** Attempts of a task that does not say how many. */
  readonly attemptsDefault: number;
  /** How long an attempt may take that does not say. */
  readonly attemptTimeoutMs: number;
  /** The wait before the second attempt, doubled for each further one up to the most. */
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  /** Tasks that ended, whose ids are remembered so that they are not taken again: so many, so long. */
  readonly recentCountMax: number;
  readonly recentAgeMsMax: number;
}

export const defaultTaskLimits: TaskLimits = {
  queuesMax: 1024,
  queueCountMax: 65_536,
  countMax: 262_144,
  queueBytesMax: 64 * 1024 * 1024,
  bytesMax: 256 * 1024 * 1024,
  ownerShare: 8,
  deadCountMax: 1024,
  deadQueueBytesMax: 8 * 1024 * 1024,
  deadBytesMax: 64 * 1024 * 1024,
  attemptsDefault: 5,
  attemptTimeoutMs: 30_000,
  backoffMsMin: 500,
  backoffMsMax: 60_000,
  recentCountMax: 65_536,
  recentAgeMsMax: 120_000,
};

/** The defaults with `overrides` laid over them. Throws RangeError for one that is none. */
export function resolveTaskLimits(overrides: Partial<TaskLimits> = {}): TaskLimits {
  const limits: Record<string, number> = { ...defaultTaskLimits };
  for (const [key, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(defaultTaskLimits, key)) {
      throw new RangeError(`tasks: unknown limit "${key}"`);
    }
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31) {
      throw new RangeError(`tasks.${key} must be a whole number 1..2^31, got ${shown(value)}`);
    }
    limits[key] = value;
  }
  const result = limits as unknown as TaskLimits;
  const ordered: [keyof TaskLimits, keyof TaskLimits][] = [
    ["queueCountMax", "countMax"],
    ["queueBytesMax", "bytesMax"],
    ["deadQueueBytesMax", "deadBytesMax"],
    ["backoffMsMin", "backoffMsMax"],
  ];
  for (const [lesser, greater] of ordered) {
    if (result[lesser] > result[greater]) {
      const most = `tasks.${greater} (${result[greater]})`;
      throw new RangeError(`tasks.${lesser} (${result[lesser]}) must not exceed ${most}`);
    }
  }
  if (result.attemptsDefault > 255) {
    throw new RangeError(`tasks.attemptsDefault must be 1..255, got ${result.attemptsDefault}`);
  }
  return result;
}
