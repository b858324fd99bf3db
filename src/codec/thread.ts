import { startThread, type Thread } from "./assets.js";
import type { CodecContext } from "./context.js";
import { CodecError, type CodecErrorCode } from "./errors.js";
import type { EngineChoice } from "./options.js";

/** Bodies that the thread has at a time: one it works on, and one so that it need not wait. */
const POSTED_COUNT_MAX = 2;
/** Bytes that wait for the thread; a body beyond them is the caller's own thread's work. */
const WAITING_SIZE_MAX = 64 * 1024 * 1024;

/** What the thread is made with; it has no secret in it. */
export interface ThreadOptions {
  sizeMax: number;
  isCompressing: boolean;
  compressor: "assembly" | "lz4-wasm";
  engine: EngineChoice;
  nativeFrom: number | undefined;
}

/** To the thread. Buffers are moved, not copied. */
export type ThreadTask =
  | { what: "keys"; ids: number[]; secrets: Uint8Array }
  | {
      what: "seal";
      bytes: Uint8Array;
      context: CodecContext;
      /** Which key and nonce; neither is used twice. Undefined in plain mode. */
      sealing: { id: number; nonce: Uint8Array } | undefined;
    }
  | { what: "open"; bytes: Uint8Array; context: CodecContext }
  | { what: "end" };

/** From the thread: one for each body, in their order. */
export type ThreadAnswer =
  | { bytes: Uint8Array; code?: undefined }
  /** `isVerified`: the tag was right, and what is wrong is what the key's holder put in. */
  | { code: CodecErrorCode; reason: string; isVerified: boolean };

/** A body on its way through the thread. */
interface Job {
  task: ThreadTask & { what: "seal" | "open" };
  size: number;
  /** Takes the answer, or does the work itself when the thread is lost: then there is none. */
  settle(answer: ThreadAnswer | undefined): void;
  reject(error: Error): void;
}

/**
 * The thread of a codec, in which large bodies are compressed and encrypted. Made at first use; it
 * holds the process only while it has work. One that ends on its own is replaced at the next use,
 * but not if it has never done anything: then there is none to be had, and all work is the
 * caller's.
 */
export class BodyThread {
  readonly #options: ThreadOptions;
  readonly #keys: () => { ids: number[]; secrets: Uint8Array };
  #thread: Thread | undefined;
  #isStarting = false;
  #isProven = false;
  #isBroken = false;
  readonly #waiting: Job[] = [];
  #waitingSize = 0;
  readonly #posted: Job[] = [];

  /** @param keys what the codec holds now, in an array of the callee's own */
  constructor(options: ThreadOptions, keys: () => { ids: number[]; secrets: Uint8Array }) {
    this.#options = options;
    this.#keys = keys;
  }

  /** Whether a body of so many bytes may be given to it. */
  isReadyFor(size: number): boolean {
    return (
      !this.#isBroken &&
      (this.#waiting.length === 0 || this.#waitingSize + size <= WAITING_SIZE_MAX)
    );
  }

  /**
   * Resolves with what `settle` makes of the answer, in its own time.
   *
   * @param task its bytes are the thread's from now on
   * @param settle is given no answer when the thread was lost
   */
  run<T>(task: Job["task"], settle: (answer: ThreadAnswer | undefined) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({
        task,
        size: task.bytes.length,
        reject,
        settle: (answer) => {
          try {
            resolve(settle(answer));
          } catch (error) {
            reject(error);
          }
        },
      });
      this.#waitingSize += task.bytes.length;
      this.#post();
    });
  }

  /** Tells the thread of other keys; what was given to it before still has the old ones. */
  setKeys(): void {
    if (this.#thread === undefined) return;
    const keys = this.#keys();
    this.#thread.post({ what: "keys", ...keys } satisfies ThreadTask, [keys.secrets]);
  }

  #post(): void {
    if (this.#thread === undefined) {
      if (!this.#isStarting && this.#waiting.length > 0) void this.#start();
      return;
    }
    while (this.#posted.length < POSTED_COUNT_MAX) {
      const job = this.#waiting.shift();
      if (job === undefined) break;
      this.#waitingSize -= job.size;
      this.#posted.push(job);
      this.#thread.post(job.task, [job.task.bytes]);
    }
    if (this.#posted.length > 0) this.#thread.ref();
    else this.#thread.unref();
  }

  async #start(): Promise<void> {
    this.#isStarting = true;
    let thread: Thread;
    try {
      thread = await startThread(this.#options);
    } catch {
      // Not allowed here, as under a permission model, or no threads at all.
      this.#isStarting = false;
      this.#isBroken = true;
      this.#settleAll();
      return;
    }
    this.#isStarting = false;
    if (this.#isBroken) return thread.end();
    this.#thread = thread;
    thread.listen(
      (answer) => {
        if (this.#thread === thread) this.#onAnswer(answer as ThreadAnswer);
      },
      () => {
        if (this.#thread === thread) this.#onEnd();
      },
    );
    this.setKeys();
    this.#post();
  }

  #onAnswer(answer: ThreadAnswer): void {
    this.#isProven = true;
    const job = this.#posted.shift();
    this.#post();
    job?.settle(answer);
  }

  #onEnd(): void {
    this.#thread = undefined;
    if (!this.#isProven) this.#isBroken = true;
    this.#isProven = false;
    const lost = this.#posted.splice(0);
    if (this.#isBroken) this.#settleAll();
    else this.#post();
    for (const job of lost) job.settle(undefined);
  }

  /** What waits is done in the caller's thread. */
  #settleAll(): void {
    const waiting = this.#waiting.splice(0);
    this.#waitingSize = 0;
    for (const job of waiting) job.settle(undefined);
  }

  /** Rejects all that is on its way, and has the thread wipe what it holds and end. */
  close(): void {
    this.#isBroken = true;
    const thread = this.#thread;
    this.#thread = undefined;
    const error = new CodecError("CLOSED", "the codec was closed");
    // What waited is here still: the values' bytes, in clear.
    for (const { task } of this.#waiting) if (task.what === "seal") task.bytes.fill(0);
    for (const job of this.#posted.splice(0)) job.reject(error);
    for (const job of this.#waiting.splice(0)) job.reject(error);
    this.#waitingSize = 0;
    if (thread === undefined) return;
    thread.post({ what: "end" } satisfies ThreadTask, []);
    thread.unref();
  }
}
