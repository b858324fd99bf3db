import type { Session } from "../link/session.js";
import { type ExchangeId, requestIdBytes } from "../wire/request-record.js";

/** What names one request to the codec. */
export type RequestContext = Readonly<{
  service: string;
  direction: "request";
  requestId: Uint8Array;
  headers: Uint8Array;
}>;

/** The ids of one client's requests, on the wire and for the codec. */
export class RequestIds {
  // Written over for each use: to make it anew three times a request took a quarter of its time.
  readonly #id: ExchangeId;

  constructor({ sessionLow, sessionHigh }: Session) {
    this.#id = { sessionLow, sessionHigh, sequence: 0, slot: 0, generation: 0 };
  }

  /** The id of one of our requests; the next call overwrites it. */
  of(sequence: number): ExchangeId {
    this.#id.sequence = sequence;
    return this.#id;
  }

  /** Whether it is the id of a request of ours. */
  isOurs({ sessionLow, sessionHigh }: Session): boolean {
    return sessionLow === this.#id.sessionLow && sessionHigh === this.#id.sessionHigh;
  }

  /** Its id in it is of its own: code of a body's, such as a getter, may make a request meanwhile. */
  context(sequence: number, service: string, headers: Uint8Array): RequestContext {
    const requestId = requestIdBytes(this.of(sequence));
    return { service, direction: "request", requestId, headers };
  }
}
