// What must hold between two steps: the core's own counts against a recount from the books.
import type { Core } from "../../build/core/core.js";
import { OTHER_ROW } from "../../build/core/meters.js";
import { type Books, counted, sum } from "./books.ts";
import { must } from "./log.ts";

export function checkAll(books: Books): void {
  checkRequests(books);
  checkWorkers(books);
  const { core, limits, services } = books;
  must(core.registry.services.size <= limits.servicesMax, "more services than servicesMax");
  for (const name of services) checkService(books, name);
}

function checkRequests(books: Books): void {
  const { core, limits, clients } = books;
  const { requests, counts } = core;
  const live = [...books.live.values()];
  for (const { name, outcomes } of live) must(outcomes === 0, `${name} ended and lives on`);
  const occupied = books.occupied();
  must(requests.count === occupied, `count ${requests.count}, not ${occupied}`);
  must(requests.count <= limits.requestsMax, "more requests than requestsMax");
  const bytes = sum(counted(live));
  must(requests.bytesHeld === bytes, `bytes ${requests.bytesHeld}, not ${bytes}`);
  must(requests.bytesHeld <= limits.requestBytesMax, "more bytes than requestBytesMax");
  const streams = live.filter(({ stream }) => stream !== undefined).length;
  must(core.streams.count === streams, `${core.streams.count} streams, not ${streams}`);
  const isReduced = [...books.credits.values()].some(
    ({ credit }) => credit < limits.clientInFlightMax,
  );
  const isTickDue = live.length > 0 || isReduced;
  must(core.needsTick === isTickDue, "timers without requests, or without timers");
  const ended = counts.replies + counts.failures + counts.cancelled;
  must(counts.requests === ended + live.length, "requests counted and ended");
  const outcomes = ended + counts.refused - counts.refusedAfterWait;
  must(meteredOutcomes(core) === outcomes, "an outcome of no status, or of two");
  must(core.clientCount === clients.size, "clients");
  for (const client of clients) {
    const own = live.filter((request) => request.client === client && request.attemptMs === 0);
    const count = own.length;
    must(count <= limits.clientInFlightMax, `${client} has ${count} in flight`);
  }
}

/** Credits are conserved: what the core counts as spent is what the worker holds. */
function checkWorkers(books: Books): void {
  const { core, workers } = books;
  must(core.workerCount === workers.size, "workers");
  for (const worker of workers.values()) {
    const inCore = core.worker(worker.peer)!;
    must(inCore.inFlight === worker.held.size, `${worker.peer}: credit leaked`);
    must(inCore.state === (worker.draining ? "draining" : "ready"), `${worker.peer}: state`);
    const isDone = worker.draining && worker.held.size === 0;
    must(worker.toldDrained === isDone, `${worker.peer}: drained and not told`);
  }
}

function checkService(books: Books, name: string): void {
  const { core, limits } = books;
  const service = core.registry.services.get(name);
  const queue = books.queue(name);
  if (service === undefined) {
    must(books.isAtRest(name), `${name} was forgotten`);
    return;
  }
  must(service.queue.count === queue.length, `${name}: queue count`);
  must(service.queue.bytes === sum(queue), `${name}: queue bytes`);
  must(service.inFlight === books.inFlight(name), `${name}: in flight`);
  must(core.registry.at(service.index) === service, `${name}: index`);
  must(service.isServed === books.servers(name).length > 0, `${name}: served`);
  must(service.wasServed || !books.isAtRest(name), `${name} is a stray`);
  // What a worker gave back is not turned away: the queue may be that much longer.
  const fresh = queue.filter((request) => !request.returned);
  must(fresh.length <= limits.queueCountMax, `${name}: queue too long`);
  must(sum(fresh) <= limits.queueBytesMax, `${name}: queue too large`);
  for (const client of books.clients) {
    const count = queue.filter((request) => request.client === client).length;
    must(service.queue.clientCount(client) === count, `${name}: share of ${client}`);
  }
  if (queue.length === 0) return;
  for (const { peer, held, concurrency } of books.servers(name)) {
    must(held.size >= concurrency, `${peer} is idle while ${queue[0].name} waits`);
    must(core.worker(peer)!.room <= 0, `${peer} has room while ${queue[0].name} waits`);
  }
}

/** All outcomes by status, of services known, forgotten and never served. */
function meteredOutcomes({ registry }: Core): number {
  const rows = new Set([OTHER_ROW]);
  let total = 0;
  for (const { row, replyCount, inFlight } of registry.services.values()) {
    rows.add(row);
    total += replyCount;
    for (const [, count] of registry.meters.waited(row, inFlight).buckets) {
      must(count >= 0, `${count} requests waited for so long`);
    }
  }
  for (const row of rows) total += registry.meters.outcomes(row).reduce((sum, n) => sum + n, 0);
  return total;
}
