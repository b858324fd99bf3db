import { Status, type StatusCode } from "../../base/status.js";

/**
 * What a subscription takes in memory beside what waits for it, with a pattern none of whose tokens another one has: measured
 * with V8 12, of which a token's node is the most.
 */
const SUBSCRIPTION_BYTES = 512;
const TOKEN_BYTES = 320;
/** A pattern's text is kept whole and by tokens, at two bytes for each character. */
const CHARACTER_BYTES = 4;

/** What a subscription to `pattern` counts for. Nodes that others have too count for each: nobody's change with others. */
export function subscriptionBytes(pattern: string): number {
  let tokenCount = 1;
  for (let i = 0; i < pattern.length; i++) if (pattern[i] === ".") tokenCount++;
  return SUBSCRIPTION_BYTES + tokenCount * TOKEN_BYTES + pattern.length * CHARACTER_BYTES;
}

export interface SubscriptionLimits {
  /** Subscriptions of all peers. */
  readonly subscriptionsMax: number;
  /** Subscriptions of one peer. */
  readonly clientSubscriptionsMax: number;
  /** What they take, of all peers and of one, in bytes as `subscriptionBytes` has them. */
  readonly subscriptionBytesMax: number;
  readonly clientSubscriptionBytesMax: number;
}

/** Somebody with subscriptions. */
export interface Holder {
  readonly subscriptions: { readonly size: number };
  subscriptionBytes: number;
}

/** How many subscriptions there are, what they take, and whether there is room for one more. */
export class SubscriptionRoom {
  count = 0;
  bytes = 0;
  readonly #limits: SubscriptionLimits;

  constructor(limits: SubscriptionLimits) {
    this.#limits = limits;
  }

  /** Why `holder`, unless it is new, may not have one more, to `pattern`; undefined if it may. */
  refusal(
    holder: Holder | undefined,
    pattern: string,
  ): { status: StatusCode; reason: string } | undefined {
    const bytes = subscriptionBytes(pattern);
    const { subscriptionsMax, clientSubscriptionsMax } = this.#limits;
    const { subscriptionBytesMax, clientSubscriptionBytesMax } = this.#limits;
    const status = Status.RESOURCE_EXHAUSTED;
    if ((holder?.subscriptions.size ?? 0) >= clientSubscriptionsMax) {
      return { status, reason: `${clientSubscriptionsMax} subscriptions of one client at most` };
    }
    if (this.count >= subscriptionsMax) {
      return { status, reason: `the broker has ${subscriptionsMax} subscriptions, its most` };
    }
    const held = holder?.subscriptionBytes ?? 0;
    if (held + bytes > clientSubscriptionBytesMax) {
      const most = `${clientSubscriptionBytesMax} bytes of subscriptions of one client at most`;
      return { status, reason: `${most}: it has ${held}, and this one takes ${bytes}` };
    }
    if (this.bytes + bytes > subscriptionBytesMax) {
      const most = `the broker keeps ${subscriptionBytesMax} bytes of subscriptions at most`;
      return { status, reason: `${most}: it has ${this.bytes}, and this one takes ${bytes}` };
    }
    return undefined;
  }

  add(holder: Holder, pattern: string): void {
    this.#change(holder, 1, subscriptionBytes(pattern));
  }

  delete(holder: Holder, pattern: string): void {
    this.#change(holder, -1, -subscriptionBytes(pattern));
  }

  #change(holder: Holder, count: number, bytes: number): void {
    this.count += count;
    this.bytes += bytes;
    holder.subscriptionBytes += bytes;
  }
}
