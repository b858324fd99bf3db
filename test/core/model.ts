// A model of what the core must do: its own books, kept from the commands and the effects
// alone, with plain lists and scans, and compared with the core's after each step.
import type { Command, Effects, Request as Ask } from "../../build/core/command.js";
import { Core } from "../../build/core/core.js";
import { type Limits, PRIORITY_DEFAULT } from "../../build/core/limits.js";
import { Status, type StatusCode, statusName } from "../../build/base/status.js";

type Where = "queued" | "in flight" | "ended";

/** One accepted request, as the model knows it. */
export interface ModelRequest {
  readonly name: string;
  readonly client: number;
  readonly sequence: number;
  readonly service: string;
  readonly priority: number;
  readonly bytes: number;
  readonly attemptsMax: number;
  readonly deadlineMs: number;
  slot: number;
  where: Where;
  attempts: number;
  /** When it began to wait. */
  sinceMs: number;
  /** A worker gave it back, and it waits to be handed out again. */
  returned: boolean;
  outcomes: number;
  released: boolean;
}

/** What a worker holds: one attempt. It stays after the request has ended (abandoned). */
interface Attempt {
  readonly request: ModelRequest;
  readonly slot: number;
  readonly generation: number;
  aborted: boolean;
}

export interface ModelWorker {
  readonly peer: number;
  readonly services: readonly string[];
  readonly takesLookAhead: boolean;
  concurrency: number;
  draining: boolean;
  toldDrained: boolean;
  /** By slot, in the order handed out. */
  readonly held: Map<number, Attempt>;
}

export interface Answer {
  peer: number;
  slot: number;
  generation: number;
}

/** Effects as they came, for a failure's report and for the digest. */
const TRACE_COUNT = 40;

export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

/** A core under test, and the books that are kept beside it. */
export class Model implements Effects {
  readonly core: Core;
  readonly trace: string[] = [];
  digest = 0x811c9dc5;
  stepCount = 0;
  /** How often each kind of effect came: a run that met nothing proves nothing. */
  readonly met = new Map<string, number>();
  readonly clients = new Set<number>();
  /** Of clients that were told of a credit: what, and when. */
  readonly #credits = new Map<number, { credit: number; toldMs: number }>();
  readonly workers = new Map<number, ModelWorker>();
  /** Accepted and not ended, by name. */
  readonly live = new Map<string, ModelRequest>();
  /** Answers that were true once. */
  readonly history: Answer[] = [];
  isShuttingDown = false;

  readonly #bySlot = new Map<number, ModelRequest>();
  /** Per service, what was given back and waits, in order. */
  readonly #returned = new Map<string, ModelRequest[]>();
  readonly #wasServed = new Set<string>();
  /** The highest generation seen of each slot: answers below it are history. */
  readonly #generations = new Map<number, number>();
  /** What this step is about. */
  #command: Command | undefined;
  #asked: ModelRequest | undefined;
  #isRefusalDue: StatusCode | undefined;
  #answered: ModelRequest | undefined;
  /** Requests whose worker left in this step and of which nothing was heard yet. */
  #lost: ModelRequest[] = [];
  #refusals: string[] = [];
  #stale = 0;
  #repeated = 0;
  #refused = 0;

  constructor(
    readonly limits: Limits,
    /** All the services that are asked for or served. */
    readonly services: readonly string[],
    public nowMs: number,
  ) {
    this.core = new Core(this, limits, nowMs);
    for (const name of services) this.#returned.set(name, []);
  }

  // --- one step: the books, the command, the checks ---

  /** Lets time pass and tells the core. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.#begin(`tick at ${this.nowMs}`);
    this.core.tick(this.nowMs);
    for (const request of this.live.values()) {
      const now = Math.floor(this.nowMs);
      must(Math.ceil(request.deadlineMs) > now, `${request.name} is past its deadline`);
      if (request.where !== "queued") continue;
      const untilMs = request.sinceMs + this.limits.queueWaitMsMax;
      must(Math.ceil(untilMs) > now, `${request.name} waits too long`);
    }
    this.#check();
  }

  /** One command, and all that must hold before and after. */
  step(command: Command): void {
    this.#begin(`${JSON.stringify(command)} at ${this.nowMs}`);
    this.#command = command;
    const before = { ...this.core.counts };
    this.#expect(command);
    const expected = { stale: this.#stale, repeated: this.#repeated, refused: this.#refused };
    this.core.step(command, this.nowMs);
    for (const name of ["stale", "repeated", "refused"] as const) {
      const by = this.core.counts[name] - before[name];
      must(by === expected[name], `${name} went up by ${by}, not ${expected[name]}`);
    }
    this.#settle(command);
    this.#check();
  }

  #begin(title: string): void {
    this.stepCount++;
    this.#log(`> ${title}`);
    this.#command = undefined;
    this.#asked = undefined;
    this.#answered = undefined;
    this.#isRefusalDue = undefined;
    this.#refusals = [];
    this.#stale = 0;
    this.#repeated = 0;
    this.#refused = 0;
  }

  /** Enters in the books what the command means, before the core decides. */
  #expect(command: Command): void {
    switch (command.kind) {
      case "request":
        return this.#expectRequest(command);
      case "reply":
      case "failure": {
        const worker = this.workers.get(command.peer);
        const attempt = worker?.held.get(command.slot);
        if (attempt === undefined || attempt.generation !== command.generation) {
          this.#stale = 1;
          return;
        }
        worker!.held.delete(command.slot);
        this.history.push(command);
        if (attempt.request.where === "in flight") this.#answered = attempt.request;
        return;
      }
      case "join-worker": {
        const { peer, concurrency, services, lookAhead } = command;
        if (this.workers.has(peer)) return;
        if (this.clients.has(peer) || concurrency > this.limits.concurrencyMax) {
          this.#isRefusalDue = Status.INVALID_ARGUMENT;
          return;
        }
        // Entered at once, since it may be handed work in this step; see #settle.
        this.workers.set(peer, {
          peer,
          services,
          concurrency,
          takesLookAhead: lookAhead,
          draining: false,
          toldDrained: false,
          held: new Map(),
        });
        return;
      }
      case "join-client":
        if (this.workers.has(command.peer)) this.#isRefusalDue = Status.PERMISSION_DENIED;
        else this.clients.add(command.peer);
        return;
      case "credit": {
        const worker = this.workers.get(command.peer);
        const { concurrency } = command;
        if (worker === undefined || concurrency < 1 || concurrency > this.limits.concurrencyMax) {
          this.#isRefusalDue = Status.INVALID_ARGUMENT;
        } else worker.concurrency = concurrency;
        return;
      }
      case "drain": {
        const worker = this.workers.get(command.peer);
        if (worker !== undefined) worker.draining = true;
        return;
      }
      case "leave":
        return this.#expectLeave(command.peer);
      case "shutdown":
        this.isShuttingDown = true;
        return;
      case "cancel":
        return;
      default:
        command satisfies never;
    }
  }

  #expectRequest(ask: Ask): void {
    if (!this.clients.has(ask.peer)) {
      this.#isRefusalDue = Status.UNAUTHENTICATED;
      return;
    }
    if (this.live.has(`${ask.peer}#${ask.sequence}`)) {
      this.#repeated = 1;
      return;
    }
    const refusal = this.#refusalOf(ask);
    if (refusal !== undefined) {
      this.#refused = 1;
      this.#refusals.push(`${ask.peer}#${ask.sequence} ${statusName(refusal)}`);
      return;
    }
    const { limits } = this;
    this.#asked = {
      name: `${ask.peer}#${ask.sequence}`,
      client: ask.peer,
      sequence: ask.sequence,
      service: ask.service,
      priority: ask.priority,
      bytes: ask.bytes,
      attemptsMax: ask.attempts === 0 ? limits.attemptsDefault : ask.attempts,
      deadlineMs:
        this.nowMs + Math.min(ask.timeoutMs === 0 ? Infinity : ask.timeoutMs, limits.timeoutMsMax),
      slot: -1,
      where: "queued",
      attempts: 0,
      sinceMs: this.nowMs,
      returned: false,
      outcomes: 0,
      released: false,
    };
  }

  /** Why a request may not be taken, from the model's own count. */
  #refusalOf(ask: Ask): StatusCode | undefined {
    const { limits } = this;
    if (ask.priority > 7 || ask.bytes > limits.recordBytesMax) return Status.INVALID_ARGUMENT;
    if (this.isShuttingDown) return Status.UNAVAILABLE;
    const live = [...this.live.values()];
    if (live.filter(({ client }) => client === ask.peer).length >= limits.clientInFlightMax) {
      return Status.RESOURCE_EXHAUSTED;
    }
    if (this.#occupied() >= limits.requestsMax) return Status.RESOURCE_EXHAUSTED;
    if (sum(live) + ask.bytes > limits.requestBytesMax) return Status.RESOURCE_EXHAUSTED;
    const { services } = this.core.registry;
    const isKnown = services.has(ask.service);
    const strays = [...services.values()].filter(({ wasServed }) => !wasServed).length;
    if (!isKnown && strays * 2 >= limits.servicesMax) return Status.NOT_FOUND;
    if (!isKnown && services.size >= limits.servicesMax) {
      const forgettable = [...services.values()].some(
        ({ name }) => this.#wasServed.has(name) && this.#isAtRest(name),
      );
      if (!forgettable) return Status.NOT_FOUND;
    }
    const queue = this.#queue(ask.service);
    if (queue.length === 0) return undefined;
    const own = queue.filter(({ client }) => client === ask.peer).length;
    if (
      queue.length >= limits.queueCountMax ||
      sum(queue) + ask.bytes > limits.queueBytesMax ||
      own >= this.#clientCountMax(ask, queue.length)
    ) {
      return Status.RESOURCE_EXHAUSTED;
    }
    return undefined;
  }

  /** How many of one client may wait: less while what waits of this priority waits too long. */
  #clientCountMax({ service, priority }: Ask, count: number): number {
    const { queueShare, queueCountMax, codelTargetMs, queueShortCount } = this.limits;
    const { ratePerMs, queue } = this.core.registry.services.get(service)!;
    const share = queueShare * (queueCountMax - count);
    if (priority < PRIORITY_DEFAULT || ratePerMs === 0 || !queue.isOverloaded(priority)) {
      return share;
    }
    this.meet("shorter queue");
    const inTime = Math.max(ratePerMs * codelTargetMs * 1.5, queueShortCount);
    return Math.min(Math.ceil(inTime / queue.waiters.size), share);
  }

  /** What a departing worker held waits again, until the effects say otherwise. */
  #expectLeave(peer: number): void {
    const worker = this.workers.get(peer);
    if (worker === undefined) {
      this.clients.delete(peer);
      this.#credits.delete(peer);
      return;
    }
    this.workers.delete(peer);
    for (const attempt of worker.held.values()) {
      this.history.push({ peer, slot: attempt.slot, generation: attempt.generation });
    }
    this.#lost = [...worker.held.values()]
      .filter(({ request }) => request.where === "in flight")
      .map(({ request }) => request);
  }

  #settle(command: Command): void {
    if (command.kind === "join-worker") {
      const worker = this.workers.get(command.peer);
      if (worker !== undefined && this.core.worker(command.peer) === undefined) {
        // More names than the broker has room for: allowed only when it is full.
        const names = this.core.registry.services;
        const unknown = command.services.filter((name) => !names.has(name)).length;
        must(names.size + unknown + 1 >= this.limits.servicesMax, "refused with room for it");
        must(worker.held.size === 0, "refused and handed work");
        this.workers.delete(command.peer);
      } else if (worker !== undefined) {
        for (const name of worker.services) this.#wasServed.add(name);
      }
    }
    const cancelled = command.kind === "cancel" ? `${command.peer}#${command.sequence}` : "";
    must(!this.live.has(cancelled), `${cancelled} was cancelled and lives on`);
    if (command.kind === "leave") {
      for (const { client, name } of this.live.values()) {
        must(client !== command.peer, `${name} outlives its client`);
      }
    }
    must(this.#lost.length === 0, "a lost worker's request was forgotten");
    must(this.#refusals.length === 0, `refusal not told: ${this.#refusals}`);
    must(this.#isRefusalDue === undefined, "not refused");
    must(this.#asked === undefined || this.#asked.slot >= 0, "neither handed out nor held");
    must(this.#answered === undefined, "an answer came and went nowhere");
  }

  // --- effects ---

  dispatch(peer: number, slot: number): void {
    this.#log(`dispatch ${peer} ${slot}`);
    const request = this.#placed(slot);
    const worker = this.workers.get(peer);
    const generation = this.core.requests.generation[slot];
    must(worker !== undefined, `dispatch to ${peer}, which is gone`);
    must(!worker.draining, `dispatch to ${peer}, which drains`);
    must(worker.services.includes(request.service), `${peer} does not serve ${request.service}`);
    must(request.where === "queued" && !request.released, `${request.name} does not wait`);
    must(this.nowMs < request.deadlineMs, `${request.name} handed out past its deadline`);
    must(!this.#lost.includes(request), `${request.name} handed out before it was given back`);
    must(generation > (this.#generations.get(slot) ?? 0), `slot ${slot}: generation not new`);
    must(request.attempts < request.attemptsMax, `${request.name} handed out too often`);
    this.#checkOrder(request);
    this.#checkChoice(worker, request);

    this.#generations.set(slot, generation);
    if (worker.held.size >= worker.concurrency) this.meet("look-ahead");
    if (request.returned) this.meet("redelivery");
    request.where = "in flight";
    request.attempts++;
    request.returned = false;
    worker.held.set(slot, { request, slot, generation, aborted: false });
  }

  /** Given back goes first; within a client and a priority, the oldest. */
  #checkOrder(request: ModelRequest): void {
    const returned = this.#returned.get(request.service)!;
    if (returned.length > 0) {
      must(returned[0] === request, `${request.name} handed out before ${returned[0].name}`);
      returned.shift();
      return;
    }
    const flow = this.#queue(request.service).filter(
      ({ client, priority }) => client === request.client && priority === request.priority,
    );
    const queue = this.core.registry.services.get(request.service)!.queue;
    // With the last of its level the overload is over, but then it is the oldest too.
    const mayBeNewest = this.limits.queueOrder !== "fifo" && queue.isOverloaded(request.priority);
    if (request !== flow[0] && mayBeNewest) {
      this.meet("newest first");
      must(request === flow.at(-1), `${request.name} is neither the oldest nor the newest`);
    } else must(request === flow[0], `${request.name} handed out before ${flow[0].name}`);
  }

  #checkChoice(worker: ModelWorker, request: ModelRequest): void {
    const { peer, held, concurrency } = worker;
    const lookAhead = this.core.worker(peer)!.lookAhead;
    must(worker.takesLookAhead || lookAhead === 0, `${peer} takes no look-ahead`);
    must(lookAhead <= this.limits.lookAheadMax, `look-ahead of ${lookAhead}`);
    must(held.size < concurrency + lookAhead, `${peer} has no room`);
    for (const other of this.workers.values()) {
      if (other === worker || other.draining || !other.services.includes(request.service)) continue;
      // The worker of this step's answer has its credit back, and place, before any is fed.
      if (other.held.size >= other.concurrency) continue;
      must(held.size < concurrency, `${peer} looks ahead while ${other.peer} has free concurrency`);
      must(held.size <= other.held.size, `${peer} is not the one with fewest in flight`);
    }
  }

  hold(slot: number): void {
    this.#log(`hold ${slot}`);
    const request = this.#placed(slot);
    must(!request.released, `${request.name} held after its release`);
    if (request === this.#asked && request.attempts === 0 && !request.returned) {
      must(request.where === "queued", "held while in flight");
      this.#asked.returned = false;
      return;
    }
    // Given back: by a worker that left, in the order handed out, or that drains.
    must(request.where === "in flight", `${request.name} held twice`);
    if (this.#lost.length > 0) {
      must(this.#lost.shift() === request, `${request.name} given back out of order`);
    } else {
      const command = this.#command;
      must(command?.kind === "failure" && command.untouched, "given back for no reason");
      must(this.workers.get(command.peer)!.draining, "given back by a worker that stays");
      must(this.#answered === request, `${request.name} given back by an answer to another`);
      this.#answered = undefined;
      request.attempts--;
    }
    must(request.attempts < request.attemptsMax, `${request.name} has no attempt left`);
    request.where = "queued";
    request.returned = true;
    request.sinceMs = this.nowMs;
    this.#returned.get(request.service)!.push(request);
  }

  release(slot: number): void {
    this.#log(`release ${slot}`);
    const request = this.#placed(slot);
    must(!request.released, `${request.name} released twice`);
    request.released = true;
    if (request.outcomes === 0) {
      // The client needs no word: it asked for this, or is gone.
      const command = this.#command;
      const asked =
        (command?.kind === "cancel" && request.name === `${command.peer}#${command.sequence}`) ||
        (command?.kind === "leave" && request.client === command.peer);
      must(asked, `${request.name} ended without an outcome`);
      request.outcomes++;
    }
    if (request.returned) {
      const returned = this.#returned.get(request.service)!;
      returned.splice(returned.indexOf(request), 1);
    }
    const holder = this.#holder(request);
    must(holder === undefined || holder.aborted, `${request.name} released, its worker not told`);
    request.where = "ended";
    this.live.delete(request.name);
    this.#bySlot.delete(slot);
  }

  reply(client: number, slot: number): void {
    this.#log(`reply ${client} ${slot}`);
    const request = this.#placed(slot);
    must(this.#command?.kind === "reply" && this.#command.slot === slot, "a reply out of nowhere");
    must(this.#answered === request, `${request.name} got the reply of another`);
    must(request.client === client, `the reply to ${request.name} went to ${client}`);
    this.#answered = undefined;
    this.#outcome(request);
  }

  fail(
    client: number,
    sequence: number,
    status: StatusCode,
    _reason: string,
    retryAfterMs: number,
  ): void {
    const name = `${client}#${sequence}`;
    this.#log(`fail ${name} ${statusName(status)} ${retryAfterMs}`);
    must(status !== Status.OK, "a failure of status OK");
    must(retryAfterMs >= 0 && Number.isFinite(retryAfterMs), `retry after ${retryAfterMs}`);
    const request = this.live.get(name);
    if (request === undefined) {
      must(
        this.#refusals.shift() === `${name} ${statusName(status)}`,
        `${name} failed out of turn`,
      );
      if (status === Status.RESOURCE_EXHAUSTED) must(retryAfterMs > 0, "no retry-after");
      return;
    }
    must(this.#isDue(request, status), `${name} failed with ${statusName(status)} for no reason`);
    this.#outcome(request);
  }

  /** Whether a request may end so now. */
  #isDue(request: ModelRequest, status: StatusCode): boolean {
    if (this.#answered === request) {
      this.#answered = undefined;
      return this.#command?.kind === "failure" && this.#command.status === status;
    }
    if (this.#lost[0] === request) {
      this.#lost.shift();
      return status === Status.UNAVAILABLE && request.attempts === request.attemptsMax;
    }
    if (this.nowMs >= request.deadlineMs) return status === Status.DEADLINE_EXCEEDED;
    if (this.#command !== undefined && request.where === "queued") {
      return status === Status.RESOURCE_EXHAUSTED && this.#isStale(request);
    }
    if (this.#command !== undefined || request.where !== "queued") return false;
    const waitedMs = this.nowMs - request.sinceMs;
    if (this.#servers(request.service).length > 0) {
      return status === Status.RESOURCE_EXHAUSTED && waitedMs >= this.limits.queueWaitMsMax;
    }
    if (waitedMs < this.limits.absentWaitMs) return false;
    // A known service may have been forgotten to make room for another.
    if (status === Status.NOT_FOUND)
      return !this.core.registry.services.get(request.service)!.wasServed;
    return status === Status.UNAVAILABLE && this.#wasServed.has(request.service);
  }

  /** Whether a request that was next in line may be refused for its wait. */
  #isStale(request: ModelRequest): boolean {
    const { codelTargetMs } = this.limits;
    if (request.returned || request.priority < PRIORITY_DEFAULT || codelTargetMs === 0)
      return false;
    if (this.#queue(request.service).length <= this.limits.queueShortCount) return false;
    if (this.nowMs - request.sinceMs <= 2 * codelTargetMs) return false;
    this.meet("stale");
    return true;
  }

  credit(client: number, inFlightMax: number): void {
    this.#log(`credit ${client} ${inFlightMax}`);
    const { clientCreditMin, clientInFlightMax } = this.limits;
    must(this.clients.has(client), `credit for ${client}, which is none`);
    must(this.#command === undefined, "credit outside of a tick");
    must(inFlightMax <= clientInFlightMax, `credit of ${inFlightMax}`);
    must(inFlightMax >= Math.min(clientCreditMin, clientInFlightMax), `credit of ${inFlightMax}`);
    const told = this.#credits.get(client);
    must(told?.credit !== inFlightMax, `${client} is told nothing new`);
    must(this.nowMs - (told?.toldMs ?? -Infinity) >= 100, `${client} is told too often`);
    this.#credits.set(client, { credit: inFlightMax, toldMs: this.nowMs });
  }

  abort(peer: number, slot: number, status: StatusCode): void {
    this.#log(`abort ${peer} ${slot} ${statusName(status)}`);
    const attempt = this.workers.get(peer)?.held.get(slot);
    must(attempt !== undefined, `abort of what ${peer} does not have`);
    must(!attempt.aborted, `${attempt.request.name} aborted twice`);
    must(attempt.request.where === "in flight", `abort of ${attempt.request.name}`);
    const expired = this.nowMs >= attempt.request.deadlineMs && this.#command === undefined;
    must(status === (expired ? Status.DEADLINE_EXCEEDED : Status.CANCELLED), "status of the abort");
    attempt.aborted = true;
  }

  drained(peer: number): void {
    this.#log(`drained ${peer}`);
    const worker = this.workers.get(peer);
    must(worker?.draining === true, `${peer} does not drain`);
    must(worker.held.size === 0, `${peer} has work left`);
    must(!worker.toldDrained, `${peer} drained twice`);
    worker.toldDrained = true;
  }

  refuse(peer: number, status: StatusCode): void {
    this.#log(`refuse ${peer} ${statusName(status)}`);
    must(this.#command !== undefined && "peer" in this.#command, "refused nobody");
    must(this.#command.peer === peer, `refused ${peer}`);
    if (this.#isRefusalDue === undefined && this.#command.kind === "join-worker") {
      must(status === Status.RESOURCE_EXHAUSTED, "a good hello refused");
      return;
    }
    must(this.#isRefusalDue === status, `refused with ${statusName(status)}`);
    this.#isRefusalDue = undefined;
  }

  /** The request in `slot`; the one asked for in this step, if the slot is new to us. */
  #placed(slot: number): ModelRequest {
    const known = this.#bySlot.get(slot);
    if (known !== undefined) return known;
    const asked = this.#asked;
    must(asked !== undefined && asked.slot === -1, `slot ${slot} is nobody's`);
    for (const { held, peer } of this.workers.values()) {
      must(!held.has(slot), `slot ${slot} reused while ${peer} has it`);
    }
    asked.slot = slot;
    this.#bySlot.set(slot, asked);
    this.live.set(asked.name, asked);
    return asked;
  }

  #outcome(request: ModelRequest): void {
    must(request.outcomes++ === 0, `${request.name} has a second outcome`);
    must(!request.released, `${request.name} has an outcome after its release`);
  }

  // --- what must hold between steps ---

  #check(): void {
    const { core, limits } = this;
    const { requests } = core;
    const live = [...this.live.values()];
    for (const { name, outcomes } of live) must(outcomes === 0, `${name} ended and lives on`);
    must(requests.count === this.#occupied(), `count ${requests.count}, not ${this.#occupied()}`);
    must(requests.count <= limits.requestsMax, "more requests than requestsMax");
    must(requests.bytesHeld === sum(live), `bytes ${requests.bytesHeld}, not ${sum(live)}`);
    must(requests.bytesHeld <= limits.requestBytesMax, "more bytes than requestBytesMax");
    const isReduced = [...this.#credits.values()].some(
      ({ credit }) => credit < limits.clientInFlightMax,
    );
    const isTickDue = live.length > 0 || isReduced;
    must(core.needsTick === isTickDue, "timers without requests, or without timers");
    must(core.clientCount === this.clients.size, "clients");
    must(core.workerCount === this.workers.size, "workers");
    const { counts } = core;
    const ended = counts.replies + counts.failures + counts.cancelled;
    must(counts.requests === ended + live.length, "requests counted and ended");
    for (const client of this.clients) {
      const count = live.filter((request) => request.client === client).length;
      must(count <= limits.clientInFlightMax, `${client} has ${count} in flight`);
    }
    this.#checkServices();
    for (const worker of this.workers.values()) {
      const inCore = core.worker(worker.peer)!;
      must(inCore.inFlight === worker.held.size, `${worker.peer}: credit leaked`);
      must(inCore.state === (worker.draining ? "draining" : "ready"), `${worker.peer}: state`);
      const isDone = worker.draining && worker.held.size === 0;
      must(worker.toldDrained === isDone, `${worker.peer}: drained and not told`);
    }
  }

  #checkServices(): void {
    const { core, limits } = this;
    must(core.registry.services.size <= limits.servicesMax, "more services than servicesMax");
    for (const name of this.services) {
      const service = core.registry.services.get(name);
      const queue = this.#queue(name);
      if (service === undefined) {
        must(this.#isAtRest(name), `${name} was forgotten`);
        continue;
      }
      must(service.queue.count === queue.length, `${name}: queue count`);
      must(service.queue.bytes === sum(queue), `${name}: queue bytes`);
      must(service.inFlight === this.#inFlight(name), `${name}: in flight`);
      must(core.registry.at(service.index) === service, `${name}: index`);
      must(service.isServed === this.#servers(name).length > 0, `${name}: served`);
      must(service.wasServed || !this.#isAtRest(name), `${name} is a stray`);
      // What a worker gave back is not turned away: the queue may be that much longer.
      const fresh = queue.filter((request) => !request.returned);
      must(fresh.length <= limits.queueCountMax, `${name}: queue too long`);
      must(sum(fresh) <= limits.queueBytesMax, `${name}: queue too large`);
      for (const client of this.clients) {
        const count = queue.filter((request) => request.client === client).length;
        must(service.queue.clientCount(client) === count, `${name}: share of ${client}`);
      }
      if (queue.length === 0) continue;
      for (const { peer, held, concurrency } of this.#servers(name)) {
        must(held.size >= concurrency, `${peer} is idle while ${queue[0].name} waits`);
        must(core.worker(peer)!.room <= 0, `${peer} has room while ${queue[0].name} waits`);
      }
    }
  }

  // --- counted anew each time ---

  /** What waits for a service, oldest first. */
  #queue(service: string): ModelRequest[] {
    const queue: ModelRequest[] = [];
    for (const request of this.live.values()) {
      if (request.service === service && request.where === "queued") queue.push(request);
    }
    return queue;
  }

  #servers(service: string): ModelWorker[] {
    return [...this.workers.values()].filter(
      ({ services, draining }) => !draining && services.includes(service),
    );
  }

  #holder(request: ModelRequest): Attempt | undefined {
    for (const { held } of this.workers.values()) {
      const attempt = held.get(request.slot);
      if (attempt?.request === request) return attempt;
    }
    return undefined;
  }

  heldCount(): number {
    let count = 0;
    for (const { held } of this.workers.values()) count += held.size;
    return count;
  }

  #inFlight(service: string): number {
    let count = 0;
    for (const { held } of this.workers.values()) {
      for (const { request } of held.values()) if (request.service === service) count++;
    }
    return count;
  }

  /** Slots in use: what waits, and what workers have, abandoned or not. */
  #occupied(): number {
    let queued = 0;
    for (const { where } of this.live.values()) if (where === "queued") queued++;
    return queued + this.heldCount();
  }

  #isAtRest(service: string): boolean {
    const { length } = this.#queue(service);
    return length === 0 && this.#inFlight(service) === 0 && this.#servers(service).length === 0;
  }

  meet(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1);
  }

  #log(line: string): void {
    this.trace.push(line);
    if (this.trace.length > TRACE_COUNT) this.trace.shift();
    if (line.startsWith(">")) return;
    const kind = line.replace(/ [\d#]+/g, "");
    this.meet(kind);
    // FNV-1a over all effects.
    for (let i = 0; i < line.length; i++) {
      this.digest = Math.imul(this.digest ^ line.charCodeAt(i), 0x01000193) >>> 0;
    }
  }
}

function sum(requests: readonly ModelRequest[]): number {
  return requests.reduce((bytes, request) => bytes + request.bytes, 0);
}
