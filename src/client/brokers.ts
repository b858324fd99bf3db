import type { RequestError } from "../base/errors.js";
import type { LinkOptions } from "../link/link.js";
import {
  type ConnectionEvent,
  type Greeting,
  Membership,
  type MembershipEvents,
  notTaken,
} from "../link/membership.js";
import { type ConnectionOptions, connectionDefaults } from "../link/session.js";
import type { BatchReader } from "../wire/batch.js";
import { Kind } from "../wire/layout.js";
import { readCredit } from "../wire/session-record.js";
import { type Choosable, TwoChoices } from "./two-choices.js";

/** A broker and what it lets us have in flight. */
export class Broker extends Membership implements Choosable {
  isDraining = false;
  inFlight = 0;
  inFlightMax = 0;
  /** The most that it ever let us have. */
  #inFlightMaxWhole = 0;

  /** Whether it takes less than at first, since more is asked than can be done. */
  get isHoldingBack(): boolean {
    return this.inFlightMax < this.#inFlightMaxWhole;
  }

  /** It takes us on, and lets us have so many in flight: more than before, perhaps, or fewer. */
  welcomed(inFlightMax: number): void {
    this.#inFlightMaxWhole = 0;
    this.grant(inFlightMax);
  }

  /** It lets us have so many in flight. */
  grant(inFlightMax: number): void {
    this.inFlightMax = Math.max(1, inFlightMax);
    this.#inFlightMaxWhole = Math.max(this.#inFlightMaxWhole, this.inFlightMax);
  }

  get hasRoom(): boolean {
    // Open: one that is gone is read to its end, and still welcome until then.
    const isThere = this.isWelcome && this.link.isOpen && !this.isDraining;
    return isThere && this.inFlight < this.inFlightMax && !this.link.isBehind;
  }

  get isWriting(): boolean {
    return !this.link.writer.isEmpty;
  }
}

/** What the client makes of its brokers. */
export interface BrokersEvents {
  hello(): Greeting;
  onWelcome(broker: Broker): void;
  /** An answer, or a kind that this client does not know. */
  onRecord(broker: Broker, reader: BatchReader): void;
  /** A broker may have room that it had not. */
  onTurn(): void;
  /** The connection is lost, and what was in flight there; `broker.inFlight` is 0 again. */
  onDown(broker: Broker, reason: string): void;
  onConnection: ((event: ConnectionEvent) => void) | undefined;
}

/** The brokers of a client: connects to all of them and says which gets the next request. */
export class Brokers {
  readonly #list: Broker[] = [];
  readonly #choices = new TwoChoices(this.#list);
  readonly #options: Omit<LinkOptions, "endpoint">;
  readonly #events: BrokersEvents;

  /** Throws TypeError or RangeError for options that are none. */
  constructor(options: ConnectionOptions, events: BrokersEvents) {
    this.#options = connectionDefaults(options);
    this.#events = events;
  }

  /** Connects to them, once, when all stands that their events are for. */
  connect(endpoints: readonly string[]): void {
    for (const endpoint of new Set(endpoints)) {
      const made: Broker = new Broker(
        { ...this.#options, endpoint },
        this.#membership(() => made, this.#events),
      );
      this.#list.push(made);
    }
  }

  get isWelcome(): boolean {
    return this.#list.some((broker) => broker.isWelcome);
  }

  /** Those that have taken us on and are connected. */
  get welcome(): Broker[] {
    return this.#list.filter(({ isWelcome, link }) => isWelcome && link.isOpen);
  }

  /** Why none of them takes anything now: each with why it is not connected, or that it drains; else undefined. */
  get hindrance(): string | undefined {
    if (this.#list.some(({ isWelcome, isDraining }) => isWelcome && !isDraining)) return undefined;
    const reasons = this.#list.map(
      ({ link, isWelcome, lastReason }) => `${link.endpoint} ${isWelcome ? "drains" : lastReason}`,
    );
    return reasons.join(", ");
  }

  /** Why none of them took us. */
  notTaken(): RequestError {
    return notTaken(this.#list);
  }

  /** Messages that the requests went in. */
  get messageCount(): number {
    return this.#list.reduce((sum, { link }) => sum + link.messageCount, 0);
  }

  async leave(): Promise<void> {
    for (const broker of this.#list) await broker.leave();
  }

  /** The broker that is to get the next request; undefined while none may have one. */
  pick(): Broker | undefined {
    return this.#choices.pick();
  }

  /** A request is no longer in flight at `broker`, which we leave if it waits for that. */
  release(broker: Broker): void {
    broker.inFlight--;
    this.#leaveIfDone(broker);
  }

  #membership(of: () => Broker, events: BrokersEvents): MembershipEvents {
    return {
      hello: events.hello,
      onWelcome: ({ inFlightMax }) => {
        of().welcomed(inFlightMax);
        events.onWelcome(of());
      },
      onRecord: (reader) => {
        const broker = of();
        if (reader.kind === Kind.CREDIT) {
          const credit = readCredit(reader);
          if (typeof credit === "number") broker.grant(credit);
        } else if (reader.kind === Kind.DRAIN) {
          broker.isDraining = true;
          this.#leaveIfDone(broker);
        } else {
          events.onRecord(broker, reader);
        }
      },
      onTurn: events.onTurn,
      onCaughtUp: events.onTurn,
      onDown: (reason) => {
        const broker = of();
        broker.isDraining = false;
        broker.inFlight = 0;
        events.onDown(broker, reason);
      },
      onConnection: events.onConnection,
    };
  }

  /** A broker that drains waits until its clients are gone, so that nothing of theirs is lost. */
  #leaveIfDone(broker: Broker): void {
    if (!broker.isDraining || broker.inFlight > 0) return;
    // Later: what else stands in the message that is being read is still for us.
    queueMicrotask(() => {
      if (broker.isDraining && broker.inFlight === 0) broker.link.reset("broker drains");
    });
  }
}
