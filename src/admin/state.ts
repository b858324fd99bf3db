import type { Bucket } from "../base/histogram.js";
import type { StatusName } from "../base/status.js";

/**
 * What `GET /v1/state` answers: all that a broker knows of itself at one moment. Counters only grow
 * while `startedAt` stays the same. Keys may be added within v1, never removed or changed.
 */
export interface BrokerState {
  version: string;
  /** When this broker started, ISO 8601: another time, another broker. */
  startedAt: string;
  uptimeMs: number;
  isReady: boolean;
  isDraining: boolean;
  /** Requests held, waiting and in flight, and their bytes. */
  requests: number;
  requestBytes: number;
  peers: PeerCounts;
  /** Those that a worker serves or served, by name. */
  services: ServiceState[];
  /** All names that no worker ever served together; in outcomes and times services forgotten, too. */
  other: OtherState;
  /** Publish and subscribe: what there is now. */
  topics: Record<string, number>;
  /** Publish and subscribe: what was counted, of plain sockets too. */
  topicCounts: Record<string, number>;
  /** What was pushed (docs/tasks.md), with the queues by name. */
  tasks: TasksState;
  /** Surveys since the start (docs/survey.md): started, refused, ended; workers asked, answered, missing. */
  surveys: Record<string, number>;
  /** What the core counted; see CoreCounts in docs/operations.md. */
  counts: Record<string, number>;
  /** Messages and records that were not taken, by PROTOCOL 5. */
  faults: Record<string, number>;
  /** Requests of Majordomo clients that ended without a reply: their protocol has no word for it. */
  unanswered: number;
  /** Connections that were refused or dropped, at all endpoints, by reason. */
  refusals: Record<string, number>;
  limits: Record<string, number>;
  process: ProcessState;
}

export interface TasksState {
  counts: Record<string, number>;
  queues: QueueState[];
}

export interface QueueState {
  name: string;
  isServed: boolean;
  /** Tasks that wait for a worker, or for their time; and that workers have, or are about to. */
  ready: number;
  delayed: number;
  inFlight: number;
  bytes: number;
  dead: number;
  deadBytes: number;
  /** Taken, done, attempts that failed, tasks that failed too often. Gone with a queue that is forgotten. */
  counts: Record<string, number>;
}

export interface PeerCounts {
  clients: number;
  plainClients: number;
  majordomoClients: number;
  workers: number;
  plainWorkers: number;
  majordomoWorkers: number;
}

export interface ServiceCounts {
  /** How requests ended, by status; statuses that none ended in are left out. */
  outcomes: Partial<Record<StatusName, number>>;
  /** From being taken, or given back by a worker, to being handed to one. */
  wait: Times;
  /** From being handed to a worker to its answer. */
  service: Times;
  /** Parts of streams passed on. */
  parts: number;
}

/** What waits. */
export interface QueuedState {
  queued: number;
  queuedBytes: number;
  /** How long the one that waits longest has waited; 0 where none waits. */
  oldestWaitMs: number;
}

/** Requests for names that no worker ever served wait for one to come. */
export interface OtherState extends ServiceCounts, QueuedState {}

export interface ServiceState extends ServiceCounts, QueuedState {
  name: string;
  isServed: boolean;
  inFlight: number;
  /** Streams taken and not ended, among those that wait and those in flight. */
  streams: number;
  /** Workers that serve it and take new work. */
  workers: number;
  /** Requests that these may still be handed, look-ahead included; shared with their other services. */
  credits: number;
}

/** Times since the start. Past the last bound, 67 s, a quantile is that bound. */
export interface Times {
  count: number;
  sumMs: number;
  p50Ms: number;
  p99Ms: number;
  /** What is not empty, lowest first: below `upToMs` (null: no bound), so many. Not cumulative. */
  buckets: (readonly [upToMs: number | null, count: number])[];
}

export interface ProcessState {
  pid: number;
  node: string;
  /** Resident set, and what of it V8 and Buffers hold; of these, cells for bodies that wait. */
  rssBytes: number;
  heapUsedBytes: number;
  externalBytes: number;
  cellBytes: number;
  /** Since the start of the process: time that the event loop worked, and time that it waited. */
  loopActiveMs: number;
  loopIdleMs: number;
}

/** A bucket of `Times` as histograms have it: JSON has no Infinity. */
export function bucketOf([upToMs, count]: Times["buckets"][number]): Bucket {
  return [upToMs ?? Infinity, count];
}
