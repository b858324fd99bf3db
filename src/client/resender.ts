import { RequestError } from "../base/errors.js";
import { Status } from "../base/status.js";
import { performance } from "../link/clock.js";
import type { FailureRecord } from "../wire/request-record.js";
import type { Broker } from "./brokers.js";
import { asRequestError } from "./errors.js";
import { type Pending, placeOf } from "./pending.js";
import type { PendingRequests } from "./pending-requests.js";
import type { ReplyStream } from "./reply-stream.js";
import type { RequestBodies } from "./request-bodies.js";
import type { RequestIds } from "./request-ids.js";
import type { RetryPolicy } from "./retry.js";

/** Sends requests again: what was refused, and what was under way at a broker that is lost. */
export class Resender {
  resentCount = 0;
  retryCount = 0;
  readonly #ids: RequestIds;
  readonly #bodies: RequestBodies;
  readonly #pending: PendingRequests;
  readonly #policy: RetryPolicy;

  constructor(
    ids: RequestIds,
    bodies: RequestBodies,
    pending: PendingRequests,
    policy: RetryPolicy,
  ) {
    this.#ids = ids;
    this.#bodies = bodies;
    this.#pending = pending;
    this.#policy = policy;
  }

  onDown(broker: Broker, reason: string): void {
    const lost: number[] = [];
    for (const pending of this.#pending) {
      if (pending.broker !== broker) continue;
      // All of them first: to read one's body again may end another, which is in flight there no more.
      pending.broker = undefined;
      lost.push(pending.sequence);
    }
    for (const sequence of lost) {
      const pending = this.#pending.find(sequence);
      if (pending === undefined) continue;
      // It may have run, so one attempt is counted. There were more if that broker lost workers.
      if (--pending.attempts === 0) {
        this.#pending.fail(pending, new RequestError("UNAVAILABLE", `broker lost: ${reason}`));
        continue;
      }
      if (pending.stream !== undefined && !this.#canBeginAnew(pending, pending.stream)) continue;
      this.resentCount++;
      pending.staleMs = Infinity;
      this.#pending.unsent.push(pending);
    }
  }

  /** Whether a stream whose broker is lost is asked for again; if not, it has ended. */
  #canBeginAnew(pending: Pending, stream: ReplyStream): boolean {
    if (stream.hasBegun && !stream.canRestart) {
      const error = new RequestError("UNAVAILABLE", "broker lost in mid-stream");
      this.#pending.fail(pending, error);
      return false;
    }
    // Under another id: a worker may have sent parts of it, and would not begin it twice.
    return this.#renew(pending);
  }

  /** Whether a request that failed is sent again: then it is taken from its broker. */
  isRetried(pending: Pending, broker: Broker, failure: FailureRecord): boolean {
    const nowMs = performance.now();
    const { untouched, status } = failure;
    // Parts of it were handed out: to begin it anew takes its caller's word.
    if (pending.stream?.hasBegun === true && !pending.stream.canRestart) return false;
    // A broker that drains refuses what had not heard of it: that goes elsewhere at once and out of
    // no budget, as gRPC's transparent retries do (its proposal A6). It can happen but once a drain.
    const isMoved = untouched && broker.isDraining && status === Status.UNAVAILABLE;
    const waitMs = isMoved ? 0 : this.#policy.waitMs(pending, failure, nowMs);
    if (waitMs === undefined) return false;
    // What no worker began keeps its id and its body: no reply to it can be under way. What ran
    // must have another, or those that remember it would answer the same again.
    if (!untouched && !this.#renew(pending)) return true;
    if (!untouched) pending.staleMs = Infinity;
    this.retryCount++;
    this.#pending.leaveBroker(pending);
    if (isMoved) this.#pending.unsent.push(pending);
    else this.#pending.backoffs.set(placeOf(pending.sequence), nowMs + waitMs, nowMs);
    return true;
  }

  /** Makes a request anew under another id; false where its body is none any more, and it ended. */
  #renew(pending: Pending): boolean {
    this.#pending.renew(pending);
    pending.stream?.begin();
    pending.packed = undefined;
    try {
      // Packing runs the caller's code, which may end this very request.
      pending.body = pending.reseal?.() ?? pending.body;
      return this.#pending.has(pending);
    } catch (error) {
      if (this.#pending.has(pending)) this.#pending.fail(pending, asRequestError(error));
      return false;
    }
  }

  /** A worker lacked its dictionary, and never ran it: it goes again, within the same deadline. */
  sendWithoutDictionary(pending: Pending, packed: Uint8Array): void {
    const { service, headers } = pending;
    pending.packed = undefined;
    try {
      const context = this.#ids.context(pending.sequence, service, headers);
      pending.body = this.#bodies.sealWithoutDictionary(packed, context);
    } catch (error) {
      this.#pending.fail(pending, asRequestError(error));
      return;
    }
    this.#pending.leaveBroker(pending);
    this.#pending.unsent.push(pending);
  }

  /** Puts in line what has waited long enough since it was refused. */
  onTick(nowMs: number): void {
    if (this.#pending.backoffs.count === 0) return;
    this.#pending.backoffs.advance(nowMs, this.#onBackoffOver);
  }

  #onBackoffOver = (place: number): void => {
    this.#pending.unsent.push(this.#pending.at(place) as Pending);
  };
}
