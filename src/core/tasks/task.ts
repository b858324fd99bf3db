import type { StatusCode } from "../../base/status.js";
import type { Holder } from "./holders.js";

/**
 * Where a task stands: `storing` until the store has it, `ready` or `delayed` while it waits,
 * `given` while the core has it for its workers, `dead` once it failed too often, `over` when it is done
 * or dropped.
 */
export type TaskState = "storing" | "ready" | "delayed" | "given" | "dead" | "over";

/** The bytes of a task: a range of some bytes, and the frames of its body beside them. */
export interface TaskRecord {
  readonly bytes: Uint8Array;
  /** Of these bytes. */
  readonly view: DataView;
  readonly at: number;
  readonly size: number;
  readonly frames: readonly Uint8Array[];
}

/** What was pushed, in memory of its own. */
export interface PushedTask {
  /**
   * Within what its id is told from others: the key of its client, "" where clients show none. What comes of no
   * client has a word of its own here, which is no key.
   */
  readonly owner: string;
  readonly sessionLow: number;
  readonly sessionHigh: number;
  readonly sequence: number;
  readonly queue: string;
  /** 0 (first) to 7 (last). */
  readonly priority: number;
  /** How often it may be tried, 1..255. */
  readonly attemptsMax: number;
  /** How long one attempt may take. */
  readonly attemptTimeoutMs: number;
  readonly record: TaskRecord;
  /** What it counts for. */
  readonly bytes: number;
}

/** One task, from its push until it is done or dropped. */
export class Task {
  state: TaskState = "storing";
  /** Attempts that failed, since it was pushed or last retried from the dead letters. */
  failedCount = 0;
  /** How often in a row it was given and no worker began on it. */
  untouchedCount = 0;
  /** When it may be tried, in the time of the caller; of a dead one, when it died. */
  dueMs = 0;
  /** Of the last attempt that failed. */
  status: StatusCode = 0;
  reason = "";
  /** Who is told once the store has it; -1 for nobody. */
  pusher = -1;
  /** Whose share it counts for, while it does. */
  holder: Holder | undefined;
  /** Its timer's place. */
  slot = -1;
  /** What the core knows its present attempt by; once it was put back, knew it by; else 0. */
  givenAs = 0;
  /** The next one in its line. */
  next: Task | undefined;

  constructor(
    readonly key: string,
    readonly pushed: PushedTask,
  ) {}
}

/** What a task is known by: who knows only the id cannot push another in its place. */
export function taskKey(
  pushed: Pick<PushedTask, "owner" | "sessionLow" | "sessionHigh" | "sequence" | "queue">,
): string {
  const { owner, sessionLow, sessionHigh, sequence, queue } = pushed;
  return `${owner} ${sessionHigh}:${sessionLow}:${sequence} ${queue}`;
}
