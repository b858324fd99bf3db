import { NONE, type Requests } from "./requests.js";

/** One client: what it has asked and not been answered. */
export class Client {
  inFlight = 0;
  /** Bytes of these. */
  bytes = 0;
  /** The latest of its requests, linked through the slots. */
  head = NONE;
  /** For credits.ts: its requests that wait beyond what is good, counted in this review. */
  excess = 0;
  /** For credits.ts: the latest review that found it waiting at a service with a long queue. */
  reviewed = 0;

  constructor(
    readonly peer: number,
    /** Requests it was told it may have in flight. */
    public credit: number,
  ) {}

  /** The request in `slot` is its latest. */
  link({ clientNext, clientPrevious, bytes }: Requests, slot: number): void {
    clientPrevious[slot] = NONE;
    clientNext[slot] = this.head;
    if (this.head !== NONE) clientPrevious[this.head] = slot;
    this.head = slot;
    this.inFlight++;
    this.bytes += bytes[slot];
  }

  unlink({ clientNext, clientPrevious, bytes }: Requests, slot: number): void {
    const next = clientNext[slot];
    const previous = clientPrevious[slot];
    if (next !== NONE) clientPrevious[next] = previous;
    if (previous !== NONE) clientNext[previous] = next;
    else this.head = next;
    this.inFlight--;
    this.bytes -= bytes[slot];
  }
}
