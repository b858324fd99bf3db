// A modelled client: several brokers, a deadline for each request, and what is lost with a broker sent to
// another under the same request id.
import { Status, statusName } from "../../build/base/status.js";
import type { Ledger } from "./ledger.ts";
import { must } from "./log.ts";
import type { Connection, Downward, Place, Question } from "./network.ts";

interface Pending {
  readonly question: Question;
  readonly deadlineMs: number;
  /** Where it was sent; undefined while it waits to be. */
  connection: Connection | undefined;
  /** Of a stream: what was granted where it was last sent, what came of that, and where the next part stands. */
  granted: number;
  arrived: number;
  place: Place | undefined;
}

/** Its side of one broker. */
export interface ClientLink {
  readonly broker: number;
  connection: Connection | undefined;
  isWelcome: boolean;
  isDraining: boolean;
  inFlightMax: number;
}

export class SimClient {
  readonly links: ClientLink[];
  readonly pending = new Map<number, Pending>();
  /** The process is stopped: it neither reads nor acts. */
  isStopped = false;
  #sequence = 0;

  constructor(
    readonly session: number,
    brokerCount: number,
    readonly ledger: Ledger,
    /** Sends more than the broker lets it have in flight. */
    readonly isRude: boolean,
  ) {
    this.links = Array.from({ length: brokerCount }, (_, broker) => ({
      broker,
      connection: undefined,
      isWelcome: false,
      isDraining: false,
      inFlightMax: 0,
    }));
  }

  connected(link: ClientLink, connection: Connection): void {
    link.connection = connection;
    connection.up({ kind: "hello-client" });
  }

  ask(
    ask: Omit<Question, "id" | "session" | "sequence">,
    attemptsDefault: number,
    nowMs: number,
  ): string {
    const sequence = ++this.#sequence;
    const id = `${this.session}:${sequence}`;
    const question = { ...ask, id, session: this.session, sequence };
    const timeoutMs = ask.timeoutMs === 0 ? 10_000 : ask.timeoutMs;
    this.ledger.asked(id, ask.attempts || attemptsDefault);
    const deadlineMs = nowMs + timeoutMs;
    const flow = { granted: 0, arrived: 0, place: undefined };
    this.pending.set(sequence, { question, deadlineMs, connection: undefined, ...flow });
    this.sendWaiting(nowMs);
    return id;
  }

  /** Sends what waits, oldest first, as far as the brokers take it. */
  sendWaiting(nowMs: number): void {
    for (const pending of this.pending.values()) {
      if (pending.connection !== undefined) continue;
      const link = this.#pick();
      if (link === undefined) return;
      const { question, deadlineMs } = pending;
      pending.connection = link.connection!;
      this.ledger.sent(question.id);
      const timeoutMs = question.timeoutMs === 0 ? 0 : Math.max(1, Math.ceil(deadlineMs - nowMs));
      pending.connection.up({ kind: "request", ...question, timeoutMs });
      pending.granted = 0;
      pending.arrived = 0;
      pending.place = undefined;
      if (question.stream !== undefined) this.grant(question.sequence, 2);
    }
  }

  /** Reads on: so many parts more may come. */
  grant(sequence: number, count: number): void {
    const pending = this.pending.get(sequence);
    if (pending?.connection === undefined) return;
    pending.granted += count;
    const { granted: partsMax } = pending;
    pending.connection.up({ kind: "stream-credit", sequence, partsMax, bytesMax: partsMax * 4 });
  }

  /** A part of the run that is being read is the next of it; of another run it is the first. */
  #onPart(pending: Pending, id: string, place: Place): void {
    const { question } = pending;
    must(id === question.id, `${question.id} got a part of ${id}`);
    must(question.stream !== undefined, `${question.id} got a part, and is no stream`);
    const expected = pending.place ?? place;
    if (place.run !== expected.run) {
      must(question.stream === "restart", `${question.id} began anew unasked`);
    }
    const next = pending.place === undefined || place.run !== expected.run ? 0 : expected.index + 1;
    must(place.index === next, `${question.id}: part ${place.index} came, ${next} is next`);
    pending.place = place;
  }

  /** The broker with the fewest of ours that may have another. */
  #pick(): ClientLink | undefined {
    let best: ClientLink | undefined;
    let bestCount = Infinity;
    for (const link of this.links) {
      if (!link.isWelcome || link.isDraining) continue;
      const count = this.#inFlight(link);
      if ((count >= link.inFlightMax && !this.isRude) || count >= bestCount) continue;
      best = link;
      bestCount = count;
    }
    return best;
  }

  #inFlight({ connection }: ClientLink): number {
    let count = 0;
    for (const pending of this.pending.values()) if (pending.connection === connection) count++;
    return count;
  }

  /** Says again what is in flight, as a client with a fault might. */
  repeat(sequence: number): void {
    const pending = this.pending.get(sequence);
    if (pending?.connection === undefined) return;
    this.ledger.repeated(pending.question.id);
    pending.connection.up({ kind: "request", ...pending.question });
  }

  cancel(sequence: number, nowMs: number): void {
    const pending = this.pending.get(sequence);
    if (pending === undefined) return;
    pending.connection?.up({ kind: "cancel", sequence });
    this.#end(pending, "CANCELLED");
    this.sendWaiting(nowMs);
  }

  /** Looks at its deadlines. */
  tick(nowMs: number): void {
    for (const pending of [...this.pending.values()]) {
      if (nowMs >= pending.deadlineMs) this.#end(pending, "DEADLINE_EXCEEDED");
    }
    this.sendWaiting(nowMs);
  }

  onMessage(link: ClientLink, message: Downward, nowMs: number): void {
    const { connection } = link;
    switch (message.kind) {
      case "welcome":
        link.isWelcome = true;
        link.inFlightMax = message.inFlightMax;
        return this.sendWaiting(nowMs);
      case "drain":
        link.isDraining = true;
        return;
      case "down":
        return this.#onDown(link, nowMs);
      case "stream-part": {
        const pending = this.pending.get(message.sequence);
        if (pending === undefined || pending.connection !== connection) return;
        this.#onPart(pending, message.id, message.place);
        must(++pending.arrived <= pending.granted, `${message.id}: more parts than granted`);
        return;
      }
      case "reply":
      case "fail": {
        const pending = this.pending.get(message.sequence);
        // Late: it has ended, or was sent elsewhere.
        if (pending === undefined || pending.connection !== connection) return;
        if (message.kind === "fail") {
          this.#end(pending, statusName(message.status));
        } else {
          must(
            message.id === pending.question.id,
            `${pending.question.id} got ${message.id}'s reply`,
          );
          if (message.end !== undefined) this.#onPart(pending, message.id, message.end);
          this.#end(pending, statusName(Status.OK));
        }
        return this.sendWaiting(nowMs);
      }
      default:
        throw new Error(`a client was sent "${message.kind}"`);
    }
  }

  #onDown(link: ClientLink, nowMs: number): void {
    for (const pending of [...this.pending.values()]) {
      if (pending.connection !== link.connection) continue;
      pending.connection = undefined;
      // Parts of it are with the reader.
      if (pending.place !== undefined) this.#end(pending, "UNAVAILABLE");
      // It may have run: whoever allowed one attempt does not want another.
      else if (pending.question.attempts === 1) this.#end(pending, "UNAVAILABLE");
    }
    link.connection = undefined;
    link.isWelcome = false;
    link.isDraining = false;
    this.sendWaiting(nowMs);
  }

  /** The process is killed: nobody waits for what it had asked. */
  die(): void {
    for (const pending of [...this.pending.values()]) this.#end(pending, "died with its client");
  }

  #end(pending: Pending, outcome: string): void {
    this.pending.delete(pending.question.sequence);
    this.ledger.ended(pending.question.id, outcome);
  }
}
