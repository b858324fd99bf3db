import { RequestError } from "../base/errors.js";
import { Status, type StatusName, statusName } from "../base/status.js";
import { BatchReader } from "../wire/batch.js";
import { Kind } from "../wire/layout.js";
import {
  type Hello,
  readError,
  readWelcome,
  type Welcome,
  writeBye,
  writeHello,
} from "../wire/session-record.js";
import { Link, type LinkOptions } from "./link.js";

/** A connection to a broker was gained or lost. */
export interface ConnectionEvent {
  endpoint: string;
  state: "up" | "down";
  reason: string;
}

/** What it says of itself; the connection knows the rest. */
export type Greeting = Omit<Hello, "isOneThread">;

/** What a client or a worker makes of one broker. */
export interface MembershipEvents {
  /** What to say on a new connection; undefined when it is not to be used any more. */
  hello(): Greeting | undefined;
  onWelcome(welcome: Welcome): void;
  /** A record other than WELCOME and ERROR. */
  onRecord(reader: BatchReader): void;
  /** The records of one message are done. */
  onTurn(): void;
  /** The link is not behind any more. */
  onCaughtUp?(): void;
  /** The connection is lost; whether it had been welcome is still to be seen. */
  onDown(reason: string): void;
  /** Told to the user, after the step that it belongs to. */
  onConnection: ((event: ConnectionEvent) => void) | undefined;
}

/**
 * Why none of these brokers took it: UNAUTHENTICATED or PERMISSION_DENIED where all say that, else
 * UNAVAILABLE; each endpoint with its own reason.
 */
export function notTaken(memberships: readonly Membership[]): RequestError {
  const refusals = new Set(memberships.map(({ refusal }) => refusal));
  const [only] = refusals;
  const tried = memberships.map(({ link, lastReason }) => `${link.endpoint} ${lastReason}`);
  const code = refusals.size === 1 && only !== undefined ? only : "UNAVAILABLE";
  return new RequestError(code, `no broker took it: ${tried.join(", ")}`);
}

/** Being known to one broker: HELLO on each connection, until WELCOME or an ERROR comes back. */
export class Membership {
  readonly link: Link;
  isWelcome = false;
  /** Why there is no connection, or was none the last time. */
  lastReason = "did not answer";
  readonly #events: MembershipEvents;
  readonly #reader = new BatchReader();

  constructor(options: LinkOptions, events: MembershipEvents) {
    this.#events = events;
    this.link = new Link(options, {
      onOpen: () => this.#onOpen(),
      onMessage: (frames) => this.#onMessage(frames),
      onCaughtUp: () => this.#events.onCaughtUp?.(),
      onDown: (reason) => this.#onDown(reason),
    });
  }

  /** The status in `lastReason` where the broker will not have us. */
  get refusal(): StatusName | undefined {
    const [, status] = /^(UNAUTHENTICATED|PERMISSION_DENIED): /.exec(this.lastReason) ?? [];
    return status as StatusName | undefined;
  }

  /** Says BYE and closes; what is written still goes out. */
  async leave(): Promise<void> {
    if (this.link.isOpen) writeBye(this.link.writer);
    await this.link.close(200);
  }

  #onOpen(): void {
    const hello = this.#events.hello();
    if (hello === undefined) return;
    writeHello(this.link.writer, { ...hello, isOneThread: true });
    this.link.flush();
  }

  #onMessage(frames: Buffer[]): void {
    const reader = this.#reader;
    reader.open(frames, 0);
    // What stands behind an ERROR that ends the connection is not meant for the next one.
    while (this.link.isOpen && reader.next()) {
      if (reader.kind === Kind.WELCOME) this.#onWelcome();
      else if (reader.kind === Kind.ERROR) this.#onError();
      // It asks for nothing; passed over as unknown, it would hide what stands behind it.
      else if (reader.kind !== Kind.PING) this.#events.onRecord(reader);
    }
    reader.close();
    if (reader.fault !== undefined) this.link.reset(`broker sent nonsense: ${reader.reason}`);
    else this.#events.onTurn();
  }

  #onWelcome(): void {
    const welcome = readWelcome(this.#reader);
    if (typeof welcome === "string" || this.isWelcome) return;
    this.isWelcome = true;
    this.link.welcomed(welcome.recordMax);
    this.#events.onWelcome(welcome);
    this.#tell("up", "welcome");
  }

  #onError(): void {
    const error = readError(this.#reader);
    if (typeof error === "string") return;
    const what = `${statusName(error.status)}: ${error.reason}`;
    this.lastReason = what;
    // It does not know this connection, or will have none of it: begin again.
    if (error.status === Status.UNAUTHENTICATED || !this.isWelcome) this.link.reset(what);
  }

  #onDown(reason: string): void {
    this.lastReason = reason;
    const wasWelcome = this.isWelcome;
    this.isWelcome = false;
    this.#events.onDown(reason);
    if (wasWelcome) this.#tell("down", reason);
  }

  #tell(state: "up" | "down", reason: string): void {
    const { onConnection } = this.#events;
    if (onConnection === undefined) return;
    const { endpoint } = this.link;
    // Later, and alone: what a listener throws must not end the connection.
    queueMicrotask(() => onConnection({ endpoint, state, reason }));
  }
}
