// What no honest peer says: answers that are not due, and commands from those who may not give them.
import { Status } from "../../build/base/status.js";
import type { Command } from "../../build/core/command.js";
import type { Random } from "../random.mjs";
import type { SimBroker } from "./sim-broker.ts";
import type { World } from "./world.ts";

/** A worker answers what is not its own: late, repeated, another's, made up. */
export function forge(world: World, random: Random): void {
  const worker = random.pick(world.workers);
  const { connection, broker: number } = random.pick(worker.links);
  const broker = world.brokers[number];
  if (connection === undefined || broker === undefined) return;
  const lie = pickLie(broker, random);
  if (random.chance(20)) {
    connection.up({ kind: "part", ...lie, isPassedOn: random.chance(50), isForged: true });
    return;
  }
  if (random.chance(30)) {
    const part = { index: random.below(3), isLast: random.chance(40), bytes: 1 };
    connection.up({ kind: "stream-part", ...lie, ...part, id: "forged", run: 0, isForged: true });
    return;
  }
  if (random.chance(60)) {
    connection.up({ kind: "reply", ...lie, id: "forged", isForged: true });
    return;
  }
  const status = random.pick([Status.INTERNAL, Status.UNAVAILABLE]);
  const untouched = random.chance(60);
  connection.up({ kind: "failure", ...lie, status, untouched, retryAfterMs: 0, isForged: true });
}

function pickLie({ model }: SimBroker, random: Random): { slot: number; generation: number } {
  const held = [...model.books.workers.values()].flatMap((worker) =>
    [...worker.held.values()].map(({ slot, generation }) => ({ slot, generation })),
  );
  const any = {
    slot: random.below(model.limits.requestsMax + 2) - 1,
    generation: random.below(4),
  };
  const base = held.length > 0 ? random.pick(held) : any;
  const past = model.history.length > 0 ? random.pick(model.history) : any;
  const last = model.history.at(-1) ?? any;
  return random.pick([
    any,
    base,
    { ...base, generation: base.generation + random.pick([-1, 1]) },
    { ...base, slot: random.below(model.limits.requestsMax) },
    { slot: past.slot, generation: past.generation },
    { slot: last.slot, generation: last.generation },
  ]);
}

/** A command from a peer that is unknown, or of the other role. */
export function strangers(world: World, random: Random): void {
  const broker = random.pick(world.brokers);
  if (broker === undefined || broker.isStopped) return;
  const { books } = broker.model;
  const client = random.pick([...books.clients, 99]);
  const worker = random.pick([...books.workers.keys(), 99]);
  const lie = pickLie(broker, random);
  broker.model.step(
    random.pick<Command>([
      { kind: "drain", peer: client },
      { kind: "leave", peer: 99 },
      { kind: "cancel", peer: worker, sequence: 1 },
      { kind: "credit", peer: client, concurrency: 1 },
      { kind: "stream-credit", peer: client, sequence: random.below(20), partsMax: 9, bytesMax: 9 },
      { kind: "stream-credit", peer: worker, sequence: 1, partsMax: 1, bytesMax: 1 },
      { kind: "reply", peer: client, ...lie },
      ...(worker === 99 ? [] : [{ kind: "join-client", peer: worker } as const]),
      ...(client === 99
        ? []
        : [
            {
              kind: "join-worker",
              peer: client,
              concurrency: 1,
              services: ["a"],
              lookAhead: false,
            } as const,
          ]),
      {
        kind: "request",
        peer: worker,
        sequence: 0,
        service: "a",
        timeoutMs: 5,
        attempts: 0,
        priority: 4,
        bytes: 1,
      },
    ]),
    world.nowMs,
  );
}
