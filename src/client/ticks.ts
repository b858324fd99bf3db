const TICK_MS = 5;

/** Looks at someone's deadlines; returns whether there is more to look at later. */
export type Tick = (nowMs: number) => boolean;

const ticks = new Set<Tick>();
let timer: NodeJS.Timeout | undefined;

/**
 * Calls `tick` in 5 ms at the latest and then each 5 ms, until it says that there is nothing more to look at. All
 * clients of a process have one timer: with 50 in it, one each was a twelfth of their time.
 */
export function beginTicks(tick: Tick): void {
  ticks.add(tick);
  timer ??= setTimeout(onTick, TICK_MS);
}

export function endTicks(tick: Tick): void {
  ticks.delete(tick);
  restIfIdle();
}

function onTick(): void {
  // First: whatever one of them comes to, the others' time goes on.
  timer = setTimeout(onTick, TICK_MS);
  const nowMs = performance.now();
  for (const tick of ticks) if (!tick(nowMs)) ticks.delete(tick);
  restIfIdle();
}

function restIfIdle(): void {
  if (ticks.size > 0) return;
  clearTimeout(timer);
  timer = undefined;
}
