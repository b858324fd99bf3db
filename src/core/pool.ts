import { RUN_MS, runMaxOf } from "./look-ahead.js";
import { Ranking } from "./ranking.js";
import type { Service } from "./services.js";
import type { Worker } from "./workers.js";

/**
 * The workers that serve exactly the same services: `idle` those with free concurrency, by
 * requests in flight; `ahead` those with only look-ahead left, by how far they are over.
 */
export class Pool {
  workerCount = 0;
  readonly idle = new Ranking();
  readonly ahead = new Ranking();
  /** The one that is being handed a run, how much of it is left, and when it began. */
  #runner: Worker | undefined;
  #runLeft = 0;
  #runSinceMs = 0;
  /** Services of this pool with requests waiting, in turn. */
  readonly #hungry = new Set<Service>();
  /** The one hungry service; none if there are more. */
  #onlyHungry: Service | undefined;

  constructor(
    readonly key: string,
    readonly services: readonly Service[],
  ) {}

  /** Puts `worker` where its requests in flight say, behind its equals. */
  place(worker: Worker): void {
    worker.ranking?.remove(worker);
    if (worker.room <= 0) return;
    const over = worker.inFlight - worker.concurrency;
    if (over < 0) this.idle.append(worker, worker.inFlight);
    else this.ahead.append(worker, over);
  }

  get best(): Worker | undefined {
    return this.idle.first() ?? this.ahead.first();
  }

  /** The best worker for the next request of `service`; while one is handed a run, it. */
  next(service: Service, nowMs: number): Worker | undefined {
    const runner = this.#runner;
    if (runner !== undefined) {
      const isOfRun = runner.runService === service.index;
      if (isOfRun && this.#runLeft > 0 && nowMs - this.#runSinceMs < RUN_MS && runner.room > 0) {
        this.#runLeft--;
        return runner;
      }
      this.#runner = undefined;
    }
    const { best } = this;
    if (best !== undefined && best.run > 1 && best.runService === service.index) {
      this.#runner = best;
      const underWay = service.inFlight + service.queue.count;
      this.#runLeft = Math.min(best.run, runMaxOf(underWay, this.workerCount)) - 1;
      this.#runSinceMs = nowMs;
    }
    return best;
  }

  /** Says whether requests of `service` wait for a worker. */
  setHungry(service: Service, hungry: boolean): void {
    if (hungry) this.#hungry.add(service);
    else this.#hungry.delete(service);
    this.#onlyHungry = undefined;
    if (this.#hungry.size === 1) for (const only of this.#hungry) this.#onlyHungry = only;
  }

  /** The service whose turn it is to get a worker of this pool. */
  nextHungry(): Service | undefined {
    // The usual case: a pool per service.
    if (this.#onlyHungry !== undefined || this.#hungry.size === 0) return this.#onlyHungry;
    for (const service of this.#hungry) {
      this.#hungry.delete(service);
      this.#hungry.add(service);
      return service;
    }
    return undefined;
  }
}

/**
 * The worker that is to be handed the next request of `service`: the best one, and once found, it again for what
 * comes at the same moment, as far as its run goes (look-ahead.ts).
 */
export function nextWorker(service: Service, nowMs: number): Worker | undefined {
  const { pools } = service;
  return pools.length === 1 ? pools[0].next(service, nowMs) : bestWorker(service);
}

/**
 * The worker for the next request of `service`: of those with free concurrency the one with
 * fewest in flight, longest idle first; if there is none, the one least over.
 */
export function bestWorker(service: Service): Worker | undefined {
  const { pools } = service;
  // The usual case: all workers of a service are alike.
  if (pools.length === 1) return pools[0].best;
  let best: Worker | undefined;
  for (const pool of pools) best = sooner(pool.idle.first(), best);
  if (best !== undefined) return best;
  for (const pool of pools) best = sooner(pool.ahead.first(), best);
  return best;
}

function sooner(one: Worker | undefined, other: Worker | undefined): Worker | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  if (one.rank !== other.rank) return one.rank < other.rank ? one : other;
  return one.idleSince < other.idleSince ? one : other;
}
