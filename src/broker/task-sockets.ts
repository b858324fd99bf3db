import { setTimeout as after, setImmediate } from "node:timers/promises";
import { Pull, Push } from "zeromq";
import { Status } from "../base/status.js";
import { PRIORITY_DEFAULT } from "../core/limits.js";
import { BatchWriter } from "../wire/batch.js";
import { DEFAULT_QUEUE, Flag, Kind } from "../wire/layout.js";
import { bytesOf, writeRequest } from "../wire/request-record.js";
import { queueService } from "../wire/text.js";
import { claimPath, listenError, parseEndpoint } from "../zmtp/endpoint.js";
import type { Host, Pattern } from "./host.js";
import type { Peer } from "./peers.js";
import type { PlainWorker } from "./plain-worker.js";
import { heldIn } from "./raw-records.js";
import type { TaskPattern } from "./task-pattern.js";

const FRAMES_MAX = 255;
const MESSAGES_PER_TURN = 64;
/** Messages that ZeroMQ may hold for us, and for each PULL, beside what the network does. */
const READ_AHEAD = 64;
const SEND_AHEAD = 1;
/** How often a full queue is looked at again. */
const FULL_MS = 10;
/** A task that no PULL took for so long goes to whom it can. */
const SEND_TIMEOUT_MS = 1000;
/** What they push is theirs alone, whatever ids clients choose. No key, which has 40 characters. */
const OWNER = "plain";
const NO_BYTES = new Uint8Array(0);

/** Where plain PUSH and PULL sockets join. */
export interface TaskEndpoints {
  push?: string;
  pull?: string;
}

/**
 * Plain PUSH and PULL sockets (PROTOCOL 7.6): what the one pushes are tasks of the queue `default`, and
 * the others, all together, a worker of that queue that has one task at a time until ZeroMQ has taken it.
 */
export class TaskSockets implements Pattern {
  readonly kinds = new Map();
  readonly needsTick = false;
  /** Where they listen, with the real ports. */
  push: string | undefined;
  pull: string | undefined;
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  readonly #intake: Pull | undefined;
  readonly #outlet: Outlet | undefined;
  #sequence = 0;
  #isClosed = false;

  private constructor(
    host: Host,
    pattern: TaskPattern,
    { push, pull }: TaskEndpoints,
    maxMessageSize: number,
  ) {
    this.#host = host;
    this.#pattern = pattern;
    // No heartbeats: with a mark, libzmq 4.3.5 may abort when one is due and the peer is gone.
    if (push !== undefined) {
      this.#intake = new Pull({ linger: 0, receiveHighWaterMark: READ_AHEAD, maxMessageSize });
    }
    if (pull !== undefined) this.#outlet = new Outlet(host, pattern);
  }

  /** Rejects with an Error of one line that names the endpoint when one cannot be had. */
  static async listen(
    host: Host,
    pattern: TaskPattern,
    endpoints: TaskEndpoints,
    maxMessageSize: number,
  ): Promise<TaskSockets> {
    const sockets = new TaskSockets(host, pattern, endpoints, maxMessageSize);
    try {
      const { push, pull } = endpoints;
      if (push !== undefined) sockets.push = await bind("push", sockets.#intake as Pull, push);
      if (pull !== undefined) {
        const outlet = sockets.#outlet as Outlet;
        void outlet.watch();
        sockets.pull = await bind("pull", outlet.socket, pull);
      }
    } catch (error) {
      sockets.close();
      throw error;
    }
    if (sockets.#intake !== undefined) void sockets.#read(sockets.#intake);
    return sockets;
  }

  /** Each message is a task. What there is no room for is not read: PUSH sockets then wait. */
  async #read(socket: Pull): Promise<void> {
    let count = 0;
    try {
      for (;;) {
        const frames = await socket.receive();
        const size = frames.reduce((sum, { length }) => sum + length, 0);
        if (frames.length > FRAMES_MAX || size > this.#host.limits.recordBytesMax) {
          // Nobody can be told.
          this.#host.faults.malformed++;
          continue;
        }
        while (!this.#isClosed && this.#pattern.tasks.isFull(DEFAULT_QUEUE, size + FRAMES_MAX)) {
          await after(FULL_MS);
        }
        if (this.#isClosed || this.#host.isShuttingDown) return;
        this.#take(frames);
        if (++count % MESSAGES_PER_TURN === 0) await setImmediate();
      }
    } catch {
      // Closed.
    }
  }

  #take(frames: Buffer[]): void {
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

  onRecord(): void {}

  onLeave(): void {}

  onTick(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#intake?.close();
    this.#outlet?.close();
  }
}

/** The PULL sockets, as one worker of one task at a time, while there are any. */
class Outlet implements PlainWorker {
  readonly id = 0;
  readonly access = undefined;
  readonly socket = new Push({
    linger: 500,
    sendHighWaterMark: SEND_AHEAD,
    sendTimeout: SEND_TIMEOUT_MS,
  });
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  #peer: Peer | undefined;
  /** Connections, and those of them that are of PULL sockets: at least so many of them as there are. */
  #openCount = 0;
  #pullCount = 0;
  #isSending = false;
  #isClosed = false;

  constructor(host: Host, pattern: TaskPattern) {
    this.#host = host;
    this.#pattern = pattern;
  }

  async watch(): Promise<void> {
    try {
      for await (const event of this.socket.events) {
        // A disconnect does not say whose: of those that never said what they are, as port scans, there is one too.
        // So as many are PULL sockets as said so, or as are left.
        if (event.type === "accept") this.#openCount++;
        else if (event.type === "handshake") this.#pullCount++;
        else if (event.type === "disconnect") this.#openCount--;
        else continue;
        this.#pullCount = Math.min(this.#pullCount, this.#openCount);
        this.#enterOrLeave();
      }
    } catch {
      // The monitor ends with its socket.
    }
  }

  #enterOrLeave(): void {
    const isThere = this.#pullCount > 0 && !this.#isClosed;
    if (isThere === (this.#peer !== undefined)) return;
    // What is being sent may still go to one that comes: it is waited for.
    if (!isThere && this.#isSending) return;
    this.#host.begin();
    if (this.#peer !== undefined) {
      const peer = this.#peer;
      this.#peer = undefined;
      this.#host.leave(peer);
    } else {
      this.#peer = this.#host.peers.addPlainWorker(this);
      const services = [queueService(DEFAULT_QUEUE)];
      const { index: peer } = this.#peer;
      const rest = { concurrency: 1, services, lookAhead: false };
      this.#host.step({ kind: "join-worker", peer, ...rest });
      this.#pattern.onWorker();
    }
    this.#host.onTurn();
  }

  send(parts: Uint8Array[]): void {
    this.#isSending = true;
    void this.#send(parts, this.#peer as Peer);
  }

  async #send(parts: Uint8Array[], { index: peer, slot, generation }: Peer): Promise<void> {
    let isTaken = true;
    try {
      await this.socket.send(parts);
    } catch {
      isTaken = false;
    }
    this.#isSending = false;
    if (this.#isClosed) return;
    this.#host.begin();
    if (isTaken) {
      this.#host.step({ kind: "reply", peer, slot, generation });
    } else {
      const status = Status.UNAVAILABLE;
      const rest = { status, reason: "no PULL socket took it", retryAfterMs: 0, untouched: true };
      this.#host.step({ kind: "failure", peer, slot, generation, ...rest });
    }
    this.#enterOrLeave();
    this.#host.onTurn();
  }

  close(): void {
    this.#isClosed = true;
    this.socket.close();
  }
}

async function bind(name: string, socket: Pull | Push, endpoint: string): Promise<string> {
  const parsed = parseEndpoint(name, endpoint);
  try {
    if (parsed.kind === "ipc") await claimPath(parsed.path);
    // libzmq knows a port of its choice by a star.
    await socket.bind(endpoint.replace(/:0$/, ":*"));
  } catch (error) {
    throw listenError(endpoint, error);
  }
  return socket.lastEndpoint ?? endpoint;
}
