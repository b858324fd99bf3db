// One connected REP socket, of ZMTP 2.0, and the DEALER that is its only correspondent.
import { Context, Dealer } from "zeromq";
import type { Access } from "../base/access.js";
import { PlainDialogue, type PlainFault } from "./plain-dialogue.js";

export type { PlainFault } from "./plain-dialogue.js";

/** An unmodified REP socket: one request at a time, its reply before the next. */
export interface PlainWorker {
  readonly id: number;
  /** What its key may do; undefined where everything is allowed, since nobody shows a key. */
  readonly access: Access | undefined;
  /**
   * Sends one request; asserts that none is outstanding. Parts above 128 bytes are not copied and
   * must not be changed afterwards. Does nothing once the worker is going: `onPlainGone` follows.
   */
  send(parts: Uint8Array[]): void;
  /** Drops the worker; `onPlainGone` follows. A reply still on its way is not delivered. */
  close(): void;
}

export interface PlainDealerOptions {
  id: number;
  endpoint: string; // Private: whoever connects to it is taken for the worker.
  heartbeatIntervalMs: number;
  heartbeatTimeoutMs: number;
  maxMessageSize: number;
  onReply(parts: Buffer[]): void;
  onFault(fault: PlainFault): void; // The peer broke the REQ-REP pattern; the worker is closed.
  onClosed(): void; // Exactly once, after the last reply.
}

// One request out and one reply in is all that the pattern allows; one more shows its breach.
const highWaterMark = 2;

const socketCountMax = 65_535;

let sharedContext: Context | undefined;

/** A context apart: the global one holds 1023 sockets, for all that the process does. */
function plainContext(): Context {
  sharedContext ??= new Context({ maxSockets: socketCountMax });
  return sharedContext;
}

export class PlainDealer implements PlainWorker {
  readonly id: number;
  readonly access = undefined;
  readonly endpoint: string;
  #options: PlainDealerOptions;
  #dealer: Dealer;
  #state: "open" | "finishing" | "closed" = "open";
  readonly #dialogue: PlainDialogue;

  /** Binds at once; throws what ZeroMQ throws (too many files, a bad endpoint). */
  constructor(options: PlainDealerOptions) {
    this.id = options.id;
    this.#options = options;
    this.#dialogue = new PlainDialogue(options.id);
    this.#dealer = new Dealer({
      context: plainContext(),
      linger: 0,
      sendHighWaterMark: highWaterMark,
      receiveHighWaterMark: highWaterMark,
      heartbeatInterval: options.heartbeatIntervalMs,
      heartbeatTimeout: options.heartbeatTimeoutMs,
      maxMessageSize: options.maxMessageSize,
    });
    try {
      this.#dealer.bindSync(options.endpoint);
      this.endpoint = this.#dealer.lastEndpoint!;
    } catch (error) {
      this.#dealer.close();
      throw error;
    }
    this.#receiveAll();
  }

  send(parts: Uint8Array[]): void {
    if (this.#state !== "open") return;
    // Rejected only by a close in between, which onClosed tells.
    this.#dealer.send(this.#dialogue.begin(parts)).catch(() => {});
  }

  close(): void {
    this.#state = "closed";
    this.#dealer.close();
  }

  /** The peer has gone: closes, but delivers a reply that had fully arrived. */
  finish(): void {
    if (this.#state === "open") this.#state = this.#dialogue.isBusy ? "finishing" : "closed";
    // A receive that waits is tried a last time by close(), so that reply is not lost.
    this.#dealer.close();
  }

  async #receiveAll(): Promise<void> {
    for (;;) {
      let parts: Buffer[];
      try {
        parts = await this.#dealer.receive();
      } catch {
        break; // Closed.
      }
      this.#onMessage(parts);
    }
    this.close();
    this.#options.onClosed();
  }

  #onMessage(parts: Buffer[]): void {
    if (this.#state === "closed") return;
    const reply = this.#dialogue.read(parts);
    if (reply === "stale") return;
    if (typeof reply === "string") {
      this.close();
      this.#options.onFault(reply);
      return;
    }
    if (this.#state === "finishing") this.#state = "closed";
    this.#options.onReply(reply);
  }
}
