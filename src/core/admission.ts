import { Status, type StatusCode } from "../base/status.js";
import type { Client } from "./clients.js";
import type { JoinWorker, Request } from "./command.js";
import { type Limits, PRIORITY_COUNT } from "./limits.js";
import type { Requests } from "./requests.js";

/** Why a request is not taken, as its client is told. */
export interface Refusal {
  readonly status: StatusCode;
  readonly reason: string;
  readonly retryAfterMs: number;
}

// Made once: under overload most requests are refused.
const { INVALID_ARGUMENT, UNAVAILABLE, RESOURCE_EXHAUSTED } = Status;
const PRIORITY_UNKNOWN = refusal(INVALID_ARGUMENT, "priority must be 0..7");
const TOO_LARGE = refusal(INVALID_ARGUMENT, "request larger than the broker takes");
const SHUTTING_DOWN = refusal(UNAVAILABLE, "broker is shutting down", 1000);
const CLIENT_FULL = refusal(RESOURCE_EXHAUSTED, "too many in flight", 20);
const CLIENT_FULL_OF_BYTES = refusal(RESOURCE_EXHAUSTED, "too many bytes in flight", 20);
const BROKER_FULL = refusal(RESOURCE_EXHAUSTED, "broker is full", 100);

function refusal(status: StatusCode, reason: string, retryAfterMs = 0): Refusal {
  return { status, reason, retryAfterMs };
}

/** Why a request of `client` is not taken, whatever its service; undefined where it may be. */
export function refusalOf(
  command: Request,
  client: Client,
  requests: Requests,
  limits: Limits,
  isShuttingDown: boolean,
): Refusal | undefined {
  if (command.priority >= PRIORITY_COUNT) return PRIORITY_UNKNOWN;
  const { bytes } = command;
  if (bytes > limits.recordBytesMax) return TOO_LARGE;
  if (isShuttingDown) return SHUTTING_DOWN;
  if (requests.count >= limits.requestsMax) return BROKER_FULL;
  // Of all who push there is one client here: how many tasks it has is a matter of theirs.
  if (command.isTask === true) return undefined;
  if (client.inFlight >= limits.clientInFlightMax) return CLIENT_FULL;
  const freeBytes = limits.requestBytesMax - requests.bytesHeld;
  if (bytes > freeBytes) return BROKER_FULL;
  // As in each queue: whatever one client sends, some room is left for the next.
  if (client.bytes >= limits.queueShare * freeBytes) return CLIENT_FULL_OF_BYTES;
  return undefined;
}

/** What is wrong with what a worker says of itself; undefined where nothing is. */
export function faultOfWorker(
  { services, concurrency }: JoinWorker,
  limits: Limits,
): string | undefined {
  if (services.length === 0) return "a worker needs at least one service";
  if (services.length > limits.workerServicesMax) return "too many services";
  if (!isConcurrency(concurrency, limits)) return "concurrency out of range";
  return undefined;
}

export function isConcurrency(value: number, { concurrencyMax }: Limits): boolean {
  return value >= 1 && value <= concurrencyMax;
}
