import { setImmediate } from "node:timers/promises";
import type { Pull } from "zeromq";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import type { Reading } from "../link/reading.js";
import { BatchWriter } from "../wire/batch.js";
import { DEFAULT_QUEUE, Flag, Kind } from "../wire/layout.js";
import { bytesOf, writeRequest } from "../wire/request-record.js";
import type { Host } from "./host.js";
import { heldIn } from "./raw-records.js";
import type { TaskPattern } from "./task-pattern.js";

const FRAMES_MAX = 255;
/** Of each socket in a row; under CURVE there may be many. */
const MESSAGES_PER_TURN = 16;
/** How often a full queue is looked at again. */
const FULL_MS = 10;
/** What they push is theirs alone, whatever ids clients choose. No key, which has 40 characters. */
const OWNER = "plain";
const NO_BYTES = new Uint8Array(0);

/** A message that there was no room for. */
interface Waiting {
  readonly bytes: number;
  go(): void;
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
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(host: Host, pattern: TaskPattern) {
    this.#host = host;
    this.#pattern = pattern;
  }

  /** Takes what comes in at `socket`, until that is closed. */
  async read(socket: Pull, reading: Reading): Promise<void> {
    for (let count = 1; !this.#isClosed; count++) {
      let frames: Buffer[];
      reading.begin();
      try {
        frames = await socket.receive();
      } catch {
        return; // Closed.
      }
      reading.end();
      const size = frames.reduce((sum, { length }) => sum + length, 0);
      if (frames.length > FRAMES_MAX || size > this.#host.limits.recordBytesMax) {
        // Nobody can be told.
        this.#host.faults.malformed++;
      } else {
        await this.#untilRoom(size + FRAMES_MAX, () => {
          // One whose key was taken out meanwhile may push no more.
          if (!this.#isClosed && !socket.closed) this.#take(frames);
        });
      }
      if (this.#host.isShuttingDown) return;
      if (count % MESSAGES_PER_TURN === 0) await setImmediate();
    }
  }

  /** Calls `take` as soon as the queue has room for so many bytes. */
  #untilRoom(bytes: number, take: () => void): Promise<void> | undefined {
    if (this.#waiting.length === 0 && !this.#pattern.tasks.isFull(DEFAULT_QUEUE, bytes)) {
      take();
      return;
    }
    return new Promise((resolve) => {
      const go = () => {
        take();
        resolve();
      };
      this.#waiting.push({ bytes, go });
      this.#timer ??= setTimeout(this.#look, FULL_MS);
    });
  }

  #look = (): void => {
    this.#timer = undefined;
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#pattern.tasks.isFull(DEFAULT_QUEUE, first.bytes)) break;
      this.#waiting.shift();
      first.go();
    }
    if (this.#waiting.length > 0) this.#timer = setTimeout(this.#look, FULL_MS);
  };

  #take(frames: Buffer[]): void {
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
  }

  /** Those that wait are let go, with what they have in hand. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { go } of this.#waiting.splice(0)) go();
  }
}
