import type { StatusCode } from "../base/status.js";

/**
 * What happens to the broker: the input of `Core.step`. Peers are small integers that
 * the caller hands out and may reuse after `leave`. Objects may be reused between
 * steps: the core keeps none.
 */
export type Command =
  | JoinClient
  | JoinWorker
  | Leave
  | Request
  | Reply
  | Part
  | Failure
  | Cancel
  | StreamPart
  | StreamCredit
  | Credit
  | Drain
  | Shutdown;

/** A client said hello. */
export interface JoinClient {
  kind: "join-client";
  peer: number;
}

/** A worker said hello. */
export interface JoinWorker {
  kind: "join-worker";
  peer: number;
  /** Requests its handlers work on at once, 1..65535. */
  concurrency: number;
  services: readonly string[];
  /** Whether it may be handed work beyond its concurrency; a REP worker may not. */
  lookAhead: boolean;
}

/** A peer is gone: disconnected, timed out, or said goodbye. */
export interface Leave {
  kind: "leave";
  peer: number;
}

/** A client asks. */
export interface Request {
  kind: "request";
  peer: number;
  /** The client's own number for it; unique among those it has in flight. */
  sequence: number;
  service: string;
  /** Milliseconds left; 0 for the longest allowed. Of a task, what its attempt may take, from its dispatch on. */
  timeoutMs: number;
  /** How often it may be handed to a worker; 0 for the default. */
  attempts: number;
  /** 0 (first) to 7 (last). */
  priority: number;
  /** Bytes it occupies while the broker holds it. */
  bytes: number;
  /** A stream of parts is to answer it: once, or anew after it began, if its worker is lost. */
  stream?: "once" | "restart" | undefined;
  /**
   * It waits for a worker as long as it takes, and its bytes are held, and bounded, by who asks. A worker whose time
   * is over is told, and heard for a while more: it may say that it never began.
   */
  isTask?: boolean;
}

/** A worker answers. The reply itself stays with the caller. */
export interface Reply {
  kind: "reply";
  peer: number;
  slot: number;
  generation: number;
  /** What the handler took; 0 or none where that is not known. */
  serviceTimeUs?: number;
}

/** A worker sends a part of its answer; the rest follows. The part itself stays with the caller. */
export interface Part {
  kind: "part";
  peer: number;
  slot: number;
  generation: number;
  /** Whether the client gets it at once, so that no other worker may begin anew. */
  isPassedOn: boolean;
}

/** A worker could not answer. */
export interface Failure {
  kind: "failure";
  peer: number;
  slot: number;
  generation: number;
  status: StatusCode;
  reason: string;
  retryAfterMs: number;
  /**
   * The worker never started on it, so this attempt does not count: from one that drains, it goes to
   * another; from any other it is a failure like the rest.
   */
  untouched: boolean;
}

/** A client no longer wants the answer. */
export interface Cancel {
  kind: "cancel";
  peer: number;
  sequence: number;
}

/** A worker sends a part of a stream, or its end. The part itself stays with the caller. */
export interface StreamPart {
  kind: "stream-part";
  peer: number;
  slot: number;
  generation: number;
  /** Counted from 0 in each attempt; that of the end is how many parts there were. */
  index: number;
  isLast: boolean;
  /** Bytes that it counts for. */
  bytes: number;
  /** Why it cannot be passed on: then the stream fails, as INTERNAL unless `faultStatus` says otherwise. */
  fault?: string | undefined;
  faultStatus?: StatusCode | undefined;
}

/** A client grants so many parts and bytes of a stream, both counted from its beginning. */
export interface StreamCredit {
  kind: "stream-credit";
  peer: number;
  sequence: number;
  partsMax: number;
  bytesMax: number;
}

/** A worker changes how much it takes at once. */
export interface Credit {
  kind: "credit";
  peer: number;
  concurrency: number;
}

/** A worker takes no more work, and leaves when what it has is done. */
export interface Drain {
  kind: "drain";
  peer: number;
}

/** The broker takes no more requests; those it holds still end. */
export interface Shutdown {
  kind: "shutdown";
}

/**
 * What the core decides. The methods are called during `step` and `tick`, in order;
 * they must not call back into the core.
 */
export interface Effects {
  /** Send the request in `slot` to `worker`, under the slot's present generation. */
  dispatch(worker: number, slot: number): void;
  /**
   * The request in `slot` waits, from its arrival on or because its worker will not answer it. Its bytes
   * are needed until `release`, as they are from `dispatch` on.
   */
  hold(slot: number): void;
  /** The request in `slot` is over: its bytes may go. */
  release(slot: number): void;
  /** Pass the reply of this step on to `client`, for the request in `slot`. */
  reply(client: number, slot: number): void;
  /** The part of this step is one of the request in `slot`, which `client` still waits for. */
  part(client: number, slot: number): void;
  /** Pass the part of this step's stream on to `client`, for the request in `slot`. */
  streamPart(client: number, slot: number): void;
  /** Tell `worker` how much of its stream in `slot` it may send, counted from the attempt's beginning. */
  grant(worker: number, slot: number, partsMax: number, bytesMax: number): void;
  /**
   * Tell `client` that its request ended without a reply, after so many attempts: 0 says that no
   * worker has begun on it.
   */
  fail(
    client: number,
    sequence: number,
    status: StatusCode,
    reason: string,
    retryAfterMs: number,
    attempts: number,
  ): void;
  /** Tell `worker` that nobody waits for `slot` any more; it still answers for it once. */
  abort(worker: number, slot: number, status: StatusCode): void;
  /** Tell `client` how many requests it may have in flight from now on. */
  credit(client: number, inFlightMax: number): void;
  /** `worker` drained: nothing of it is in flight any more. */
  drained(worker: number): void;
  /** `peer` asked for something it may not; no state changed. */
  refuse(peer: number, status: StatusCode, reason: string): void;
}
