// The end of a run: everything comes back, nothing new arrives, and all that was asked ends. Then new
// requests work, everybody leaves, and nothing remains in any core.
import { Status } from "../../build/base/status.js";
import { walk } from "./inside.ts";
import { must } from "./log.ts";
import type { SimBroker } from "./sim-broker.ts";
import type { World } from "./world.ts";

const ROUNDS_MAX = 3000;
/** Counters of any object in the core that must be zero at rest. */
const COUNTERS = ["count", "bytes", "bytesHeld", "inFlight", "workerCount"];
/** What may be known still: names that were served once. */
const REMEMBERED = new Set(["core.registry.services", "core.registry.#absent"]);

export function heal(world: World): void {
  world.isHealing = true;
  for (const { isStopped } of parties(world)) if (isStopped) world.log.meet("healed");
  untilRest(world);
  if (!world.brokers.some((broker) => broker?.model.books.isShuttingDown)) probe(world);
  for (const worker of world.workers) worker.drain();
  untilRest(world);
  for (const index of world.clients.keys()) world.replaceClient(index);
  for (const index of world.workers.keys()) world.replaceWorker(index);
  for (const { connection } of world.lines) connection.notice();
  world.deliverAll();
  for (const broker of world.brokers) if (broker !== undefined) checkRest(broker);
}

function parties({ brokers, clients, workers }: World) {
  return [...brokers.filter((broker) => broker !== undefined), ...clients, ...workers];
}

/** Runs the world, with nothing wrong in it, until nothing is asked or held. */
function untilRest(world: World): void {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const party of parties(world)) party.isStopped = false;
    world.endDrainedBrokers();
    for (const [number, broker] of world.brokers.entries()) {
      if (broker === undefined) world.startBroker(number);
    }
    world.replaceDrainedWorkers();
    world.connect();
    world.deliverAll();
    for (const worker of world.workers) {
      for (const job of worker.finishable(true)) worker.finish(job, Status.OK, false, world.nowMs);
    }
    for (const broker of world.brokers) broker?.probe();
    world.deliverAll();
    if (isAtRest(world)) return;
    world.nowMs += 7;
    world.tick();
  }
  must(false, `it does not heal: ${[...world.ledger.open]}`);
}

function isAtRest(world: World): boolean {
  if (world.ledger.open.size > 0 || world.workers.some(({ jobs }) => jobs.size > 0)) return false;
  return world.brokers.every((broker) => {
    if (broker === undefined) return false;
    const { books } = broker.model;
    return books.live.size === 0 && books.heldCount() === 0;
  });
}

/** A service that every broker has workers for answers every client. */
function probe(world: World): void {
  for (const client of world.clients) {
    for (const service of ["a", "b", "c"]) {
      const isServed = world.brokers.every((broker) => {
        return (broker?.model.books.servers(service).length ?? 0) > 0;
      });
      const isKnown = client.links.every(({ isWelcome, isDraining }) => isWelcome && !isDraining);
      if (!isServed || !isKnown) continue;
      const plain = { timeoutMs: 9_999, attempts: 3, priority: 4, bytes: 1 };
      const id = client.ask({ service, ...plain }, 3, world.nowMs);
      untilRest(world);
      const outcome = world.ledger.outcome(id);
      must(outcome === "OK", `healed, and ${id} for ${service} ended as ${outcome}`);
      world.log.meet("probed");
    }
  }
}

/** Every queue, map and timer is empty. */
function checkRest({ model, bodies, peers }: SimBroker): void {
  const { core, name } = model;
  must(core.requests.count === 0, `${name}: requests remain`);
  must(!core.needsTick, `${name}: timers remain`);
  must(core.clientCount === 0 && core.workerCount === 0, `${name}: peers remain`);
  must(bodies.size === 0 && peers.size === 0, `${name}: the edge holds something`);
  for (const service of core.registry.services.values()) {
    must(service.wasServed, `stray service ${service.name} remains`);
    must(service.isForgettable, `service ${service.name} is not at rest`);
  }
  walk(core, (path, value) => {
    // What was given to it, and what only grows.
    if (value === model || value === model.limits || path === "core.counts") return false;
    if (value instanceof Map || value instanceof Set) {
      must(value.size === 0 || REMEMBERED.has(path), `${name}: ${value.size} remain in ${path}`);
      return true;
    }
    for (const counter of COUNTERS) {
      const count = (value as Record<string, unknown>)[counter];
      must(typeof count !== "number" || count === 0, `${name}: ${path}.${counter} is ${count}`);
    }
    return true;
  });
}
