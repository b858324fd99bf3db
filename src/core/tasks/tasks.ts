import { assert } from "../../base/assert.js";
import { Deadlines } from "../../base/deadlines.js";
import { Status, type StatusCode } from "../../base/status.js";
import { backoffMs } from "./backoff.js";
import { type Holder, Holders, holderName } from "./holders.js";
import { RecentTasks } from "./recent-tasks.js";
import type { TaskStore } from "./store.js";
import { type PushedTask, Task, taskKey } from "./task.js";
import type { TaskLimits } from "./task-limits.js";
import { TaskQueue } from "./task-queue.js";

/** What carries out the decisions about tasks: the core, as who asks for them, and who pushed. */
export interface TaskOutlet {
  /** Whether one more task of this queue may be given to the core: a worker has room, or few wait. */
  hasRoom(queue: string): boolean;
  /** Whether some worker takes tasks of this queue. */
  isServed(queue: string): boolean;
  /**
   * Gives an attempt to the core, as a request of one attempt under this number. Its end is noted
   * by `noteDone` or `noteFailed`, once; also within this call.
   */
  give(task: Task, sequence: number): void;
  /** Tells who pushed that the task is taken (OK), or why it is not. */
  pushed(
    pusher: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
  ): void;
}

/** What happened to tasks since the start. All only grow. */
export interface TaskCounts {
  /** Taken, each once. */
  pushed: number;
  /** Pushed again under an id that was taken already. */
  repeated: number;
  refused: number;
  done: number;
  /** Attempts that failed, and those of them after which it was tried again. */
  failed: number;
  retried: number;
  /** Failed too often; of these, dropped for want of room, and tried anew. */
  dead: number;
  deadDropped: number;
  deadRetried: number;
}

interface Outcome {
  sequence: number;
  status: StatusCode;
  reason: string;
  retryAfterMs: number;
  attempts: number;
  /**
   * Whether no worker had a word in it, so that it goes back to its place: the core refused it as it was given, or no worker is left
   * for its queue.
   */
  isBack: boolean;
}

/**
 * After the core refused a task, its queue rests for so long. One that no worker began on rests alone, for longer each
 * time: what a worker says of a task holds up no other.
 */
const REST_MS_MIN = 20;
const REST_MS_MAX = 1000;
/** Dead letters told of at once. */
export const DEAD_LIST_MAX = 256;

/**
 * Every decision about tasks: which are taken, when each is given to the core, what becomes of it then.
 * The core hands it to a worker with a free credit, as any request, of one attempt. At least once: a
 * task that a worker did and could not say so is done again. No I/O, no clock; `random` is given.
 *
 * Each task that was taken is done, waits, is with the core, or is a dead letter; nothing else but
 * a dead letter is ever dropped.
 */
export class Tasks {
  readonly queues = new Map<string, TaskQueue>();
  readonly counts: TaskCounts = {
    pushed: 0,
    repeated: 0,
    refused: 0,
    done: 0,
    failed: 0,
    retried: 0,
    dead: 0,
    deadDropped: 0,
    deadRetried: 0,
  };
  /** All but dead letters. */
  count = 0;
  bytes = 0;
  deadBytes = 0;
  readonly limits: TaskLimits;
  readonly #outlet: TaskOutlet;
  readonly #store: TaskStore;
  readonly #random: () => number;
  /** Those that are not over, dead letters among them. */
  readonly #byKey = new Map<string, Task>();
  /** The dead letters of all queues, oldest first. */
  readonly #dead = new Set<Task>();
  readonly #holders = new Holders();
  /** Queues with more than dead letters in them. */
  #usedCount = 0;
  readonly #recent: RecentTasks;
  readonly #storing = new Set<Task>();
  readonly #given = new Map<number, Task>();
  readonly #delayed: (Task | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  readonly #deadlines: Deadlines;
  #outcomes: Outcome[] = [];
  #readyCount = 0;
  #isGiving = false;
  /** Whether tasks wait for room that may come unheard of. */
  #waitsForRoom = false;
  #sequence = 0;
  #nowMs: number;

  constructor(
    outlet: TaskOutlet,
    store: TaskStore,
    limits: TaskLimits,
    random: () => number,
    nowMs: number,
  ) {
    this.#outlet = outlet;
    this.#store = store;
    this.limits = limits;
    this.#random = random;
    this.#nowMs = nowMs;
    this.#deadlines = new Deadlines(nowMs);
    this.#recent = new RecentTasks(limits.recentCountMax, limits.recentAgeMsMax);
  }

  /** Whether time matters: some task waits for it, or for room at workers that there are. */
  get needsTick(): boolean {
    return this.#waitsForRoom || this.#deadlines.count > 0 || this.#outcomes.length > 0;
  }

  get givenCount(): number {
    return this.#given.size;
  }

  /** The task whose attempt the core knows under this number. */
  givenAs(sequence: number): Task | undefined {
    return this.#given.get(sequence);
  }

  // --- in ---

  /** A task is pushed: `pusher` is told, now or once the store has it. */
  push(pusher: number, pushed: PushedTask, delayMs: number, nowMs: number): void {
    this.#nowMs = nowMs;
    const { sequence } = pushed;
    const key = taskKey(pushed);
    const known = this.#byKey.get(key);
    if (known !== undefined || this.#recent.has(key, nowMs)) {
      this.counts.repeated++;
      // Who asks now is who waits: the connection that it came over first is gone.
      if (known?.state === "storing") known.pusher = pusher;
      else this.#outlet.pushed(pusher, sequence, Status.OK, "", 0);
      return;
    }
    const queue = this.#admit(pusher, pushed);
    if (queue === undefined) return;
    const task = new Task(key, pushed);
    task.pusher = pusher;
    task.dueMs = nowMs + delayMs;
    this.#byKey.set(key, task);
    this.#count(queue, task, 1);
    this.#storing.add(task);
    this.#store.keep(task);
  }

  /** Whether a task of so many bytes could ever be taken. */
  fits(bytes: number): boolean {
    // No more than `bytesMax`, as task-limits.ts checks.
    return bytes <= this.limits.queueBytesMax;
  }

  /** Whether a task of so many bytes would be refused now; with `holder`, also for what that one has here. */
  isFull(queueName: string, bytes: number, holder?: string): boolean {
    return this.#lackOf(queueName, bytes, holder) !== undefined;
  }

  /** What there is no room for, in words; undefined where there is. */
  #lackOf(queueName: string, bytes: number, holder: string | undefined): string | undefined {
    const { limits } = this;
    const queue = this.queues.get(queueName);
    const isFull =
      this.count >= limits.countMax ||
      this.bytes + bytes > limits.bytesMax ||
      (queue?.count ?? 0) >= limits.queueCountMax ||
      (queue?.bytes ?? 0) + bytes > limits.queueBytesMax;
    if (isFull) return "the queue is full";
    if (queue === undefined && this.#usedCount >= limits.queuesMax) {
      return "the broker knows too many queues";
    }
    return holder === undefined ? undefined : this.#shareLackOf(queue, holder);
  }

  #shareLackOf(queue: TaskQueue | undefined, holder: string): string | undefined {
    const has = this.#holders.find(holder);
    if (has === undefined) return undefined;
    const { ownerShare, countMax, bytesMax, queuesMax } = this.limits;
    if (
      has.count >= ownerShare * (countMax - this.count) ||
      has.bytes >= ownerShare * (bytesMax - this.bytes)
    ) {
      return "the client has its share of the broker's tasks";
    }
    const isUsed = queue !== undefined && queue.count > 0;
    if (isUsed || has.queueCount < ownerShare * (queuesMax - this.#usedCount)) return undefined;
    return "the client has its share of the broker's queues";
  }

  #admit(pusher: number, pushed: PushedTask): TaskQueue | undefined {
    const { queue: name, bytes, sequence } = pushed;
    const refuse = (status: StatusCode, reason: string, retryAfterMs: number): undefined => {
      this.counts.refused++;
      this.#outlet.pushed(pusher, sequence, status, reason, retryAfterMs);
    };
    if (!this.fits(bytes)) {
      return refuse(Status.INVALID_ARGUMENT, "task larger than a queue may hold", 0);
    }
    const lack = this.#lackOf(name, bytes, holderName(pushed));
    if (lack !== undefined) {
      const retryAfterMs = this.queues.get(name)?.retryAfterMs ?? 1000;
      return refuse(Status.RESOURCE_EXHAUSTED, lack, retryAfterMs);
    }
    const queue = this.#requireQueue(name);
    assert(queue !== undefined, "there is a place while fewer are in use");
    return queue;
  }

  #requireQueue(name: string): TaskQueue | undefined {
    const known = this.queues.get(name);
    if (known !== undefined) return known;
    if (this.queues.size >= this.limits.queuesMax && !this.#forgetOne()) return undefined;
    const queue = new TaskQueue(name);
    this.queues.set(name, queue);
    return queue;
  }

  /** Forgets a queue with nothing in it, or else that of dead letters alone whose oldest is oldest. */
  #forgetOne(): boolean {
    let unused: TaskQueue | undefined;
    let diedMs = Infinity;
    for (const [name, queue] of this.queues) {
      if (queue.isEmpty) return this.queues.delete(name);
      if (queue.count > 0) continue;
      const [oldest] = queue.dead;
      if (oldest.dueMs >= diedMs) continue;
      unused = queue;
      diedMs = oldest.dueMs;
    }
    if (unused === undefined) return false;
    for (const task of unused.dead) this.#dropDead(unused, task);
    return this.queues.delete(unused.name);
  }

  /** The store has `task`: it is acknowledged, and may be tried. */
  onKept(task: Task): void {
    const { pusher, pushed } = task;
    const queue = this.#queueOf(task);
    this.#storing.delete(task);
    this.counts.pushed++;
    queue.counts.pushed++;
    this.#outlet.pushed(pusher, pushed.sequence, Status.OK, "", 0);
    task.pusher = -1;
    if (task.dueMs > this.#nowMs) this.#delay(queue, task);
    else this.#makeReady(queue, task);
  }

  /** The store cannot have `task`: it is not taken. */
  onNotKept(task: Task, reason: string): void {
    const { pusher, pushed } = task;
    this.counts.refused++;
    this.#storing.delete(task);
    this.#forget(task);
    this.#outlet.pushed(pusher, pushed.sequence, Status.UNAVAILABLE, reason, 1000);
  }

  /** A task that the store has from before: the state that it was kept in says how it goes on. */
  restore(task: Task): void {
    const queue = this.#requireQueue(task.pushed.queue);
    if (queue === undefined) return;
    this.#byKey.set(task.key, task);
    if (task.state === "dead") {
      this.#bury(queue, task);
      return;
    }
    this.#count(queue, task, 1);
    if (task.dueMs > this.#nowMs) this.#delay(queue, task);
    else this.#makeReady(queue, task);
  }

  /** Who pushed is gone, and told nothing any more. */
  onPusherLeft(pusher: number): void {
    for (const task of this.#storing) if (task.pusher === pusher) task.pusher = -1;
  }

  // --- what the core says ---

  noteDone(sequence: number): void {
    const rest = { reason: "", retryAfterMs: 0, attempts: 1, isBack: false };
    this.#outcomes.push({ sequence, status: Status.OK, ...rest });
  }

  /** `attempts`: 0 where no worker began on it. */
  noteFailed(
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void {
    const task = this.#given.get(sequence);
    if (task === undefined) return;
    const { queue } = task.pushed;
    const isBack = attempts === 0 && (this.#isGiving || !this.#outlet.isServed(queue));
    if (this.#isGiving) {
      const restMs = Math.min(Math.max(retryAfterMs, REST_MS_MIN), REST_MS_MAX);
      this.#queueOf(task).restUntilMs = this.#nowMs + restMs;
    }
    this.#outcomes.push({ sequence, status, reason, retryAfterMs, attempts, isBack });
  }

  /** Draws the consequences of what was noted, and gives the core what it has room for. */
  settle(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#outcomes.length > 0) this.#onOutcomes();
    this.#waitsForRoom = false;
    if (this.#readyCount === 0) return;
    for (const queue of this.queues.values()) {
      this.#giveFrom(queue);
      if (queue.readyCount > 0 && this.#outlet.isServed(queue.name)) this.#waitsForRoom = true;
    }
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#deadlines.advance(nowMs, this.#onDue);
    this.settle(nowMs);
  }

  #giveFrom(queue: TaskQueue): void {
    if (queue.readyCount === 0 || queue.restUntilMs > this.#nowMs) return;
    // What is refused within `give` is noted, and found out in the next turn: not again and again here.
    const refusedCount = this.#outcomes.length;
    while (this.#outcomes.length === refusedCount && this.#outlet.hasRoom(queue.name)) {
      const task = queue.take();
      if (task === undefined) return;
      this.#readyCount--;
      task.state = "given";
      queue.givenCount++;
      task.givenAs = ++this.#sequence;
      this.#given.set(task.givenAs, task);
      this.#isGiving = true;
      this.#outlet.give(task, task.givenAs);
      this.#isGiving = false;
    }
  }

  #onOutcomes(): void {
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    const back = new Map<TaskQueue, Task[]>();
    for (const outcome of outcomes) this.#onOutcome(outcome, back);
    for (const [queue, tasks] of back) {
      queue.putBack(tasks);
      this.#readyCount += tasks.length;
    }
  }

  /** `back` gets those that go back to their places, by queue. */
  #onOutcome(outcome: Outcome, back: Map<TaskQueue, Task[]>): void {
    const { sequence, status, reason, retryAfterMs, attempts } = outcome;
    const task = this.#given.get(sequence);
    if (task === undefined) return;
    const queue = this.#queueOf(task);
    this.#given.delete(sequence);
    queue.givenCount--;
    if (status === Status.OK) return this.#onDone(queue, task);
    // It was never begun: nothing is held against it.
    if (outcome.isBack) return addTo(back, queue, task);
    if (attempts === 0) return this.#onUntouched(queue, task);
    task.untouchedCount = 0;
    this.counts.failed++;
    queue.counts.failed++;
    task.status = status;
    task.reason = reason;
    if (++task.failedCount >= task.pushed.attemptsMax) return this.#onDead(queue, task);
    this.counts.retried++;
    const waitMs = backoffMs(task.failedCount, this.limits, this.#random());
    task.dueMs = this.#nowMs + Math.max(waitMs, retryAfterMs);
    this.#delay(queue, task);
    this.#store.note(task);
  }

  #onUntouched(queue: TaskQueue, task: Task): void {
    task.dueMs = this.#nowMs + Math.min(REST_MS_MIN * 2 ** task.untouchedCount++, REST_MS_MAX);
    this.#delay(queue, task);
  }

  #onDone(queue: TaskQueue, task: Task): void {
    this.counts.done++;
    queue.onDone(this.#nowMs);
    this.#forget(task);
    this.#recent.add(task.key, this.#nowMs);
    this.#store.drop(task);
  }

  // --- waiting ---

  #makeReady(queue: TaskQueue, task: Task): void {
    queue.push(task);
    this.#readyCount++;
  }

  #delay(queue: TaskQueue, task: Task): void {
    task.state = "delayed";
    queue.delayedCount++;
    task.slot = this.#freeSlots.pop() ?? this.#delayed.push(undefined) - 1;
    this.#delayed[task.slot] = task;
    this.#deadlines.set(task.slot, task.dueMs, this.#nowMs);
  }

  #onDue = (slot: number): void => {
    const task = this.#delayed[slot] as Task;
    this.#delayed[slot] = undefined;
    this.#freeSlots.push(slot);
    task.slot = -1;
    const queue = this.#queueOf(task);
    queue.delayedCount--;
    this.#makeReady(queue, task);
  };

  // --- dead letters ---

  #onDead(queue: TaskQueue, task: Task): void {
    this.counts.dead++;
    queue.counts.dead++;
    this.#count(queue, task, -1);
    task.dueMs = this.#nowMs;
    if (this.#bury(queue, task)) this.#store.note(task);
  }

  /**
   * Puts a task to the dead letters, for which the oldest may have to go: those of its queue where that has too many,
   * of all where all have. Whether it is kept: one that alone is too large is not, and costs no other its place.
   */
  #bury(queue: TaskQueue, task: Task): boolean {
    const { deadCountMax, deadQueueBytesMax, deadBytesMax } = this.limits;
    const { bytes } = task.pushed;
    task.state = "dead";
    queue.dead.add(task);
    queue.deadBytes += bytes;
    this.#dead.add(task);
    this.deadBytes += bytes;
    if (bytes > deadQueueBytesMax) {
      this.#dropDead(queue, task);
      return false;
    }
    for (const oldest of queue.dead) {
      if (queue.dead.size <= deadCountMax && queue.deadBytes <= deadQueueBytesMax) break;
      this.#dropDead(queue, oldest);
    }
    for (const oldest of this.#dead) {
      if (this.deadBytes <= deadBytesMax) break;
      this.#dropDead(this.#queueOf(oldest), oldest);
    }
    return true;
  }

  #dropDead(queue: TaskQueue, task: Task): void {
    this.#exhume(queue, task);
    this.counts.deadDropped++;
    task.state = "over";
    this.#byKey.delete(task.key);
    this.#recent.add(task.key, this.#nowMs);
    this.#store.drop(task);
  }

  #exhume(queue: TaskQueue, task: Task): void {
    this.#dead.delete(task);
    queue.dead.delete(task);
    queue.deadBytes -= task.pushed.bytes;
    this.deadBytes -= task.pushed.bytes;
  }

  /** The dead letters of a queue, oldest first, at most `countMax`, without the `skip` oldest. */
  deadLetters(queueName: string, countMax = DEAD_LIST_MAX, skip = 0): Task[] {
    const dead = this.queues.get(queueName)?.dead ?? [];
    const list: Task[] = [];
    let at = 0;
    for (const task of dead) {
      if (list.length >= countMax) break;
      if (at++ >= skip) list.push(task);
    }
    return list;
  }

  /** Tries dead letters of a queue anew, oldest first, as far as there is room; how many. */
  retryDead(queueName: string, countMax: number, nowMs: number): number {
    this.#nowMs = nowMs;
    const queue = this.queues.get(queueName);
    if (queue === undefined) return 0;
    let count = 0;
    for (const task of queue.dead) {
      if (count >= countMax || this.isFull(queueName, task.pushed.bytes)) break;
      this.#exhume(queue, task);
      this.#count(queue, task, 1);
      task.failedCount = 0;
      task.dueMs = nowMs;
      this.#makeReady(queue, task);
      this.#store.note(task);
      count++;
    }
    this.counts.deadRetried += count;
    return count;
  }

  // --- the books ---

  #forget(task: Task): void {
    task.state = "over";
    this.#byKey.delete(task.key);
    this.#count(this.#queueOf(task), task, -1);
  }

  /** Counts `task` in (1) or out (-1): in its queue, in all, and for who pushed it. */
  #count(queue: TaskQueue, task: Task, sign: 1 | -1): void {
    const bytes = sign * task.pushed.bytes;
    task.holder ??= this.#holders.require(holderName(task.pushed));
    const { holder } = task;
    holder.count += sign;
    holder.bytes += bytes;
    this.count += sign;
    this.bytes += bytes;
    queue.count += sign;
    queue.bytes += bytes;
    if (sign === 1) {
      if (queue.count === 1) this.#onUsed(queue, holder);
      return;
    }
    task.holder = undefined;
    if (queue.count === 0) this.#onUnused(queue);
    this.#holders.forgetIfEmpty(holder);
  }

  #onUsed(queue: TaskQueue, opener: Holder): void {
    this.#usedCount++;
    queue.opener = opener;
    opener.queueCount++;
  }

  #onUnused(queue: TaskQueue): void {
    const opener = queue.opener as Holder;
    this.#usedCount--;
    queue.opener = undefined;
    opener.queueCount--;
    this.#holders.forgetIfEmpty(opener);
  }

  #queueOf(task: Task): TaskQueue {
    const queue = this.queues.get(task.pushed.queue);
    // Forgotten only when it is empty.
    assert(queue !== undefined, "a task's queue is known");
    return queue;
  }
}

function addTo(back: Map<TaskQueue, Task[]>, queue: TaskQueue, task: Task): void {
  const tasks = back.get(queue);
  if (tasks === undefined) back.set(queue, [task]);
  else tasks.push(task);
}
