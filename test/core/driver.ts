// Clients and workers, well behaved and not, as the seed says: random commands for the model.
import type { Command } from "../../build/core/command.js";
import { type Limits, resolveLimits } from "../../build/core/limits.js";
import { Status } from "../../build/base/status.js";
import { Random } from "../random.mjs";
import { type Answer, Model, must } from "./model.ts";

const CLIENTS = [1, 2, 3, 4];
const WORKERS = [10, 11, 12, 13];
const SERVICES = ["a", "b", "c", "typo"];
const SERVED = [["a"], ["a"], ["a", "b"], ["b"], ["b", "c"], ["a", "b", "c"]];

/** One run: a broker of small limits of its own, a mixture of events of its own. */
class Simulation {
  readonly model: Model;
  readonly #random: Random;
  /** How fast time goes by beside what happens. */
  readonly #pace: number;
  readonly #priorities: readonly number[];
  readonly #weights: [number, () => void][];
  #sequence = 0;

  constructor(seed: number) {
    const random = new Random(seed);
    this.#random = random;
    const nowMs = random.pick([0, 0.5, 250, 65_530.25, 1_790_000_000_000]);
    this.model = new Model(smallLimits(random), SERVICES, nowMs);
    // All the levels, or a few at which queues stand.
    this.#priorities = random.pick([[0, 1, 2, 3, 4, 5, 6, 7], [4], [4, 5]]);
    this.#pace = random.pick([1 / 32, 1 / 4, 1]);
    this.#weights = this.#mixture();
  }

  /** Runs the whole of it, healing included. Throws where something does not hold. */
  run(steps: number): void {
    for (const peer of CLIENTS) this.model.step({ kind: "join-client", peer });
    for (let i = 0; i < steps; i++) this.#randomStep();
    this.#heal();
  }

  #randomStep(): void {
    const random = this.#random;
    // Most steps come some microseconds after each other, some in the same turn.
    if (random.chance(60)) this.model.nowMs += (random.below(16) / 16) * this.#pace;
    let dice = random.below(this.#weights.reduce((total, [weight]) => total + weight, 0));
    for (const [weight, act] of this.#weights) {
      dice -= weight;
      if (dice < 0) return act();
    }
  }

  /**
   * What happens and how often. Each seed has its own mixture, some without one thing or
   * another: what an average mixture never reaches, one of them does.
   */
  #mixture(): [number, () => void][] {
    const random = this.#random;
    const some = (weight: number) => weight * random.pick([0, 1, 1, 4]);
    return [
      [random.pick([200, 400, 600]), () => this.#ask()],
      [random.pick([50, 200, 400]), () => this.#answer()],
      [some(30), () => this.#liar()],
      [some(30), () => this.#cancel()],
      [random.pick([30, 60, 120]), () => this.#join()],
      [some(15), () => this.#leaveAs(WORKERS)],
      [some(4), () => this.#leaveAs(CLIENTS)],
      [some(10), () => this.model.step({ kind: "drain", peer: random.pick(WORKERS) })],
      [some(15), () => this.#credit()],
      [5, () => this.#stranger()],
      [random.pick([50, 150]), () => this.model.pass((random.below(80) / 8) * this.#pace)],
      // Without a tick in between: the event loop was busy.
      [some(10), () => this.#sleep(random.below(60) * this.#pace)],
      // A laptop lid, or a clock set.
      [some(3), () => this.model.pass(random.below(3) * 3_600_000 + random.below(200))],
      [random.pick([0, 0, 0, 1]), () => this.model.step({ kind: "shutdown" })],
    ];
  }

  #sleep(ms: number): void {
    this.model.nowMs += ms;
  }

  #ask(): void {
    const random = this.#random;
    const mine = [...this.model.live.values()];
    // Sometimes one that is in flight again.
    const again = random.chance(4) && mine.length > 0 ? random.pick(mine) : undefined;
    this.model.step({
      kind: "request",
      peer: again?.client ?? random.pick(CLIENTS),
      sequence: again?.sequence ?? ++this.#sequence,
      service: random.chance(90) ? random.pick(SERVICES.slice(0, 3)) : "typo",
      timeoutMs: random.pick([0, 1, 3, 8, 20.5, 60, 9_999]),
      attempts: random.below(4),
      priority: random.chance(97) ? random.pick(this.#priorities) : 8,
      bytes: random.chance(97) ? random.below(60) : 61,
    });
  }

  #answer(): void {
    const busy = [...this.model.workers.values()].filter(({ held }) => held.size > 0);
    if (busy.length === 0) return;
    const worker = this.#random.pick(busy);
    const { slot, generation } = this.#random.pick([...worker.held.values()]);
    this.#answerWith({ peer: worker.peer, slot, generation });
  }

  #answerWith(answer: Answer): void {
    const random = this.#random;
    if (random.chance(70)) {
      this.model.step({ kind: "reply", ...answer });
      return;
    }
    const status = random.pick([Status.INTERNAL, Status.UNAVAILABLE, Status.ABORTED]);
    const untouched = random.chance(60);
    const failure = { reason: "no", retryAfterMs: random.below(9), status, untouched };
    this.model.step({ kind: "failure", ...answer, ...failure });
  }

  /** Answers that are not due: late, repeated, of another, made up. */
  #liar(): void {
    const random = this.#random;
    const held = [...this.model.workers.values()].flatMap((worker) =>
      [...worker.held.values()].map(({ slot, generation }) => ({
        peer: worker.peer,
        slot,
        generation,
      })),
    );
    const peers = [...WORKERS, ...CLIENTS, 99];
    const any = {
      peer: random.pick(peers),
      slot: random.below(this.model.limits.requestsMax + 2) - 1,
      generation: random.below(4),
    };
    const base = held.length > 0 ? random.pick(held) : any;
    const lie = random.pick([
      any,
      { ...base, peer: random.pick(peers) },
      { ...base, generation: base.generation + random.pick([-1, 1]) },
      { ...base, slot: random.below(this.model.limits.requestsMax) },
      this.model.history.length > 0 ? random.pick(this.model.history) : any,
      this.model.history.at(-1) ?? any,
    ]);
    this.#answerWith(lie);
  }

  #cancel(): void {
    const random = this.#random;
    const live = [...this.model.live.values()];
    const target = live.length > 0 && random.chance(80) ? random.pick(live) : undefined;
    const peer = target !== undefined && random.chance(90) ? target.client : random.pick(CLIENTS);
    const sequence = target?.sequence ?? random.below(this.#sequence + 1);
    this.model.step({ kind: "cancel", peer, sequence });
  }

  #join(): void {
    const random = this.#random;
    if (random.chance(40)) {
      this.model.step({ kind: "join-client", peer: random.pick(CLIENTS) });
      return;
    }
    this.model.step({
      kind: "join-worker",
      peer: random.pick(WORKERS),
      concurrency: random.chance(95) ? 1 + random.below(random.pick([1, 3])) : 17,
      services: random.pick(SERVED),
      lookAhead: random.chance(60),
    });
  }

  #leaveAs(peers: readonly number[]): void {
    this.model.step({ kind: "leave", peer: this.#random.pick(peers) });
  }

  #credit(): void {
    const random = this.#random;
    const concurrency = random.chance(90) ? 1 + random.below(4) : random.pick([0, 17]);
    this.model.step({ kind: "credit", peer: random.pick(WORKERS), concurrency });
  }

  #stranger(): void {
    const peer = this.#random.pick([99, ...WORKERS]);
    this.model.step(
      this.#random.pick<Command>([
        { kind: "drain", peer },
        { kind: "leave", peer: 99 },
        { kind: "cancel", peer, sequence: 1 },
        { kind: "credit", peer, concurrency: 1 },
        { kind: "join-client", peer: this.#random.pick(WORKERS) },
        {
          kind: "join-worker",
          peer: this.#random.pick(CLIENTS),
          concurrency: 1,
          services: ["a"],
          lookAhead: false,
        },
        {
          kind: "request",
          peer,
          sequence: 0,
          service: "a",
          timeoutMs: 5,
          attempts: 0,
          priority: 4,
          bytes: 1,
        },
      ]),
    );
  }

  /** All ends: workers answer, time passes, everybody leaves. Nothing may remain. */
  #heal(): void {
    for (let round = 0; this.model.live.size > 0 || this.model.heldCount() > 0; round++) {
      must(round < 1000, "it does not heal");
      for (const worker of [...this.model.workers.values()]) {
        for (const { slot, generation } of [...worker.held.values()]) {
          this.model.step({ kind: "reply", peer: worker.peer, slot, generation });
        }
      }
      this.model.pass(7);
    }
    const { core } = this.model;
    for (const peer of [...this.model.workers.keys()]) this.model.step({ kind: "drain", peer });
    for (const peer of [...WORKERS, ...CLIENTS]) this.model.step({ kind: "leave", peer });
    must(core.requests.count === 0, "requests remain");
    must(core.requests.bytesHeld === 0, "bytes remain");
    must(!core.needsTick, "timers remain");
    must(core.clientCount === 0 && core.workerCount === 0, "peers remain");
    for (const service of core.registry.services.values()) {
      must(service.wasServed, `stray service ${service.name} remains`);
      must(service.isForgettable, `service ${service.name} is not at rest`);
    }
    // No index entry remains either: each number may be used again.
    if (this.model.isShuttingDown) return;
    this.model.step({ kind: "join-client", peer: 1 });
    for (let sequence = 1; sequence <= this.#sequence; sequence++) {
      this.model.step({ kind: "cancel", peer: 1, sequence });
    }
  }
}

function smallLimits(random: Random): Limits {
  const requestsMax = 4 + random.below(10);
  return resolveLimits({
    requestsMax,
    clientInFlightMax: Math.min(requestsMax, 2 + random.below(6)),
    queueCountMax: Math.min(requestsMax, 2 + random.below(5)),
    queueShare: 1 + random.below(3),
    requestBytesMax: 300 + random.below(300),
    queueBytesMax: 100 + random.below(200),
    recordBytesMax: 60,
    queueWaitMsMax: 40,
    codelTargetMs: random.pick([0, 1, 1, 3]),
    codelIntervalMs: random.pick([1, 1, 4]),
    queueShortCount: 1,
    queueOrder: random.pick(["fifo", "newest-first-when-overloaded"]),
    fairQuantumBytes: random.pick([1, 10, 100]),
    clientCreditMin: 1,
    absentWaitMs: 10 + random.below(30),
    timeoutMsMax: 500,
    servicesMax: 3 + random.below(3),
    workerServicesMax: 3,
    concurrencyMax: 16,
    lookAheadMs: random.pick([0, 5, 50]),
    lookAheadMax: random.below(4),
  });
}

/** Runs one seed; an error tells how to replay it. */
export function simulate(seed: number, steps: number): Model {
  const simulation = new Simulation(seed);
  const { model } = simulation;
  try {
    simulation.run(steps);
    return model;
  } catch (error) {
    const trace = model.trace.join("\n  ");
    const where = `seed ${seed}, step ${model.stepCount}`;
    throw new Error(
      `${(error as Error).message}\n${where}; replay with WASMQ_SEED=${seed}\n  ${trace}`,
      { cause: error },
    );
  }
}
