import { DEFAULT_QUEUE } from "../wire/layout.js";
import { Acceptor, type AcceptorOptions } from "./acceptor.js";
import type { Arrival } from "./arrival.js";
import type { Host, Pattern } from "./host.js";
import { TaskIntake } from "./task-intake.js";
import { PullOutlet, Settling } from "./task-outlet.js";
import type { TaskPattern } from "./task-pattern.js";

const PULL = { roles: { PUSH: "PULL" }, advice: "PUSH" };
const PUSH = { roles: { PULL: "PUSH" }, advice: "PULL" };
/** Of a PULL, which has nothing to say. */
const PULL_BYTES_MAX = 768;

/** Where plain PUSH and PULL sockets join. */
export interface TaskSocketOptions extends AcceptorOptions {
  push?: string;
  pull?: string;
}

/**
 * Plain PUSH and PULL sockets (PROTOCOL 7.6): what the one pushes are tasks of the queue `default`, and
 * each of the others is a worker of that queue.
 */
export class TaskSockets implements Pattern {
  readonly kinds = new Map();
  readonly needsTick = false;
  /** Where they listen, with the real ports; and how peers come in. */
  push: string | undefined;
  pull: string | undefined;
  readonly acceptors: readonly Acceptor[];
  readonly #host: Host;
  readonly #pattern: TaskPattern;
  readonly #intake: TaskIntake;
  readonly #settling: Settling;
  readonly #outlets = new Set<PullOutlet>();
  #isClosed = false;

  private constructor(host: Host, pattern: TaskPattern, options: TaskSocketOptions) {
    this.#host = host;
    this.#pattern = pattern;
    this.#intake = new TaskIntake(host, pattern);
    this.#settling = new Settling(host);
    // A PUSH waits as long as the queue is full, a PULL as long as its program does.
    const common = { ...options, isPatient: true };
    const forPush = { ...common, right: { action: "push", what: DEFAULT_QUEUE } } as const;
    const right = { action: "pull", what: DEFAULT_QUEUE } as const;
    const forPull = { ...common, right, messageBytesMax: PULL_BYTES_MAX };
    const onTurn = () => host.onTurn();
    this.acceptors = [
      new Acceptor(PULL, forPush, { onArrival: (arrival) => this.#addPush(arrival), onTurn }),
      new Acceptor(PUSH, forPull, { onArrival: (arrival) => this.#addPull(arrival), onTurn }),
    ];
  }

  /** Rejects with an Error of one line that names the endpoint when one cannot be had. */
  static async listen(
    host: Host,
    pattern: TaskPattern,
    options: TaskSocketOptions,
  ): Promise<TaskSockets> {
    const sockets = new TaskSockets(host, pattern, options);
    const [forPush, forPull] = sockets.acceptors;
    const { push, pull } = options;
    try {
      if (push !== undefined) sockets.push = await forPush.listen(push);
      if (pull !== undefined) sockets.pull = await forPull.listen(pull);
    } catch (error) {
      await sockets.end(0);
      throw error;
    }
    return sockets;
  }

  #addPush(arrival: Arrival): void {
    const connection = arrival.connect({
      onMessage: (frames) => this.#intake.onMessage(connection, frames),
      onGone: () => {},
    });
    arrival.begin();
  }

  #addPull(arrival: Arrival): void {
    const outlet = new PullOutlet(arrival.access, this.#host, this.#pattern, this.#settling);
    const connection = arrival.connect({
      onMessage: () => {},
      onDrained: () => {
        if (!this.#isClosed) outlet.onDrained();
      },
      onGone: () => {
        this.#outlets.delete(outlet);
        if (!this.#isClosed) outlet.onGone();
      },
    });
    this.#outlets.add(outlet);
    arrival.begin();
    outlet.attach(connection);
  }

  onRecord(): void {}

  onLeave(): void {}

  onTick(): void {}

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#intake.close();
    this.#settling.close();
    for (const outlet of this.#outlets) outlet.end();
  }

  /** Ends every connection; what was sent before still goes out, for at most `lingerMs`. */
  async end(lingerMs: number): Promise<void> {
    this.close();
    await Promise.all(this.acceptors.map((acceptor) => acceptor.end(lingerMs)));
  }
}
