import { BatchWriter } from "../wire/batch.js";

/** What a peer that does not read may be owed behind its next message before it is given up. */
const OWED_BYTES_MAX = 8 * 1024 * 1024;
/** The same of one that reads, but not as fast as it is owed. */
const OWED_BYTES_SLOW_MAX = 64 * 1024 * 1024;
/** What it may be owed before records are held back that no credit of its own bounds. */
const UNBIDDEN_BYTES_MAX = 1024 * 1024;

/**
 * What one peer is owed: the batch being written, and those before it that were not taken yet.
 */
export class Outbox {
  readonly writer = new BatchWriter();
  readonly #ready: Uint8Array[][] = [];
  #readyBytes = 0;
  /** Whether it stands in the list of those to be sent to. */
  isDue = false;
  /** Where its messages go, while something is not sent yet. */
  routingId: Buffer | undefined;
  /** How often in a row its next message was not taken, nor anything of those before: the peer does not read. */
  refusedCount = 0;
  /** Turns of the port's retry timer until that message is tried again. */
  retryTurns = 0;
  /** Bytes of events on their way to the peer: bounded by themselves, and so owed beside the rest. */
  eventBytes = 0;
  /** The peer is given up: nothing more is sent. */
  isGivenUp = false;

  constructor(
    /** The peer it belongs to. */
    readonly peer: number,
  ) {}

  get isEmpty(): boolean {
    return this.#ready.length === 0 && this.writer.isEmpty;
  }

  /** Messages that wait, beside the batch being written. */
  get messageCount(): number {
    return this.#ready.length;
  }

  get owedBytes(): number {
    return this.#readyBytes + this.writer.size + this.writer.frameBytes;
  }

  /**
   * Whether the peer is to be given up, which does not read when it has refused so often. One that reads may
   * be owed as much in one turn, so only what gathers behind a message that is refused counts, not its size:
   * that may be large by itself.
   */
  isOverdue(refusalsMin: number): boolean {
    if (this.refusedCount === 0 || this.owedBytes <= OWED_BYTES_MAX) return false;
    const isReading = this.refusedCount < refusalsMin;
    const owedMax = isReading ? OWED_BYTES_SLOW_MAX : OWED_BYTES_MAX;
    return this.owedBytes - sizeOf(this.#ready[0]) > owedMax + this.eventBytes;
  }

  /**
   * Whether it takes a record of `bytes` that no credit of the peer's bounds. A peer that reads slowly
   * is to miss such records, not to be given up for them.
   */
  hasRoomFor(bytes: number): boolean {
    const { owedBytes } = this;
    if (owedBytes === 0) return true;
    return owedBytes <= UNBIDDEN_BYTES_MAX && owedBytes + bytes <= OWED_BYTES_MAX / 2;
  }

  /** What is written next begins a batch of its own. */
  endBatch(): void {
    this.#closeBatch();
  }

  /** Closes the batch being written if it is large enough to go; true when it did. */
  closeLargeBatch(): boolean {
    if (!this.writer.isFull) return false;
    this.#closeBatch();
    return true;
  }

  /** A message that stands for itself, as plain peers get them. */
  push(message: Uint8Array[]): void {
    this.#closeBatch();
    this.#add(message);
  }

  /** The next message to send, without taking it. */
  peek(): Uint8Array[] | undefined {
    if (this.#ready.length === 0) this.#closeBatch();
    return this.#ready[0];
  }

  /** Takes the message that `peek` gave, which is sent. */
  shift(): void {
    this.refusedCount = 0;
    const message = this.#ready.shift() as Uint8Array[];
    this.#readyBytes -= sizeOf(message);
  }

  /** Nobody is owed it any more. */
  discard(): void {
    if (!this.writer.isEmpty) this.writer.finish();
    this.#ready.length = 0;
    this.#readyBytes = 0;
  }

  #closeBatch(): void {
    if (!this.writer.isEmpty) this.#add(this.writer.finish());
  }

  #add(message: Uint8Array[]): void {
    this.#ready.push(message);
    this.#readyBytes += sizeOf(message);
  }
}

function sizeOf(message: readonly Uint8Array[]): number {
  let size = 0;
  for (const frame of message) size += frame.length;
  return size;
}
