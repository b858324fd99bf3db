import type { TasksState } from "../admin/state.js";
import { Status, type StatusCode } from "../base/status.js";
import { bestWorker } from "../core/pool.js";
import { MemoryTaskStore } from "../core/tasks/store.js";
import type { PushedTask, Task, TaskRecord } from "../core/tasks/task.js";
import type { TaskLimits } from "../core/tasks/task-limits.js";
import { type TaskOutlet, Tasks } from "../core/tasks/tasks.js";
import type { BatchReader } from "../wire/batch.js";
import { AT_A, AT_B, AT_FLAGS, AT_KIND, Flag, Kind, PRIORITY_MAX } from "../wire/layout.js";
import { FailureRecord, type HeldRecord, RequestRecord } from "../wire/request-record.js";
import { DeadLettersAskedRecord, TaskDoneRecord, writePushed } from "../wire/task-record.js";
import { NameCache, queueService } from "../wire/text.js";
import { ownFrames } from "./bodies.js";
import { DeadLetters } from "./dead-letters.js";
import type { Host, Pattern } from "./host.js";
import type { InnerClient, Peer } from "./peers.js";
import { failAttempt, isOwn } from "./request-records.js";

/** What is pushed, as a record that was read has it. */
type PushRecord = Pick<
  RequestRecord,
  | "sessionLow"
  | "sessionHigh"
  | "sequence"
  | "slot"
  | "service"
  | "priority"
  | "attempts"
  | "timeoutMs"
  | "bytes"
  | "held"
>;

/** Tasks of one queue that may wait in the core, and their bytes: enough to have its turn there, few to be copied. */
const WINDOW = 16;
const WINDOW_BYTES = 256 * 1024;

/**
 * Push-pull: PUSH becomes a task, tasks become requests of the core's, TASK_DONE and TASK_FAILED its
 * answers. To the core it is a client like others, to the tasks the way out.
 */
export class TaskPattern implements Pattern, TaskOutlet, InnerClient {
  readonly kinds = new Map([
    [Kind.PUSH, "client"],
    [Kind.TASK_DONE, "worker"],
    [Kind.TASK_FAILED, "worker"],
    [Kind.DEAD_LETTERS, "client"],
  ] as const);
  readonly tasks: Tasks;
  readonly #host: Host;
  readonly #deadLetters: DeadLetters;
  readonly #names = new NameCache();
  readonly #push = new RequestRecord();
  readonly #done = new TaskDoneRecord();
  readonly #failed = new FailureRecord();
  readonly #asked = new DeadLettersAskedRecord();
  /** What the core knows it by; made when it is first needed. */
  #client: Peer | undefined;
  #isSettling = false;
  #isClosed = false;

  constructor(host: Host, limits: TaskLimits) {
    this.#host = host;
    const store = new MemoryTaskStore();
    this.tasks = new Tasks(this, store, limits, Math.random, performance.now());
    this.#deadLetters = new DeadLetters(host, this.tasks);
    store.onKept = (task) => this.tasks.onKept(task);
    store.load();
  }

  // --- from peers ---

  onRecord(peer: Peer, reader: BatchReader): void {
    switch (reader.kind) {
      case Kind.PUSH:
        return this.#onPush(peer, reader);
      case Kind.TASK_DONE:
        return this.#onDone(peer, reader);
      case Kind.TASK_FAILED:
        return this.#onFailed(peer, reader);
      default:
        this.#onDeadLetters(peer, reader);
    }
  }

  #onPush(peer: Peer, reader: BatchReader): void {
    const record = this.#push;
    const fault = record.read(reader, this.#names);
    if (!record.hasId) return this.#host.malformed(fault as string);
    if (!isOwn(this.#host, peer, record)) return;
    const refuse = (status: StatusCode, reason: string, retryAfterMs = 0) =>
      this.pushed(peer.index, record.sequence, status, reason, retryAfterMs);
    if (fault !== undefined) {
      this.#host.countMalformed();
      return refuse(Status.INVALID_ARGUMENT, fault);
    }
    if (record.bytes > this.#host.limits.recordBytesMax) {
      return refuse(Status.INVALID_ARGUMENT, "task larger than the broker takes");
    }
    const denial = peer.access?.denial("push", record.service);
    if (denial !== undefined) return refuse(Status.PERMISSION_DENIED, denial);
    if (this.#host.isShuttingDown) {
      return refuse(Status.UNAVAILABLE, "broker is shutting down", 1000);
    }
    this.push(peer.index, record, peer.access?.key ?? "");
  }

  /** Takes the task in `record`, which is copied, or says why not. `owner`: see PushedTask. */
  push(pusher: number, record: PushRecord, owner: string): void {
    const { limits } = this.tasks;
    const { sessionLow, sessionHigh, sequence, bytes } = record;
    const timeoutMs = record.timeoutMs || limits.attemptTimeoutMs;
    const pushed: PushedTask = {
      owner,
      sessionLow,
      sessionHigh,
      sequence,
      queue: record.service,
      priority: Math.min(record.priority, PRIORITY_MAX),
      attemptsMax: record.attempts || limits.attemptsDefault,
      attemptTimeoutMs: Math.min(timeoutMs, this.#host.limits.timeoutMsMax),
      record: taskOf(record.held),
      bytes,
    };
    // PROTOCOL 7.1: the delay stands where an attempt's slot does.
    this.tasks.push(pusher, pushed, record.slot, this.#host.delivery.nowMs);
    this.#settleSoon();
  }

  #onDone(peer: Peer, reader: BatchReader): void {
    const record = this.#done;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#onBadAnswer(peer, record, fault);
    if (!this.#isTask(record.slot)) return;
    const { slot, generation } = record;
    this.#host.step({ kind: "reply", peer: peer.index, slot, generation });
  }

  #onFailed(peer: Peer, reader: BatchReader): void {
    const record = this.#failed;
    const fault = record.read(reader);
    if (fault !== undefined) return this.#onBadAnswer(peer, record, fault);
    if (!this.#isTask(record.slot)) return;
    record.peer = peer.index;
    this.#host.step(record);
  }

  /** As a bad answer to a request: its attempt ends, or its credit would never come back. */
  #onBadAnswer(peer: Peer, answer: TaskDoneRecord | FailureRecord, why: string): void {
    if (answer.hasId && this.#isTask(answer.slot)) {
      const reason = `the worker's answer cannot be read: ${why}`;
      failAttempt(this.#host, peer, answer, Status.INTERNAL, reason);
    }
    this.#host.malformed(why);
  }

  /** Whether the core's request in `slot` is a task: an answer that holds no reply is for these alone. */
  #isTask(slot: number): boolean {
    const { requests } = this.#host.core;
    const isTask = slot < requests.capacity && requests.client[slot] === this.#client?.index;
    if (!isTask) {
      this.#host.faults.role++;
      this.#host.refuse(Status.PERMISSION_DENIED, "what it answers is no task");
    }
    return isTask;
  }

  // --- dead letters ---

  #onDeadLetters(peer: Peer, reader: BatchReader): void {
    const record = this.#asked;
    const fault = record.read(reader, this.#names);
    if (fault !== undefined) return this.#host.malformed(fault);
    if (!isOwn(this.#host, peer, record)) return;
    if (this.#deadLetters.answer(peer, record)) this.#settleSoon();
  }

  // --- to peers: TaskOutlet ---

  pushed(
    pusher: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
  ): void {
    const peer = this.#host.peers.at(pusher);
    // Gone, or a plain PUSH socket, which cannot be told.
    if (peer === undefined || peer.role !== "client") return;
    const id = { ...idOf(peer), sequence, slot: 0, generation: 0 };
    writePushed(peer.outbox.writer, id, status, reason, retryAfterMs);
    peer.wrote();
  }

  isServed(queue: string): boolean {
    // What waits stays: the core takes nothing new.
    if (this.#host.isShuttingDown) return false;
    return this.#host.core.registry.services.get(queueService(queue))?.isServed ?? false;
  }

  hasRoom(queue: string): boolean {
    const { core, limits } = this.#host;
    const service = core.registry.services.get(queueService(queue));
    if (service?.isServed !== true || this.#host.isShuttingDown) return false;
    const { count, bytes } = service.queue;
    // Whatever its workers take, and however long they have it, it leaves as much to others.
    if (service.inFlight + count >= limits.requestsMax - core.requests.count) return false;
    if (count === 0) return true;
    const bytesMax = Math.min(WINDOW_BYTES, service.limits.queueBytesMax - limits.recordBytesMax);
    const countMax = Math.min(WINDOW, service.clientCountMax(PRIORITY_MAX));
    return (count < countMax && bytes < bytesMax) || bestWorker(service) !== undefined;
  }

  give(task: Task, sequence: number): void {
    const { record, queue, priority, attemptTimeoutMs, bytes } = task.pushed;
    // PROTOCOL 7.3: the attempt stands where the priority did.
    record.bytes[record.at + AT_A] = task.failedCount + 1;
    this.#host.delivery.current = record;
    this.#host.step({
      kind: "request",
      peer: this.#requireClient().index,
      sequence,
      service: queueService(queue),
      timeoutMs: attemptTimeoutMs,
      attempts: 1,
      priority,
      bytes,
      isTask: true,
    });
  }

  #requireClient(): Peer {
    if (this.#client === undefined) {
      this.#client = this.#host.peers.addInner(this);
      this.#host.step({ kind: "join-client", peer: this.#client.index });
    }
    return this.#client;
  }

  // --- from the core: InnerClient ---

  onReply(sequence: number): void {
    this.tasks.noteDone(sequence);
    this.#settleSoon();
  }

  onFail(
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void {
    this.tasks.noteFailed(sequence, status, reason, retryAfterMs, attempts);
    // What is refused as it is given waits for the next tick: at once it would be refused again.
    if (attempts > 0) this.#settleSoon();
  }

  idOf(
    sequence: number,
  ): { sessionLow: number; sessionHigh: number; sequence: number } | undefined {
    return this.tasks.givenAs(sequence)?.pushed;
  }

  // --- turns and time: Pattern ---

  /** Once what came in this turn is handled: not in the middle of a step of the core. */
  #settleSoon(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    queueMicrotask(() => {
      this.#isSettling = false;
      if (this.#isClosed) return;
      this.#host.begin();
      this.tasks.settle(this.#host.delivery.nowMs);
      this.#host.onTurn();
    });
  }

  onWorker(): void {
    this.#settleSoon();
  }

  onLeave(peer: Peer): void {
    this.tasks.onPusherLeft(peer.index);
  }

  get needsTick(): boolean {
    return this.tasks.needsTick;
  }

  onTick(nowMs: number): void {
    this.tasks.tick(nowMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#deadLetters.close();
  }

  /** For those who watch. */
  state(): TasksState {
    const queues = [...this.tasks.queues.values()].map((queue) => ({
      name: queue.name,
      isServed: this.isServed(queue.name),
      ready: queue.readyCount,
      delayed: queue.delayedCount,
      inFlight: queue.givenCount,
      bytes: queue.bytes,
      dead: queue.dead.size,
      deadBytes: queue.deadBytes,
      counts: { ...queue.counts },
    }));
    return { counts: { ...this.tasks.counts }, queues };
  }
}

function idOf({ sessionLow, sessionHigh }: Peer): { sessionLow: number; sessionHigh: number } {
  return { sessionLow, sessionHigh };
}

/** The record of a PUSH as that of a TASK, in memory of its own. */
function taskOf({ bytes: from, at, size, frames }: HeldRecord): TaskRecord {
  const bytes = Buffer.allocUnsafeSlow(size);
  bytes.set(from.subarray(at, at + size));
  bytes[AT_KIND] = Kind.TASK;
  bytes[AT_FLAGS] &= Flag.RAW;
  bytes[AT_B] = 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  return { bytes, view, at: 0, size, frames: frames.length === 0 ? frames : ownFrames(frames) };
}
