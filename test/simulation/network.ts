// Connections between an end (client or worker) and a broker: two pipes, each first in, first out, and
// what goes wrong with them.
import type { StatusCode } from "../../build/base/status.js";
import type { Random } from "../random.mjs";

/** What an end says to a broker. `gone` is the ROUTER's notice that the connection is. */
export type Upward =
  | { kind: "hello-client" }
  | { kind: "hello-worker"; concurrency: number; services: readonly string[]; lookAhead: boolean }
  | ({ kind: "request" } & Question)
  | { kind: "cancel"; sequence: number }
  | {
      kind: "reply";
      slot: number;
      generation: number;
      id: string;
      serviceTimeUs?: number;
      isForged?: boolean;
    }
  | {
      kind: "part";
      isForged?: boolean;
      slot: number;
      generation: number;
      isPassedOn: boolean;
    }
  | {
      kind: "failure";
      isForged?: boolean;
      slot: number;
      generation: number;
      status: StatusCode;
      untouched: boolean;
      retryAfterMs: number;
    }
  | {
      kind: "stream-part";
      isForged?: boolean;
      slot: number;
      generation: number;
      index: number;
      isLast: boolean;
      bytes: number;
      /** What is in it: the request, and which run of its handler. */
      id: string;
      run: number;
    }
  | { kind: "stream-credit"; sequence: number; partsMax: number; bytesMax: number }
  | { kind: "credit"; concurrency: number }
  | { kind: "drain" }
  | { kind: "gone" };

/** A request as its client sends it. */
export interface Question {
  /** Session and sequence: what a worker remembers it by. */
  id: string;
  session: number;
  sequence: number;
  service: string;
  timeoutMs: number;
  attempts: number;
  priority: number;
  bytes: number;
  stream?: "once" | "restart" | undefined;
}

/** Where a part stands: in which run of the handler, and as which of its parts. */
export interface Place {
  run: number;
  index: number;
}

/** What a broker says to an end. `down` is the end's own notice that the connection is lost. */
export type Downward =
  | { kind: "welcome"; inFlightMax: number }
  | { kind: "dispatch"; question: Question; slot: number; generation: number; deadlineMs: number }
  | { kind: "abort"; slot: number; generation: number }
  | { kind: "reply"; sequence: number; id: string; end?: Place | undefined }
  | { kind: "stream-part"; sequence: number; id: string; place: Place; bytes: number }
  | { kind: "grant"; slot: number; generation: number; partsMax: number; bytesMax: number }
  | { kind: "fail"; sequence: number; status: StatusCode }
  | { kind: "bye" }
  | { kind: "drain" }
  | { kind: "down" };

export class Connection {
  readonly toBroker: Upward[] = [];
  readonly toEnd: Downward[] = [];
  /** What is sent from now on vanishes; what was on its way may have arrived. */
  isCut = false;
  /** The broker has heard, or will: the notice is on its way. */
  isNoticed = false;

  constructor(
    /** What the ROUTER knows the end by; kept by some over their connections. */
    readonly identity: string,
    readonly broker: number,
  ) {}

  /** To the broker; silently dropped once the connection is cut. */
  up(message: Upward): void {
    if (!this.isCut) this.toBroker.push(message);
  }

  /** To the end; dropped by the ROUTER without a word once the connection is cut. */
  down(message: Downward): void {
    if (!this.isCut) this.toEnd.push(message);
  }

  /**
   * Lost, with some of what was on its way in either direction. The ROUTER's notice may be lost too:
   * then only a probe tells.
   */
  cut(random: Random, isNoticed = random.chance(80)): void {
    if (this.isCut) return;
    this.isCut = true;
    this.toBroker.length = random.below(this.toBroker.length + 1);
    this.toEnd.length = random.below(this.toEnd.length + 1);
    this.toEnd.push({ kind: "down" });
    if (isNoticed) this.notice();
  }

  notice(): void {
    if (this.isNoticed) return;
    this.isNoticed = true;
    this.toBroker.push({ kind: "gone" });
  }
}
