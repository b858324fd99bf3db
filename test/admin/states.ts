import type {
  BrokerState,
  OtherState,
  ServiceCounts,
  ServiceState,
  Times,
} from "../../build/admin/state.js";

/** Times as a broker shows them, of buckets; sum and quantiles are made up. */
export function timesOf(...buckets: [number | null, number][]): Times {
  const count = buckets.reduce((sum, [, each]) => sum + each, 0);
  return { count, sumMs: count * 2, p50Ms: 1, p99Ms: 2, buckets };
}

export function countsOf(counts: Partial<ServiceCounts> = {}): ServiceCounts {
  return { outcomes: {}, wait: timesOf(), service: timesOf(), parts: 0, ...counts };
}

export function otherOf(other: Partial<OtherState> = {}): OtherState {
  return { queued: 0, queuedBytes: 0, oldestWaitMs: 0, ...countsOf(), ...other };
}

export function serviceOf(name: string, service: Partial<ServiceState> = {}): ServiceState {
  return {
    name,
    isServed: true,
    queued: 0,
    queuedBytes: 0,
    inFlight: 0,
    streams: 0,
    workers: 1,
    credits: 4,
    oldestWaitMs: 0,
    ...countsOf(),
    ...service,
  };
}

/** The state of a broker that has just started, but for what is given. */
export function stateOf(state: Partial<BrokerState>): BrokerState {
  return {
    version: "1.2.3",
    startedAt: "2026-01-01T00:00:00.000Z",
    uptimeMs: 10_000,
    isReady: true,
    isDraining: false,
    requests: 0,
    requestBytes: 0,
    peers: {
      clients: 0,
      plainClients: 0,
      majordomoClients: 0,
      workers: 0,
      plainWorkers: 0,
      majordomoWorkers: 0,
    },
    services: [],
    other: otherOf(),
    tasks: { counts: { pushed: 0 }, queues: [] },
    surveys: { started: 0 },
    topics: { subscriptions: 0 },
    topicCounts: { published: 0 },
    counts: { requests: 0 },
    unanswered: 0,
    faults: { alien: 0 },
    refusals: {},
    limits: { requestsMax: 131_072, requestBytesMax: 134_217_728 },
    process: {
      pid: 1,
      node: "v20",
      rssBytes: 100 * 1024 * 1024,
      heapUsedBytes: 0,
      externalBytes: 0,
      cellBytes: 0,
      loopActiveMs: 1000,
      loopIdleMs: 9000,
    },
    ...state,
  };
}
