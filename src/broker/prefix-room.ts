import type { SubscriptionLimits } from "../core/topics/subscription-room.js";

/** What a prefix takes in memory: our own entries, and of libzmq 4.3.5 a node for each of its bytes, as measured. */
const PREFIX_BYTES = 512;
const NODE_BYTES = 52;
/** A longer one can match no topic. */
const PREFIX_SIZE_MAX = 255;

interface Held {
  count: number;
  bytes: number;
}

/**
 * How much plain SUBs may ask for: as many prefixes as there may be subscriptions, and as many bytes, all of
 * them together, and under CURVE each key over all its connections.
 */
export class PrefixRoom {
  readonly #limits: SubscriptionLimits;
  readonly #all: Held = { count: 0, bytes: 0 };
  readonly #byKey = new Map<string, Held>();

  constructor(limits: SubscriptionLimits) {
    this.#limits = limits;
  }

  /** `prefix`: its bytes in latin1. `key`: whose, where it is known. */
  hasRoom(prefix: string, key: string | undefined): boolean {
    const { subscriptionsMax, clientSubscriptionsMax } = this.#limits;
    const { subscriptionBytesMax, clientSubscriptionBytesMax } = this.#limits;
    const bytes = bytesOf(prefix);
    const own = key === undefined ? undefined : this.#byKey.get(key);
    return (
      prefix.length <= PREFIX_SIZE_MAX &&
      fits(this.#all, bytes, subscriptionsMax, subscriptionBytesMax) &&
      (key === undefined ||
        fits(own ?? NOTHING, bytes, clientSubscriptionsMax, clientSubscriptionBytesMax))
    );
  }

  add(prefix: string, key: string | undefined): void {
    this.#change(key, 1, bytesOf(prefix));
  }

  delete(prefix: string, key: string | undefined): void {
    this.#change(key, -1, -bytesOf(prefix));
  }

  #change(key: string | undefined, count: number, bytes: number): void {
    this.#all.count += count;
    this.#all.bytes += bytes;
    if (key === undefined) return;
    const own = this.#byKey.get(key) ?? { ...NOTHING };
    own.count += count;
    own.bytes += bytes;
    if (own.count > 0) this.#byKey.set(key, own);
    else this.#byKey.delete(key);
  }
}

const NOTHING: Readonly<Held> = { count: 0, bytes: 0 };

function bytesOf(prefix: string): number {
  return PREFIX_BYTES + prefix.length * NODE_BYTES;
}

function fits(held: Held, bytes: number, countMax: number, bytesMax: number): boolean {
  return held.count < countMax && held.bytes + bytes <= bytesMax;
}
