import { Status, type StatusCode } from "../base/status.js";
import { faultOfWorker, isConcurrency, refusalOf } from "./admission.js";
import { Client } from "./clients.js";
import type {
  Command,
  Credit,
  Drain,
  Effects,
  Failure,
  JoinWorker,
  Part,
  Reply,
  Request,
  StreamCredit,
  StreamPart,
} from "./command.js";
import { Credits } from "./credits.js";
import { Expiry } from "./expiry.js";
import type { Limits } from "./limits.js";
import { beginBusy, lookAheadAfterReply, runAfterReply } from "./look-ahead.js";
import { type CoreCounts, Outcomes } from "./outcomes.js";
import { nextWorker } from "./pool.js";
import { Registry } from "./registry.js";
import { RequestIndex } from "./request-index.js";
import { NONE, RequestState, Requests } from "./requests.js";
import { ServiceRules } from "./service-rules.js";
import type { Service } from "./services.js";
import { Streams } from "./streams.js";
import { Worker } from "./workers.js";

const { QUEUED, DISPATCHED, ABANDONED } = RequestState;

const SHUTTING_DOWN = "broker is shutting down";

/**
 * Every decision of the broker. `step` takes what happened, `tick` the passing of time; what
 * is to be done goes to the `effects` given, in order. No I/O, no clock, no randomness: the
 * same calls give the same effects.
 *
 * What holds between two calls:
 * - each accepted request has ended exactly once, or waits, or is with one worker;
 * - no request waits for a service while a worker of it has room;
 * - counts and bytes are within `limits`.
 */
export class Core {
  readonly requests: Requests;
  readonly registry: Registry;
  readonly streams: Streams;
  readonly counts: CoreCounts;
  readonly #effects: Effects;
  readonly #outcomes: Outcomes;
  readonly #limits: Limits;
  readonly #index: RequestIndex;
  readonly #expiry: Expiry;
  readonly #clients = new Map<number, Client>();
  readonly #credits: Credits;
  readonly #workers = new Map<number, Worker>();
  #isShuttingDown = false;
  /** Counts answers and arrivals of workers, to tell who has been idle longest. */
  #idleClock = 0;
  #nowMs = 0;

  /** `salt`: a random number, against request numbers chosen to collide in the index. */
  constructor(
    effects: Effects,
    limits: Limits,
    nowMs = 0,
    salt = 0,
    rules = new ServiceRules(limits),
  ) {
    this.#effects = effects;
    this.#limits = limits;
    this.requests = new Requests(limits.requestsMax);
    this.registry = new Registry(this.requests, limits.servicesMax, rules);
    this.streams = new Streams(this.requests, effects);
    this.#outcomes = new Outcomes(this.requests, this.registry, effects);
    this.counts = this.#outcomes.counts;
    this.#index = new RequestIndex(this.requests, salt);
    this.#expiry = new Expiry(
      this.requests,
      this.registry,
      this.#outcomes,
      effects,
      {
        giveUp: (slot, status) => this.#giveUp(slot, status),
        abandon: (slot) => this.#abandon(slot),
        sendBack: (service) => this.#sendBack(service),
      },
      nowMs,
    );
    this.#credits = new Credits(limits);
  }

  get clientCount(): number {
    return this.#clients.size;
  }

  get workerCount(): number {
    return this.#workers.size;
  }

  /** Whether time matters: some deadline is ahead, or some client is to get credit back. */
  get needsTick(): boolean {
    return this.#expiry.count > 0 || this.#credits.areReduced;
  }

  /** The client behind `peer`, for inspection. */
  client(peer: number): Readonly<Client> | undefined {
    return this.#clients.get(peer);
  }

  /** The worker behind `peer`, for inspection. */
  worker(peer: number): Readonly<Worker> | undefined {
    return this.#workers.get(peer);
  }

  /** All workers, for inspection. */
  workers(): Iterable<Readonly<Worker>> {
    return this.#workers.values();
  }

  step(command: Command, nowMs: number): void {
    this.#nowMs = nowMs;
    switch (command.kind) {
      case "request":
        return this.#onRequest(command);
      case "reply":
        return this.#onReply(command);
      case "part":
        return this.#onPart(command);
      case "failure":
        return this.#onFailure(command);
      case "cancel":
        return this.#onCancel(command.peer, command.sequence);
      case "stream-part":
        return this.#onStreamPart(command);
      case "stream-credit":
        return this.#onStreamCredit(command);
      case "join-client":
        return this.#onJoinClient(command.peer);
      case "join-worker":
        return this.#onJoinWorker(command);
      case "credit":
        return this.#onCredit(command);
      case "drain":
        return this.#onDrain(command);
      case "leave":
        return this.#onLeave(command.peer);
      case "shutdown":
        return this.#onShutdown();
      default:
        command satisfies never;
    }
  }

  /** Ends what is due: requests past their deadline, or that waited too long. Settles credit. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#expiry.advance(nowMs);
    this.#credits.review(nowMs, this.registry.services.values(), this.#clients, this.#effects);
  }

  // --- clients ---

  #onJoinClient(peer: number): void {
    if (this.#workers.has(peer)) {
      this.#effects.refuse(peer, Status.PERMISSION_DENIED, "a worker cannot also be a client");
      return;
    }
    if (this.#clients.has(peer)) return;
    this.#clients.set(peer, new Client(peer, this.#limits.clientInFlightMax));
  }

  #onRequest(command: Request): void {
    const client = this.#clients.get(command.peer);
    if (client === undefined) {
      this.#effects.refuse(command.peer, Status.UNAUTHENTICATED, "say hello as a client first");
      return;
    }
    if (this.#index.find(command.peer, command.sequence) !== NONE) {
      this.counts.repeated++;
      return;
    }
    const service = this.#admit(client, command);
    if (service === undefined) return;
    const slot = this.requests.allocate();
    const { requests } = this;
    this.counts.requests++;
    requests.client[slot] = command.peer;
    requests.sequence[slot] = command.sequence;
    requests.service[slot] = service.index;
    requests.bytes[slot] = command.bytes;
    requests.priority[slot] = command.priority;
    requests.attemptsMax[slot] = command.attempts || this.#limits.attemptsDefault;
    const timeoutMs = Math.min(command.timeoutMs || Infinity, this.#limits.timeoutMsMax);
    if (command.isTask === true) {
      requests.tasks.add(slot, timeoutMs);
      requests.deadlineMs[slot] = Infinity;
    } else {
      requests.deadlineMs[slot] = this.#nowMs + timeoutMs;
      requests.bytesHeld += command.bytes;
    }
    this.#index.add(slot);
    client.link(requests, slot);
    if (command.stream !== undefined) this.streams.add(slot, command.stream === "restart");

    const worker = nextWorker(service, this.#nowMs);
    if (worker !== undefined) {
      if (command.isTask !== true) this.#expiry.onTaken(slot, this.#nowMs);
      this.#dispatch(service, worker, slot);
      worker.pool.place(worker);
      return;
    }
    requests.move(slot, QUEUED);
    requests.sinceMs[slot] = this.#nowMs;
    this.#expiry.onQueued(service, slot, this.#nowMs);
    service.queue.push(slot);
    if (service.queue.count === 1) this.registry.updateHunger(service);
    this.#effects.hold(slot);
  }

  /** The service of a request that may be taken; undefined when it was refused. */
  #admit(client: Client, command: Request): Service | undefined {
    const refusal = refusalOf(command, client, this.requests, this.#limits, this.#isShuttingDown);
    if (refusal !== undefined) return this.#outcomes.refused(command, refusal);
    const service = this.registry.requireAsked(command.service);
    if (service === undefined) return this.#outcomes.unknown(command);
    if (service.queue.count > 0 && service.isFullFor(command)) {
      return this.#outcomes.queueFull(command, service);
    }
    return service;
  }

  #onCancel(peer: number, sequence: number): void {
    const slot = this.#index.find(peer, sequence);
    // It may have ended while the cancel was on its way.
    if (slot === NONE) return;
    this.#cancelled(slot);
  }

  // --- workers ---

  #onJoinWorker(command: JoinWorker): void {
    const { peer, concurrency, services } = command;
    if (this.#workers.has(peer)) return;
    const fault = this.#clients.has(peer)
      ? "a client cannot also be a worker"
      : faultOfWorker(command, this.#limits);
    if (fault !== undefined) {
      this.#effects.refuse(peer, Status.INVALID_ARGUMENT, fault);
      return;
    }
    const pool = this.registry.requirePool(services);
    if (pool === undefined) {
      this.#effects.refuse(peer, Status.RESOURCE_EXHAUSTED, "the broker knows too many services");
      return;
    }
    const worker = new Worker(peer, concurrency, command.lookAhead, pool);
    this.#workers.set(peer, worker);
    worker.idleSince = ++this.#idleClock;
    this.registry.enter(worker);
    this.#feed(worker);
  }

  #onCredit(command: Credit): void {
    const worker = this.#workers.get(command.peer);
    if (worker === undefined || !isConcurrency(command.concurrency, this.#limits)) {
      this.#effects.refuse(command.peer, Status.INVALID_ARGUMENT, "credit out of place or range");
      return;
    }
    worker.concurrency = command.concurrency;
    this.#feed(worker);
  }

  #onDrain(command: Drain): void {
    const worker = this.#workers.get(command.peer);
    if (worker === undefined || worker.state !== "ready") return;
    worker.move("draining");
    this.registry.exit(worker);
    if (worker.inFlight === 0) this.#effects.drained(worker.peer);
  }

  #onReply(command: Reply | StreamPart): void {
    const { slot } = command;
    if (!this.#isCurrent(command)) return;
    const service = this.registry.at(this.requests.service[slot]);
    if (this.requests.state[slot] === DISPATCHED) {
      this.counts.replies++;
      service.replyCount++;
      this.#effects.reply(this.requests.client[slot], slot);
      this.#detach(slot);
    }
    this.#finish(service, slot, command.kind === "reply" ? command.serviceTimeUs : 0);
  }

  #onPart(command: Part): void {
    const { slot } = command;
    if (!this.#isCurrent(command)) return;
    const { requests } = this;
    if (requests.state[slot] !== DISPATCHED) return;
    if (command.isPassedOn) requests.attemptsMax[slot] = requests.attempt[slot];
    this.#effects.part(requests.client[slot], slot);
  }

  #onFailure(command: Failure): void {
    const { slot } = command;
    if (!this.#isCurrent(command)) return;
    const { requests } = this;
    const service = this.registry.at(requests.service[slot]);
    const worker = this.#workers.get(command.peer) as Worker;
    if (requests.state[slot] === DISPATCHED) {
      const isUntouched = command.untouched && this.streams.at(slot)?.hasBegun !== true;
      if (isUntouched) requests.attempt[slot]--;
      if (isUntouched && worker.state === "draining") {
        this.#takeBack(service, worker, slot);
        this.registry.meters.onUnanswered(service.row);
        this.#giveBack(service, slot);
        this.#serve(service);
        if (worker.inFlight === 0) this.#effects.drained(worker.peer);
        return;
      }
      if (requests.tasks.at(slot)?.isOverdue === true && !isUntouched) {
        this.#outcomes.expired(slot);
      } else {
        this.#outcomes.failed(slot, command.status, command.reason, command.retryAfterMs);
      }
      this.#detach(slot);
    }
    this.#finish(service, slot);
  }

  /** Whether an answer is that of the attempt which `slot` stands for now. */
  #isCurrent({ peer, slot, generation }: Reply | Part | StreamPart | Failure): boolean {
    const isCurrent = this.requests.isAttempt(slot, generation, peer);
    if (!isCurrent) this.counts.stale++;
    return isCurrent;
  }

  #onStreamPart(command: StreamPart): void {
    if (!this.#isCurrent(command)) return;
    const { requests } = this;
    const { slot, isLast } = command;
    // Nobody waits for it any more, as its worker is about to hear; the end frees its place.
    if (requests.state[slot] === ABANDONED) {
      if (isLast) this.#onReply(command);
      return;
    }
    const service = this.registry.at(requests.service[slot]);
    const stream = this.streams.at(slot);
    const fault = stream === undefined ? "a part of what is no stream" : stream.faultOf(command);
    if (fault !== undefined) {
      const status = command.faultStatus ?? Status.INTERNAL;
      this.#outcomes.failed(slot, status, `the worker's stream cannot be passed on: ${fault}`, 0);
      if (!isLast) return this.#giveUp(slot, Status.CANCELLED);
      this.#detach(slot);
      this.#finish(service, slot);
      return;
    }
    if (isLast) return this.#onReply(command);
    stream?.add(command.bytes);
    this.registry.meters.onPart(service.row);
    this.counts.parts++;
    this.#effects.streamPart(requests.client[slot], slot);
  }

  #onStreamCredit(command: StreamCredit): void {
    const slot = this.#index.find(command.peer, command.sequence);
    // It may have ended while the grant was on its way.
    if (slot !== NONE) this.streams.onCredit(slot, command);
  }

  /** `slot`, whose client has its outcome, leaves its worker, which may take the next. */
  #finish(service: Service, slot: number, handlerUs = 0): void {
    const worker = this.#workers.get(this.requests.worker[slot]) as Worker;
    this.#takeBack(service, worker, slot);
    this.requests.free(slot);
    service.countAnswer(this.#nowMs);
    worker.idleSince = ++this.#idleClock;
    const tookMs = this.#nowMs - this.requests.sinceMs[slot];
    this.registry.meters.onAnswered(service.row, tookMs);
    worker.run = runAfterReply(worker, this.#limits, service.index, handlerUs);
    const lookAhead = lookAheadAfterReply(worker, this.#limits, this.#nowMs, tookMs);
    worker.lookAhead = Math.max(lookAhead, worker.run - 1);
    if (worker.state === "ready") {
      this.#feed(worker);
    } else if (worker.inFlight === 0) {
      this.#effects.drained(worker.peer);
    }
  }

  /** `worker` has what is in `slot` no more. */
  #takeBack(service: Service, worker: Worker, slot: number): void {
    worker.unlink(this.requests, slot);
    service.inFlight--;
  }

  // --- departures ---

  #onLeave(peer: number): void {
    const worker = this.#workers.get(peer);
    if (worker !== undefined) return this.#onWorkerLeft(worker);
    const client = this.#clients.get(peer);
    if (client === undefined) return;
    while (client.head !== NONE) {
      this.#cancelled(client.head);
    }
    this.#clients.delete(peer);
    this.#credits.forget(client);
    for (const { queue } of this.registry.services.values()) queue.forget(peer);
  }

  #onWorkerLeft(worker: Worker): void {
    const { requests } = this;
    this.#workers.delete(worker.peer);
    if (worker.state === "ready") this.registry.exit(worker);
    worker.move("gone");
    const services = new Set<Service>();
    // Oldest first, so that they are given out again in the order they came.
    while (worker.head !== NONE) {
      const slot = worker.head;
      const service = this.registry.at(requests.service[slot]);
      services.add(service);
      this.#takeBack(service, worker, slot);
      this.registry.meters.onUnanswered(service.row);
      if (requests.state[slot] === ABANDONED) {
        requests.free(slot);
      } else if (
        requests.attempt[slot] < requests.attemptsMax[slot] &&
        this.streams.at(slot)?.isBound !== true
      ) {
        this.#giveBack(service, slot);
      } else {
        const attempts = requests.attempt[slot];
        const when = this.streams.at(slot)?.hasBegun === true ? " in mid-stream" : "";
        const reason = `worker lost${when}; attempts made: ${attempts}`;
        this.#outcomes.failed(slot, Status.UNAVAILABLE, reason, 0);
        this.#end(slot);
      }
    }
    for (const service of services) {
      this.#serve(service);
      this.registry.forgetIfStray(service);
    }
  }

  /** A request that its worker will not answer waits again, first in line. */
  #giveBack(service: Service, slot: number): void {
    const { requests } = this;
    if (this.#isShuttingDown && requests.tasks.has(slot)) {
      this.#outcomes.failed(slot, Status.UNAVAILABLE, SHUTTING_DOWN, 0);
      this.#end(slot);
      return;
    }
    requests.move(slot, QUEUED);
    requests.sinceMs[slot] = this.#nowMs;
    this.#expiry.onQueued(service, slot, this.#nowMs);
    service.queue.pushReturned(slot);
    this.registry.updateHunger(service);
    this.#effects.hold(slot);
  }

  // --- work to workers ---

  /** Hands out what waits for `service` while a worker of it has room. */
  #serve(service: Service): void {
    while (service.queue.count > 0) {
      const worker = nextWorker(service, this.#nowMs);
      if (worker === undefined) return;
      if (this.#dispatchNext(service, worker)) worker.pool.place(worker);
    }
  }

  /** Hands `worker` what waits for its services while it has room, and puts it in its new place. */
  #feed(worker: Worker): void {
    const { pool } = worker;
    while (worker.room > 0) {
      const service = pool.nextHungry();
      if (service === undefined) break;
      this.#dispatchNext(service, worker);
    }
    // Once, at the end: under load it has as much in flight then as before, and stays where it is.
    pool.place(worker);
  }

  /** Whether `worker` was handed what is next; else that had ended while it waited. */
  #dispatchNext(service: Service, worker: Worker): boolean {
    const { queue } = service;
    const slot = queue.take(this.#nowMs, service.ratePerMs);
    if (service.queue.count === 0) this.registry.updateHunger(service);
    // `tick` may be late, after a long turn of the event loop: what is past is not worked on.
    if (this.#nowMs >= this.requests.deadlineMs[slot]) {
      this.#outcomes.expired(slot);
    } else if (queue.tookStale) {
      this.#outcomes.waitedTooLong(service, slot);
    } else {
      this.registry.meters.onWaited(service.row, this.#nowMs - this.requests.sinceMs[slot]);
      this.#dispatch(service, worker, slot);
      return true;
    }
    this.#end(slot);
    return false;
  }

  /** The caller puts `worker` in its new place. */
  #dispatch(service: Service, worker: Worker, slot: number): void {
    const { requests } = this;
    requests.move(slot, DISPATCHED);
    requests.generation[slot]++;
    requests.worker[slot] = worker.peer;
    requests.sinceMs[slot] = this.#nowMs;
    this.#expiry.onDispatched(slot, this.#nowMs);
    if (++requests.attempt[slot] > 1) this.counts.redelivered++;
    if (worker.inFlight === 0) beginBusy(worker, this.#nowMs);
    worker.link(requests, slot);
    service.inFlight++;
    this.#effects.dispatch(worker.peer, slot);
    if (this.streams.count > 0 && this.streams.begin(slot)) {
      // It may take long: nothing is handed out to wait behind it.
      worker.lookAhead = 0;
      worker.run = 1;
    }
  }

  /** Nothing new is taken; tasks that wait here are with who gave them as well, and go back. */
  #onShutdown(): void {
    this.#isShuttingDown = true;
    const { requests } = this;
    for (const slot of [...requests.tasks.slots()]) {
      if (requests.state[slot] !== QUEUED) continue;
      this.#outcomes.failed(slot, Status.UNAVAILABLE, SHUTTING_DOWN, 0);
      this.#giveUp(slot, Status.CANCELLED);
    }
  }

  // --- the ends of a request ---

  #cancelled(slot: number): void {
    this.#outcomes.cancelled(slot);
    this.#giveUp(slot, Status.CANCELLED);
  }

  /** Nobody waits for `slot` any more: out of the queue, or left to its worker to finish. */
  #giveUp(slot: number, status: StatusCode): void {
    const { requests } = this;
    const service = this.registry.at(requests.service[slot]);
    if (requests.state[slot] === QUEUED) {
      service.queue.remove(slot);
      if (service.queue.count === 0) this.registry.updateHunger(service);
      this.#end(slot);
      this.registry.forgetIfStray(service);
      return;
    }
    this.#effects.abort(requests.worker[slot], slot, status);
    this.#abandon(slot);
  }

  /** Its client has its outcome while a worker still has it. */
  #abandon(slot: number): void {
    this.#detach(slot);
    this.requests.move(slot, ABANDONED);
  }

  /**
   * The tasks that wait for `service`, which has no worker any more, keep no place here. All at once: one that came later
   * would be begun before.
   */
  #sendBack(service: Service): void {
    while (service.queue.count > 0) {
      const slot = service.queue.take(this.#nowMs, service.ratePerMs);
      this.#outcomes.unserved(service, slot);
      this.#end(slot);
    }
    this.registry.forgetIfStray(service);
  }

  /** Its client has its outcome, and no worker has it. */
  #end(slot: number): void {
    this.#detach(slot);
    this.requests.free(slot);
  }

  /** The client has its outcome: `slot` leaves all but its worker. */
  #detach(slot: number): void {
    const { requests } = this;
    this.#expiry.clear(slot);
    this.#index.delete(slot);
    (this.#clients.get(requests.client[slot]) as Client).unlink(requests, slot);
    if (!requests.tasks.delete(slot)) requests.bytesHeld -= requests.bytes[slot];
    if (this.streams.count > 0) this.streams.delete(slot);
    this.#effects.release(slot);
  }
}
