// Brokers, clients, workers and the connections between them: who is up, who is stopped, what is on its way.
import type { Limits } from "../../build/core/limits.js";
import type { Random } from "../random.mjs";
import { Ledger } from "./ledger.ts";
import { Log, must } from "./log.ts";
import type { CoreClass } from "./model.ts";
import { Connection } from "./network.ts";
import { SimBroker } from "./sim-broker.ts";
import { type ClientLink, SimClient } from "./sim-client.ts";
import { SimWorker, type WorkerLink } from "./sim-worker.ts";

export const SERVICES = ["a", "b", "c", "typo"];
const SERVED = [["a"], ["a"], ["a", "b"], ["b"], ["b", "c"], ["a", "b", "c"]];
const CLIENTS = 4;
const WORKERS = 4;

/** One connection and both of its ends. */
interface Line {
  readonly connection: Connection;
  readonly broker: SimBroker;
  readonly end:
    | { kind: "client"; client: SimClient; link: ClientLink }
    | { kind: "worker"; worker: SimWorker; link: WorkerLink };
}

export interface WorldOptions {
  CoreUnderTest: CoreClass;
  limits: Limits;
  brokerCount: number;
  nowMs: number;
  /** Bytes of replies that a worker remembers; few are soon forgotten. */
  memoryBytes: number;
  /** Whether ends keep their identity over their connections. */
  hasIdentities: boolean;
  /** The most that a worker works on at once. */
  concurrencyMax: number;
}

export class World {
  readonly log = new Log();
  readonly ledger: Ledger;
  /** undefined: not running. */
  readonly brokers: (SimBroker | undefined)[];
  readonly clients: SimClient[] = [];
  readonly workers: SimWorker[] = [];
  nowMs: number;
  isHealing = false;
  lines: Line[] = [];
  readonly #random: Random;
  readonly #options: WorldOptions;
  #processCount = 0;
  #connectionCount = 0;

  constructor(random: Random, options: WorldOptions) {
    this.#random = random;
    this.#options = options;
    this.nowMs = options.nowMs;
    this.ledger = new Ledger(this.log, options.memoryBytes > 4096);
    this.brokers = new Array(options.brokerCount).fill(undefined);
    for (let number = 0; number < options.brokerCount; number++) this.startBroker(number);
    for (let i = 0; i < CLIENTS; i++) this.clients.push(this.#newClient());
    for (let i = 0; i < WORKERS; i++) this.workers.push(this.#newWorker());
  }

  get limits(): Limits {
    return this.#options.limits;
  }

  // --- processes ---

  startBroker(number: number): void {
    const { CoreUnderTest, limits } = this.#options;
    const broker = new SimBroker(CoreUnderTest, number, limits, SERVICES, this.nowMs, this.log);
    broker.onForgotten = (connection) => connection.cut(this.#random);
    this.brokers[number] = broker;
  }

  /** The process is gone, and all that it held; its connections break. */
  killBroker(number: number): void {
    const broker = this.brokers[number];
    if (broker === undefined) return;
    this.brokers[number] = undefined;
    this.#cutAll((line) => line.broker === broker);
  }

  /** Drained, and gone once it holds nothing. */
  endDrainedBrokers(): void {
    for (const [number, broker] of this.brokers.entries()) {
      if (broker?.model.books.isShuttingDown !== true) continue;
      if (broker.model.core.requests.count === 0) this.killBroker(number);
    }
  }

  #newClient(): SimClient {
    const isRude = this.#random.chance(25);
    return new SimClient(++this.#processCount, this.brokers.length, this.ledger, isRude);
  }

  #newWorker(): SimWorker {
    const { memoryBytes, concurrencyMax } = this.#options;
    const options = {
      concurrency: this.#random.chance(97) ? 1 + this.#random.below(concurrencyMax) : 17,
      services: this.#random.pick(SERVED),
      lookAhead: this.#random.chance(60),
      memoryBytes,
      memoryAgeMs: 1e12,
    };
    return new SimWorker(++this.#processCount, this.brokers.length, options, this.ledger);
  }

  replaceClient(index: number): void {
    const client = this.clients[index];
    client.die();
    this.#cutAll(({ end }) => end.kind === "client" && end.client === client);
    this.clients[index] = this.#newClient();
  }

  replaceWorker(index: number): void {
    const worker = this.workers[index];
    this.#cutAll(({ end }) => end.kind === "worker" && end.worker === worker);
    this.workers[index] = this.#newWorker();
  }

  /** Workers that have drained leave, and others come. */
  replaceDrainedWorkers(): void {
    for (const [index, worker] of this.workers.entries()) {
      if (worker.isDone) this.replaceWorker(index);
    }
  }

  // --- connections ---

  #cutAll(isIt: (line: Line) => boolean): void {
    for (const line of this.lines) if (isIt(line)) line.connection.cut(this.#random);
  }

  /** Whoever has no connection to a broker that runs makes one. */
  connect(): void {
    for (const client of this.clients) {
      if (client.isStopped) continue;
      for (const link of client.links) {
        if (link.connection !== undefined) continue;
        const made = this.#dial(link.broker, `c${client.session}`);
        if (made === undefined) continue;
        this.lines.push({ ...made, end: { kind: "client", client, link } });
        client.connected(link, made.connection);
      }
    }
    for (const worker of this.workers) {
      if (worker.isStopped || worker.isDraining) continue;
      for (const link of worker.links) {
        if (link.connection !== undefined) continue;
        const made = this.#dial(link.broker, `w${worker.id}`);
        if (made === undefined) continue;
        this.lines.push({ ...made, end: { kind: "worker", worker, link } });
        worker.connected(link, made.connection);
      }
    }
  }

  #dial(number: number, name: string): { connection: Connection; broker: SimBroker } | undefined {
    const broker = this.brokers[number];
    if (broker === undefined) return undefined;
    const count = ++this.#connectionCount;
    const identity = this.#options.hasIdentities ? name : `${name}/${count}`;
    return { connection: new Connection(identity, number), broker };
  }

  // --- messages ---

  #isListening({ broker }: Line): boolean {
    return this.brokers[broker.number] === broker && !broker.isStopped;
  }

  #isReading({ end }: Line): boolean {
    if (end.kind === "client") return this.clients.includes(end.client) && !end.client.isStopped;
    return this.workers.includes(end.worker) && !end.worker.isStopped;
  }

  /** Hands over some messages of one pipe, in order; false when nothing is on its way. */
  deliver(): boolean {
    this.#forgetDeadLines();
    const random = this.#random;
    const ups = this.lines.filter((line) => line.connection.toBroker.length > 0);
    const downs = this.lines.filter((line) => line.connection.toEnd.length > 0);
    const ready = [
      ...ups.filter((line) => this.#isListening(line)).map((line) => ({ line, isUp: true })),
      ...downs.filter((line) => this.#isReading(line)).map((line) => ({ line, isUp: false })),
    ];
    if (ready.length === 0) return false;
    const { line, isUp } = random.pick(ready);
    for (let count = 1 + random.below(4); count > 0; count--) {
      if (isUp && this.#isListening(line)) this.#deliverUp(line);
      else if (!isUp) this.#deliverDown(line);
    }
    return true;
  }

  #deliverUp({ connection, broker }: Line): void {
    const message = connection.toBroker.shift();
    if (message === undefined) return;
    broker.onMessage(connection, message, this.nowMs);
  }

  #deliverDown({ connection, end }: Line): void {
    const message = connection.toEnd.shift();
    if (message === undefined || end.link.connection !== connection) return;
    if (end.kind === "client") return end.client.onMessage(end.link, message, this.nowMs);
    const isStuck = this.#random.chance(10);
    end.worker.onMessage(end.link, message, isStuck, this.nowMs);
  }

  /** Those over which nothing will come any more. */
  #forgetDeadLines(): void {
    this.lines = this.lines.filter((line) => {
      if (!line.connection.isCut) return true;
      const isBrokerGone = this.brokers[line.broker.number] !== line.broker;
      const isUpDone =
        isBrokerGone || (line.connection.isNoticed && isEmpty(line.connection.toBroker));
      const { end } = line;
      const isEndGone =
        end.kind === "client"
          ? !this.clients.includes(end.client)
          : !this.workers.includes(end.worker);
      return !(isUpDone && (isEndGone || isEmpty(line.connection.toEnd)));
    });
  }

  /** All that is on its way arrives. */
  deliverAll(): void {
    for (let count = 0; this.deliver(); count++) must(count < 100_000, "messages without end");
  }

  // --- time ---

  tick(): void {
    for (const broker of this.brokers) if (broker?.isStopped === false) broker.tick(this.nowMs);
    for (const client of this.clients) if (!client.isStopped) client.tick(this.nowMs);
  }

  /** Heartbeats: whoever is stopped is taken for dead by the others. */
  missHeartbeats(): void {
    this.#cutAll(({ broker, end }) => {
      const party = end.kind === "client" ? end.client : end.worker;
      return broker.isStopped || party.isStopped;
    });
  }
}

function isEmpty(pipe: readonly unknown[]): boolean {
  return pipe.length === 0;
}
