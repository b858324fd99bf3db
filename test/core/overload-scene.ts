// The production core under load, in virtual time: clients that ask at a given pace, workers that take
// a given time, and nothing else that moves. The same scene gives the same figures on any machine.

import { Status, type StatusCode } from "../../build/base/status.js";
import type { Effects } from "../../build/core/command.js";
import { Core } from "../../build/core/core.js";
import { type Limits, PRIORITY_DEFAULT, resolveLimits } from "../../build/core/limits.js";
import { Random } from "../random.mjs";

/** The clock moves by so much; whatever happens within it happens in order. */
const STEP_MS = 0.25;
/** As the broker does. */
const TICK_STEPS = 20;
const SERVICE = "echo";

export interface OverloadOptions {
  seed: number;
  clients: number;
  /** Requests per second of all clients; the first offers half of it. */
  offeredPerSecond: number;
  workers: number;
  concurrency: number;
  serviceMs: number;
  /** Whether clients hold back what is beyond their credit, as ours do. */
  obeysCredit: boolean;
  limits?: Partial<Limits>;
  bytes?(client: number): number;
}

/** What became of one client's requests. */
export class ClientFigures {
  asked = 0;
  replied = 0;
  refused = 0;
  /** Held back by the client itself. */
  unsent = 0;
  inFlight = 0;
  credit = Infinity;
  creditRecords = 0;
  latestCreditMs = -Infinity;
}

/** One run; `run` may be called again with another load. */
export class OverloadScene {
  readonly core: Core;
  readonly clients: ClientFigures[];
  nowMs = 0;
  /** How long each request that was handed out waited in the broker, as counts by millisecond. */
  waits: number[] = [];
  /** How long refused ones waited for it. */
  refusalWaits: number[] = [];
  heldMost = 0;
  bytesMost = 0;
  leastCreditGapMs = Infinity;
  readonly limits: Limits;
  readonly #options: OverloadOptions;
  readonly #random: Random;
  /** By step, the answers that are due: slot, generation, worker. */
  readonly #due = new Map<number, { slot: number; generation: number; peer: number }[]>();
  readonly #busyUntil: number[][];
  readonly #askedAtMs = new Map<string, number>();
  readonly #owed: number[];
  #sequence = 0;
  #stepCount = 0;

  constructor(options: OverloadOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.limits = resolveLimits(options.limits);
    this.clients = Array.from({ length: options.clients }, () => new ClientFigures());
    this.#owed = this.clients.map(() => 0);
    this.core = new Core(this.#effects(), this.limits);
    for (const peer of this.clients.keys()) this.core.step({ kind: "join-client", peer }, 0);
    this.#busyUntil = Array.from({ length: options.workers }, () =>
      new Array(options.concurrency).fill(0),
    );
    for (let index = 0; index < options.workers; index++) {
      const join = { peer: this.#workerPeer(index), concurrency: options.concurrency };
      this.core.step(
        { kind: "join-worker", ...join, services: [SERVICE], lookAhead: true },
        this.nowMs,
      );
    }
  }

  get capacityPerSecond(): number {
    const { workers, concurrency, serviceMs } = this.#options;
    return (workers * concurrency * 1000) / serviceMs;
  }

  /** Lets `ms` go by with this load; the counts go on. */
  run(ms: number, offeredPerSecond = this.#options.offeredPerSecond): void {
    const others = this.clients.length - 1;
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs += STEP_MS;
      this.#stepCount++;
      this.#answerDue();
      const perStep = (offeredPerSecond / 1000) * STEP_MS;
      for (let peer = 0; peer < this.clients.length; peer++) {
        this.#owed[peer] += peer === 0 ? perStep / 2 : perStep / 2 / others;
        // Not all at the same instant, and not evenly.
        while (this.#owed[peer] >= this.#random.below(16) / 8) {
          this.#owed[peer]--;
          this.clients[peer].unsent++;
          this.clients[peer].asked++;
        }
      }
      // Whose requests come first changes.
      const first = this.#random.below(this.clients.length);
      for (let i = 0; i < this.clients.length; i++) {
        this.#send((first + i) % this.clients.length);
      }
      if (this.#stepCount % TICK_STEPS === 0 && this.core.needsTick) this.core.tick(this.nowMs);
      this.heldMost = Math.max(this.heldMost, this.core.requests.count);
      this.bytesMost = Math.max(this.bytesMost, this.core.requests.bytesHeld);
    }
  }

  /** Forgets what was counted, not what is under way. */
  resetFigures(): void {
    for (const client of this.clients) {
      Object.assign(client, { asked: 0, replied: 0, refused: 0, creditRecords: 0 });
    }
    this.waits = [];
    this.refusalWaits = [];
    this.heldMost = 0;
    this.bytesMost = 0;
  }

  #workerPeer(index: number): number {
    return this.clients.length + index;
  }

  #send(peer: number): void {
    const client = this.clients[peer];
    const most = this.#options.obeysCredit ? client.credit : Infinity;
    while (client.unsent > 0 && client.inFlight < most) {
      client.unsent--;
      client.inFlight++;
      const sequence = ++this.#sequence;
      this.#askedAtMs.set(`${peer}#${sequence}`, this.nowMs);
      const bytes = this.#options.bytes?.(peer) ?? 100;
      this.core.step(
        {
          ...{ kind: "request", peer, sequence, service: SERVICE, bytes },
          ...{ timeoutMs: 30_000, attempts: 0, priority: PRIORITY_DEFAULT },
        },
        this.nowMs,
      );
    }
  }

  #answerDue(): void {
    const answers = this.#due.get(this.#stepCount);
    if (answers === undefined) return;
    this.#due.delete(this.#stepCount);
    for (const answer of answers) this.core.step({ kind: "reply", ...answer }, this.nowMs);
  }

  #effects(): Effects {
    const end = (peer: number, sequence: number): number => {
      const name = `${peer}#${sequence}`;
      const askedMs = this.#askedAtMs.get(name);
      if (askedMs === undefined) throw new Error(`${name} has a second outcome`);
      this.#askedAtMs.delete(name);
      this.clients[peer].inFlight--;
      return this.nowMs - askedMs;
    };
    const count = (counts: number[], ms: number) => {
      counts[Math.ceil(ms)] = (counts[Math.ceil(ms)] ?? 0) + 1;
    };
    return {
      dispatch: (peer, slot) => this.#work(peer, slot),
      reply: (peer, slot) => {
        end(peer, this.core.requests.sequence[slot]);
        this.clients[peer].replied++;
      },
      part: () => {
        throw new Error("a part");
      },
      streamPart: () => {
        throw new Error("a part of a stream");
      },
      grant: () => {
        throw new Error("a grant");
      },
      fail: (peer, sequence, status: StatusCode, _reason, retryAfterMs) => {
        if (status !== Status.RESOURCE_EXHAUSTED || retryAfterMs <= 0) {
          throw new Error(`status ${status}, retry after ${retryAfterMs}`);
        }
        count(this.refusalWaits, end(peer, sequence));
        this.clients[peer].refused++;
      },
      credit: (peer, inFlightMax) => {
        const client = this.clients[peer];
        const gapMs = this.nowMs - client.latestCreditMs;
        this.leastCreditGapMs = Math.min(this.leastCreditGapMs, gapMs);
        client.latestCreditMs = this.nowMs;
        client.credit = inFlightMax;
        client.creditRecords++;
      },
      hold: () => {},
      release: () => {},
      abort: () => {},
      drained: () => {},
      refuse: () => {
        throw new Error("refused");
      },
    };
  }

  /** The worker has as many hands as its concurrency; what is beyond waits for one of them. */
  #work(peer: number, slot: number): void {
    const { requests } = this.core;
    const askedMs = this.#askedAtMs.get(`${requests.client[slot]}#${requests.sequence[slot]}`);
    const waitedMs = this.nowMs - (askedMs as number);
    this.waits[Math.ceil(waitedMs)] = (this.waits[Math.ceil(waitedMs)] ?? 0) + 1;
    const hands = this.#busyUntil[peer - this.clients.length];
    let hand = 0;
    for (let other = 1; other < hands.length; other++) if (hands[other] < hands[hand]) hand = other;
    hands[hand] = Math.max(hands[hand], this.nowMs) + this.#options.serviceMs;
    const step = Math.ceil(hands[hand] / STEP_MS);
    const answer = { slot, generation: requests.generation[slot], peer };
    const others = this.#due.get(step);
    if (others === undefined) this.#due.set(step, [answer]);
    else others.push(answer);
  }
}

/** The value that so many of the counted are not above, in milliseconds. */
export function quantile(counts: readonly number[], part: number): number {
  const total = counts.reduce((sum, each) => sum + (each ?? 0), 0);
  let below = 0;
  for (let ms = 0; ms < counts.length; ms++) {
    below += counts[ms] ?? 0;
    if (below >= total * part) return ms;
  }
  return counts.length;
}
