import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type CodecKey, createCodec, formatKey, generateKey } from "../codec/index.js";
import { Client } from "../index.js";
import { BrokerParty, CastError, WorkerParty } from "./cast.js";
import { Countries, type CountryEntry, type Finding, type Route } from "./countries.js";
import { clockMs, NUMBER_HEADER } from "./messages.js";
import { type CodecMeter, meterCodec } from "./meter.js";
import type { DemoOptions } from "./options.js";
import { makeQuestions, type Question, SHOWN_COUNT } from "./questions.js";
import { formatCount, formatMs } from "./table.js";
import { Tally } from "./tally.js";
import type { Terminal } from "./terminal.js";

const WORKER_CONCURRENCY = 8;
/** What three workers can work on at once: while there are three, hardly anything waits. */
const IN_FLIGHT = 24;
const HOLD_MS: [number, number] = [10, 30];
const REQUEST_TIMEOUT_MS = 20_000;
/** When the kill and the newcomer come, and how much is kept until the newcomer is there. */
const KILL_AT_SHARE = 0.35;
const ADD_AT_SHARE = 0.6;
const KEPT_FROM_SHARE = 0.9;
const LEAVE_TIMEOUT_MS = 4000;
const FAILURES_TOLD_MAX = 3;

/** What a worker replies. */
interface Reply {
  answer: unknown;
  worker: string;
  attempt: number;
}

/** The story: who is in it, what happens, and what is counted. */
export class Story {
  readonly tally = new Tally();
  readonly workers: WorkerParty[] = [];
  frontend = "";
  /** Where the key was put for `wasmq call`. */
  keyFile = "";
  meter: CodecMeter | undefined;
  readonly #options: DemoOptions;
  readonly #terminal: Terminal;
  readonly #entries: readonly CountryEntry[];
  #broker: BrokerParty | undefined;
  #backend = "";
  #key: CodecKey | undefined;
  #client: Client | undefined;
  #closeCodec = () => {};
  #questions: readonly Question[] = [];
  #next = 0;
  #isLeaving = false;
  #victim: WorkerParty | undefined;
  #newcomer: WorkerParty | undefined;
  /** What the killed worker had begun: all of it, and what nobody has answered since. */
  #orphans: number[] = [];
  readonly #unanswered = new Set<number>();
  #killedAtMs = 0;
  /** Events that must have been told before the table. */
  readonly #events: Promise<void>[] = [];
  #failuresTold = 0;

  constructor(options: DemoOptions, terminal: Terminal, entries: readonly CountryEntry[]) {
    this.#options = options;
    this.#terminal = terminal;
    this.#entries = entries;
  }

  /** From the broker's start to the last reply. @throws CastError where a process failed */
  async run(): Promise<void> {
    await this.#startBroker();
    this.#key = await generateKey();
    for (const name of ["A", "B", "C"]) this.#addWorker(name);
    const countries = new Countries(this.#entries);
    this.#questions = makeQuestions(countries);
    await Promise.all(this.workers.map(({ joined }) => joined));
    const names = this.workers.map(({ name, pid }) => `${name} (pid ${pid})`);
    this.#tell(
      `workers ${names.join(", ")} joined; each takes ${WORKER_CONCURRENCY} requests at once`,
    );
    await this.#connectClient();
    await this.#ask();
    await Promise.all(this.#events);
    this.tally.late = this.#client!.stats.late;
    this.tally.redelivered = await this.#broker!.redelivered();
  }

  /** Resolves with how, when the broker has gone unasked. */
  async brokerGone(): Promise<string> {
    const how = await this.#broker!.gone;
    return this.#isLeaving ? new Promise(() => {}) : how;
  }

  /** Writes the key where only this user can read it. */
  writeKey(): void {
    const folder = mkdtempSync(join(tmpdir(), "wasmq-demo-"));
    this.keyFile = join(folder, "key");
    writeFileSync(this.keyFile, `${formatKey(this.#key!)}\n`, { mode: 0o600 });
  }

  /**
   * Ends everything, in order, and resolves when no process is left: with whether each left by
   * itself.
   */
  async leave(): Promise<boolean> {
    this.#isLeaving = true;
    if (this.keyFile !== "") rmSync(join(this.keyFile, ".."), { recursive: true, force: true });
    await this.#client?.close({ timeoutMs: 1000 });
    const leaves = await Promise.all(this.workers.map((worker) => worker.leave(LEAVE_TIMEOUT_MS)));
    leaves.push((await this.#broker?.leave(LEAVE_TIMEOUT_MS)) ?? true);
    this.#closeCodec();
    return leaves.every((didLeave) => didLeave);
  }

  /** Ends every process at once, for when there is no time to ask. */
  killAll(): void {
    this.#isLeaving = true;
    if (this.keyFile !== "") rmSync(join(this.keyFile, ".."), { recursive: true, force: true });
    for (const worker of this.workers) worker.kill();
    this.#broker?.kill();
  }

  #tell(text: string): void {
    if (!this.#isLeaving) this.#terminal.tell(text);
  }

  #requireStaying(): void {
    if (this.#isLeaving) throw new CastError("leaving");
  }

  // --- the cast ---

  async #startBroker(): Promise<void> {
    const { frontend, backend } = this.#options;
    this.#requireStaying();
    this.#broker = new BrokerParty();
    const endpoints = await this.#broker.listen(frontend, backend);
    this.frontend = endpoints.frontend;
    this.#backend = endpoints.backend;
    this.#tell(
      `broker (pid ${this.#broker.pid}) listens on ${this.frontend} for clients, ${this.#backend} for workers`,
    );
  }

  #addWorker(name: string): WorkerParty {
    this.#requireStaying();
    const serve = {
      backend: this.#backend,
      keyText: formatKey(this.#key!),
      concurrency: WORKER_CONCURRENCY,
      holdMs: HOLD_MS,
    };
    const worker = new WorkerParty(name, serve, (kind, number) => {
      if (kind === "begun") this.tally.onBegun(number);
      else this.tally.onEnded(number);
    });
    void worker.gone.then((how) => {
      if (worker !== this.#victim) this.#tell(`worker ${name} (pid ${worker.pid}) is gone: ${how}`);
    });
    this.workers.push(worker);
    return worker;
  }

  async #connectClient(): Promise<void> {
    const codec = await createCodec({ keys: [this.#key!] });
    this.#closeCodec = () => codec.close();
    this.meter = meterCodec(codec);
    this.#client = await Client.connect({
      brokers: [this.frontend],
      codec,
      timeoutMs: REQUEST_TIMEOUT_MS,
      attempts: this.#options.attempts,
    });
    this.#tell(
      `client (this process) sends ${formatCount(this.#options.requestCount)} requests, ${IN_FLIGHT} at a time, ` +
        `sealed for the workers with key ${this.#key!.idText}`,
    );
    this.#tell(
      `each asks about a country in one of its names; workers hold it ${HOLD_MS[0]}-${HOLD_MS[1]} ms, as a database would`,
    );
  }

  // --- the job ---

  async #ask(): Promise<void> {
    const { requestCount } = this.#options;
    const startedMs = performance.now();
    this.#terminal.showBar(() => {
      const rate = (this.tally.replies / (performance.now() - startedMs)) * 1000;
      const note = `${formatCount(this.tally.replies)} replies, ${formatCount(rate)}/s`;
      return { done: this.tally.replies, total: requestCount, note };
    });
    await Promise.all(Array.from({ length: IN_FLIGHT }, () => this.#askInTurn()));
    this.#terminal.hideBar();
    const took = seconds(performance.now() - startedMs);
    this.#tell(`all ${formatCount(requestCount)} requests have ended, in ${took}`);
  }

  async #askInTurn(): Promise<void> {
    const { requestCount } = this.#options;
    while (this.#next < requestCount && !this.#isLeaving) {
      // The newcomer is to have a share, however long its process takes to start.
      if (this.#next >= requestCount * KEPT_FROM_SHARE) await this.#newcomer?.joined;
      if (this.#next >= requestCount) return;
      await this.#askOne(this.#next++);
      this.#onProgress();
    }
  }

  async #askOne(number: number): Promise<void> {
    const question = this.#questions[number % this.#questions.length];
    const { service, body, expected } = question;
    const sentMs = performance.now();
    this.tally.onSent(number);
    try {
      const reply = await this.#client!.request<Reply>(service, body, {
        headers: { [NUMBER_HEADER]: String(number) },
      });
      const latencyMs = performance.now() - sentMs;
      const isRight = isDeepStrictEqual(reply.answer, expected);
      this.tally.onReply(number, { worker: reply.worker, latencyMs, isRight });
      this.#onReply(number, question, reply);
    } catch (error) {
      if (this.#isLeaving) return;
      this.#onFailure(number, (error as Error).message);
    }
  }

  #onReply(number: number, { body }: Question, { answer, worker }: Reply): void {
    if (number < SHOWN_COUNT) this.#tell(`${describe(body, answer)} (worker ${worker})`);
    const newcomer = this.#newcomer;
    if (worker === newcomer?.name && this.tally.repliesByWorker.get(worker) === 1) {
      this.#events.push(this.#tellFirstReply(newcomer, clockMs()));
    }
    if (this.#unanswered.delete(number) && this.#unanswered.size === 0) this.#tellRescue();
  }

  async #tellFirstReply({ name, joined }: WorkerParty, atMs: number): Promise<void> {
    // The reply may be here before the word that it has joined, which comes another way.
    const joinedAtMs = await joined.catch(() => undefined);
    if (joinedAtMs === undefined) return;
    this.#tell(
      `worker ${name} joined; first reply ${formatMs(Math.max(0, atMs - joinedAtMs))} later`,
    );
  }

  #onFailure(number: number, reason: string): void {
    this.tally.onFailure(number, reason);
    if (this.#failuresTold++ < FAILURES_TOLD_MAX) {
      this.#tell(`request ${number} got no reply: ${reason}`);
    }
  }

  // --- what happens meanwhile ---

  #onProgress(): void {
    const share = this.tally.sent / this.#options.requestCount;
    if (this.#victim === undefined && share >= KILL_AT_SHARE) this.#killBusiest();
    if (this.#newcomer === undefined && share >= ADD_AT_SHARE) {
      const newcomer = this.#addWorker("D");
      this.#newcomer = newcomer;
      this.#tell(`worker D (pid ${newcomer.pid}) starts while the others work`);
      newcomer.joined.then(
        () => {
          newcomer.note = `joined at ${seconds(performance.now())}`;
        },
        // Who asks on waits for it, and fails with it.
        () => {},
      );
    }
  }

  #killBusiest(): void {
    const busiest = this.workers.reduce((a, b) => (b.inWork.size > a.inWork.size ? b : a));
    // In mid-work, or it would prove little; it soon is.
    if (busiest.inWork.size < WORKER_CONCURRENCY / 2) return;
    this.#victim = busiest;
    const death = this.#tellDeath(busiest);
    // run() awaits it at the end; until then its failure is not nobody's.
    death.catch(() => {});
    this.#events.push(death);
  }

  async #tellDeath(victim: WorkerParty): Promise<void> {
    const notice = this.#broker!.noticeOfLoss(this.workers.length);
    this.#killedAtMs = clockMs();
    const atMs = performance.now();
    victim.kill();
    await victim.gone;
    victim.note = `killed at ${seconds(atMs)}`;
    // It told of each as it began and as it ended, up to its end.
    const { inWork } = victim;
    this.#tell(
      `worker ${victim.name} (pid ${victim.pid}) killed with SIGKILL, ${inWork.size} requests in work`,
    );
    const noticedMs = (await notice) - this.#killedAtMs;
    this.#tell(`broker noticed ${formatMs(noticedMs)} after the kill`);
    this.#orphans = [...inWork];
    for (const number of inWork) {
      if (this.tally.answeredBy(number) === "") this.#unanswered.add(number);
    }
    if (this.#unanswered.size === 0) this.#tellRescue();
  }

  #tellRescue(): void {
    const counts = new Map<string, number>();
    for (const number of this.#orphans) {
      const name = this.tally.answeredBy(number);
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const shares = [...counts].sort().map(([name, count]) => `${name} (${count})`);
    this.#tell(
      `those ${this.#orphans.length} were done again by ${shares.join(" and ")}, ` +
        `the last ${formatMs(clockMs() - this.#killedAtMs)} after the kill`,
    );
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** A question and its answer in a line. */
function describe(body: Record<string, string>, answer: unknown): string {
  if ("from" in body) {
    const { km, overLand } = answer as Route;
    const way = overLand.length === 0 ? "no way over land" : overLand.join(" > ");
    return `"${body.from}" to "${body.to}": ${formatCount(km)} km, over land ${way}`;
  }
  const { match, countries } = answer as Finding;
  const [{ name, capital, currencies, neighbours }] = countries;
  const close = match === "close" ? " (closest name)" : "";
  const facts = [`capital ${capital.join(", ")}`, currencies.join(", ")];
  if (neighbours.length > 0) {
    const rest = neighbours.length > 3 ? ` and ${neighbours.length - 3} more` : "";
    const named = neighbours.slice(0, 3).map((neighbour) => neighbour.name);
    facts.push(`next to ${named.join(", ")}${rest}`);
  }
  return `"${body.name}" is ${name}${close}: ${facts.join("; ")}`;
}
