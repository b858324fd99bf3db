import { NONE } from "./requests.js";

/** One client: what it has asked and not been answered. */
export class Client {
  inFlight = 0;
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
}
