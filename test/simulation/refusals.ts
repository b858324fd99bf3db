// What the model expects of refusals: which requests may be taken, and which that wait may be given up.
// A new rule of admission or of waiting is a change here.
import { Status, type StatusCode } from "../../build/base/status.js";
import type { Request as Ask } from "../../build/core/command.js";
import { type Books, type ModelRequest, sum } from "./books.ts";

/** Why a request must not be taken, from the model's own count; undefined when it must be. */
export function refusalOf(books: Books, ask: Ask): StatusCode | undefined {
  const { limits } = books;
  if (ask.priority > 7 || ask.bytes > limits.recordBytesMax) return Status.INVALID_ARGUMENT;
  if (books.isShuttingDown) return Status.UNAVAILABLE;
  const live = [...books.live.values()];
  if (live.filter(({ client }) => client === ask.peer).length >= limits.clientInFlightMax) {
    return Status.RESOURCE_EXHAUSTED;
  }
  if (books.occupied() >= limits.requestsMax) return Status.RESOURCE_EXHAUSTED;
  if (sum(live) + ask.bytes > limits.requestBytesMax) return Status.RESOURCE_EXHAUSTED;
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
  const own = queue.filter(({ client }) => client === ask.peer).length;
  const isFull =
    queue.length >= limits.queueCountMax ||
    sum(queue) + ask.bytes > limits.queueBytesMax ||
    own >= limits.queueShare * (limits.queueCountMax - queue.length);
  return isFull ? Status.RESOURCE_EXHAUSTED : undefined;
}

/** Whether a request that waits may be given up with this status, by the time it has waited. */
export function mayBeGivenUp(books: Books, request: ModelRequest, status: StatusCode): boolean {
  if (request.where !== "queued") return false;
  const waitedMs = books.nowMs - request.sinceMs;
  if (books.servers(request.service).length > 0) {
    return status === Status.RESOURCE_EXHAUSTED && waitedMs >= books.limits.queueWaitMsMax;
  }
  if (waitedMs < books.limits.absentWaitMs) return false;
  // A known service may have been forgotten to make room for another.
  if (status === Status.NOT_FOUND) {
    return !books.core.registry.services.get(request.service)!.wasServed;
  }
  return status === Status.UNAVAILABLE && books.wasServed.has(request.service);
}

/** After a tick: whether a request that waits should have been given up by now. */
export function isOverdue(books: Books, request: ModelRequest): boolean {
  if (request.where !== "queued") return false;
  return Math.ceil(request.sinceMs + books.limits.queueWaitMsMax) <= Math.floor(books.nowMs);
}
