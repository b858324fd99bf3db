import type { Client } from "./clients.js";
import type { Effects } from "./command.js";
import type { Limits } from "./limits.js";
import type { Service } from "./services.js";

/** No client is told of its credit more often. */
const REVIEW_MS = 100;
/** Less of a change than one in so many parts is not worth a record. */
const CHANGE_PARTS = 4;
/** Only who was not found waiting at a long queue in so many reviews gets credit back. */
const CALM_REVIEWS = 5;

/**
 * Client credit: where requests pile up, the clients whose requests they are get told to have fewer
 * in flight, so that load waits at the edge, where its sender sees it, instead of in the middle.
 *
 * A queue is long when it lasts for more than `codelTargetMs` at the rate of the service, and then
 * each client that waits there gives back what it has beyond an equal part of half of that: its credit
 * becomes what it has in flight, at other services too, less this excess. Between half and the whole
 * nothing changes. Whoever waited at no queue beyond the half for a while has its credit doubled at each
 * review until it is whole again. So the queue stays long enough to keep the workers busy, short enough that
 * wait-control.ts need not refuse.
 *
 * One review each 100 ms looks at every service, at the clients that wait at long ones, and at those
 * whose credit is less than the most; nothing is done per request.
 */
export class Credits {
  readonly #limits: Limits;
  readonly #reduced = new Set<Client>();
  #review = 0;
  #dueMs = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Whether some client has less than the most, and time must go on for it. */
  get areReduced(): boolean {
    return this.#reduced.size > 0;
  }

  forget(client: Client): void {
    this.#reduced.delete(client);
  }

  review(
    nowMs: number,
    services: Iterable<Service>,
    clients: ReadonlyMap<number, Client>,
    effects: Effects,
  ): void {
    if (nowMs < this.#dueMs) return;
    this.#dueMs = nowMs + REVIEW_MS;
    this.#review++;
    const waiting: Client[] = [];
    for (const service of services) this.#findExcess(service, clients, waiting);
    for (const client of waiting) this.#reduce(client, effects);
    for (const client of this.#reduced) {
      if (this.#review - client.reviewed > CALM_REVIEWS) this.#restore(client, effects);
    }
  }

  /** Counts what each client has too much of at `service`, and notes who waits there. */
  #findExcess(service: Service, clients: ReadonlyMap<number, Client>, waiting: Client[]): void {
    const { queue, limits } = service;
    if (!service.isServed || service.ratePerMs === 0 || limits.codelTargetMs === 0) return;
    if (queue.count <= limits.queueShortCount) return;
    const long = Math.max(service.ratePerMs * limits.codelTargetMs, limits.queueShortCount);
    if (queue.count <= long / 2) return;
    const isLong = queue.count > long;
    const share = Math.max(1, Math.floor(long / 2 / queue.waiters.size));
    for (const waiter of queue.waiters.values()) {
      const client = clients.get(waiter.client);
      // One that has left may still owe.
      if (client === undefined || waiter.count === 0) continue;
      if (client.reviewed !== this.#review) {
        client.reviewed = this.#review;
        client.excess = 0;
        waiting.push(client);
      }
      if (isLong) client.excess += Math.max(0, waiter.count - share);
    }
  }

  #reduce(client: Client, effects: Effects): void {
    if (client.excess === 0) return;
    const { clientCreditMin, clientInFlightMax } = this.#limits;
    const least = Math.min(clientCreditMin, clientInFlightMax);
    const credit = Math.max(least, client.inFlight - client.excess);
    if (credit >= client.credit - client.credit / CHANGE_PARTS) return;
    this.#reduced.add(client);
    this.#tell(client, credit, effects);
  }

  #restore(client: Client, effects: Effects): void {
    const { clientInFlightMax } = this.#limits;
    const credit = Math.min(client.credit * 2, clientInFlightMax);
    if (credit === clientInFlightMax) this.#reduced.delete(client);
    this.#tell(client, credit, effects);
  }

  #tell(client: Client, credit: number, effects: Effects): void {
    client.credit = credit;
    effects.credit(client.peer, credit);
  }
}
