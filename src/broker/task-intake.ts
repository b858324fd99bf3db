import { outgoing } from "../base/blocks.js";
import { Fifo } from "../base/fifo.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { BatchWriter } from "../wire/batch.js";
import { DEFAULT_QUEUE, Flag, Kind } from "../wire/layout.js";
import { bytesOf, writeRequest } from "../wire/request-record.js";
import type { Connection } from "../zmtp/connection.js";
import { ownFrames } from "./bodies.js";
import type { Host } from "./host.js";
import { bodyFault, heldIn } from "./raw-records.js";
import type { TaskPattern } from "./task-pattern.js";

/** Beside a body, what its record may have. */
const RECORD_BYTES = 255;
/** How often a full queue is looked at again. */
const FULL_MS = 10;
/** What they push is theirs alone, whatever ids clients choose. No key, which has 40 characters. */
const OWNER = "plain";
const NO_BYTES = new Uint8Array(0);

/** A message that there was no room for, and the connection that is not read on until there is. */
interface Waiting {
  readonly connection: Connection;
  readonly frames: readonly Uint8Array[];
  readonly bytes: number;
}

/**
 * What PUSH sockets send: each message is a task of the queue `default`. What there is no room for waits,
 * one message of each socket, and the socket is not read on: PUSH sockets then wait.
 */
export class TaskIntake {
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  #sequence = 0;
  /** First come, first served; of all sockets, however many, looked at by one timer. */
  readonly #waiting = new Fifo<Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(host: Host, pattern: TaskPattern) {
    this.#host = host;
    this.#pattern = pattern;
  }

  /** Takes what came over `connection`. */
  onMessage(connection: Connection, frames: readonly Uint8Array[]): void {
    // What was not read yet is the PUSH's own still, which can send it elsewhere.
    if (this.#isClosed || this.#host.isShuttingDown) return connection.pause();
    const bytes = bytesOf({ size: RECORD_BYTES, frames });
    // What there never is room for must hold up nobody.
    if (bodyFault(frames, this.#host.limits) !== undefined || !this.#pattern.tasks.fits(bytes)) {
      // Nobody can be told.
      this.#host.faults.malformed++;
      return;
    }
    if (this.#waiting.count === 0 && this.#hasRoom(bytes)) return this.#take(frames);
    connection.pause();
    this.#waiting.push({ connection, frames: ownFrames(frames), bytes });
    this.#timer ??= setTimeout(this.#look, FULL_MS);
  }

  #hasRoom(bytes: number): boolean {
    return !this.#pattern.tasks.isFull(DEFAULT_QUEUE, bytes, OWNER);
  }

  #look = (): void => {
    this.#timer = undefined;
    for (let first = this.#waiting.peek(); first !== undefined; first = this.#waiting.peek()) {
      const { connection, frames, bytes } = first;
      // One whose key was taken out meanwhile may push no more.
      if (!connection.isEnded && !this.#hasRoom(bytes)) break;
      this.#waiting.shift();
      if (connection.isEnded) continue;
      this.#take(frames);
      connection.resume();
    }
    if (this.#waiting.count > 0) this.#timer ??= setTimeout(this.#look, FULL_MS);
  };

  #take(frames: readonly Uint8Array[]): void {
    if (this.#host.isShuttingDown) return;
    const writer = new BatchWriter();
    const { brokerLow: sessionLow, brokerHigh: sessionHigh } = this.#host.brokerId;
    const sequence = ++this.#sequence;
    const id = { sessionLow, sessionHigh, sequence, slot: 0, generation: 0 };
    const fields = {
      priority: PRIORITY_DEFAULT,
      attempts: 0,
      timeoutMs: 0,
      flags: Flag.RAW,
      service: Buffer.from(DEFAULT_QUEUE),
      headers: NO_BYTES,
    };
    writeRequest(writer, id, fields, frames, Kind.PUSH);
    const held = heldIn(writer, frames);
    this.#host.begin();
    const rest = { priority: PRIORITY_DEFAULT, attempts: 0, timeoutMs: 0, bytes: bytesOf(held) };
    this.#pattern.push(-1, { ...id, ...rest, service: DEFAULT_QUEUE, held }, OWNER);
    // It was copied.
    outgoing.giveBack(held.bytes);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }
}
