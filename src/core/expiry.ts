import { Deadlines } from "../base/deadlines.js";
import { Status, type StatusCode } from "../base/status.js";
import type { Effects } from "./command.js";
import type { Outcomes } from "./outcomes.js";
import type { Registry } from "./registry.js";
import { RequestState, type Requests } from "./requests.js";
import type { Service } from "./services.js";
import type { TaskTime } from "./task-times.js";

const { QUEUED } = RequestState;

/** How long a worker is heard that was told that a task's time is over: it may say that it never began. */
const LAST_WORD_MS = 1000;

/** What a request whose service nobody serves waits at most of its time, so that its client is told that, and not that its time is over. */
const ABSENT_SHARE = 0.9;

/** How often it is looked whether what waits for long still has a worker to wait for. */
const LOOK_MS = 1000;

/** What becomes of the slot of a request whose time is over. */
export interface Ends {
  /** Nobody waits for it any more: out of the queue, or left to its worker, which is told to stop. */
  giveUp(slot: number, status: StatusCode): void;
  /** The same of one whose worker was told already. */
  abandon(slot: number): void;
  /** All that waits for `service`, tasks that no worker is left for, goes back to who gave it. */
  sendBack(service: Service): void;
}

/**
 * When requests are looked at again, and which of them end by time. Where it stands decides what it waits for: a worker,
 * as long as some are there, one to come at all, or an answer. A task's own time runs only while a worker has it.
 */
export class Expiry {
  readonly #requests: Requests;
  readonly #registry: Registry;
  readonly #outcomes: Outcomes;
  readonly #effects: Effects;
  readonly #ends: Ends;
  readonly #deadlines: Deadlines;
  #nowMs: number;

  constructor(
    requests: Requests,
    registry: Registry,
    outcomes: Outcomes,
    effects: Effects,
    ends: Ends,
    nowMs: number,
  ) {
    this.#requests = requests;
    this.#registry = registry;
    this.#outcomes = outcomes;
    this.#effects = effects;
    this.#ends = ends;
    this.#deadlines = new Deadlines(nowMs);
    this.#nowMs = nowMs;
  }

  /** How many there are to look at. */
  get count(): number {
    return this.#deadlines.count;
  }

  /** Ends what is due. */
  advance(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#deadlines.advance(nowMs, this.#onDue);
  }

  /** A request goes to a worker as it comes. */
  onTaken(slot: number, nowMs: number): void {
    this.#deadlines.set(slot, this.#requests.deadlineMs[slot], nowMs);
  }

  /** What is in `slot` waits for `service`, from now on. */
  onQueued(service: Service, slot: number, nowMs: number): void {
    const requests = this.#requests;
    const isTask = requests.tasks.has(slot);
    if (isTask) requests.deadlineMs[slot] = Infinity;
    const dueMs = isTask ? nowMs + LOOK_MS : this.#queueExpiryMs(service, slot, nowMs);
    this.#deadlines.set(slot, dueMs, nowMs);
  }

  /** A worker has what is in `slot`: a task's time runs from here. */
  onDispatched(slot: number, nowMs: number): void {
    const task = this.#requests.tasks.at(slot);
    if (task === undefined) return;
    const dueMs = nowMs + task.attemptMs;
    task.isOverdue = false;
    this.#requests.deadlineMs[slot] = dueMs;
    this.#deadlines.set(slot, dueMs, nowMs);
  }

  clear(slot: number): void {
    this.#deadlines.clear(slot);
  }

  #onDue = (slot: number): void => {
    const requests = this.#requests;
    const nowMs = this.#nowMs;
    const task = requests.tasks.at(slot);
    if (task !== undefined) return this.#onTaskDue(task, slot);
    if (nowMs >= requests.deadlineMs[slot]) {
      this.#outcomes.expired(slot);
      this.#ends.giveUp(slot, Status.DEADLINE_EXCEEDED);
      return;
    }
    const service = this.#registry.at(requests.service[slot]);
    const dueMs =
      requests.state[slot] === QUEUED
        ? this.#queueExpiryMs(service, slot, nowMs)
        : requests.deadlineMs[slot];
    if (dueMs > nowMs) {
      this.#deadlines.set(slot, dueMs, nowMs);
      return;
    }
    if (service.isServed) this.#outcomes.waitedTooLong(service, slot);
    else this.#outcomes.unserved(service, slot);
    this.#ends.giveUp(slot, Status.CANCELLED);
  };

  #onTaskDue(task: TaskTime, slot: number): void {
    if (this.#requests.state[slot] !== QUEUED) return this.#onAttemptDue(task, slot);
    const service = this.#registry.at(this.#requests.service[slot]);
    if (service.isServed) this.onQueued(service, slot, this.#nowMs);
    else this.#ends.sendBack(service);
  }

  /** A task's time is over; or its worker, which was told so, has not said a word. */
  #onAttemptDue(task: TaskTime, slot: number): void {
    if (task.isOverdue) {
      this.#outcomes.expired(slot);
      this.#ends.abandon(slot);
      return;
    }
    task.isOverdue = true;
    this.#effects.abort(this.#requests.worker[slot], slot, Status.DEADLINE_EXCEEDED);
    this.#deadlines.set(slot, this.#nowMs + LAST_WORD_MS, this.#nowMs);
  }

  /** When a request that waits for `service` is to be looked at again. */
  #queueExpiryMs(service: Service, slot: number, nowMs: number): number {
    const deadlineMs = this.#requests.deadlineMs[slot];
    const sinceMs = this.#requests.sinceMs[slot];
    const { queueWaitMsMax, absentWaitMs } = service.limits;
    const absentMs = sinceMs + Math.min(absentWaitMs, (deadlineMs - sinceMs) * ABSENT_SHARE);
    if (!service.isServed) return absentMs;
    // It may not be served any more by then.
    const lookMs = absentMs > nowMs ? absentMs : nowMs + LOOK_MS;
    return Math.min(deadlineMs, sinceMs + queueWaitMsMax, lookMs);
  }
}
