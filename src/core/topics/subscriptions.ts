import { Fifo } from "../../base/fifo.js";
import type { Retained } from "./retained.js";
import type { RetainedWalk } from "./retained-walk.js";
import type { Holder } from "./subscription-room.js";
import type { Walker } from "./walk-pace.js";

/** What becomes of an event that finds the queue of its subscription full. */
export type WhenFull = "drop-oldest" | "drop-newest" | "disconnect";

/** An event as the core sees it; what else it has is its maker's. */
export interface TopicEvent {
  readonly topic: string;
  /** What it counts for, in queues and on the wire. */
  readonly bytes: number;
  /** Queues that hold it. */
  holds: number;
}

/** One pattern that one peer listens to, and what waits for it there. */
export class Subscription<E extends TopicEvent> {
  readonly queue = new Fifo<E>();
  /** Bytes of the events in there. */
  queuedBytes = 0;
  /** Events that it was to get and will not, of which its peer has not been told. */
  dropped = 0;
  /** Nothing more is for it. */
  isOver = false;
  /** How far it came with the last values, which stand before its queue; undefined before and behind them. */
  walk: RetainedWalk<E> | undefined;
  /** The last value that was found and could not be sent yet. */
  found: Retained<E> | undefined;

  constructor(
    readonly subscriber: Subscriber<E>,
    /** The peer's own number for it. */
    readonly id: number,
    readonly pattern: string,
    readonly whenFull: WhenFull,
    readonly queueMax: number,
    /** Last values newer than this came, or will, as events. */
    readonly sinceVersion: number,
  ) {}
}

/** A peer that listens: its subscriptions, and how much of theirs is on its way to it. */
export class Subscriber<E extends TopicEvent> implements Walker, Holder {
  readonly subscriptions = new Map<number, Subscription<E>>();
  subscriptionBytes = 0;
  /** Those that still want last values, in the order they came: one at a time looks for them. */
  readonly catchingUp = new Set<Subscription<E>>();
  /** Those in whose queues something waits, whose turn is next first. */
  readonly waiting = new Set<Subscription<E>>();
  /** Bytes sent that it has not said to have taken. */
  outstanding = 0;
  queuedBytes = 0;
  walkTurn = 0;
  walkSpent = 0;

  constructor(readonly peer: number) {}

  /** Whether what comes now may be sent past no one. */
  get isIdle(): boolean {
    return this.waiting.size === 0 && this.catchingUp.size === 0;
  }
}
