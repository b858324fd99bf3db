// An exchange without sockets: messages go in and out by hand.
import type { Access } from "../../build/base/access.js";
import { OWN_FRAME_BYTES_MIN } from "../../build/base/blocks.js";
import { Exchange, type Side } from "../../build/broker/exchange.js";
import type { Outbox } from "../../build/broker/outbox.js";
import type { Port } from "../../build/broker/port.js";
import { SurveyPattern } from "../../build/broker/survey-pattern.js";
import { TaskPattern } from "../../build/broker/task-pattern.js";
import { type Limits, resolveLimits } from "../../build/core/limits.js";
import { ServiceRules } from "../../build/core/service-rules.js";
import { resolveTaskLimits } from "../../build/core/tasks/task-limits.js";
import { BatchWriter } from "../../build/wire/batch.js";
import { readMessage, type Shown, writeRecord } from "../wire/support.js";

/** Stands in for a port whose peers take everything at once, but those that are stuck. */
class FakePort {
  readonly sent: { to: string; message: Uint8Array[] }[] = [];
  /** What its peers may do from now on; everything unless set. */
  access: Access | undefined;
  /** Routing ids of peers that take nothing. */
  readonly stuck = new Set<string>();
  readonly #due = new Map<Outbox, Buffer>();

  accessOf(): Access | undefined {
    return this.access;
  }

  due(outbox: Outbox, routingId: Buffer): void {
    this.#due.set(outbox, routingId);
  }

  sendOnce(routingId: Buffer, message: Uint8Array[]): void {
    this.sent.push({ to: routingId.toString("latin1"), message });
  }

  onOneThread(): void {}

  /** Pulses, and the workers that they stand for. */
  readonly pulses: [string, string][] = [];

  onPulse(pulseId: Buffer, workerId: Buffer): boolean {
    this.pulses.push([pulseId.toString("latin1"), workerId.toString("latin1")]);
    return true;
  }

  hasPulse(workerId: Buffer): boolean {
    return this.pulses.some(([, worker]) => worker === workerId.toString("latin1"));
  }

  drop(outbox: Outbox): void {
    this.#due.delete(outbox);
  }

  flush(): void {
    for (const [outbox, routingId] of this.#due) {
      if (this.stuck.has(routingId.toString("latin1"))) continue;
      this.#due.delete(outbox);
      for (let next = outbox.peek(); next !== undefined; next = outbox.peek()) {
        this.sendOnce(routingId, next);
        outbox.shift();
      }
    }
  }
}

/** One exchange, its two ports, and peers by name. */
export class Stage {
  readonly exchange: Exchange;
  readonly ports: Record<Side, FakePort>;

  constructor(limits: Partial<Limits> = {}, times?: ConstructorParameters<typeof Exchange>[3]) {
    const resolved = resolveLimits(limits);
    const id = { brokerLow: 1, brokerHigh: 2 };
    this.exchange = new Exchange(resolved, new ServiceRules(resolved), id, times);
    this.ports = { frontend: new FakePort(), backend: new FakePort() };
    for (const side of ["frontend", "backend"] as const) this.exchange.addPort(this.port(side));
  }

  /** Tasks and surveys, as a broker has them. */
  addPatterns(): void {
    this.exchange.addPattern(new TaskPattern(this.exchange, resolveTaskLimits()));
    this.exchange.addPattern(new SurveyPattern(this.exchange));
  }

  port(side: Side): Port {
    return this.ports[side] as unknown as Port;
  }

  /** `frames` come from `peer`, and are good only until that is dealt with; the turn is not ended. */
  receive(side: Side, peer: string, frames: readonly Uint8Array[]): void {
    const theirs = frames.map((frame) => Buffer.from(frame));
    const all = [Buffer.from(peer, "latin1"), ...theirs];
    this.exchange.onMessage(side, this.port(side), all);
    // As where it was read the next is read.
    for (const frame of theirs) if (frame.length < OWN_FRAME_BYTES_MIN) frame.fill(0xdd);
  }

  /** `peer` sends these records in one message, and the turn ends. */
  send(side: Side, peer: string, ...records: Shown[]): void {
    this.receive(side, peer, message(...records));
    this.exchange.onTurn();
  }

  /** The messages for `peer` since they were last taken. */
  takeMessages(side: Side, peer: string): Uint8Array[][] {
    const { sent } = this.ports[side];
    const mine = sent.filter(({ to }) => to === peer);
    for (const each of mine) sent.splice(sent.indexOf(each), 1);
    return mine.map(({ message }) => message);
  }

  /** The records for `peer` since they were last taken. */
  take(side: Side, peer: string): Shown[] {
    return this.takeMessages(side, peer).flatMap((frames) => {
      const { records, fault } = readMessage(frames);
      if (fault !== undefined) throw new Error(`the broker sent nonsense: ${fault}`);
      return records.map((record) => {
        if (typeof record === "string") throw new Error(`the broker sent nonsense: ${record}`);
        return record;
      });
    });
  }

  close(): void {
    this.exchange.close();
  }
}

export function message(...records: Shown[]): Uint8Array[] {
  const writer = new BatchWriter();
  for (const record of records) writeRecord(writer, record);
  return writer.finish();
}

export const session = "1122334455667788";

export function clientHello(of = session): Shown {
  return { kind: "HELLO", role: 1, session: of, concurrency: 0, services: [], isOneThread: false };
}

export function pulseHello(of = session): Shown {
  return { kind: "HELLO", role: 3, session: of, concurrency: 0, services: [], isOneThread: false };
}

export function workerHello(services = ["echo"], concurrency = 4, of = session): Shown {
  return { kind: "HELLO", role: 2, session: of, concurrency, services, isOneThread: false };
}

/** A REQUEST to "echo" with `change` laid over it. */
export function request(sequence: number | string, change: Record<string, unknown> = {}): Shown {
  return {
    kind: "REQUEST",
    slot: 0,
    generation: 0,
    flags: 0,
    session,
    sequence: String(sequence),
    priority: 4,
    attempts: 0,
    timeoutMs: 60_000,
    service: "echo",
    headers: [],
    body: ["abcd"],
    ...change,
  };
}

/** The REPLY to a REQUEST as a worker got it. */
export function reply(to: Shown, body: string[] = to.body as string[]): Shown {
  const { slot, generation, session: of, sequence } = to;
  return {
    kind: "REPLY",
    slot,
    generation,
    session: of,
    sequence,
    flags: 0,
    serviceTimeUs: 0,
    body,
  };
}
