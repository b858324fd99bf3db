import { wholeNumber } from "../base/check.js";
import { RequestError } from "../base/errors.js";
import type { PartRecord } from "../wire/stream-record.js";
import type { StreamOptions } from "./options.js";

const WINDOW_DEFAULT = 32;
const WINDOW_BYTES_DEFAULT = 1024 * 1024;

/** A part as it came: opened when it is read. */
export interface UnreadPart {
  body: Uint8Array;
  place: Uint8Array;
  isLast: boolean;
  isRaw: boolean;
  /** What it counts for. */
  bytes: number;
}

/** What a stream needs of the client that asked. */
export interface StreamEvents {
  /** The value of a part, perhaps later; throws what is wrong with it. */
  open(part: UnreadPart): unknown;
  /** The reader has read: so much may be sent in all. */
  onRead(): void;
  /** Nobody reads on. */
  onLeft(reason: string): void;
}

interface Reader {
  resolve(result: IteratorResult<never, never>): void;
  reject(error: Error): void;
}

/**
 * The parts of an answer, for one reader: `for await (const part of stream)`. To leave the loop cancels it.
 * What arrived before a failure is read first, then the failure is thrown, once. The value that `next`
 * gives with the end is what the handler's generator returned.
 */
export class ReplyStream<Part = unknown, Return = unknown>
  implements AsyncIterableIterator<Part, Return | undefined, undefined>
{
  /** Whether it may begin anew after parts of it came. */
  readonly canRestart: boolean;
  readonly #onRestart: (() => void) | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #window: number;
  readonly #windowBytes: number;
  #events: StreamEvents | undefined;
  #unread: UnreadPart[] = [];
  readonly #readers: Reader[] = [];
  /** Of the request as it was last sent: the part that is next, and what was read or dropped. */
  #next = 0;
  #taken = 0;
  #takenBytes = 0;
  #grantedParts = 0;
  #grantedBytes = 0;
  /** The run of the handler that the parts are of. */
  #runLow = 0;
  #runHigh = 0;
  #hasRun = false;
  /** Parts of an earlier run were handed out, or dropped unread. */
  #isRestartDue = false;
  /** A large part is being opened: those behind it wait. */
  #isOpening = false;
  /** The last part is there, or a failure: nothing more comes. */
  #isOver = false;
  #error: Error | undefined;
  /** A reply that came in place of parts. */
  #reply: { value: unknown } | undefined;
  /** The reader has it all, or has left. */
  #isDone = false;

  /** @internal Throws RangeError for options that are none. */
  constructor({ window, windowBytes, restart, signal }: StreamOptions) {
    this.#window = wholeNumber("window", window ?? WINDOW_DEFAULT, 1, 65_536);
    this.#windowBytes = wholeNumber(
      "windowBytes",
      windowBytes ?? WINDOW_BYTES_DEFAULT,
      1,
      1024 * 1024 * 1024,
    );
    this.canRestart = restart === true || typeof restart === "function";
    this.#onRestart = typeof restart === "function" ? restart : undefined;
    this.#signal = signal ?? undefined;
  }

  /** The next part. Rejects with RequestError as `client.request` does. */
  next(): Promise<IteratorResult<Part, Return | undefined>> {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve: resolve as Reader["resolve"], reject });
      this.#serve();
    });
  }

  /** Leaves the stream: its handler is told to stop. */
  async return(value?: Return): Promise<IteratorResult<Part, Return | undefined>> {
    this.#leave("its reader left");
    return { done: true, value };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leave("its reader left");
  }

  // --- for the client ---

  /** @internal */
  attach(events: StreamEvents): void {
    this.#events = events;
  }

  /** @internal Whether parts of it came since it was last sent. */
  get hasBegun(): boolean {
    return this.#next > 0;
  }

  /** @internal What is granted in all, of the request as it was last sent. */
  get partsMax(): number {
    return this.#grantedParts;
  }

  /** @internal */
  get bytesMax(): number {
    return this.#grantedBytes;
  }

  /** @internal It is sent, perhaps not for the first time: the next part is the first. */
  begin(): void {
    this.#drop();
    this.#next = 0;
    this.#hasRun = false;
    this.#taken = 0;
    this.#takenBytes = 0;
    this.#grantedParts = this.#window;
    this.#grantedBytes = this.#windowBytes;
  }

  /** @internal Takes a part that came; says why it cannot, or undefined. */
  onPart(record: PartRecord): string | undefined {
    const { index, runLow, runHigh, isLast } = record;
    const isOfRun = this.#hasRun && runLow === this.#runLow && runHigh === this.#runHigh;
    if (!isOfRun) {
      if (this.#hasRun && !this.canRestart) return "a part of another run";
      this.#drop();
      this.#hasRun = true;
      this.#runLow = runLow;
      this.#runHigh = runHigh;
      this.#next = 0;
    }
    if (index !== this.#next) return `part ${this.#next} is next, and part ${index} came`;
    if (!isLast && this.#unread.length >= this.#window) return "more parts than were granted";
    if (!isLast) this.#next++;
    else this.#isOver = true;
    this.#unread.push({
      // Copied: it must not pin, or change with, the batch it came in.
      body: record.copyBody(),
      place: record.copyPlace(),
      isLast,
      isRaw: record.isRaw,
      bytes: record.bytes,
    });
    this.#serve();
    return undefined;
  }

  /** @internal A reply came in place of parts: it is all there is, and what came of an earlier run is void. */
  onReply(value: unknown): void {
    this.#isOver = true;
    if (this.canRestart) this.#drop();
    if (this.#next > 0 && !this.canRestart) {
      this.#error = new RequestError("INTERNAL", "a reply came after parts of a stream");
    } else {
      this.#reply = { value };
    }
    this.#serve();
  }

  /** @internal It ended without an end. What was cancelled is not read on. */
  fail(error: Error): void {
    this.#isOver = true;
    this.#error = error;
    if (error instanceof RequestError && error.code === "CANCELLED") this.#unread = [];
    this.#serve();
  }

  // --- reading ---

  /** Gives the readers what there is for them. */
  #serve(): void {
    while (this.#readers.length > 0 && !this.#isOpening) {
      if (this.#isDone) {
        this.#readers.shift()?.resolve({ done: true, value: undefined as never });
      } else if (this.#signal?.aborted === true && this.#isOver) {
        this.#end(this.#error ?? new RequestError("CANCELLED", "cancelled by the caller"));
      } else if (this.#unread.length > 0) {
        this.#read(this.#unread.shift() as UnreadPart);
      } else if (this.#reply !== undefined) {
        this.#giveReply(this.#reply.value);
      } else if (this.#error !== undefined) {
        this.#end(this.#error);
      } else {
        return;
      }
    }
  }

  #giveReply(value: unknown): void {
    const reader = this.#readers.shift() as Reader;
    this.#reply = undefined;
    try {
      this.#tellRestart();
      this.#isDone = true;
      reader.resolve({ done: false, value: value as never });
    } catch (error) {
      this.#refuse(reader, error as Error);
    }
  }

  #tellRestart(): void {
    if (!this.#isRestartDue) return;
    this.#isRestartDue = false;
    this.#onRestart?.();
  }

  #read(part: UnreadPart): void {
    const reader = this.#readers.shift() as Reader;
    try {
      this.#tellRestart();
      this.#take(part);
      const value = this.#events?.open(part);
      // Values of the codec's are data, never promises of their own.
      if (value instanceof Promise) this.#resolveOpened(reader, part, value);
      else this.#resolve(reader, part, value);
    } catch (error) {
      this.#refuse(reader, error as Error);
    }
  }

  #resolveOpened(reader: Reader, part: UnreadPart, opening: Promise<unknown>): void {
    this.#isOpening = true;
    opening
      .then(
        (value) => this.#resolve(reader, part, value),
        (error) => this.#refuse(reader, error),
      )
      .finally(() => {
        this.#isOpening = false;
        this.#serve();
      });
  }

  #resolve(reader: Reader, { isLast }: UnreadPart, value: unknown): void {
    if (isLast) this.#isDone = true;
    reader.resolve({ done: isLast, value: value as never } as IteratorResult<never, never>);
  }

  /** A part that cannot be believed: nothing behind it is. */
  #refuse(reader: Reader, error: Error): void {
    this.#leave("a part was refused");
    reader.reject(error);
  }

  #end(error: Error): void {
    this.#isDone = true;
    this.#unread = [];
    this.#readers.shift()?.reject(error);
  }

  #leave(reason: string): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#unread = [];
    if (!this.#isOver) this.#events?.onLeft(reason);
    this.#isOver = true;
    this.#serve();
  }

  /** What is unread is of a run that is over. */
  #drop(): void {
    if (this.#next > 0) this.#isRestartDue = true;
    for (const part of this.#unread) this.#count(part);
    this.#unread = [];
  }

  #take(part: UnreadPart): void {
    if (part.isLast) return;
    this.#count(part);
    const partsMax = this.#taken + this.#window;
    const bytesMax = this.#takenBytes + this.#windowBytes;
    // Half a window at a time: a grant costs as much as a part.
    const isDue =
      (partsMax - this.#grantedParts) * 2 >= this.#window ||
      (bytesMax - this.#grantedBytes) * 2 >= this.#windowBytes;
    if (!isDue || this.#isOver) return;
    this.#grantedParts = partsMax;
    this.#grantedBytes = bytesMax;
    this.#events?.onRead();
  }

  #count(part: UnreadPart): void {
    this.#taken++;
    this.#takenBytes += part.bytes;
  }
}
