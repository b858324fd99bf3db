import { Status, type StatusCode } from "../base/status.js";
import type { Task } from "../core/tasks/task.js";
import { DEAD_LIST_MAX, type Tasks } from "../core/tasks/tasks.js";
import { DEAD_LETTER_SIZE, DEAD_LETTERS_SIZE } from "../wire/layout.js";
import { reasonOf } from "../wire/request-record.js";
import {
  DeadAction,
  type DeadLetterEntry,
  type DeadLettersAskedRecord,
  writeDeadLetters,
} from "../wire/task-record.js";
import type { Host } from "./host.js";
import type { Peer } from "./peers.js";

/** Bytes of one list. */
const LIST_BYTES_MAX = 32 * 1024;
/** Who is not told in this turn may ask again then. */
const RETRY_AFTER_MS = 10;

/**
 * Answers what is asked of dead letters. A list is hundreds of times larger than what asks for it: each peer is told
 * one in a turn of the event loop, and what it asked beside that is refused.
 */
export class DeadLetters {
  readonly #host: Host;
  readonly #tasks: Tasks;
  /** Who was told a list in this turn. By where it is, which a new HELLO does not change. */
  readonly #told = new Set<string>();
  #turn: NodeJS.Immediate | undefined;

  constructor(host: Host, tasks: Tasks) {
    this.#host = host;
    this.#tasks = tasks;
  }

  /** Whether some are to be tried anew. */
  answer(peer: Peer, record: DeadLettersAskedRecord): boolean {
    const { action, count, skip, queue } = record;
    const denial = peer.access?.denial("administer", queue);
    if (denial !== undefined) {
      this.#tell(peer, record, { status: Status.PERMISSION_DENIED, reason: denial });
      return false;
    }
    if (action === DeadAction.RETRY) {
      const { nowMs } = this.#host.delivery;
      const retried = this.#tasks.retryDead(queue, count || Infinity, nowMs);
      this.#tell(peer, record, { count: retried });
      return retried > 0;
    }
    if (!this.#mayList(peer)) {
      const reason = "a list of dead letters was told just now";
      const status = Status.RESOURCE_EXHAUSTED;
      this.#tell(peer, record, { status, reason, retryAfterMs: RETRY_AFTER_MS });
      return false;
    }
    const countMax = Math.min(count || Infinity, DEAD_LIST_MAX);
    const entries = this.#list(queue, countMax, skip);
    this.#tell(peer, record, { count: entries.length, entries });
    return false;
  }

  #mayList({ routingId }: Peer): boolean {
    const who = routingId.toString("latin1");
    if (this.#told.has(who)) return false;
    this.#told.add(who);
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#told.clear();
    });
    return true;
  }

  #list(queue: string, countMax: number, skip: number): DeadLetterEntry[] {
    const entries: DeadLetterEntry[] = [];
    let size = DEAD_LETTERS_SIZE;
    for (const task of this.#tasks.deadLetters(queue, countMax, skip)) {
      size += DEAD_LETTER_SIZE + reasonOf(task.reason).length;
      if (size > LIST_BYTES_MAX) break;
      entries.push(this.#entryOf(task));
    }
    return entries;
  }

  #entryOf({ pushed, failedCount, status, reason, dueMs }: Task): DeadLetterEntry {
    const { sessionLow, sessionHigh, sequence, priority, bytes } = pushed;
    const deadForMs = this.#host.delivery.nowMs - dueMs;
    const id = { sessionLow, sessionHigh, sequence };
    return { ...id, attempts: failedCount, status, priority, bytes, deadForMs, reason };
  }

  #tell(peer: Peer, { sequence, queue }: DeadLettersAskedRecord, said: Partial<Said>): void {
    const { sessionLow, sessionHigh, outbox } = peer;
    const id = { sessionLow, sessionHigh, sequence, slot: 0, generation: 0 };
    const isDenied = said.status === Status.PERMISSION_DENIED;
    const total = isDenied ? 0 : (this.#tasks.queues.get(queue)?.dead.size ?? 0);
    const { status, ...answer } = { ...NOTHING_SAID, ...said };
    writeDeadLetters(outbox.writer, id, status, { ...answer, total });
    peer.wrote();
  }

  close(): void {
    clearImmediate(this.#turn);
  }
}

interface Said {
  status: StatusCode;
  reason: string;
  retryAfterMs: number;
  count: number;
  entries: readonly DeadLetterEntry[];
}

const NOTHING_SAID: Said = {
  status: Status.OK,
  reason: "",
  retryAfterMs: 0,
  count: 0,
  entries: [],
};
