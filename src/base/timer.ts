/** The longest that a timer of Node's can be, 24 days; a longer one would go off at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** What to set a timer to that is to go off after `ms`, which may be Infinity. */
export function timerMs(ms: number): number {
  return Math.min(ms, TIMER_MS_MAX);
}
