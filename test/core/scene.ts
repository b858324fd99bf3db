// A stage for the core: a recording Effects sink, and commands in one line each.
// An effect reads like `dispatch w10 c1#7`: peer 10 is handed request 7 of client 1.

import { type StatusCode, statusName } from "../../build/base/status.js";
import type { Command, Effects, StreamPart } from "../../build/core/command.js";
import { Core } from "../../build/core/core.js";
import { type Limits, PRIORITY_DEFAULT, resolveLimits } from "../../build/core/limits.js";
import { type ServiceOverrides, ServiceRules } from "../../build/core/service-rules.js";

/** One attempt of one request, as the worker that has it knows it. */
export interface Attempt {
  worker: number;
  slot: number;
  generation: number;
}

export interface Ask {
  service?: string;
  timeoutMs?: number;
  attempts?: number;
  priority?: number;
  bytes?: number;
  stream?: "once" | "restart";
  isTask?: boolean;
}

export class Scene {
  readonly core: Core;
  nowMs = 0;
  /** retryAfterMs and reason of the latest `fail`. */
  lastRetryAfterMs = 0;
  lastAttempts = -1;
  lastReason = "";
  readonly #names = new Map<number, string>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #released = new Set<number>();
  #asking = "";
  #effects: string[] = [];

  constructor(limits: Partial<Limits> = {}, nowMs = 0, services: ServiceOverrides = {}) {
    this.nowMs = nowMs;
    const resolved = resolveLimits(limits);
    const rules = new ServiceRules(resolved, services);
    this.core = new Core(this.#sink(), resolved, nowMs, 0, rules);
  }

  // --- commands; each returns the effects it had ---

  do(command: Command): string[] {
    this.#effects = [];
    this.core.step(command, this.nowMs);
    return this.#effects;
  }

  /** Lets time pass and tells the core. */
  pass(ms: number): string[] {
    this.nowMs += ms;
    this.#effects = [];
    this.core.tick(this.nowMs);
    return this.#effects;
  }

  client(...peers: number[]): void {
    for (const peer of peers) this.do({ kind: "join-client", peer });
  }

  worker(peer: number, concurrency = 1, services = ["echo"], lookAhead = false): string[] {
    return this.do({ kind: "join-worker", peer, concurrency, services, lookAhead });
  }

  ask(peer: number, sequence: number, ask: Ask = {}): string[] {
    const { service = "echo", timeoutMs = 0, attempts = 0, bytes = 10 } = ask;
    const { priority = PRIORITY_DEFAULT } = ask;
    const { stream, isTask = false } = ask;
    const rest = { timeoutMs, attempts, priority, bytes, stream, isTask };
    const request = { peer, sequence, service, ...rest };
    this.#asking = `c${peer}#${sequence}`;
    return this.do({ kind: "request", ...request });
  }

  /** The present worker of a request answers it. */
  reply(peer: number, sequence: number, serviceTimeUs = 0): string[] {
    return this.replyFor(this.attempt(peer, sequence), serviceTimeUs);
  }

  replyFor({ worker, slot, generation }: Attempt, serviceTimeUs = 0): string[] {
    return this.do({ kind: "reply", peer: worker, slot, generation, serviceTimeUs });
  }

  /** The present worker of a request sends a part of its reply. */
  part(peer: number, sequence: number, isPassedOn = true): string[] {
    return this.partFor(this.attempt(peer, sequence), isPassedOn);
  }

  partFor({ worker, slot, generation }: Attempt, isPassedOn = true): string[] {
    return this.do({ kind: "part", peer: worker, slot, generation, isPassedOn });
  }

  failure(peer: number, sequence: number, status: StatusCode, untouched = false): string[] {
    const { worker, slot, generation } = this.attempt(peer, sequence);
    return this.do({
      kind: "failure",
      peer: worker,
      slot,
      generation,
      status,
      reason: "no",
      retryAfterMs: 0,
      untouched,
    });
  }

  /** The worker that has a stream sends part `index` of it, or its end. */
  streamPart(peer: number, sequence: number, index: number, change: Partial<StreamPart> = {}) {
    return this.streamPartFor(this.attempt(peer, sequence), index, change);
  }

  streamPartFor(
    { worker, slot, generation }: Attempt,
    index: number,
    change: Partial<StreamPart> = {},
  ): string[] {
    const part = { slot, generation, index, isLast: false, bytes: 10, ...change };
    return this.do({ kind: "stream-part", peer: worker, ...part });
  }

  grant(peer: number, sequence: number, partsMax: number, bytesMax = 1000): string[] {
    return this.do({ kind: "stream-credit", peer, sequence, partsMax, bytesMax });
  }

  cancel(peer: number, sequence: number): string[] {
    return this.do({ kind: "cancel", peer, sequence });
  }

  leave(peer: number): string[] {
    return this.do({ kind: "leave", peer });
  }

  drain(peer: number): string[] {
    return this.do({ kind: "drain", peer });
  }

  /** The latest attempt of a request. */
  attempt(peer: number, sequence: number): Attempt {
    const attempt = this.#attempts.get(`c${peer}#${sequence}`);
    if (attempt === undefined) throw new Error(`c${peer}#${sequence} was never dispatched`);
    return { ...attempt };
  }

  // --- effects ---

  #sink(): Effects {
    const add = (effect: string) => this.#effects.push(effect);
    return {
      dispatch: (worker, slot) => {
        const name = this.#name(slot);
        const generation = this.core.requests.generation[slot];
        this.#attempts.set(name, { worker, slot, generation });
        add(`dispatch w${worker} ${name}`);
      },
      hold: (slot) => add(`hold ${this.#name(slot)}`),
      release: (slot) => {
        add(`release ${this.#name(slot)}`);
        this.#released.add(slot);
      },
      reply: (client, slot) => {
        if (!this.#name(slot).startsWith(`c${client}#`)) throw new Error("to the wrong client");
        add(`reply ${this.#name(slot)}`);
      },
      part: (client, slot) => {
        if (!this.#name(slot).startsWith(`c${client}#`)) throw new Error("to the wrong client");
        add(`part ${this.#name(slot)}`);
      },
      streamPart: (client, slot) => {
        if (!this.#name(slot).startsWith(`c${client}#`)) throw new Error("to the wrong client");
        add(`stream-part ${this.#name(slot)}`);
      },
      grant: (worker, slot, partsMax, bytesMax) =>
        add(`grant w${worker} ${this.#name(slot)} ${partsMax} ${bytesMax}`),
      fail: (client, sequence, status, reason, retryAfterMs, attempts) => {
        this.lastRetryAfterMs = retryAfterMs;
        this.lastAttempts = attempts;
        this.lastReason = reason;
        add(`fail c${client}#${sequence} ${statusName(status)}`);
      },
      abort: (worker, slot, status) =>
        add(`abort w${worker} ${this.#name(slot)} ${statusName(status)}`),
      credit: (client, inFlightMax) => add(`credit c${client} ${inFlightMax}`),
      drained: (worker) => add(`drained w${worker}`),
      refuse: (peer, status) => add(`refuse p${peer} ${statusName(status)}`),
    };
  }

  /** Whose request stands in `slot`: the one asked for last, if the slot was free. */
  #name(slot: number): string {
    if (this.#released.delete(slot)) this.#names.delete(slot);
    const known = this.#names.get(slot);
    if (known !== undefined) return known;
    this.#names.set(slot, this.#asking);
    return this.#asking;
  }
}
