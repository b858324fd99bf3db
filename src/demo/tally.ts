/** What became of each request of the story, by its number. */
export class Tally {
  readonly repliesByWorker = new Map<string, number>();
  readonly latenciesMs: number[] = [];
  /** How often each reason for no reply was given. */
  readonly failures = new Map<string, number>();
  /** Answers that the client dropped, as their requests were over. */
  late = 0;
  /** As the broker counts: requests handed to another worker, theirs being lost. */
  redelivered = 0;
  wrong = 0;
  sent = 0;
  replies = 0;
  /** By request: who answered it, or "" as long as nobody has. */
  readonly #answeredBy: string[] = [];
  readonly #begun: number[] = [];
  readonly #ended: number[] = [];
  #repeated = 0;

  onSent(number: number): void {
    this.sent++;
    this.#answeredBy[number] ??= "";
  }

  onReply(number: number, reply: { worker: string; latencyMs: number; isRight: boolean }): void {
    if (this.#answeredBy[number]) {
      this.#repeated++;
      return;
    }
    this.#answeredBy[number] = reply.worker;
    this.replies++;
    if (!reply.isRight) this.wrong++;
    this.latenciesMs.push(reply.latencyMs);
    this.repliesByWorker.set(reply.worker, (this.repliesByWorker.get(reply.worker) ?? 0) + 1);
  }

  onFailure(number: number, reason: string): void {
    this.#answeredBy[number] ??= "";
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1);
  }

  onBegun(number: number): void {
    this.#begun[number] = (this.#begun[number] ?? 0) + 1;
  }

  onEnded(number: number): void {
    this.#ended[number] = (this.#ended[number] ?? 0) + 1;
  }

  /** Who answered it; "" when nobody has. */
  answeredBy(number: number): string {
    return this.#answeredBy[number] ?? "";
  }

  /** Requests sent that got no reply, whatever else they got. */
  get lost(): number {
    return this.#answeredBy.filter((worker) => worker === "").length;
  }

  /** Answers beyond the first to their request. */
  get duplicates(): number {
    return this.#repeated + this.late;
  }

  /** Requests that more than one worker began. */
  get begunTwice(): number {
    return this.#begun.filter((count) => count > 1).length;
  }

  /** Requests that more than one worker finished. */
  get finishedTwice(): number {
    return this.#ended.filter((count) => count > 1).length;
  }

  /** Whether each request got one reply, and the right one. */
  get isClean(): boolean {
    return this.lost === 0 && this.duplicates === 0 && this.wrong === 0;
  }
}

/** The value that `share` (0..1) of `values` do not exceed; 0 of none. Nearest rank. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
