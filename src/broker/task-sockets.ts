import { Pull, Push } from "zeromq";
import { Reading } from "../link/reading.js";
import { DEFAULT_QUEUE } from "../wire/layout.js";
import { claimPath, listenError, parseEndpoint } from "../zmtp/endpoint.js";
import type { CurveGate } from "./curve-gate.js";
import type { Host, Pattern } from "./host.js";
import { TaskIntake } from "./task-intake.js";
import { outletOptions, PullOutlet, SharedOutlet } from "./task-outlet.js";
import type { TaskPattern } from "./task-pattern.js";

/** Messages of a PUSH that ZeroMQ may hold for us, beside what the network does. */
const READ_AHEAD = 64;
/** Of a PULL, which says nothing behind its handshake: CURVE's INITIATE with a long routing id is 544 bytes. */
const PULL_BYTES_MAX = 768;

/** Where plain PUSH and PULL sockets join. */
export interface TaskSocketOptions {
  push?: string;
  pull?: string;
  messageBytesMax: number;
  handshakeTimeoutMs: number;
  /** Under CURVE, where each connection has a socket of its own. */
  gate?: CurveGate;
}

/**
 * Plain PUSH and PULL sockets (PROTOCOL 7.6): what the one pushes are tasks of the queue `default`, and
 * the others workers of that queue, all together one, or under CURVE, where each has a key, each for itself.
 */
export class TaskSockets implements Pattern {
  readonly kinds = new Map();
  readonly needsTick = false;
  /** Where they listen, with the real ports. */
  push: string | undefined;
  pull: string | undefined;
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  readonly #options: TaskSocketOptions;
  readonly #intake: TaskIntake;
  /** Without CURVE. */
  #puller: Pull | undefined;
  #outlet: SharedOutlet | undefined;
  /** Under CURVE. */
  readonly #outlets = new Set<PullOutlet>();
  #isClosed = false;

  private constructor(host: Host, pattern: TaskPattern, options: TaskSocketOptions) {
    this.#host = host;
    this.#pattern = pattern;
    this.#options = options;
    this.#intake = new TaskIntake(host, pattern);
  }

  /** Rejects with an Error of one line that names the endpoint when one cannot be had. */
  static async listen(
    host: Host,
    pattern: TaskPattern,
    options: TaskSocketOptions,
  ): Promise<TaskSockets> {
    const sockets = new TaskSockets(host, pattern, options);
    try {
      if (options.gate !== undefined) await sockets.#listenAt(options.gate);
      else await sockets.#bind();
    } catch (error) {
      sockets.close();
      throw error;
    }
    return sockets;
  }

  get #pullOptions() {
    // No heartbeats: with a mark, libzmq 4.3.5 may abort when one is due and the peer is gone.
    return {
      linger: 0,
      receiveHighWaterMark: READ_AHEAD,
      maxMessageSize: this.#options.messageBytesMax,
    };
  }

  /** One socket for all PUSH sockets, and one for all PULL sockets. */
  async #bind(): Promise<void> {
    const { push, pull } = this.#options;
    if (push !== undefined) {
      this.#puller = new Pull(this.#pullOptions);
      this.push = await bind("push", this.#puller, push);
      void this.#intake.read(this.#puller, new Reading());
    }
    if (pull !== undefined) {
      this.#outlet = new SharedOutlet(this.#host, this.#pattern);
      void this.#outlet.watch();
      this.pull = await bind("pull", this.#outlet.socket, pull);
    }
  }

  /** A socket for each, let in if its key may push to, or pull from, the queue. */
  async #listenAt(gate: CurveGate): Promise<void> {
    const { push, pull, handshakeTimeoutMs: handshakeInterval } = this.#options;
    // A PUSH waits as long as the queue is full, a PULL as long as its program does.
    const common = { isPatient: true };
    if (push !== undefined) {
      this.push = await gate.listenFor<Pull>(push, {
        ...common,
        right: { action: "push", what: DEFAULT_QUEUE },
        makeSocket: (security) => {
          return new Pull({ ...this.#pullOptions, handshakeInterval, ...security });
        },
        onOpen: (channel) => {
          const reading = new Reading();
          void this.#intake.read(channel.socket, reading);
          // What it had sent is still taken.
          return { onPeerGone: () => reading.onDry(() => channel.close()) };
        },
      });
    }
    if (pull !== undefined) {
      const limits = { maxMessageSize: PULL_BYTES_MAX, handshakeInterval };
      this.pull = await gate.listenFor<Push>(pull, {
        ...common,
        right: { action: "pull", what: DEFAULT_QUEUE },
        makeSocket: (security) => new Push({ ...outletOptions, ...limits, ...security }),
        onOpen: (channel) => {
          const outlet = new PullOutlet(channel, this.#host, this.#pattern);
          this.#outlets.add(outlet);
          const onPeerGone = () => {
            this.#outlets.delete(outlet);
            outlet.close();
          };
          return { onPeerGone };
        },
      });
    }
  }

  onRecord(): void {}

  onLeave(): void {}

  onTick(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#intake.close();
    this.#puller?.close();
    this.#outlet?.close();
    for (const outlet of this.#outlets) outlet.end();
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
