import type { SubscriptionLimits } from "../core/topics/subscription-room.js";

/** What a prefix takes in memory, as measured where no two are alike; and each of its bytes. */
const PREFIX_BYTES = 512;
const CHARACTER_BYTES = 4;
/** A longer one can match no topic. */
const PREFIX_SIZE_MAX = 255;

interface Held {
  count: number;
  bytes: number;
}

/**
 * How much plain SUBs may ask for: as many prefixes as there may be subscriptions, and as many bytes, all of
 * them together, and each of them as a client: each connection, or under CURVE each key over all its connections.
 */
export class PrefixRoom {
  readonly #limits: SubscriptionLimits;
  readonly #all: Held = { count: 0, bytes: 0 };
  readonly #byOwner = new Map<unknown, Held>();

  constructor(limits: SubscriptionLimits) {
    this.#limits = limits;
  }

  /** `prefix`: its bytes in latin1. `owner`: whose it is. */
  hasRoom(prefix: string, owner: unknown): boolean {
    const { subscriptionsMax, clientSubscriptionsMax } = this.#limits;
    const { subscriptionBytesMax, clientSubscriptionBytesMax } = this.#limits;
    const bytes = bytesOf(prefix);
    const own = this.#byOwner.get(owner) ?? NOTHING;
    return (
      prefix.length <= PREFIX_SIZE_MAX &&
      fits(this.#all, bytes, subscriptionsMax, subscriptionBytesMax) &&
      fits(own, bytes, clientSubscriptionsMax, clientSubscriptionBytesMax)
    );
  }

  add(prefix: string, owner: unknown): void {
    this.#change(owner, 1, bytesOf(prefix));
  }

  delete(prefix: string, owner: unknown): void {
    this.#change(owner, -1, -bytesOf(prefix));
  }

  #change(owner: unknown, count: number, bytes: number): void {
    this.#all.count += count;
    this.#all.bytes += bytes;
    const own = this.#byOwner.get(owner) ?? { ...NOTHING };
    own.count += count;
    own.bytes += bytes;
    if (own.count > 0) this.#byOwner.set(owner, own);
    else this.#byOwner.delete(owner);
  }
}

const NOTHING: Readonly<Held> = { count: 0, bytes: 0 };

function bytesOf(prefix: string): number {
  return PREFIX_BYTES + prefix.length * CHARACTER_BYTES;
}

function fits(held: Held, bytes: number, countMax: number, bytesMax: number): boolean {
  return held.count < countMax && held.bytes + bytes <= bytesMax;
}
