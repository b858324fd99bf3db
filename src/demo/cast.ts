import type { FromBroker, FromWorker, ToBroker, ToWorker } from "./messages.js";
import { Party } from "./party.js";

/** A process of the story could not do its part. `code` is the system's, where it has one. */
export class CastError extends Error {
  constructor(
    message: string,
    readonly code?: string,
  ) {
    super(message);
  }
}

const REPORT_TIMEOUT_MS = 5000;

/** The broker's process. */
export class BrokerParty {
  readonly #party: Party<ToBroker, FromBroker>;
  readonly #heard = new Map<FromBroker["kind"], (message: FromBroker) => void>();

  constructor() {
    this.#party = new Party("./broker.js", (message) => this.#heard.get(message.kind)?.(message));
  }

  get pid(): number {
    return this.#party.pid;
  }

  get gone(): Promise<string> {
    return this.#party.gone;
  }

  /** Resolves with the endpoints when it listens. @throws CastError */
  async listen(frontend: string, backend: string) {
    this.#party.tell({ kind: "listen", frontend, backend });
    return this.#hear("listening");
  }

  /** Resolves with the time from which it has fewer than `workers`. @throws CastError */
  async noticeOfLoss(workers: number): Promise<number> {
    this.#party.tell({ kind: "watch", workers });
    return (await this.#hear("worker-lost")).atMs;
  }

  /** @throws CastError */
  async redelivered(): Promise<number> {
    this.#party.tell({ kind: "report" });
    return (await this.#hear("report", REPORT_TIMEOUT_MS)).redelivered;
  }

  kill(): void {
    this.#party.kill();
  }

  /** Resolves when it is gone, with whether it left by itself. */
  leave(timeoutMs: number): Promise<boolean> {
    return letGo(this.#party, timeoutMs);
  }

  #hear<Kind extends FromBroker["kind"]>(
    kind: Kind,
    timeoutMs?: number,
  ): Promise<Extract<FromBroker, { kind: Kind }>> {
    return new Promise((resolve, reject) => {
      const isLate = () => reject(new CastError(`the broker said nothing for ${timeoutMs} ms`));
      const timer = timeoutMs === undefined ? undefined : setTimeout(isLate, timeoutMs);
      this.#heard.set(kind, (message) => {
        clearTimeout(timer);
        resolve(message as Extract<FromBroker, { kind: Kind }>);
      });
      this.#heard.set("failed", (message) => {
        if (message.kind === "failed") reject(new CastError(message.reason, message.code));
      });
      void this.gone.then((how) => reject(new CastError(`the broker is gone: ${how}`)));
    });
  }
}

/** A worker's process, and which of the story's requests it has begun and not ended. */
export class WorkerParty {
  readonly inWork = new Set<number>();
  /** What happened to it, for the table. */
  note = "";
  /** Resolves, when the broker has taken it on, with when that was, by clockMs(). */
  readonly joined: Promise<number>;
  readonly #party: Party<ToWorker, FromWorker>;

  constructor(
    readonly name: string,
    serve: Omit<Extract<ToWorker, { kind: "serve" }>, "kind" | "name">,
    onWork: (kind: "begun" | "ended", number: number) => void,
  ) {
    let joined: (atMs: number) => void;
    let failed: (error: Error) => void;
    this.joined = new Promise<number>((resolve, reject) => {
      joined = resolve;
      failed = reject;
    });
    // Whoever waits for it is told; nobody need wait.
    this.joined.catch(() => {});
    this.#party = new Party<ToWorker, FromWorker>("./worker.js", (message) => {
      switch (message.kind) {
        case "joined":
          return joined(message.atMs);
        case "failed":
          return failed(new CastError(`worker ${name}: ${message.reason}`, message.code));
        case "begun":
          this.inWork.add(message.number);
          return onWork("begun", message.number);
        case "ended":
          this.inWork.delete(message.number);
          return onWork("ended", message.number);
        default:
          message satisfies never;
      }
    });
    void this.gone.then((how) => failed(new CastError(`worker ${name} is gone: ${how}`)));
    this.#party.tell({ kind: "serve", name, ...serve });
  }

  get pid(): number {
    return this.#party.pid;
  }

  get gone(): Promise<string> {
    return this.#party.gone;
  }

  get isGone(): boolean {
    return this.#party.isGone;
  }

  kill(): void {
    this.#party.kill();
  }

  /** Resolves when it is gone, with whether it left by itself. */
  leave(timeoutMs: number): Promise<boolean> {
    return letGo(this.#party, timeoutMs);
  }
}

/** Asks it to leave, and ends it where it does not; resolves, when it is gone, with which. */
async function letGo(party: Party<never, never>, timeoutMs: number): Promise<boolean> {
  let didLeave = true;
  party.tell({ kind: "leave" });
  const timer = setTimeout(() => {
    didLeave = false;
    party.kill();
  }, timeoutMs);
  await party.gone;
  clearTimeout(timer);
  return didLeave;
}
