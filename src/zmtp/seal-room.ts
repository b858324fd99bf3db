import { Fifo } from "../base/fifo.js";

/** Of each turn of the event loop so much: the rest is for those who work. */
const TURN_MS = 5;
/** Bytes that are sealed and not taken, of all peers together. */
const SEALED_BYTES_MAX = 32 * 1024 * 1024;
/** How often is looked who takes nothing, while others wait for room. */
const LOOK_MS = 100;
/** So many looks in a row, and it gives room to those that wait for the first time, or that gave room themselves. */
const IDLE_LOOKS_MAX = 2;
const IDLE_LOOKS_AGAIN_MAX = 10;

/** One peer's parts that are too large to be sealed as they are sent. */
export interface Sealer {
  /** What its next part counts for, from when it is sealed until it is taken; 0 for one that is written at once. */
  readonly nextBytes: number;
  /** It is gone. */
  readonly isOver: boolean;
  /** Seals its next part. */
  seal(): void;
  /** Sends what is sealed as far as the system takes it, then asks for more. */
  goOn(): void;
  /** Forgets what it has sealed, and asks once more when its peer takes something. */
  forget(): void;
}

interface Hold {
  readonly bytes: number;
  /** Looks since it took something. */
  idleLooks: number;
}

/**
 * Whose part is sealed next, when, and what all of these may take. What is sealed for one is of no use to another, so
 * one message to many is as many copies: they are made a few each turn of the event loop, while there is room. Who
 * does not read gives its room to those that wait: what was sealed for it is forgotten, and sealed once more, the
 * same bytes, if it reads again.
 */
export class SealRoom {
  /** Sealed and not taken. */
  bytes = 0;
  readonly #bytesMax: number;
  readonly #holds = new Map<Sealer, Hold>();
  readonly #waiting = new Fifo<Sealer>();
  /** Those that had to give room: behind all others. */
  readonly #waitingAgain = new Fifo<Sealer>();
  #spentMs = 0;
  #turn: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(bytesMax = SEALED_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** Peers that wait for their turn, or for room. */
  get waitingCount(): number {
    return this.#waiting.count + this.#waitingAgain.count;
  }

  /** Has the next part of `sealer` sealed: at once, which returns true, or later. `isAgain`: it was sealed before. */
  ask(sealer: Sealer, isAgain: boolean): boolean {
    if (this.waitingCount === 0 && this.#spentMs < TURN_MS && this.#hasRoom(sealer.nextBytes)) {
      this.#seal(sealer);
      this.#schedule();
      return true;
    }
    if (isAgain) this.#waitingAgain.push(sealer);
    else this.#waiting.push(sealer);
    this.#schedule();
    return false;
  }

  /** Of what is sealed for `sealer` something is taken. */
  moved(sealer: Sealer): void {
    const hold = this.#holds.get(sealer);
    if (hold !== undefined) hold.idleLooks = 0;
  }

  /** All is taken, or forgotten. */
  release(sealer: Sealer): void {
    const hold = this.#holds.get(sealer);
    if (hold === undefined) return;
    this.#holds.delete(sealer);
    this.bytes -= hold.bytes;
    if (this.waitingCount > 0) this.#schedule();
  }

  /** One part always has: it may be larger than all the room. */
  #hasRoom(bytes: number): boolean {
    return bytes === 0 || this.bytes === 0 || this.bytes + bytes <= this.#bytesMax;
  }

  #seal(sealer: Sealer): void {
    const bytes = sealer.nextBytes;
    if (bytes > 0) {
      this.#holds.set(sealer, { bytes, idleLooks: 0 });
      this.bytes += bytes;
    }
    const startMs = performance.now();
    sealer.seal();
    this.#spentMs += performance.now() - startMs;
  }

  #schedule(): void {
    this.#turn ??= setImmediate(this.#onTurn);
  }

  #onTurn = (): void => {
    this.#turn = undefined;
    // One that took many turns' time leaves as many to the others.
    this.#spentMs = Math.max(0, this.#spentMs - TURN_MS);
    try {
      while (this.#spentMs < TURN_MS) {
        const sealer = this.#next();
        if (sealer === undefined) break;
        this.#seal(sealer);
        sealer.goOn();
      }
    } finally {
      const waits = this.#peek();
      if (waits !== undefined && !this.#hasRoom(waits.nextBytes)) this.#lookSoon();
      else if (waits !== undefined || this.#spentMs > 0) this.#schedule();
    }
  };

  #next(): Sealer | undefined {
    const sealer = this.#peek();
    if (sealer === undefined || !this.#hasRoom(sealer.nextBytes)) return undefined;
    return this.#waiting.count > 0 ? this.#waiting.shift() : this.#waitingAgain.shift();
  }

  /** The next that is not gone. */
  #peek(): Sealer | undefined {
    for (const queue of [this.#waiting, this.#waitingAgain]) {
      for (let next = queue.peek(); next !== undefined; next = queue.peek()) {
        if (!next.isOver) return next;
        queue.shift();
      }
    }
    return undefined;
  }

  // Behind a turn: this process may have been busy for so long itself, and not have heard what is taken.
  #lookSoon(): void {
    this.#timer ??= setTimeout(() => setImmediate(this.#look), LOOK_MS);
  }

  #look = (): void => {
    this.#timer = undefined;
    const waits = this.#peek();
    if (waits === undefined) return;
    const looksMax = this.#waiting.count > 0 ? IDLE_LOOKS_MAX : IDLE_LOOKS_AGAIN_MAX;
    for (const [sealer, hold] of this.#holds) {
      if (++hold.idleLooks >= looksMax && !this.#hasRoom(waits.nextBytes)) sealer.forget();
    }
    if (!this.#hasRoom(waits.nextBytes)) this.#lookSoon();
  };
}

/** All connections' of this process. */
export const sealRoom = new SealRoom();
