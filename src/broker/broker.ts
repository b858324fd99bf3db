import { randomBytes } from "node:crypto";
import { parseAdminAddress, parseAdminToken } from "../admin/address.js";
import type { AdminServer } from "../admin/server.js";
import type { TasksState } from "../admin/state.js";
import type { AccessSpec } from "../base/access.js";
import {
  type EndOptions,
  endTimeout,
  knownOptions,
  optionalFunction,
  wholeNumber,
} from "../base/check.js";
import { RECORD_ROOM_BYTES } from "../base/record-sizes.js";
import { type Limits, resolveLimits } from "../core/limits.js";
import type { CoreCounts } from "../core/outcomes.js";
import { type ServiceOverrides, ServiceRules } from "../core/service-rules.js";
import { resolveTaskLimits, type TaskLimits } from "../core/tasks/task-limits.js";
import { QUEUE_PREFIX } from "../wire/layout.js";
import { parseEndpoint } from "../zmtp/endpoint.js";
import {
  type BrokerCurve,
  CurveGate,
  type ReloadResult,
  type SecurityEvent,
} from "./curve-gate.js";
import { Exchange, type Side } from "./exchange.js";
import type { FaultCounts } from "./fault-counts.js";
import { majordomoTimes } from "./majordomo.js";
import { NetPort, type NetPortOptions } from "./net-port.js";
import { openEndpoint } from "./open-endpoint.js";
import { brokerOptionNames } from "./option-names.js";
import { PlainSockets } from "./plain-topics.js";
import type { TopicStats } from "./pubsub.js";
import { SurveyPattern } from "./survey-pattern.js";
import { TaskPattern } from "./task-pattern.js";
import { TaskSockets } from "./task-sockets.js";
import { Watch } from "./watch.js";

/** Where a broker listens and what it bears. */
export interface BrokerOptions {
  /** Where clients connect: one or more `tcp://host:port` or `ipc://path`. Default port 5559. */
  frontend?: string | readonly string[];
  /** Where workers connect, native and REP alike. Default port 5560. */
  backend?: string | readonly string[];
  /**
   * Where plain PUB sockets connect (an XSUB, by convention at port 5561), and plain SUB sockets (an XPUB, 5562):
   * what either world publishes, the other hears. Off unless given.
   */
  xsub?: string | readonly string[];
  xpub?: string | readonly string[];
  /** Bounds that differ from the defaults. */
  limits?: Partial<Limits>;
  /**
   * Limits of some services that differ from `limits`, by name or by its beginning and a star:
   * `{ "orders.*": { queueWaitMsMax: 500 } }`. The longest that fits counts, alone.
   */
  services?: ServiceOverrides;
  /** ZMTP heartbeats: a peer silent for so long is taken for dead. Defaults 300 and 1000. */
  heartbeatIntervalMs?: number;
  heartbeatTimeoutMs?: number;
  /** How long a connection may take to say what it is. Default 5000. */
  handshakeTimeoutMs?: number;
  /** Heartbeats to and from Majordomo workers. Default 2500, as in the ZeroMQ Guide's programs. */
  mdpHeartbeatMs?: number;
  /** A Majordomo worker silent for so many of them is taken for dead. Default 3. */
  mdpLiveness?: number;
  /**
   * The same for one that is busy and never sent a heartbeat while it was: programs like the Guide's send
   * none until they have done. Default 0: such a one may take its time.
   */
  mdpBusyLiveness?: number;
  /** Connections at each endpoint. Default 10000. */
  connectionsMax?: number;
  /**
   * Where plain PUSH sockets connect, `tcp://host:port` (5563 by custom) or `ipc://path`: what they send are
   * tasks of the queue `default`. And where plain PULL sockets connect (5564), which get these. Off unless
   * given. Under CURVE a key must be granted `push` and `pull` of that queue.
   */
  push?: string;
  pull?: string;
  /** Bounds of tasks, and how they are tried again, that differ from the defaults. */
  tasks?: Partial<TaskLimits>;
  /**
   * CURVE at every listener: the broker's key pair, and who may come in and do what. What its access
   * file does not grant is refused.
   */
  curve?: BrokerCurve;
  /** Told of what CURVE and the access file refused, each time. */
  onSecurity?: (event: SecurityEvent) => void;
  /**
   * Without CURVE only loopback and ipc are listened on, since whoever reaches a port may ask and serve
   * everything. True: any address all the same.
   */
  insecure?: boolean;
  /** Told what is dangerous but done as asked. Default: a warning of the process. */
  onWarning?: (text: string) => void;
  /**
   * Where to be watched over HTTP, `host:port`, port 0 for any: /metrics, /healthz, /readyz, /v1/state.
   * Anything but loopback needs an `adminToken`. Off unless given.
   */
  admin?: string;
  /** What a request to `admin` must bring as its bearer token: 16 to 256 characters, no spaces. */
  adminToken?: string;
}

/** What a broker holds now and has counted since it started. */
export interface BrokerStats {
  /** Requests held: waiting and in flight. */
  requests: number;
  requestBytes: number;
  /** Requests that wait for a worker. */
  queued: number;
  clients: number;
  workers: number;
  /** Connections at the backend, those in their handshake among them. */
  backendConnections: number;
  services: Record<string, { queued: number; inFlight: number; isServed: boolean }>;
  topics: TopicStats;
  counts: CoreCounts;
  faults: FaultCounts;
  /** What became of tasks, and how they stand by queue. */
  tasks: TasksState;
  /** Surveys since the start, and answers to them. */
  surveys: Record<string, number>;
  /** Requests of Majordomo clients that ended without a reply: their protocol has no word for it. */
  unanswered: number;
  /** Connections that were refused or dropped, by reason. */
  refusals: Record<string, number>;
}

export const FRONTEND_DEFAULT = "tcp://127.0.0.1:5559";
export const BACKEND_DEFAULT = "tcp://127.0.0.1:5560";
/** Of the deployable broker; the library has none unless asked. */
export const XSUB_DEFAULT = "tcp://127.0.0.1:5561";
export const XPUB_DEFAULT = "tcp://127.0.0.1:5562";

/** Finds an idle worker for each request, and each reply its way back. */
export class Broker {
  /** Where it listens, with the real ports. */
  readonly frontend: readonly string[];
  readonly backend: readonly string[];
  /** Where plain PUB and SUB sockets connect; empty where they may not. */
  readonly xsub: readonly string[];
  readonly xpub: readonly string[];
  /** Where plain PUSH and PULL sockets connect, if they may. */
  readonly push: string | undefined;
  readonly pull: string | undefined;
  /** Where it is watched, with the real port, for example `http://127.0.0.1:9100`; undefined where it is not. */
  readonly admin: string | undefined;
  readonly #admin: AdminServer | undefined;
  readonly #watch: Watch;
  readonly #exchange: Exchange;
  /** Without CURVE. */
  readonly #ports: Readonly<Record<Side, NetPort>>;
  readonly #gate: CurveGate | undefined;
  /** Of plain PUB, SUB, PUSH and PULL sockets. */
  readonly #doors: readonly (PlainSockets | TaskSockets)[];
  #closing: Promise<boolean> | undefined;

  private constructor(
    exchange: Exchange,
    ports: Readonly<Record<Side, NetPort>>,
    endpoints: Readonly<Record<Side, readonly string[]>>,
    gate: CurveGate | undefined,
    watching: { watch: Watch; admin: AdminServer | undefined },
    taskSockets: TaskSockets,
    plain: PlainSockets | undefined,
  ) {
    this.push = taskSockets.push;
    this.pull = taskSockets.pull;
    this.#watch = watching.watch;
    this.#admin = watching.admin;
    this.admin = watching.admin?.url;
    this.#exchange = exchange;
    this.#doors = plain === undefined ? [taskSockets] : [taskSockets, plain];
    this.xsub = plain?.xsub ?? [];
    this.xpub = plain?.xpub ?? [];
    this.#ports = ports;
    this.frontend = endpoints.frontend;
    this.backend = endpoints.backend;
    this.#gate = gate;
  }

  /**
   * Starts to listen and resolves when it does.
   * Rejects with an Error of one line that names the endpoint when one cannot be had, with a
   * RangeError for an option out of range.
   */
  static async start(options: BrokerOptions = {}): Promise<Broker> {
    knownOptions("Broker.start", options, brokerOptionNames);
    optionalFunction("onSecurity", options.onSecurity);
    optionalFunction("onWarning", options.onWarning);
    const limits = resolveLimits(options.limits);
    for (const name of ["push", "pull"] as const) {
      const endpoint = options[name];
      if (endpoint !== undefined) parseEndpoint(name, endpoint);
    }
    const taskLimits = resolveTaskLimits(options.tasks);
    const rules = new ServiceRules(limits, options.services);
    const connectionsMax = wholeNumber(
      "connectionsMax",
      options.connectionsMax ?? 10_000,
      1,
      1_000_000,
    );
    const times = {
      heartbeatIntervalMs: timeMs("heartbeatIntervalMs", options.heartbeatIntervalMs ?? 300),
      heartbeatTimeoutMs: timeMs("heartbeatTimeoutMs", options.heartbeatTimeoutMs ?? 1000),
      handshakeTimeoutMs: timeMs("handshakeTimeoutMs", options.handshakeTimeoutMs ?? 5000),
    };
    if (times.heartbeatTimeoutMs <= times.heartbeatIntervalMs) {
      throw new RangeError(
        `heartbeatTimeoutMs (${times.heartbeatTimeoutMs}) must be more than heartbeatIntervalMs (${times.heartbeatIntervalMs})`,
      );
    }
    const majordomo = {
      heartbeatMs: timeMs("mdpHeartbeatMs", options.mdpHeartbeatMs ?? majordomoTimes.heartbeatMs),
      liveness: wholeNumber("mdpLiveness", options.mdpLiveness ?? 3, 1, 1000),
      busyLiveness: wholeNumber("mdpBusyLiveness", options.mdpBusyLiveness ?? 0, 0, 1_000_000),
    };
    const frontends = listOf("frontend", options.frontend ?? FRONTEND_DEFAULT);
    const backends = listOf("backend", options.backend ?? BACKEND_DEFAULT);
    const xsub = options.xsub === undefined ? [] : listOf("xsub", options.xsub);
    const xpub = options.xpub === undefined ? [] : listOf("xpub", options.xpub);
    const push = options.push === undefined ? [] : [options.push];
    const pull = options.pull === undefined ? [] : [options.pull];
    checkOpen({ frontend: frontends, backend: backends, xsub, xpub, push, pull }, options);
    const { admin: adminAddress, adminToken } = options;
    if (adminToken !== undefined) parseAdminToken("adminToken", adminToken);
    if (adminAddress !== undefined) {
      parseAdminAddress("admin", adminAddress, adminToken !== undefined);
    }
    const messageBytesMax = limits.recordBytesMax + RECORD_ROOM_BYTES;
    const portOptions = { ...times, messageBytesMax, connectionsMax };

    const id = randomBytes(8);
    const brokerId = { brokerLow: id.readUInt32LE(0), brokerHigh: id.readUInt32LE(4) || 1 };
    const exchange = new Exchange(limits, rules, brokerId, majordomo);
    const { curve, onSecurity } = options;
    const gate =
      curve === undefined ? undefined : await CurveGate.open(curve, exchange, { onSecurity });
    const ports = {
      frontend: makePort("frontend", exchange, portOptions, gate),
      backend: makePort("backend", exchange, portOptions, gate),
    };
    let taskSockets: TaskSockets | undefined;
    const tasks = new TaskPattern(exchange, taskLimits);
    exchange.addPattern(tasks);
    const surveys = new SurveyPattern(exchange);
    exchange.addPattern(surveys);
    let plain: PlainSockets | undefined;
    const doors: (PlainSockets | TaskSockets)[] = [];
    const watch = new Watch(
      exchange,
      () => [...Object.values(ports), ...doors.flatMap(({ acceptors }) => acceptors)],
      limits,
      tasks,
      surveys,
    );
    let admin: AdminServer | undefined;
    try {
      if (adminAddress !== undefined) admin = await watch.listen(adminAddress, adminToken);
      const bound: string[] = [];
      const served: string[] = [];
      for (const endpoint of frontends) bound.push(await ports.frontend.listen(endpoint));
      for (const endpoint of backends) served.push(await ports.backend.listen(endpoint));
      const { push, pull } = options;
      const doorOptions = { ...portOptions, curve: gate?.forPorts };
      taskSockets = await TaskSockets.listen(exchange, tasks, { ...doorOptions, push, pull });
      exchange.addPattern(taskSockets);
      doors.push(taskSockets);
      if (xsub.length + xpub.length > 0) {
        plain = await PlainSockets.listen(exchange, { ...doorOptions, xsub, xpub });
        doors.push(plain);
      }
      for (const { acceptors } of doors) for (const each of acceptors) gate?.watchDoor(each);
      watch.phase = "ready";
      return new Broker(
        exchange,
        ports,
        { frontend: bound, backend: served },
        gate,
        { watch, admin },
        taskSockets,
        plain,
      );
    } catch (error) {
      await admin?.close();
      exchange.pubsub.close();
      for (const port of Object.values(ports)) await port.end(0);
      for (const door of doors) await door.end(0);
      throw error;
    }
  }

  get stats(): BrokerStats {
    const { core, faults, peers, majordomo } = this.#exchange;
    const all = [...core.registry.services.values()];
    const known = all.filter(({ name }) => !name.startsWith(QUEUE_PREFIX));
    const queued = known.reduce((sum, { queue }) => sum + queue.count, 0);
    // An own property whatever the name: "__proto__" too.
    const services = Object.fromEntries(
      known.map(({ name, queue, inFlight, isServed }) => {
        return [name, { queued: queue.count, inFlight, isServed }];
      }),
    );
    return {
      requests: core.requests.count,
      requestBytes: core.requests.bytesHeld,
      queued,
      clients: core.clientCount - peers.innerCount,
      workers: core.workerCount,
      backendConnections: this.#ports.backend.connectionCount,
      services,
      topics: this.#exchange.pubsub.stats,
      counts: { ...core.counts },
      faults: { ...faults },
      tasks: this.#watch.tasksState,
      surveys: this.#watch.surveyCounts,
      unanswered: majordomo.unanswered,
      refusals: this.#watch.refusals(),
    };
  }

  /**
   * Under CURVE: takes another access file, or the one taken last, as it is now. Whoever may still be here is
   * not disturbed; others are told and cut off. Throws an Error of one line where it cannot be read or
   * is none, and changes nothing.
   */
  reloadAccess(access?: string | AccessSpec): ReloadResult {
    if (this.#gate === undefined) throw new Error("a broker without CURVE has no access file");
    return this.#gate.reload(access);
  }

  /**
   * Takes no more requests, waits until those it holds have ended, at most `timeoutMs` (default
   * 10000, Infinity for as long as it takes), and clients have left, then closes. Resolves with whether none was left;
   * rejects with RangeError for another time than that, TypeError for another option.
   */
  async close(options: EndOptions = {}): Promise<boolean> {
    const timeoutMs = endTimeout("close", options, 10_000);
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(timeoutMs: number): Promise<boolean> {
    this.#watch.phase = "draining";
    const isEmpty = await this.#exchange.shutdown(timeoutMs);
    // The last replies still go out; peers that do not read them are not waited for.
    const lingerMs = timeoutMs === 0 ? 0 : 500;
    const ports = Object.values(this.#ports);
    await Promise.all(ports.map((port) => port.settle(lingerMs)));
    this.#exchange.close();
    await Promise.all(ports.map((port) => port.end(lingerMs)));
    await Promise.all(this.#doors.map((door) => door.end(lingerMs)));
    await this.#admin?.close();
    return isEmpty;
  }
}

/**
 * Without CURVE, refuses endpoints that other machines can reach, unless that is asked for: then it is
 * told what that means.
 */
function checkOpen(
  endpoints: Readonly<Record<string, readonly string[]>>,
  { curve, insecure = false, onWarning = warn }: BrokerOptions,
): void {
  if (curve !== undefined) return;
  for (const [name, listed] of Object.entries(endpoints)) {
    const open = openEndpoint(name, listed);
    if (open === undefined) continue;
    if (!insecure) {
      throw new RangeError(
        `${name} ${open} is not loopback: without CURVE whoever reaches it may ask and serve; ` +
          "give a curve key and an access file, or say insecure",
      );
    }
    onWarning(`insecure: whoever reaches ${name} ${open} may ask and serve, since it has no CURVE`);
  }
}

function warn(text: string): void {
  process.emitWarning(text, { code: "WASMQ_INSECURE" });
}

/** The port of one side; under CURVE of a `gate`. */
function makePort(
  side: Side,
  exchange: Exchange,
  options: NetPortOptions,
  gate: CurveGate | undefined,
): NetPort {
  const { plain } = exchange;
  const port: NetPort = new NetPort(
    { ...options, curve: gate?.forPorts },
    {
      onMessage: (frames) => exchange.onMessage(side, port, frames),
      onTurn: () => exchange.onTurn(),
      onUnreachable: (outbox, isUnread) => exchange.onUnreachable(outbox, isUnread),
    },
    side === "frontend"
      ? undefined
      : {
          onPlainWorker: (worker) => plain.onWorker(worker),
          onPlainReply: (worker, parts) => plain.onReply(worker, parts),
          onPlainGone: (worker) => plain.onGone(worker),
        },
  );
  exchange.addPort(port);
  gate?.watch(port);
  return port;
}

function listOf(name: string, value: string | readonly string[]): readonly string[] {
  const list = typeof value === "string" ? [value] : value;
  if (!Array.isArray(list) || list.length === 0) {
    throw new TypeError(`${name} must be one or more endpoints`);
  }
  for (const endpoint of list) parseEndpoint(name, endpoint);
  return list;
}

function timeMs(name: string, value: number): number {
  return wholeNumber(name, value, 1, 3_600_000);
}
