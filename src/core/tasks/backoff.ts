import type { TaskLimits } from "./task-limits.js";

/**
 * How long a task waits after its `failedCount`th failure: twice as long each time, up to the most,
 * of that between half and all, so that what failed together is not tried again together.
 * `random`: 0 to less than 1.
 */
export function backoffMs(
  failedCount: number,
  { backoffMsMin, backoffMsMax }: TaskLimits,
  random: number,
): number {
  const ceilingMs = Math.min(backoffMsMin * 2 ** (failedCount - 1), backoffMsMax);
  return Math.ceil(ceilingMs * (0.5 + random / 2));
}
