// What happens, and how often, as the seed says. Each seed has its own mixture, some without one thing or
// another: what an average mixture never reaches, one of them does.
import { Status } from "../../build/base/status.js";
import type { Random } from "../random.mjs";
import { forge, strangers } from "./hostile.ts";
import { SERVICES, type World } from "./world.ts";

export class Weather {
  readonly #world: World;
  readonly #random: Random;
  /** How fast time goes by beside what happens. */
  readonly #pace: number;
  readonly #priorities: readonly number[];
  readonly #hasStreams: boolean;
  readonly #mixture: [number, () => void][];
  readonly #total: number;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#pace = random.pick([1 / 32, 1 / 4, 1]);
    // All the levels, or a few at which queues stand.
    this.#priorities = random.pick([[0, 1, 2, 3, 4, 5, 6, 7], [4], [4, 5]]);
    this.#hasStreams = random.chance(40);
    this.#mixture = this.#mix();
    this.#total = this.#mixture.reduce((sum, [weight]) => sum + weight, 0);
  }

  step(): void {
    const random = this.#random;
    // Most steps come some microseconds after each other, some in the same turn.
    if (random.chance(60)) this.#world.nowMs += (random.below(16) / 16) * this.#pace;
    let dice = random.below(this.#total);
    for (const [weight, act] of this.#mixture) {
      dice -= weight;
      if (dice < 0) return act();
    }
  }

  #mix(): [number, () => void][] {
    const random = this.#random;
    const world = this.#world;
    const some = (weight: number) => weight * random.pick([0, 1, 1, 4]);
    const rare = (weight: number) => weight * random.pick([0, 0, 1, 3]);
    const streams = Number(this.#hasStreams);
    return [
      [random.pick([700, 1000, 1400]), () => world.deliver()],
      [random.pick([200, 400, 600]), () => this.#ask()],
      [random.pick([50, 200, 400]), () => this.#finish()],
      [random.pick([50, 150]), () => this.#pass((random.below(80) / 8) * this.#pace)],
      [40, () => world.connect()],
      [some(30), () => forge(world, random)],
      [15, () => strangers(world, random)],
      [some(30), () => this.#part()],
      [streams * random.pick([50, 150]), () => this.#yield()],
      [streams * random.pick([50, 150]), () => this.#readOn()],
      [streams * random.pick([0, 10, 30]), () => this.#yieldWrong()],
      [some(30), () => this.#cancel()],
      [some(10), () => this.#repeat()],
      [some(15), () => this.#credit()],
      // Without a tick in between: the event loop was busy.
      [some(10), () => this.#sleep(random.below(60) * this.#pace)],
      // A laptop lid, or a clock set.
      [rare(3), () => this.#pass(random.below(3) * 3_600_000 + random.below(200))],
      [some(8), () => random.pick(world.workers).drain()],
      [some(8), () => world.replaceDrainedWorkers()],
      [some(6), () => world.replaceWorker(random.below(world.workers.length))],
      [some(3), () => world.replaceClient(random.below(world.clients.length))],
      [some(10), () => this.#cut()],
      [some(10), () => this.#stop()],
      [some(20), () => this.#resume()],
      [some(10), () => world.missHeartbeats()],
      [10, () => this.#probe()],
      [rare(2), () => world.killBroker(random.below(world.brokers.length))],
      [rare(2), () => this.#shutdown()],
      [10, () => this.#startBrokers()],
    ];
  }

  #pass(ms: number): void {
    this.#world.nowMs += ms;
    this.#world.tick();
  }

  #sleep(ms: number): void {
    this.#world.nowMs += ms;
  }

  #ask(): void {
    const random = this.#random;
    const { clients, limits, nowMs } = this.#world;
    const client = random.pick(clients);
    if (client.isStopped) return;
    const kinds = this.#hasStreams ? ([undefined, "once", "restart"] as const) : [undefined];
    const stream = random.pick(kinds);
    const ask = {
      service: random.chance(90) ? random.pick(SERVICES.slice(0, 3)) : "typo",
      timeoutMs: random.pick(stream === undefined ? [0, 1, 3, 8, 20.5, 60, 9_999] : [60, 9_999]),
      attempts: random.below(4),
      priority: random.chance(97) ? random.pick(this.#priorities) : 8,
      bytes: random.chance(97) ? random.below(60) : 61,
      stream,
    };
    client.ask(ask, limits.attemptsDefault, nowMs);
  }

  /** Handlers that may end, or go on. */
  #running() {
    const { workers, isHealing } = this.#world;
    return workers.flatMap((worker) =>
      worker.isStopped ? [] : worker.finishable(isHealing).map((job) => ({ worker, job })),
    );
  }

  #part(): void {
    const ready = this.#running();
    if (ready.length === 0) return;
    const { worker, job } = this.#random.pick(ready);
    worker.part(job, this.#random.chance(50));
  }

  #streaming() {
    return this.#world.workers.flatMap((worker) =>
      worker.isStopped ? [] : worker.streaming().map((job) => ({ worker, job })),
    );
  }

  /** Wherever it may be, a part is made. */
  #yield(): void {
    for (const { worker, job } of this.#streaming()) {
      worker.yieldPart(job, 1 + this.#random.below(9));
    }
  }

  #yieldWrong(): void {
    const random = this.#random;
    const ready = this.#streaming();
    if (ready.length === 0) return;
    const { worker, job } = random.pick(ready);
    if (random.chance(50)) {
      worker.yieldWrong(job, job.sent + random.below(2), random.chance(20));
      return;
    }
    // Beyond what was granted.
    for (let sent = -1; sent < job.sent; ) {
      sent = job.sent;
      worker.yieldPart(job, 1 + random.below(9));
    }
    worker.yieldWrong(job, job.sent, false);
  }

  /** All read on. */
  #readOn(): void {
    for (const { client, sequence } of this.#pending()) {
      if (client.pending.get(sequence)?.question.stream === undefined) continue;
      client.grant(sequence, 1 + this.#random.below(2));
    }
  }

  #finish(): void {
    const random = this.#random;
    const world = this.#world;
    const ready = this.#running();
    if (ready.length === 0) return;
    const { worker, job } = random.pick(ready);
    // They take longer than others.
    if (job.question.stream !== undefined && random.chance(80)) return;
    const status = random.chance(75)
      ? Status.OK
      : random.pick([Status.INTERNAL, Status.UNAVAILABLE, Status.ABORTED]);
    // A lie of one that does not drain changes nothing.
    const untouched = random.chance(30) && !worker.isDraining;
    worker.finish(job, status, untouched, world.nowMs);
  }

  #pending() {
    return this.#world.clients.flatMap((client) =>
      client.isStopped ? [] : [...client.pending.keys()].map((sequence) => ({ client, sequence })),
    );
  }

  #cancel(): void {
    const pending = this.#pending();
    if (pending.length === 0) return;
    const { client, sequence } = this.#random.pick(pending);
    client.cancel(sequence, this.#world.nowMs);
  }

  #repeat(): void {
    const pending = this.#pending();
    if (pending.length === 0) return;
    const { client, sequence } = this.#random.pick(pending);
    client.repeat(sequence);
  }

  #credit(): void {
    const random = this.#random;
    const { connection } = random.pick(random.pick(this.#world.workers).links);
    const concurrency = random.chance(90) ? 1 + random.below(4) : random.pick([0, 17]);
    connection?.up({ kind: "credit", concurrency });
  }

  #cut(): void {
    const { lines } = this.#world;
    if (lines.length > 0) this.#random.pick(lines).connection.cut(this.#random);
  }

  #parties() {
    const { brokers, clients, workers } = this.#world;
    return [...brokers.filter((broker) => broker !== undefined), ...clients, ...workers];
  }

  #stop(): void {
    this.#random.pick(this.#parties()).isStopped = true;
  }

  #resume(): void {
    for (const party of this.#parties()) if (this.#random.chance(60)) party.isStopped = false;
  }

  #probe(): void {
    for (const broker of this.#world.brokers) if (broker?.isStopped === false) broker.probe();
  }

  #shutdown(): void {
    const broker = this.#random.pick(this.#world.brokers);
    if (broker?.isStopped === false) broker.shutdown(this.#world.nowMs);
  }

  #startBrokers(): void {
    const world = this.#world;
    world.endDrainedBrokers();
    for (const [number, broker] of world.brokers.entries()) {
      if (broker === undefined && this.#random.chance(50)) world.startBroker(number);
    }
  }
}
