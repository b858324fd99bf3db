import { setImmediate } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { BrokerState, QueuedState, ServiceCounts, ServiceState } from "./state.js";
import { TimesHistogram, type TimesOf } from "./times-histogram.js";

type Labels = Record<string, string>;
type Add = (labels: Labels, value: number) => void;
type Fill = (state: BrokerState, add: Add) => void;

/**
 * Names that no worker ever served have no series of their own: anyone could make them. No service
 * can have this name.
 */
const OTHER = "";

/** What of a state's topics is bytes, and of what: those have a metric of their own. */
const TOPIC_BYTES = new Map([
  ["subscriptionBytes", "subscriptions"],
  ["queuedBytes", "queued"],
  ["retainedBytes", "retained"],
]);

const EVENTS_HELP =
  "What the core counted. requests: taken, each ends as one of replies, failures, cancelled. " +
  "failures: ended with a status, refused-after-wait and expired among them. " +
  "refused: at once, or after they waited too long (refused-after-wait). expired: past their deadline. " +
  "Others: redelivered, stale, repeated, parts";

// What the process is like belongs to the process: a second broker in it shows the same.
let processRegistry: Registry | undefined;

function requireProcessRegistry(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

/** A broker's state as Prometheus has it; docs/operations.md lists the names. Filled when read. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #process = requireProcessRegistry();
  readonly #times: TimesHistogram[] = [];
  #state: BrokerState | undefined;
  #writing: Promise<string> | undefined;

  constructor() {
    this.#queue("queued", "Requests that wait for a worker", ({ queued }) => queued);
    this.#queue(
      "queued_bytes",
      "Bytes of the requests that wait for a worker",
      ({ queuedBytes }) => queuedBytes,
    );
    this.#service("in_flight", "Requests that workers have", ({ inFlight }) => inFlight);
    this.#service("streams", "Streams taken and not ended", ({ streams }) => streams);
    this.#service("workers", "Workers that take new work", ({ workers }) => workers);
    this.#service(
      "credits",
      "Requests that its workers may still be handed",
      ({ credits }) => credits,
    );
    this.#queue(
      "oldest_wait_seconds",
      "How long the one that waits longest has waited",
      ({ oldestWaitMs }) => oldestWaitMs / 1000,
    );
    this.#counter(
      "wasmq_requests_total",
      "Requests that ended, by how",
      ["service", "status"],
      (state, add) => {
        for (const [service, { outcomes }] of countsByService(state)) {
          for (const [status, count] of Object.entries(outcomes)) add({ service, status }, count);
        }
      },
    );
    this.#counter(
      "wasmq_stream_parts_total",
      "Parts of streams passed on",
      ["service"],
      (state, add) => {
        for (const [service, { parts }] of countsByService(state)) {
          if (parts > 0) add({ service }, parts);
        }
      },
    );
    this.#histogram("wait", "From being taken to being handed to a worker", ({ wait }) => wait);
    this.#histogram(
      "service",
      "From being handed to a worker to its answer",
      ({ service }) => service,
    );
    this.#broker();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** What there is to say of a state and of the process. While one is written, who asks gets that one. */
  text(take: () => BrokerState): Promise<string> {
    this.#writing ??= this.#write(take).finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** With a thousand services this takes a while: the broker has its turn again and again. */
  async #write(take: () => BrokerState): Promise<string> {
    this.#state = take();
    const parts: string[] = [];
    for (const { name } of this.#registry.getMetricsAsArray()) {
      const times = this.#times.find((metric) => metric.title === name);
      for (let page = 0; page < (times?.pageCount ?? 1); page++) {
        if (times !== undefined) times.page = page;
        const text = await this.#registry.getSingleMetricAsString(name);
        // HELP and TYPE stand once.
        parts.push(page === 0 ? `\n${text}` : text.slice(text.search(/^[^#]/m)));
        await setImmediate();
      }
    }
    return `${parts.join("\n").trimStart()}\n\n${await this.#process.metrics()}`;
  }

  #broker(): void {
    this.#gauge("wasmq_info", "Always 1; what runs", ["version"], ({ version }, add) =>
      add({ version }, 1),
    );
    this.#gauge("wasmq_ready", "1 when it takes requests", [], ({ isReady }, add) =>
      add({}, Number(isReady)),
    );
    this.#gauge("wasmq_draining", "1 when it is about to end", [], ({ isDraining }, add) =>
      add({}, Number(isDraining)),
    );
    this.#gauge("wasmq_peers", "Who is connected", ["role"], ({ peers }, add) => {
      add({ role: "client" }, peers.clients);
      add({ role: "plain-client" }, peers.plainClients);
      add({ role: "majordomo-client" }, peers.majordomoClients);
      add({ role: "worker" }, peers.workers);
      add({ role: "plain-worker" }, peers.plainWorkers);
      add({ role: "majordomo-worker" }, peers.majordomoWorkers);
    });
    this.#gauge("wasmq_held_requests", "Requests held, waiting and in flight", [], (state, add) =>
      add({}, state.requests),
    );
    this.#gauge("wasmq_held_bytes", "Bytes of the requests held", [], (state, add) =>
      add({}, state.requestBytes),
    );
    this.#gauge("wasmq_cell_bytes", "Memory for bodies that wait", [], (state, add) =>
      add({}, state.process.cellBytes),
    );
    this.#gauge(
      "wasmq_limit",
      "The limits, by name: bytes where it says bytes, milliseconds where it says ms, else a number",
      ["limit"],
      ({ limits }, add) => addEach("limit", limits, add),
    );
    this.#tasks();
    this.#counter("wasmq_surveys_total", "Surveys and answers to them", ["event"], (state, add) =>
      addEach("event", state.surveys, add),
    );
    this.#topics();
    this.#counter("wasmq_events_total", EVENTS_HELP, ["event"], ({ counts }, add) =>
      addEach("event", counts, add),
    );
    this.#counter("wasmq_faults_total", "Input not taken", ["fault"], ({ faults }, add) =>
      addEach("fault", faults, add),
    );
    this.#counter(
      "wasmq_unanswered_total",
      "Requests of Majordomo clients that ended without a reply",
      [],
      ({ unanswered }, add) => add({}, unanswered),
    );
    this.#counter(
      "wasmq_refused_connections_total",
      "Connections refused or dropped, at all endpoints, clients' and workers'",
      ["reason"],
      ({ refusals }, add) => addEach("reason", refusals, add),
    );
  }

  #topics(): void {
    this.#gauge(
      "wasmq_topics",
      "How many publish and subscribe has now",
      ["what"],
      (state, add) => {
        for (const [name, value] of Object.entries(state.topics)) {
          if (!TOPIC_BYTES.has(name)) add({ what: kebab(name) }, value);
        }
      },
    );
    this.#gauge("wasmq_topic_bytes", "Bytes that these take", ["what"], (state, add) => {
      for (const [name, what] of TOPIC_BYTES) {
        if (name in state.topics) add({ what }, state.topics[name]);
      }
    });
    this.#counter(
      "wasmq_topic_events_total",
      "What publish and subscribe counted",
      ["event"],
      ({ topicCounts }, add) => addEach("event", topicCounts, add),
    );
  }

  #tasks(): void {
    this.#counter("wasmq_tasks_total", "What became of tasks", ["event"], ({ tasks }, add) =>
      addEach("event", tasks.counts, add),
    );
    this.#counter(
      "wasmq_queue_tasks_total",
      "What became of the tasks of a queue",
      ["queue", "event"],
      ({ tasks }, add) => {
        for (const { name, counts } of tasks.queues) {
          for (const [event, count] of Object.entries(counts)) {
            add({ queue: name, event: kebab(event) }, count);
          }
        }
      },
    );
    this.#gauge("wasmq_queue_tasks", "Tasks held", ["queue", "state"], ({ tasks }, add) => {
      for (const { name, ready, delayed, inFlight, dead } of tasks.queues) {
        add({ queue: name, state: "ready" }, ready);
        add({ queue: name, state: "delayed" }, delayed);
        add({ queue: name, state: "in-flight" }, inFlight);
        add({ queue: name, state: "dead" }, dead);
      }
    });
    this.#gauge("wasmq_queue_bytes", "Bytes of tasks held", ["queue"], ({ tasks }, add) => {
      for (const { name, bytes, deadBytes } of tasks.queues)
        add({ queue: name }, bytes + deadBytes);
    });
  }

  /** Of the services, and of names that no worker ever served, which one may be waited for, too. */
  #queue(name: string, help: string, gaugeOf: (queued: QueuedState) => number): void {
    this.#gauge(`wasmq_service_${name}`, help, ["service"], ({ services, other }, add) => {
      for (const service of services) add({ service: service.name }, gaugeOf(service));
      add({ service: OTHER }, gaugeOf(other));
    });
  }

  #service(name: string, help: string, gaugeOf: (service: ServiceState) => number): void {
    this.#gauge(`wasmq_service_${name}`, help, ["service"], ({ services }, add) => {
      for (const service of services) add({ service: service.name }, gaugeOf(service));
    });
  }

  #histogram(
    name: string,
    help: string,
    timesOf: (counts: ServiceCounts) => ServiceCounts["wait"],
  ) {
    const timesByService = (): TimesOf[] =>
      countsByService(this.#current).map(([service, counts]) => [service, timesOf(counts)]);
    const metric = new TimesHistogram(`wasmq_request_${name}_seconds`, help, timesByService);
    this.#registry.registerMetric(metric);
    this.#times.push(metric);
  }

  #gauge(name: string, help: string, labelNames: string[], fill: Fill): void {
    const state = () => this.#current;
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        fill(state(), (labels, value) => this.set(labels, value));
      },
    });
  }

  #counter(name: string, help: string, labelNames: string[], fill: Fill): void {
    const state = () => this.#current;
    new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        this.reset();
        fill(state(), (labels, value) => this.inc(labels, value));
      },
    });
  }

  get #current(): BrokerState {
    return this.#state as BrokerState;
  }
}

/** The services, and last what has no name of its own. */
function countsByService({ services, other }: BrokerState): [string, ServiceCounts][] {
  const named = services.map((service): [string, ServiceCounts] => [service.name, service]);
  return [...named, [OTHER, other]];
}

function addEach(label: string, values: Record<string, number>, add: Add): void {
  for (const [name, value] of Object.entries(values)) add({ [label]: kebab(name) }, value);
}

/** As label values are written: `requestBytesMax` -> `request-bytes-max`. */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
