import { Status, type StatusCode } from "../base/status.js";
import type { Refusal } from "./admission.js";
import type { Effects, Request } from "./command.js";
import type { Registry } from "./registry.js";
import { RequestState, type Requests } from "./requests.js";
import { nobodyServes, type Service } from "./services.js";

/** What the core has counted since it started. All only grow. */
export class CoreCounts {
  /** Requests taken; each ends as one of `replies`, `failures` and `cancelled`. */
  requests = 0;
  replies = 0;
  /** Requests taken that ended with a status instead of a reply: `refusedAfterWait` and `expired` are among them. */
  failures = 0;
  /** Requests refused: before they were taken, or since they waited too long. */
  refused = 0;
  /** Those of `refused` that were taken, and then waited too long for a worker, or for one to come. */
  refusedAfterWait = 0;
  cancelled = 0;
  /** Requests whose own deadline passed. */
  expired = 0;
  /** Dispatches after the first, for requests whose worker was lost. */
  redelivered = 0;
  /** Answers of superseded attempts, late or forged; dropped. */
  stale = 0;
  /** Requests sent again by a client while they were in flight; dropped. */
  repeated = 0;
  /** Parts of streams passed on. */
  parts = 0;
}

/**
 * What clients are told of requests that end without a reply, and the counts of it: each outcome is one
 * effect and one count of a status. What becomes of the slot is the core's.
 */
export class Outcomes {
  readonly counts = new CoreCounts();
  readonly #requests: Requests;
  readonly #registry: Registry;
  readonly #effects: Effects;

  constructor(requests: Requests, registry: Registry, effects: Effects) {
    this.#requests = requests;
    this.#registry = registry;
    this.#effects = effects;
  }

  // What is not taken has no slot. Each returns undefined, for whoever looked for its service.

  refused(command: Request, { status, reason, retryAfterMs }: Refusal): undefined {
    return this.#refused(command, status, reason, retryAfterMs);
  }

  /** Too many names that nobody serves are known already. */
  unknown(command: Request): undefined {
    const reason = `${nobodyServes(command.service)}; too many unknown names`;
    return this.#refused(command, Status.NOT_FOUND, reason, 0);
  }

  queueFull(command: Request, { retryAfterMs }: Service): undefined {
    return this.#refused(command, Status.RESOURCE_EXHAUSTED, "queue is full", retryAfterMs);
  }

  #refused(command: Request, status: StatusCode, reason: string, retryAfterMs: number): undefined {
    this.counts.refused++;
    this.#registry.meters.onOutcome(this.#registry.rowOf(command.service), status);
    this.#effects.fail(command.peer, command.sequence, status, reason, retryAfterMs, 0);
    return undefined;
  }

  failed(slot: number, status: StatusCode, reason: string, retryAfterMs: number): void {
    const requests = this.#requests;
    this.counts.failures++;
    this.#count(slot, status);
    this.#effects.fail(
      requests.client[slot],
      requests.sequence[slot],
      status,
      reason,
      retryAfterMs,
      requests.attempt[slot],
    );
  }

  /** Its client asked for that, or left: nobody is to be told. */
  cancelled(slot: number): void {
    this.counts.cancelled++;
    this.#count(slot, Status.CANCELLED);
  }

  /** Its deadline passed. */
  expired(slot: number): void {
    this.counts.expired++;
    const isQueued = this.#requests.state[slot] === RequestState.QUEUED;
    const when = isQueued ? "while it waited" : "while a worker had it";
    this.failed(slot, Status.DEADLINE_EXCEEDED, `deadline passed ${when}`, 0);
  }

  waitedTooLong(service: Service, slot: number): void {
    this.#countLate();
    const reason = "waited too long for a worker";
    this.failed(slot, Status.RESOURCE_EXHAUSTED, reason, service.retryAfterMs);
  }

  /** It waited for a worker to come that serves it, and none came. */
  unserved({ name, wasServed }: Service, slot: number): void {
    this.#countLate();
    if (wasServed) {
      this.failed(slot, Status.UNAVAILABLE, `${nobodyServes(name)} at present`, 1000);
    } else {
      this.failed(slot, Status.NOT_FOUND, nobodyServes(name), 0);
    }
  }

  /** It was not its deadline: the broker has more than is done in time. */
  #countLate(): void {
    this.counts.refused++;
    this.counts.refusedAfterWait++;
  }

  #count(slot: number, status: StatusCode): void {
    const { row } = this.#registry.at(this.#requests.service[slot]);
    this.#registry.meters.onOutcome(row, status);
  }
}
