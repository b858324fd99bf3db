import { NONE } from "./requests.js";

/** One client: what it has asked and not been answered. */
export class Client {
  inFlight = 0;
  /** The latest of its requests, linked through the slots. */
  head = NONE;

  constructor(readonly peer: number) {}
}
