/** The ids of the tasks that ended of late, so many and so long. */
export class RecentTasks {
  /** When each ended, oldest first. */
  readonly #endedMs = new Map<string, number>();
  readonly #countMax: number;
  readonly #ageMsMax: number;

  constructor(countMax: number, ageMsMax: number) {
    this.#countMax = countMax;
    this.#ageMsMax = ageMsMax;
  }

  has(key: string, nowMs: number): boolean {
    const endedMs = this.#endedMs.get(key);
    return endedMs !== undefined && nowMs - endedMs <= this.#ageMsMax;
  }

  add(key: string, nowMs: number): void {
    this.#endedMs.delete(key);
    this.#endedMs.set(key, nowMs);
    for (const [oldest, endedMs] of this.#endedMs) {
      if (this.#endedMs.size <= this.#countMax && nowMs - endedMs <= this.#ageMsMax) return;
      this.#endedMs.delete(oldest);
    }
  }
}
