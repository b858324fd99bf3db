// What holds from end to end, whatever brokers come and go between: one outcome for each request, the
// right reply, and no more runs than its attempts allow.
import type { Log } from "./log.ts";
import { must } from "./log.ts";

interface Entry {
  readonly id: string;
  readonly attempts: number;
  /** How often its client sent it: once more for each broker that was lost with it. */
  sent: number;
  /** How often its client said it again on the same connection, by mistake: that is to ask for it again. */
  repeated: number;
  outcome: string | undefined;
  runs: number;
  /** Worker processes that ran it. */
  readonly ranBy: Set<number>;
}

export class Ledger {
  /** Asked and without an outcome. */
  readonly open = new Set<string>();
  readonly #entries = new Map<string, Entry>();
  readonly #log: Log;
  /** Whether workers remember all they ran: none of them runs a request twice. */
  readonly #isRemembered: boolean;

  constructor(log: Log, isRemembered: boolean) {
    this.#log = log;
    this.#isRemembered = isRemembered;
  }

  get count(): number {
    return this.#entries.size;
  }

  asked(id: string, attempts: number): void {
    must(!this.#entries.has(id), `${id} asked twice`);
    const none = { sent: 0, repeated: 0, outcome: undefined, runs: 0 };
    this.#entries.set(id, { id, attempts, ...none, ranBy: new Set() });
    this.open.add(id);
  }

  sent(id: string): void {
    const entry = this.#of(id);
    must(entry.outcome === undefined, `${id} sent after its outcome`);
    if (entry.sent++ > 0) this.#log.meet("resent");
    must(entry.attempts !== 1 || entry.sent === 1, `${id} of one attempt sent twice`);
  }

  repeated(id: string): void {
    this.#of(id).repeated++;
  }

  ran(id: string, worker: number): void {
    const entry = this.#of(id);
    this.#log.effect(`run ${id} by worker ${worker}`);
    const runsMax = entry.attempts * (entry.sent + entry.repeated);
    must(++entry.runs <= runsMax, `${id} ran ${entry.runs} times, at most ${runsMax} are allowed`);
    if (entry.ranBy.has(worker)) {
      must(!this.#isRemembered, `worker ${worker} ran ${id} twice`);
      this.#log.meet("run again, forgotten");
    }
    entry.ranBy.add(worker);
  }

  /** A worker had it already, or had answered it. */
  remembered(): void {
    this.#log.meet("remembered");
  }

  ended(id: string, outcome: string): void {
    const entry = this.#of(id);
    must(entry.outcome === undefined, `${id} ended as ${outcome} after ${entry.outcome}`);
    entry.outcome = outcome;
    this.open.delete(id);
    this.#log.effect(`outcome ${outcome} of ${id}`);
  }

  outcome(id: string): string | undefined {
    return this.#of(id).outcome;
  }

  #of(id: string): Entry {
    const entry = this.#entries.get(id);
    must(entry !== undefined, `${id} was never asked`);
    return entry;
  }
}
