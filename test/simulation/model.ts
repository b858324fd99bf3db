// A model of what one core must do: its own books, kept from the commands and the effects alone, and
// compared with the core's after each step. What it expects of refusals and of order stands apart, in
// refusals.ts and order.ts.
import { Status, type StatusCode, statusName } from "../../build/base/status.js";
import type { Request as Ask, Command, Effects } from "../../build/core/command.js";
import type { Core } from "../../build/core/core.js";
import type { Limits } from "../../build/core/limits.js";
import type { CoreCounts } from "../../build/core/outcomes.js";
import { Books, type ModelRequest } from "./books.ts";
import { checkAll } from "./invariants.ts";
import { type Log, must } from "./log.ts";
import { checkChoice, checkOrder } from "./order.ts";
import { isOverdue, mayBeGivenUp, mayBeStale, refusalOf } from "./refusals.ts";
import { hasBegun, isBound, newStream, StreamModel } from "./stream-model.ts";

/** The core to be run: that of build/, or a mutant of it. */
export type CoreClass = new (...parameters: ConstructorParameters<typeof Core>) => Core;

export interface Answer {
  peer: number;
  slot: number;
  generation: number;
}

/** A core under test, and the books that are kept beside it. Passes on to `sink` what it has checked. */
export class Model implements Effects {
  readonly core: Core;
  readonly books: Books;
  /** Answers that were true once. */
  readonly history: Answer[] = [];
  readonly #bySlot = new Map<number, ModelRequest>();
  /** The highest generation seen of each slot: answers below it are history. */
  readonly #generations = new Map<number, number>();
  /** What this step is about. */
  #command: Command | undefined;
  #asked: ModelRequest | undefined;
  #isRefusalDue: StatusCode | undefined;
  #answered: ModelRequest | undefined;
  /** Of which this step brings a part. */
  #partial: ModelRequest | undefined;
  readonly #streams: StreamModel;
  /** Requests whose worker left in this step and of which nothing was heard yet. */
  #lost: ModelRequest[] = [];
  #refusals: string[] = [];
  #stale = 0;
  #repeated = 0;
  #refused = 0;
  /** Taken, and given up in this step: for its wait, or for its deadline. */
  #refusedAfterWait = 0;
  #expired = 0;

  constructor(
    CoreUnderTest: CoreClass,
    readonly limits: Limits,
    services: readonly string[],
    nowMs: number,
    readonly name: string,
    readonly log: Log,
    readonly sink: Effects,
  ) {
    this.#streams = new StreamModel((event) => log.meet(event));
    this.core = new CoreUnderTest(this, limits, nowMs);
    this.books = new Books(this.core, limits, services, nowMs, (event) => log.meet(event));
  }

  // --- one step: the books, the command, the checks ---

  /** Tells the core the time. */
  tick(nowMs: number): void {
    const { books } = this;
    books.nowMs = nowMs;
    this.#begin(`tick at ${nowMs}`);
    const before = { ...this.core.counts };
    this.core.tick(nowMs);
    this.#checkCounts(before);
    for (const request of books.live.values()) {
      const isPast = Math.ceil(request.deadlineMs) <= Math.floor(nowMs);
      must(!isPast, `${request.name} is past its deadline`);
      must(!isOverdue(books, request), `${request.name} waits too long`);
    }
    checkAll(books);
  }

  /** One command, and all that must hold before and after. */
  step(command: Command, nowMs: number): void {
    this.books.nowMs = nowMs;
    this.#begin(`${JSON.stringify(command)} at ${nowMs}`);
    this.#command = command;
    const before = { ...this.core.counts };
    this.#expect(command);
    this.core.step(command, nowMs);
    this.#checkCounts(before);
    this.#settle(command);
    checkAll(this.books);
  }

  /** What the core counted in this step is what was to be counted. */
  #checkCounts(before: CoreCounts): void {
    const expected = {
      stale: this.#stale,
      repeated: this.#repeated,
      refused: this.#refused + this.#refusedAfterWait,
      refusedAfterWait: this.#refusedAfterWait,
      expired: this.#expired,
    };
    for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
      const by = this.core.counts[name] - before[name];
      must(by === expected[name], `${name} went up by ${by}, not ${expected[name]}`);
    }
  }

  #begin(title: string): void {
    this.log.cause(`${this.name}: ${title}`);
    this.#command = undefined;
    this.#asked = undefined;
    this.#answered = undefined;
    this.#partial = undefined;
    this.#streams.begin();
    this.#isRefusalDue = undefined;
    this.#refusals = [];
    this.#stale = 0;
    this.#repeated = 0;
    this.#refused = 0;
    this.#refusedAfterWait = 0;
    this.#expired = 0;
  }

  /** Enters in the books what the command means, before the core decides. */
  #expect(command: Command): void {
    switch (command.kind) {
      case "request":
        return this.#expectRequest(command);
      case "part":
      case "stream-part":
      case "reply":
      case "failure": {
        const worker = this.books.workers.get(command.peer);
        const attempt = worker?.held.get(command.slot);
        if (attempt === undefined || attempt.generation !== command.generation) {
          this.#stale = 1;
          return;
        }
        if (command.kind === "part") {
          if (attempt.request.where !== "in flight") return;
          this.#partial = attempt.request;
          if (command.isPassedOn) attempt.request.attemptsMax = attempt.request.attempts;
          return;
        }
        const isEnd = command.kind !== "stream-part" || command.isLast;
        if (command.kind === "stream-part" && !this.#streams.expectPart(attempt, command)) {
          if (isEnd) worker!.held.delete(command.slot);
          return;
        }
        worker!.held.delete(command.slot);
        this.history.push(command);
        if (attempt.request.where === "in flight") this.#answered = attempt.request;
        return;
      }
      case "join-worker": {
        const { peer, concurrency, services, lookAhead } = command;
        if (this.books.workers.has(peer)) return;
        if (this.books.clients.has(peer) || concurrency > this.limits.concurrencyMax) {
          this.#isRefusalDue = Status.INVALID_ARGUMENT;
          return;
        }
        // Entered at once, since it may be handed work in this step; see #settle.
        this.books.workers.set(peer, {
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
        if (this.books.workers.has(command.peer)) this.#isRefusalDue = Status.PERMISSION_DENIED;
        else this.books.clients.add(command.peer);
        return;
      case "credit": {
        const worker = this.books.workers.get(command.peer);
        const { concurrency } = command;
        if (worker === undefined || concurrency < 1 || concurrency > this.limits.concurrencyMax) {
          this.#isRefusalDue = Status.INVALID_ARGUMENT;
        } else worker.concurrency = concurrency;
        return;
      }
      case "drain": {
        const worker = this.books.workers.get(command.peer);
        if (worker !== undefined) worker.draining = true;
        return;
      }
      case "stream-credit": {
        const request = this.books.live.get(`${command.peer}#${command.sequence}`);
        if (request === undefined) return;
        const isRefused = this.#streams.expectCredit(request, command);
        if (isRefused) this.#isRefusalDue = Status.INVALID_ARGUMENT;
        return;
      }
      case "leave":
        return this.#expectLeave(command.peer);
      case "shutdown":
        this.books.isShuttingDown = true;
        return;
      case "cancel":
        return;
      default:
        command satisfies never;
    }
  }

  #expectRequest(ask: Ask): void {
    if (!this.books.clients.has(ask.peer)) {
      this.#isRefusalDue = Status.UNAUTHENTICATED;
      return;
    }
    if (this.books.live.has(`${ask.peer}#${ask.sequence}`)) {
      this.#repeated = 1;
      return;
    }
    const refusal = refusalOf(this.books, ask);
    if (refusal !== undefined) {
      this.#refused = 1;
      this.#refusals.push(`${ask.peer}#${ask.sequence} ${statusName(refusal)}`);
      return;
    }
    const { limits } = this;
    const timeoutMs = Math.min(ask.timeoutMs || Infinity, limits.timeoutMsMax);
    this.#asked = {
      name: `${ask.peer}#${ask.sequence}`,
      client: ask.peer,
      sequence: ask.sequence,
      service: ask.service,
      priority: ask.priority,
      bytes: ask.bytes,
      attemptsMax: ask.attempts === 0 ? limits.attemptsDefault : ask.attempts,
      deadlineMs: ask.isTask === true ? Infinity : this.books.nowMs + timeoutMs,
      attemptMs: ask.isTask === true ? timeoutMs : 0,
      isOverdue: false,
      slot: -1,
      where: "queued",
      attempts: 0,
      sinceMs: this.books.nowMs,
      returned: false,
      outcomes: 0,
      released: false,
      stream: ask.stream === undefined ? undefined : newStream(ask.stream),
    };
  }

  /** What a departing worker held waits again, until the effects say otherwise. */
  #expectLeave(peer: number): void {
    const worker = this.books.workers.get(peer);
    if (worker === undefined) {
      this.books.clients.delete(peer);
      this.books.credits.delete(peer);
      return;
    }
    this.books.workers.delete(peer);
    for (const attempt of worker.held.values()) {
      this.history.push({ peer, slot: attempt.slot, generation: attempt.generation });
    }
    this.#lost = [...worker.held.values()]
      .filter(({ request }) => request.where === "in flight")
      .map(({ request }) => request);
  }

  #settle(command: Command): void {
    if (command.kind === "join-worker") {
      const worker = this.books.workers.get(command.peer);
      if (worker !== undefined && this.core.worker(command.peer) === undefined) {
        // More names than the broker has room for: allowed only when it is full.
        const names = this.core.registry.services;
        const unknown = command.services.filter((name) => !names.has(name)).length;
        must(names.size + unknown + 1 >= this.limits.servicesMax, "refused with room for it");
        must(worker.held.size === 0, "refused and handed work");
        this.books.workers.delete(command.peer);
      } else if (worker !== undefined) {
        for (const name of worker.services) this.books.wasServed.add(name);
      }
    }
    const cancelled = command.kind === "cancel" ? `${command.peer}#${command.sequence}` : "";
    must(!this.books.live.has(cancelled), `${cancelled} was cancelled and lives on`);
    if (command.kind === "leave") {
      for (const { client, name } of this.books.live.values()) {
        must(client !== command.peer, `${name} outlives its client`);
      }
    }
    must(this.#lost.length === 0, "a lost worker's request was forgotten");
    must(this.#refusals.length === 0, `refusal not told: ${this.#refusals}`);
    must(this.#isRefusalDue === undefined, "not refused");
    must(this.#asked === undefined || this.#asked.slot >= 0, "neither handed out nor held");
    must(this.#answered === undefined, "an answer came and went nowhere");
    must(this.#partial === undefined, "a part came and went nowhere");
    this.#streams.settle();
  }

  // --- effects ---

  dispatch(peer: number, slot: number): void {
    this.#effect(`dispatch ${peer} ${slot}`);
    const request = this.#placed(slot);
    const worker = this.books.workers.get(peer);
    const generation = this.core.requests.generation[slot];
    must(worker !== undefined, `dispatch to ${peer}, which is gone`);
    must(!worker.draining, `dispatch to ${peer}, which drains`);
    must(worker.services.includes(request.service), `${peer} does not serve ${request.service}`);
    must(request.where === "queued" && !request.released, `${request.name} does not wait`);
    must(this.books.nowMs < request.deadlineMs, `${request.name} handed out past its deadline`);
    must(!this.#lost.includes(request), `${request.name} handed out before it was given back`);
    must(generation > (this.#generations.get(slot) ?? 0), `slot ${slot}: generation not new`);
    must(request.attempts < request.attemptsMax, `${request.name} handed out too often`);
    checkOrder(this.books, request);
    checkChoice(this.books, worker, request);

    this.#generations.set(slot, generation);
    if (worker.held.size >= worker.concurrency) this.log.meet("look-ahead");
    if (request.returned) this.log.meet("redelivery");
    request.where = "in flight";
    if (request.attemptMs > 0) request.deadlineMs = this.books.nowMs + request.attemptMs;
    request.attempts++;
    request.returned = false;
    worker.held.set(slot, { request, slot, generation, aborted: false });
    this.#streams.onDispatch(request);
    this.sink.dispatch(peer, slot);
  }

  hold(slot: number): void {
    this.#effect(`hold ${slot}`);
    this.sink.hold(slot);
    const request = this.#placed(slot);
    must(!request.released, `${request.name} held after its release`);
    if (request === this.#asked && request.attempts === 0 && !request.returned) {
      must(request.where === "queued", "held while in flight");
      this.#asked.returned = false;
      return;
    }
    must(!isBound(request), `${request.name} is given back in mid-stream`);
    // Given back: by a worker that left, in the order handed out, or that drains.
    must(request.where === "in flight", `${request.name} held twice`);
    if (this.#lost.length > 0) {
      must(this.#lost.shift() === request, `${request.name} given back out of order`);
    } else {
      const command = this.#command;
      must(command?.kind === "failure" && command.untouched, "given back for no reason");
      must(this.books.workers.get(command.peer)!.draining, "given back by a worker that stays");
      must(this.#answered === request, `${request.name} given back by an answer to another`);
      this.#answered = undefined;
      request.attempts--;
    }
    must(request.attempts < request.attemptsMax, `${request.name} has no attempt left`);
    request.where = "queued";
    if (request.attemptMs > 0) request.deadlineMs = Infinity;
    request.isOverdue = false;
    request.returned = true;
    request.sinceMs = this.books.nowMs;
    this.books.returned.get(request.service)!.push(request);
  }

  release(slot: number): void {
    this.#effect(`release ${slot}`);
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
      const returned = this.books.returned.get(request.service)!;
      returned.splice(returned.indexOf(request), 1);
    }
    const holder = this.books.holder(request);
    must(holder === undefined || holder.aborted, `${request.name} released, its worker not told`);
    request.where = "ended";
    this.books.live.delete(request.name);
    this.#bySlot.delete(slot);
    this.sink.release(slot);
  }

  reply(client: number, slot: number): void {
    this.#effect(`reply ${client} ${slot}`);
    const request = this.#placed(slot);
    const command = this.#command;
    const isReply = command?.kind === "reply" || command?.kind === "stream-part";
    must(isReply && command.slot === slot, "a reply out of nowhere");
    must(this.#answered === request, `${request.name} got the reply of another`);
    must(request.client === client, `the reply to ${request.name} went to ${client}`);
    this.#answered = undefined;
    this.#outcome(request);
    this.sink.reply(client, slot);
  }

  streamPart(client: number, slot: number): void {
    this.#effect(`stream-part ${client} ${slot}`);
    const request = this.#placed(slot);
    must(request.client === client, `a part of ${request.name} went to ${client}`);
    this.#streams.onPart(request);
    this.sink.streamPart(client, slot);
  }

  grant(peer: number, slot: number, partsMax: number, bytesMax: number): void {
    this.#effect(`grant ${peer} ${slot} ${partsMax} ${bytesMax}`);
    const request = this.#placed(slot);
    must(this.books.workers.get(peer)?.held.get(slot)?.request === request, "not its worker's");
    this.#streams.onGrant(request, partsMax, bytesMax);
    this.sink.grant(peer, slot, partsMax, bytesMax);
  }

  part(client: number, slot: number): void {
    this.#effect(`part ${client} ${slot}`);
    const request = this.#placed(slot);
    must(this.#partial === request, `${request.name} got a part of another`);
    must(request.client === client, `a part of ${request.name} went to ${client}`);
    this.#partial = undefined;
    this.log.meet("part");
    this.sink.part(client, slot);
  }

  fail(
    client: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void {
    const name = `${client}#${sequence}`;
    this.#effect(`fail ${name} ${statusName(status)} ${retryAfterMs}`);
    this.sink.fail(client, sequence, status, reason, retryAfterMs, attempts);
    must(status !== Status.OK, "a failure of status OK");
    must(retryAfterMs >= 0 && Number.isFinite(retryAfterMs), `retry after ${retryAfterMs}`);
    const request = this.books.live.get(name);
    if (request === undefined) {
      must(
        this.#refusals.shift() === `${name} ${statusName(status)}`,
        `${name} failed out of turn`,
      );
      if (status === Status.RESOURCE_EXHAUSTED) must(retryAfterMs > 0, "no retry-after");
      must(attempts === 0, `${name} was refused after ${attempts} attempts`);
      return;
    }
    const command = this.#command;
    const isUntouched = command?.kind === "failure" && command.untouched && !hasBegun(request);
    // What its worker gives up untouched does not count as an attempt.
    const made = request.attempts - (this.#answered === request && isUntouched ? 1 : 0);
    must(attempts === made, `${name} failed after ${made} attempts, said to be ${attempts}`);
    must(this.#isDue(request, status), `${name} failed with ${statusName(status)} for no reason`);
    this.#outcome(request);
  }

  /** Whether a request may end so now. */
  #isDue(request: ModelRequest, status: StatusCode): boolean {
    if (this.#streams.takeBroken(request)) return status === Status.INTERNAL;
    if (this.#answered === request) {
      this.#answered = undefined;
      const command = this.#command;
      if (command?.kind !== "failure") return false;
      if (!request.isOverdue || command.untouched) return command.status === status;
      this.#expired++;
      return status === Status.DEADLINE_EXCEEDED;
    }
    if (this.#lost[0] === request) {
      this.#lost.shift();
      const isDue = request.attempts === request.attemptsMax || isBound(request);
      if (isBound(request)) this.log.meet("stream lost");
      return status === Status.UNAVAILABLE && isDue;
    }
    if (this.#command?.kind === "shutdown") {
      const isDue = request.where === "queued" && request.attemptMs > 0;
      return status === Status.UNAVAILABLE && isDue;
    }
    if (this.books.nowMs >= request.deadlineMs) {
      must(request.attemptMs === 0 || request.isOverdue, "its worker was not asked");
      this.#expired++;
      return status === Status.DEADLINE_EXCEEDED;
    }
    this.#refusedAfterWait++;
    if (this.#command === undefined) return mayBeGivenUp(this.books, request, status);
    return status === Status.RESOURCE_EXHAUSTED && mayBeStale(this.books, request);
  }

  credit(client: number, inFlightMax: number): void {
    this.#effect(`credit ${client} ${inFlightMax}`);
    const { clientCreditMin, clientInFlightMax } = this.limits;
    const { clients, credits, nowMs } = this.books;
    must(clients.has(client), `credit for ${client}, which is none`);
    must(this.#command === undefined, "credit outside of a tick");
    must(inFlightMax <= clientInFlightMax, `credit of ${inFlightMax}`);
    must(inFlightMax >= Math.min(clientCreditMin, clientInFlightMax), `credit of ${inFlightMax}`);
    const told = credits.get(client);
    must(told?.credit !== inFlightMax, `${client} is told nothing new`);
    must(nowMs - (told?.toldMs ?? -Infinity) >= 100, `${client} is told too often`);
    credits.set(client, { credit: inFlightMax, toldMs: nowMs });
    this.log.meet("credit");
    this.sink.credit(client, inFlightMax);
  }

  abort(peer: number, slot: number, status: StatusCode): void {
    this.#effect(`abort ${peer} ${slot} ${statusName(status)}`);
    const attempt = this.books.workers.get(peer)?.held.get(slot);
    must(attempt !== undefined, `abort of what ${peer} does not have`);
    must(!attempt.aborted, `${attempt.request.name} aborted twice`);
    must(attempt.request.where === "in flight", `abort of ${attempt.request.name}`);
    const expired = this.books.nowMs >= attempt.request.deadlineMs && this.#command === undefined;
    must(status === (expired ? Status.DEADLINE_EXCEEDED : Status.CANCELLED), "status of the abort");
    attempt.aborted = true;
    if (attempt.request.attemptMs > 0) {
      attempt.request.isOverdue = true;
      attempt.request.deadlineMs = this.books.nowMs + 1000;
      this.log.meet("task overdue");
    }
    this.sink.abort(peer, slot, status);
  }

  drained(peer: number): void {
    this.#effect(`drained ${peer}`);
    const worker = this.books.workers.get(peer);
    must(worker?.draining === true, `${peer} does not drain`);
    must(worker.held.size === 0, `${peer} has work left`);
    must(!worker.toldDrained, `${peer} drained twice`);
    worker.toldDrained = true;
    this.sink.drained(peer);
  }

  refuse(peer: number, status: StatusCode, reason: string): void {
    this.#effect(`refuse ${peer} ${statusName(status)}`);
    this.sink.refuse(peer, status, reason);
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
    for (const { held, peer } of this.books.workers.values()) {
      must(!held.has(slot), `slot ${slot} reused while ${peer} has it`);
    }
    asked.slot = slot;
    this.#bySlot.set(slot, asked);
    this.books.live.set(asked.name, asked);
    return asked;
  }

  #outcome(request: ModelRequest): void {
    must(request.outcomes++ === 0, `${request.name} has a second outcome`);
    must(!request.released, `${request.name} has an outcome after its release`);
  }

  #effect(line: string): void {
    this.log.effect(line, `${this.name}: `);
  }
}
