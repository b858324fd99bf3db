import { Status } from "../base/status.js";
import { Meters, OTHER_ROW } from "./meters.js";
import { Pool } from "./pool.js";
import type { Requests } from "./requests.js";
import type { ServiceRules } from "./service-rules.js";
import { Service } from "./services.js";
import type { Worker } from "./workers.js";

/** The services that are known and the pools of workers that serve them. */
export class Registry {
  readonly services = new Map<string, Service>();
  readonly meters = new Meters();
  readonly #byIndex: (Service | undefined)[] = [];
  readonly #freeIndexes: number[] = [];
  readonly #pools = new Map<string, Pool>();
  /** Services that were served and are not now, longest absent first. */
  readonly #absent = new Set<Service>();
  /** Services that nobody ever served. */
  #strayCount = 0;

  constructor(
    private readonly requests: Requests,
    private readonly servicesMax: number,
    private readonly rules: ServiceRules,
  ) {}

  at(index: number): Service {
    return this.#byIndex[index] as Service;
  }

  /** Where what happens to this name is counted. */
  rowOf(name: string): number {
    return this.services.get(name)?.row ?? OTHER_ROW;
  }

  /**
   * The service of this name for a client, known from now on; undefined when too many are. Names that
   * only clients know take half the places at most, so that they cannot keep workers out.
   */
  requireAsked(name: string): Service | undefined {
    const known = this.services.get(name);
    if (known !== undefined) return known;
    if (this.#strayCount * 2 >= this.servicesMax) return undefined;
    return this.requireService(name);
  }

  /** The service of this name, known from now on; undefined when too many are known. */
  requireService(name: string): Service | undefined {
    const known = this.services.get(name);
    if (known !== undefined) return known;
    if (this.services.size >= this.servicesMax && !this.#forgetOne()) return undefined;
    const index = this.#freeIndexes.pop() ?? this.#byIndex.length;
    const service = new Service(index, name, this.requests, this.rules.of(name));
    this.#byIndex[index] = service;
    this.services.set(name, service);
    this.#strayCount++;
    return service;
  }

  /** Drops a service that nothing waits for and nobody ever served. */
  forgetIfStray(service: Service): void {
    if (service.isForgettable && !service.wasServed) this.#forget(service);
  }

  /** The pool for workers of exactly these services; undefined when too many are known. */
  requirePool(names: readonly string[]): Pool | undefined {
    const unique = [...new Set(names)].sort();
    // A name may hold any character: no separator would do.
    const key = JSON.stringify(unique);
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const services: Service[] = [];
    for (const name of unique) {
      const service = this.requireService(name);
      if (service === undefined) break;
      services.push(service);
    }
    // With the table all but full, making room for one name may have cost another of these.
    const kept = services.filter((service) => this.services.get(service.name) === service);
    if (kept.length < unique.length) {
      for (const service of kept) this.forgetIfStray(service);
      return undefined;
    }
    const pool = new Pool(key, services);
    this.#pools.set(key, pool);
    return pool;
  }

  /** Counts `worker` into its pool; the first makes the pool's services served by it. */
  enter(worker: Worker): void {
    const { pool } = worker;
    if (pool.workerCount++ > 0) return;
    for (const service of pool.services) {
      service.pools.push(pool);
      if (!service.wasServed) {
        this.#strayCount--;
        service.row = service.index + 1;
        this.meters.require(service.row);
      }
      service.wasServed = true;
      this.#absent.delete(service);
      pool.setHungry(service, service.queue.count > 0);
    }
  }

  /** Counts `worker` out of its pool; the last takes the pool with it. */
  exit(worker: Worker): void {
    const { pool } = worker;
    worker.ranking?.remove(worker);
    if (--pool.workerCount > 0) return;
    this.#pools.delete(pool.key);
    for (const service of pool.services) {
      service.pools.splice(service.pools.indexOf(pool), 1);
      if (!service.isServed) this.#absent.add(service);
    }
  }

  /** Tells the pools of `service` whether requests wait for it. */
  updateHunger(service: Service): void {
    for (const pool of service.pools) pool.setHungry(service, service.queue.count > 0);
  }

  #forgetOne(): boolean {
    for (const service of this.#absent) {
      if (!service.isForgettable) continue;
      this.#forget(service);
      return true;
    }
    return false;
  }

  #forget(service: Service): void {
    this.services.delete(service.name);
    if (service.wasServed) {
      this.meters.onOutcome(service.row, Status.OK, service.replyCount);
      this.meters.fold(service.row);
    } else {
      this.#strayCount--;
    }
    this.#absent.delete(service);
    this.#byIndex[service.index] = undefined;
    this.#freeIndexes.push(service.index);
  }
}
