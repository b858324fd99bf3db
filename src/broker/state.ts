import type {
  BrokerState,
  OtherState,
  PeerCounts,
  QueuedState,
  ServiceCounts,
  ServiceState,
  Times,
} from "../admin/state.js";
import { quantileMs } from "../base/histogram.js";
import { Status, type StatusName, statusName } from "../base/status.js";
import type { Core } from "../core/core.js";
import { type Times as MeteredTimes, OTHER_ROW } from "../core/meters.js";
import type { Pool } from "../core/pool.js";
import type { Registry } from "../core/registry.js";
import { RequestState, type Requests } from "../core/requests.js";
import type { Service } from "../core/services.js";
import { QUEUE_PREFIX } from "../wire/layout.js";
import type { Exchange } from "./exchange.js";
import type { PeerRole, Peers } from "./peers.js";

/** What the broker around the exchange has to say for its state. */
export type StateFrame = Pick<
  BrokerState,
  | "version"
  | "startedAt"
  | "uptimeMs"
  | "isReady"
  | "isDraining"
  | "refusals"
  | "limits"
  | "tasks"
  | "surveys"
>;

/** What is to be shown of a broker now. Walks all that it holds: for whoever watches, now and then. */
export function brokerState(exchange: Exchange, frame: StateFrame): BrokerState {
  const { core, faults, peers, cellBytes, pubsub } = exchange;
  const nowMs = performance.now();
  const oldest = oldestSinceMs(core.requests);
  const queuedOf = (service: Service) => queuedState(service, oldest, nowMs);
  return {
    ...frame,
    requests: core.requests.count,
    requestBytes: core.requests.bytesHeld,
    peers: peerCounts(peers),
    services: serviceStates(core, queuedOf),
    other: otherState(core, queuedOf),
    ...pubsub.state,
    counts: { ...core.counts },
    faults: { ...faults },
    unanswered: exchange.majordomo.unanswered,
    process: processState(cellBytes),
  };
}

function peerCounts(peers: Peers): PeerCounts {
  const counts: Record<PeerRole, number> = {
    client: 0,
    "plain-client": 0,
    "mdp-client": 0,
    worker: 0,
    "plain-worker": 0,
    "mdp-worker": 0,
    inner: 0,
  };
  for (const { role } of peers) counts[role]++;
  return {
    clients: counts.client,
    plainClients: counts["plain-client"],
    majordomoClients: counts["mdp-client"],
    workers: counts.worker,
    plainWorkers: counts["plain-worker"],
    majordomoWorkers: counts["mdp-worker"],
  };
}

function serviceStates(core: Core, queuedOf: (service: Service) => QueuedState): ServiceState[] {
  const credits = creditsByPool(core);
  const streams = streamsByService(core);
  const states: ServiceState[] = [];
  for (const service of core.registry.services.values()) {
    const { index, name, isServed, inFlight, pools } = service;
    // Anyone can ask for a name: those that none served are in `other` alone.
    // Queues are shown with their tasks.
    if (!service.wasServed || name.startsWith(QUEUE_PREFIX)) continue;
    states.push({
      name,
      isServed,
      ...queuedOf(service),
      inFlight,
      streams: streams.get(index) ?? 0,
      workers: pools.reduce((sum, pool) => sum + pool.workerCount, 0),
      credits: pools.reduce((sum, pool) => sum + (credits.get(pool) ?? 0), 0),
      ...serviceCounts(core.registry, service),
    });
  }
  return states;
}

/** What waits for names that no worker ever served, all together: one of them may be what a client mistyped. */
function otherState(core: Core, queuedOf: (service: Service) => QueuedState): OtherState {
  const total: QueuedState = { queued: 0, queuedBytes: 0, oldestWaitMs: 0 };
  for (const service of core.registry.services.values()) {
    if (service.wasServed || service.queue.count === 0) continue;
    if (service.name.startsWith(QUEUE_PREFIX)) continue;
    const { queued, queuedBytes, oldestWaitMs } = queuedOf(service);
    total.queued += queued;
    total.queuedBytes += queuedBytes;
    total.oldestWaitMs = Math.max(total.oldestWaitMs, oldestWaitMs);
  }
  return { ...total, ...serviceCounts(core.registry) };
}

function queuedState(
  { index, queue }: Service,
  oldest: ReadonlyMap<number, number>,
  nowMs: number,
): QueuedState {
  return {
    queued: queue.count,
    queuedBytes: queue.bytes,
    oldestWaitMs: queue.count === 0 ? 0 : rounded(nowMs - (oldest.get(index) ?? nowMs)),
  };
}

/** Since when the oldest request waits, by service: one walk over the slots, whatever the queues are. */
function oldestSinceMs({ capacity, state, service, sinceMs }: Requests): Map<number, number> {
  const oldest = new Map<number, number>();
  for (let slot = 0; slot < capacity; slot++) {
    if (state[slot] !== RequestState.QUEUED) continue;
    const known = oldest.get(service[slot]);
    if (known === undefined || sinceMs[slot] < known) oldest.set(service[slot], sinceMs[slot]);
  }
  return oldest;
}

function streamsByService({ streams, requests }: Core): Map<number, number> {
  const counts = new Map<number, number>();
  for (const slot of streams.slots()) {
    const index = requests.service[slot];
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  return counts;
}

function creditsByPool(core: Core): Map<Pool, number> {
  const credits = new Map<Pool, number>();
  for (const { pool, room } of core.workers()) {
    if (room > 0) credits.set(pool, (credits.get(pool) ?? 0) + room);
  }
  return credits;
}

/** Of one service, or of the others. */
function serviceCounts({ meters }: Registry, service?: Service): ServiceCounts {
  const { row, replyCount, inFlight } = service ?? NO_SERVICE;
  const named: Partial<Record<StatusName, number>> = {};
  meters.outcomes(row).forEach((count, status) => {
    const total = status === Status.OK ? count + replyCount : count;
    if (total > 0) named[statusName(status)] = total;
  });
  return {
    outcomes: named,
    wait: shown(meters.waited(row, inFlight)),
    service: shown(meters.served(row)),
    parts: meters.parts(row),
  };
}

const NO_SERVICE = { row: OTHER_ROW, replyCount: 0, inFlight: 0 };

function shown({ count, sumMs, buckets }: MeteredTimes): Times {
  return {
    count,
    sumMs: rounded(sumMs),
    p50Ms: rounded(quantileMs(buckets, 0.5)),
    p99Ms: rounded(quantileMs(buckets, 0.99)),
    buckets: buckets.map(([upToMs, count]) => [upToMs === Infinity ? null : upToMs, count]),
  };
}

/** To the microsecond: what is finer was not measured. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function processState(cellBytes: number): BrokerState["process"] {
  const { rss, heapUsed, external } = process.memoryUsage();
  const loop = performance.eventLoopUtilization();
  return {
    pid: process.pid,
    node: process.version,
    rssBytes: rss,
    heapUsedBytes: heapUsed,
    externalBytes: external,
    cellBytes,
    loopActiveMs: rounded(loop.active),
    loopIdleMs: rounded(loop.idle),
  };
}
