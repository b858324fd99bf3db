// Tasks and surveys in the simulator: the production core, as watched by its model, with the production
// Tasks as one of its clients and Surveys beside it, under pushes, repeats, failures, deaths, drains and
// time, all out of one seed. Their promises are checked after each step.
import { Status, type StatusCode } from "../../build/base/status.js";
import type { Effects } from "../../build/core/command.js";
import { type Limits, resolveLimits } from "../../build/core/limits.js";
import { bestWorker } from "../../build/core/pool.js";
import type { Survey, SurveyOutlet, Surveys } from "../../build/core/surveys.js";
import { defaultSurveyLimits } from "../../build/core/surveys.js";
import { MemoryTaskStore } from "../../build/core/tasks/store.js";
import type { PushedTask, Task } from "../../build/core/tasks/task.js";
import { resolveTaskLimits } from "../../build/core/tasks/task-limits.js";
import type { TaskOutlet, Tasks } from "../../build/core/tasks/tasks.js";
import { Random } from "../random.mjs";
import { Log, must } from "./log.ts";
import { type CoreClass, Model } from "./model.ts";

export interface PatternClasses {
  Core: CoreClass;
  Tasks: new (...parameters: ConstructorParameters<typeof Tasks>) => Tasks;
  Surveys: new (...parameters: ConstructorParameters<typeof Surveys>) => Surveys;
}

const TASK_CLIENT = 1;
const QUEUES = ["q", "r"];
const SERVICE_OF = (queue: string) => `\u0001${queue}`;
const WORKERS_MAX = 6;

interface Attempt {
  worker: number;
  slot: number;
  generation: number;
}

/** What is known of a task from outside. */
interface Known {
  attemptsMax: number;
  /** Begun since it was pushed or retried last, and how many of these failed. */
  begun: number;
  failed: number;
  doneCount: number;
}

class PatternsWorld implements Effects, TaskOutlet, SurveyOutlet {
  readonly log = new Log();
  readonly #limits: Limits = resolveLimits({
    lookAheadMax: 1,
    queueWaitMsMax: 400,
    absentWaitMs: 200,
    // Of tasks more are in flight: they are of many clients.
    clientInFlightMax: 2,
  });
  readonly #model: Model;
  readonly #tasks: Tasks;
  readonly #surveys: Surveys;
  readonly #random: Random;
  #nowMs = 1000;
  /** Attempts of tasks that workers have; and the workers, those among them that drain. */
  readonly #attempts: Attempt[] = [];
  readonly #workers = new Map<number, { isDraining: boolean }>();
  #nextWorker = 10;
  readonly #known = new Map<number, Known>();
  readonly #accepted = new Set<number>();
  #pushCount = 0;
  #toldOf: { sequence: number; status: StatusCode } | undefined;
  readonly #surveyAsked = new Map<number, Set<number>>();
  readonly #surveyAnswers = new Map<number, number>();
  readonly #openSurveys = new Map<number, Survey>();
  #surveyCount = 0;

  constructor({ Core, Tasks, Surveys }: PatternClasses, seed: number) {
    this.#random = new Random(seed);
    const services = QUEUES.map(SERVICE_OF);
    this.#model = new Model(Core, this.#limits, services, this.#nowMs, "p", this.log, this);
    const store = new MemoryTaskStore();
    const limits = resolveTaskLimits({
      queueCountMax: 12,
      deadCountMax: 3,
      backoffMsMin: 10,
      backoffMsMax: 80,
      recentCountMax: 10_000,
      recentAgeMsMax: 1_000_000,
    });
    const random = () => this.#random.below(1000) / 1000;
    this.#tasks = new Tasks(this, store, limits, random, this.#nowMs);
    store.onKept = (task) => this.#tasks.onKept(task);
    this.#surveys = new Surveys(this, { ...defaultSurveyLimits, clientCountMax: 3 }, this.#nowMs);
    this.#model.step({ kind: "join-client", peer: TASK_CLIENT }, this.#nowMs);
  }

  run(steps: number): string {
    for (let step = 0; step < steps; step++) {
      this.#step();
      this.#tasks.settle(this.#nowMs);
      this.#check(`step ${step}`);
    }
    this.#heal();
    const { counts } = this.#tasks;
    return JSON.stringify([counts, this.#surveys.counts, this.log.digest]);
  }

  #step(): void {
    const random = this.#random;
    const what = random.below(100);
    if (what < 25) this.#push();
    else if (what < 55) this.#answer(random.chance(60) ? "done" : "failed");
    else if (what < 60) this.#answer("untouched");
    else if (what < 68) this.#join();
    else if (what < 72) this.#leave();
    else if (what < 75) this.#drain();
    else if (what < 78)
      this.#tasks.retryDead(random.pick(QUEUES), 1 + random.below(3), this.#nowMs);
    else if (what < 84) this.#survey();
    else if (what < 90) this.#answerSurvey();
    else this.#wait(1 + random.below(60));
  }

  #push(): void {
    const random = this.#random;
    const isAgain = this.#pushCount > 0 && random.chance(20);
    const sequence = isAgain ? 1 + random.below(this.#pushCount) : ++this.#pushCount;
    const attemptsMax = this.#known.get(sequence)?.attemptsMax ?? 1 + random.below(3);
    const record = { bytes: new Uint8Array(0), view: EMPTY, at: 0, size: 0, frames: [] };
    const pushed: PushedTask = {
      owner: "",
      sessionLow: 1,
      sessionHigh: 1,
      sequence,
      queue: QUEUES[sequence % QUEUES.length],
      priority: sequence % 8,
      attemptsMax,
      attemptTimeoutMs: 200,
      record,
      bytes: 10,
    };
    this.#toldOf = undefined;
    const delayMs = random.chance(20) ? random.below(100) : 0;
    this.#tasks.push(2, pushed, delayMs, this.#nowMs);
    const told = this.#toldOf as { sequence: number; status: StatusCode } | undefined;
    must(told?.sequence === sequence, `task ${sequence}: its pusher is told`);
    if (this.#accepted.has(sequence)) must(told?.status === Status.OK, `${sequence}: taken once`);
    if (told?.status !== Status.OK || this.#accepted.has(sequence)) return;
    this.#accepted.add(sequence);
    this.#known.set(sequence, { attemptsMax, begun: 0, failed: 0, doneCount: 0 });
  }

  #answer(how: "done" | "failed" | "untouched"): void {
    if (this.#attempts.length === 0) return;
    const at = this.#random.below(this.#attempts.length);
    const [{ worker: peer, slot, generation }] = this.#attempts.splice(at, 1);
    if (how === "done") {
      this.#model.step({ kind: "reply", peer, slot, generation }, this.#nowMs);
      return;
    }
    const untouched = how === "untouched";
    // What a worker says of when holds up no task that it did not begin on.
    const retryAfterMs = untouched ? 0xffffffff : 0;
    const rest = { status: Status.ABORTED, reason: how, retryAfterMs, untouched };
    this.#model.step({ kind: "failure", peer, slot, generation, ...rest }, this.#nowMs);
  }

  #join(): void {
    if (this.#workers.size >= WORKERS_MAX) return;
    const peer = this.#nextWorker++;
    this.#workers.set(peer, { isDraining: false });
    const services = this.#random.chance(50) ? QUEUES : [this.#random.pick(QUEUES)];
    const rest = { concurrency: 1 + this.#random.below(3), services: services.map(SERVICE_OF) };
    this.#model.step({ kind: "join-worker", peer, lookAhead: true, ...rest }, this.#nowMs);
  }

  #leave(): void {
    if (this.#workers.size === 0) return;
    const peer = this.#random.pick([...this.#workers.keys()]);
    this.#workers.delete(peer);
    for (let i = this.#attempts.length - 1; i >= 0; i--) {
      if (this.#attempts[i].worker === peer) this.#attempts.splice(i, 1);
    }
    this.#model.step({ kind: "leave", peer }, this.#nowMs);
    this.#surveys.onLeave(peer, this.#nowMs);
    for (const asked of this.#surveyAsked.values()) asked.delete(peer);
  }

  #drain(): void {
    const [peer] = [...this.#workers].find(([, { isDraining }]) => !isDraining) ?? [];
    if (peer === undefined) return;
    this.#workers.set(peer, { isDraining: true });
    this.#model.step({ kind: "drain", peer }, this.#nowMs);
  }

  #wait(ms: number): void {
    this.#nowMs += ms;
    this.#model.tick(this.#nowMs);
    this.#tasks.tick(this.#nowMs);
    this.#surveys.tick(this.#nowMs);
  }

  // --- surveys ---

  #survey(): void {
    const workers = [...this.#workers.keys()];
    if (this.#surveys.refusal(3, workers.length, 100) !== undefined) return;
    const sequence = ++this.#surveyCount;
    this.#surveyAsked.set(sequence, new Set());
    this.#surveyAnswers.set(sequence, 0);
    const question = { client: 3, sequence, service: "s", bytes: 100 };
    this.#surveys.start(question, workers, 0, 50 + this.#random.below(100), this.#nowMs);
  }

  #answerSurvey(): void {
    const open = [...this.#openSurveys.values()];
    if (open.length === 0) return;
    const survey = this.#random.pick(open);
    const asked = [...(this.#surveyAsked.get(survey.sequence) ?? [])];
    if (asked.length === 0) return;
    const worker = this.#random.pick(asked);
    const found = this.#surveys.find(worker, survey.slot, survey.generation);
    must(found === survey, "an open survey waits for whom it asked");
    const { sequence } = survey;
    this.#surveyAsked.get(sequence)?.delete(worker);
    this.#surveyAnswers.set(sequence, (this.#surveyAnswers.get(sequence) ?? 0) + 1);
    this.#surveys.onAnswered(worker, survey);
    must(this.#surveys.find(worker, survey.slot, survey.generation) === undefined, "heard once");
  }

  ask(worker: number, survey: Survey): void {
    this.#openSurveys.set(survey.sequence, survey);
    this.#surveyAsked.get(survey.sequence)?.add(worker);
  }

  cancel(worker: number, survey: Survey): void {
    must(survey.waiting.has(worker), "told who has not answered");
  }

  end({ sequence, asked, answered }: Survey, missing: number): void {
    must(this.#surveyAnswers.has(sequence), `survey ${sequence}: one end`);
    must(this.#surveyAnswers.get(sequence) === answered, `survey ${sequence}: its answers`);
    must(asked === answered + missing, `survey ${sequence}: its sums`);
    this.#surveyAnswers.delete(sequence);
    this.#openSurveys.delete(sequence);
    this.#surveyAsked.delete(sequence);
    this.log.meet("survey ended");
  }

  // --- TaskOutlet ---

  #serviceOf(queue: string) {
    return this.#model.core.registry.services.get(SERVICE_OF(queue));
  }

  isServed(queue: string): boolean {
    return this.#serviceOf(queue)?.isServed ?? false;
  }

  hasRoom(queue: string): boolean {
    const service = this.#serviceOf(queue);
    if (service?.isServed !== true) return false;
    return service.queue.count < 4 || bestWorker(service) !== undefined;
  }

  give({ pushed }: Task, sequence: number): void {
    const known = this.#known.get(pushed.sequence);
    must(known !== undefined && known.doneCount === 0, `task ${pushed.sequence}: not done before`);
    if (this.#random.chance(5)) {
      // As the core does when it has too much of others.
      this.#tasks.noteFailed(sequence, Status.RESOURCE_EXHAUSTED, "full", 30, 0);
      return;
    }
    const { queue, priority, attemptTimeoutMs: timeoutMs, bytes } = pushed;
    const request = {
      service: SERVICE_OF(queue),
      timeoutMs,
      attempts: 1,
      priority,
      bytes,
      isTask: true,
    };
    this.#model.step({ kind: "request", peer: TASK_CLIENT, sequence, ...request }, this.#nowMs);
  }

  pushed(_pusher: number, sequence: number, status: StatusCode): void {
    must(this.#toldOf === undefined, "a push is answered once");
    this.#toldOf = { sequence, status };
  }

  // --- the core's effects ---

  dispatch(worker: number, slot: number): void {
    const { requests } = this.#model.core;
    this.#attempts.push({ worker, slot, generation: requests.generation[slot] });
    this.log.meet("task begun");
  }

  reply(_client: number, slot: number): void {
    const number = this.#model.core.requests.sequence[slot];
    const known = this.#knownAs(number);
    must(++known.doneCount === 1, "a task is done once");
    this.#tasks.noteDone(number);
    this.log.meet("task done");
  }

  fail(
    _client: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void {
    this.log.meet(attempts > 0 ? "task failed" : "task sent back");
    this.#tasks.noteFailed(sequence, status, reason, retryAfterMs, attempts);
  }

  #knownAs(number: number): Known {
    const task = this.#tasks.givenAs(number);
    const known = this.#known.get(task?.pushed.sequence ?? 0);
    must(known !== undefined, "the core has tasks that were given to it");
    return known as Known;
  }

  hold(): void {}
  release(): void {}
  abort(): void {}
  part(): void {}
  streamPart(): void {}
  grant(): void {}
  credit(): void {}
  drained(): void {}
  refuse(_peer: number, _status: StatusCode, reason: string): void {
    must(false, `refused: ${reason}`);
  }

  // --- what must hold ---

  #check(when: string): void {
    const { counts, queues, count, givenCount } = this.#tasks;
    let dead = 0;
    let live = 0;
    for (const queue of queues.values()) {
      dead += queue.dead.size;
      live += queue.count;
      const parts = queue.readyCount + queue.delayedCount + queue.givenCount;
      must(parts === queue.count, `${when}: ${queue.name} has ${queue.count}, in parts ${parts}`);
      must(queue.count <= 12 + queue.dead.size + 3, `${when}: ${queue.name} is within its limit`);
      for (const { failedCount, pushed } of queue.dead) {
        must(failedCount === pushed.attemptsMax, `${when}: dead after all its attempts`);
      }
    }
    must(live === count, `${when}: the queues' tasks are all`);
    const sum = counts.done + live + dead + counts.deadDropped;
    must(counts.pushed === sum, `${when}: pushed ${counts.pushed}, to be found ${sum}`);
    must(counts.pushed === this.#accepted.size, `${when}: each task is taken once`);
    // What the core ended in this step is noted, and settled in the next.
    must(givenCount >= this.#model.core.requests.count - this.#abandonedCount, `${when}: given`);
  }

  /** Requests whose client has its outcome, while a worker is at them. */
  get #abandonedCount(): number {
    const { state, capacity } = this.#model.core.requests;
    let count = 0;
    for (let slot = 0; slot < capacity; slot++) if (state[slot] === 3) count++;
    return count;
  }

  /** With workers that do all they get, and time, every task comes to its end. */
  #heal(): void {
    while (this.#workers.size > 0) this.#leave();
    this.#random.below(2);
    const peer = this.#nextWorker++;
    this.#workers.set(peer, { isDraining: false });
    const services = QUEUES.map(SERVICE_OF);
    const command = {
      kind: "join-worker",
      peer,
      concurrency: 3,
      services,
      lookAhead: true,
    } as const;
    this.#model.step(command, this.#nowMs);
    for (let turn = 0; turn < 400 && (this.#tasks.count > 0 || this.#surveys.count > 0); turn++) {
      this.#tasks.settle(this.#nowMs);
      for (let count = this.#attempts.length; count > 0; count--) this.#answer("done");
      this.#wait(20);
      this.#check("while it healed");
    }
    must(this.#tasks.count === 0, `${this.#tasks.count} tasks never came to an end`);
    must(this.#surveys.count === 0, "surveys never came to an end");
    must(this.#surveyAnswers.size === 0, "surveys without an end");
  }
}

const EMPTY = new DataView(new ArrayBuffer(0));

/** Runs one seed; throws where something does not hold. What it came to, and what was met. */
export function simulatePatterns(classes: PatternClasses, seed: number, steps = 300) {
  const world = new PatternsWorld(classes, seed);
  return { digest: world.run(steps), log: world.log };
}
