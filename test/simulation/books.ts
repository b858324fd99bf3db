// The model's books of one broker, kept from the commands and the effects alone, with plain lists and scans.
import type { Core } from "../../build/core/core.js";
import type { Limits } from "../../build/core/limits.js";
import type { StreamBook } from "./stream-model.ts";

/** One accepted request, as the model knows it. */
export interface ModelRequest {
  readonly name: string;
  readonly client: number;
  readonly sequence: number;
  readonly service: string;
  readonly priority: number;
  readonly bytes: number;
  /** Less than was asked for once a part of its reply was passed on. */
  attemptsMax: number;
  /** Of a task: Infinity while it waits, then that of its attempt, then until when its worker is heard. */
  deadlineMs: number;
  /** Of a task, what an attempt may take; 0 of a request. */
  readonly attemptMs: number;
  /** Of a task whose time is over, and whose worker was told. */
  isOverdue: boolean;
  slot: number;
  where: "queued" | "in flight" | "ended";
  attempts: number;
  /** When it began to wait. */
  sinceMs: number;
  /** A worker gave it back, and it waits to be handed out again. */
  returned: boolean;
  outcomes: number;
  /** Where parts answer it. */
  readonly stream: StreamBook | undefined;
  released: boolean;
}

/** What a worker holds: one attempt. It stays after the request has ended (abandoned). */
export interface Attempt {
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

export class Books {
  readonly clients = new Set<number>();
  /** Of clients that were told of a credit: what, and when. */
  readonly credits = new Map<number, { credit: number; toldMs: number }>();
  readonly workers = new Map<number, ModelWorker>();
  /** Accepted and not ended, by name. */
  readonly live = new Map<string, ModelRequest>();
  /** Per service, what was given back and waits, in order. */
  readonly returned = new Map<string, ModelRequest[]>();
  readonly wasServed = new Set<string>();
  isShuttingDown = false;

  constructor(
    readonly core: Core,
    readonly limits: Limits,
    /** All the services that are asked for or served. */
    readonly services: readonly string[],
    public nowMs: number,
    /** Says that something came about: a run that met nothing proves nothing. */
    readonly meet: (event: string) => void,
  ) {
    for (const name of services) this.returned.set(name, []);
  }

  // --- counted anew each time ---

  /** What waits for a service, oldest first. */
  queue(service: string): ModelRequest[] {
    const queue: ModelRequest[] = [];
    for (const request of this.live.values()) {
      if (request.service === service && request.where === "queued") queue.push(request);
    }
    return queue;
  }

  servers(service: string): ModelWorker[] {
    return [...this.workers.values()].filter(
      ({ services, draining }) => !draining && services.includes(service),
    );
  }

  holder(request: ModelRequest): Attempt | undefined {
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

  inFlight(service: string): number {
    let count = 0;
    for (const { held } of this.workers.values()) {
      for (const { request } of held.values()) if (request.service === service) count++;
    }
    return count;
  }

  /** Slots in use: what waits, and what workers have, abandoned or not. */
  occupied(): number {
    let queued = 0;
    for (const { where } of this.live.values()) if (where === "queued") queued++;
    return queued + this.heldCount();
  }

  isAtRest(service: string): boolean {
    const { length } = this.queue(service);
    return length === 0 && this.inFlight(service) === 0 && this.servers(service).length === 0;
  }
}

/** Those whose bytes the core counts: of tasks those have them that gave them. */
export function counted(requests: Iterable<ModelRequest>): ModelRequest[] {
  return [...requests].filter(({ attemptMs }) => attemptMs === 0);
}

export function sum(requests: Iterable<ModelRequest>): number {
  let bytes = 0;
  for (const request of requests) bytes += request.bytes;
  return bytes;
}
