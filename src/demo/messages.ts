// What the demo's processes say to each other over their IPC channel. The key goes this way and no
// other: what is in argv or the environment can be read by others on the machine.

/** The header by which a worker knows a request of the story, and its number in it. */
export const NUMBER_HEADER = "demo-number";

export type ToBroker =
  | { kind: "listen"; frontend: string; backend: string }
  /** Tell when there are fewer workers than that. */
  | { kind: "watch"; workers: number }
  | { kind: "report" }
  | { kind: "leave" };

export type FromBroker =
  | { kind: "listening"; frontend: string; backend: string }
  | { kind: "failed"; reason: string; code?: string }
  | { kind: "worker-lost"; atMs: number }
  | { kind: "report"; redelivered: number; workers: number };

export type ToWorker =
  | {
      kind: "serve";
      name: string;
      backend: string;
      keyText: string;
      concurrency: number;
      /** A request of the story is held so long, at least and at most. */
      holdMs: [number, number];
    }
  | { kind: "leave" };

export type FromWorker =
  | { kind: "joined"; atMs: number }
  | { kind: "failed"; reason: string; code?: string }
  /** A handler began, or ended, with request `number` of the story. */
  | { kind: "begun"; number: number }
  | { kind: "ended"; number: number };

/** Milliseconds of a clock that all processes of the machine share and nobody sets. */
export function clockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
