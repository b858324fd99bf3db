// What the model expects of refusals: which requests may be taken, and which that wait may be given up.
// A new rule of admission or of waiting is a change here.

import { Status, type StatusCode } from "../../build/base/status.js";
import type { Request as Ask } from "../../build/core/command.js";
import { PRIORITY_DEFAULT } from "../../build/core/limits.js";
import { type Books, counted, type ModelRequest, sum } from "./books.ts";

/** Why a request must not be taken, from the model's own count; undefined when it must be. */
export function refusalOf(books: Books, ask: Ask): StatusCode | undefined {
  const { limits } = books;
  if (ask.priority > 7 || ask.bytes > limits.recordBytesMax) return Status.INVALID_ARGUMENT;
  if (books.isShuttingDown) return Status.UNAVAILABLE;
  const live = [...books.live.values()];
  const ofClient = live.filter(({ client }) => client === ask.peer).length;
  if (ask.isTask !== true && ofClient >= limits.clientInFlightMax) {
    return Status.RESOURCE_EXHAUSTED;
  }
  if (books.occupied() >= limits.requestsMax) return Status.RESOURCE_EXHAUSTED;
  if (ask.isTask !== true && sum(counted(live)) + ask.bytes > limits.requestBytesMax) {
    return Status.RESOURCE_EXHAUSTED;
  }
  const ownBytes = sum(counted(live).filter(({ client }) => client === ask.peer));
  const freeBytes = limits.requestBytesMax - sum(counted(live));
  if (ask.isTask !== true && ownBytes >= limits.queueShare * freeBytes) {
    return Status.RESOURCE_EXHAUSTED;
  }
  return hasRoomForName(books, ask.service) ? queueRefusal(books, ask) : Status.NOT_FOUND;
}

function hasRoomForName(books: Books, name: string): boolean {
  const { services } = books.core.registry;
  if (services.has(name)) return true;
  const strays = [...services.values()].filter(({ wasServed }) => !wasServed).length;
  if (strays * 2 >= books.limits.servicesMax) return false;
  if (services.size < books.limits.servicesMax) return true;
  return [...services.values()].some(
    (service) => books.wasServed.has(service.name) && books.isAtRest(service.name),
  );
}

function queueRefusal(books: Books, ask: Ask): StatusCode | undefined {
  const { limits } = books;
  const queue = books.queue(ask.service);
  if (queue.length === 0) return undefined;
  const ofClient = queue.filter(({ client }) => client === ask.peer);
  const own = ofClient.length;
  const isFull =
    queue.length >= limits.queueCountMax ||
    sum(queue) + ask.bytes > limits.queueBytesMax ||
    sum(ofClient) >= limits.queueShare * (limits.queueBytesMax - sum(queue)) ||
    own >= clientCountMax(books, ask, queue.length);
  return isFull ? Status.RESOURCE_EXHAUSTED : undefined;
}

/** How many of one client may wait: less while what waits of this priority waits too long. */
function clientCountMax({ limits, core, meet }: Books, ask: Ask, count: number): number {
  const { queueShare, queueCountMax, codelTargetMs, queueShortCount } = limits;
  const { ratePerMs, queue } = core.registry.services.get(ask.service)!;
  const share = queueShare * (queueCountMax - count);
  if (ask.priority < PRIORITY_DEFAULT || ratePerMs === 0 || !queue.isOverloaded(ask.priority)) {
    return share;
  }
  meet("shorter queue");
  const inTime = Math.max(ratePerMs * codelTargetMs * 1.5, queueShortCount);
  return Math.min(Math.ceil(inTime / queue.waiters.size), share);
}

/** Whether a request that was next in line may be refused for its wait. */
export function mayBeStale(books: Books, request: ModelRequest): boolean {
  const { codelTargetMs, queueShortCount } = books.limits;
  if (request.where !== "queued" || request.returned || codelTargetMs === 0) return false;
  if (request.attemptMs > 0) return false;
  if (request.priority < PRIORITY_DEFAULT) return false;
  if (books.queue(request.service).length <= queueShortCount) return false;
  if (books.nowMs - request.sinceMs <= 2 * codelTargetMs) return false;
  books.meet("stale");
  return true;
}

/** Whether a request that waits may be given up with this status, by the time it has waited. */
export function mayBeGivenUp(books: Books, request: ModelRequest, status: StatusCode): boolean {
  if (request.where !== "queued") return false;
  const waitedMs = books.nowMs - request.sinceMs;
  if (books.servers(request.service).length > 0) {
    return (
      request.attemptMs === 0 &&
      status === Status.RESOURCE_EXHAUSTED &&
      waitedMs >= books.limits.queueWaitMsMax
    );
  }
  // A task is looked after now and then, however long it waited.
  if (request.attemptMs === 0 && waitedMs < absentWaitMs(books, request)) return false;
  // A known service may have been forgotten to make room for another.
  if (status === Status.NOT_FOUND) {
    return !books.core.registry.services.get(request.service)!.wasServed;
  }
  return status === Status.UNAVAILABLE && books.wasServed.has(request.service);
}

/** How long a request waits for a service that nobody serves: not until its own deadline, or it would not hear why. */
function absentWaitMs({ limits }: Books, { deadlineMs, sinceMs }: ModelRequest): number {
  return Math.min(limits.absentWaitMs, (deadlineMs - sinceMs) * 0.9);
}

/** After a tick: whether a request that waits should have been given up by now. */
export function isOverdue(books: Books, request: ModelRequest): boolean {
  if (request.where !== "queued" || request.attemptMs > 0) return false;
  return Math.ceil(request.sinceMs + books.limits.queueWaitMsMax) <= Math.floor(books.nowMs);
}
