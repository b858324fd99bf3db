import type { OptionNames } from "../base/check.js";
import type { Codec, CodecKey, Dictionary, ServiceKey } from "../codec/index.js";
import type { CurveKeys } from "../link/curve.js";
import type { ConnectionEvent } from "../link/membership.js";
import { isServiceName } from "../wire/text.js";
import type { Handler, RequestContext, Service, ServiceOptions } from "./job.js";
import type { TaskHandler, TaskOptions } from "./task-job.js";

/** How a worker connects and what it serves. */
export interface WorkerOptions {
  /** Backends of the brokers, `tcp://host:port` or `ipc://path`. At least one. */
  brokers: readonly string[];
  /** The handlers by service name; an object with `handler` to say more about one. */
  services?: Readonly<Record<string, Handler | ServiceOptions>>;
  /**
   * The handlers by queue: each gets tasks that were pushed to it, which are done when it resolves and
   * come again, here or elsewhere, when it rejects or the worker is lost. What it returns is dropped.
   */
  queues?: Readonly<Record<string, TaskHandler | TaskOptions>>;
  /**
   * Requests worked on at once, 1..65535. Default 8; 1 suits handlers that compute. "auto": found out
   * by how long they take, from 8 on, for handlers that wait for something else.
   */
  concurrency?: number | "auto";
  /** The most that "auto" may come to, 1..65535. Default 256. */
  concurrencyMax?: number;
  /** Opens requests and seals replies. The first key seals, all open. */
  keys?: readonly CodecKey[];
  /** Opens requests of clients that know a public key of these, and seals the replies to them. */
  serviceKeys?: readonly ServiceKey[];
  /**
   * For small bodies. Requests are opened with any; a reply is compressed with the one that its request
   * named.
   */
  dictionaries?: readonly Dictionary[];
  /** A codec to share instead of one made from these; the caller closes it. None: in clear. */
  codec?: Codec;
  /** How long `start` waits for a broker, milliseconds; 0 does not wait. Default 5000. */
  connectTimeoutMs?: number;
  /** Its CURVE key pair and the brokers' public key, in Z85, where they use CURVE. */
  curve?: CurveKeys;
  /** ZMTP heartbeats: a broker silent for so long is taken for lost. Defaults 500 and 1500. */
  heartbeatIntervalMs?: number;
  heartbeatTimeoutMs?: number;
  /**
   * Replies remembered, so that a request which comes again is answered and not run again: bytes
   * (default 16 MiB) and milliseconds (default 60000).
   */
  recentBytesMax?: number;
  recentAgeMsMax?: number;
  /**
   * Told of each error that a handler threw but RequestErrors; the client learns INTERNAL. Default: a warning of
   * the process, for the first of each service.
   */
  onError?: (error: unknown, context: RequestContext) => void;
  /** Told of each connection gained or lost. */
  onConnection?: (event: ConnectionEvent) => void;
}

export const workerOptionNames: OptionNames<WorkerOptions> = {
  brokers: true,
  services: true,
  queues: true,
  concurrency: true,
  concurrencyMax: true,
  keys: true,
  serviceKeys: true,
  dictionaries: true,
  codec: true,
  connectTimeoutMs: true,
  curve: true,
  heartbeatIntervalMs: true,
  heartbeatTimeoutMs: true,
  recentBytesMax: true,
  recentAgeMsMax: true,
  onError: true,
  onConnection: true,
};

/** What a worker has counted since it was made. */
export interface WorkerStats {
  received: number;
  replied: number;
  /** Parts of streams sent. */
  parts: number;
  failed: number;
  /** Requests that came again: answered from memory, or joined to their running handler. */
  repeated: number;
  /** Bodies that could not be opened: tampered, replayed, misdirected or wrongly keyed. */
  refused: number;
  running: number;
  waiting: number;
  /** Requests worked on at once at most, now. */
  concurrency: number;
}

const AsyncGeneratorFunction = Object.getPrototypeOf(async function* () {}).constructor;

/** The services and queues by name, checked. Throws TypeError for what is none. */
export function readWork({ services, queues }: Pick<WorkerOptions, "services" | "queues">): {
  services: Map<string, Service>;
  queues: Map<string, Service>;
} {
  const work = {
    services: readHandlers("services", services ?? {}, 0),
    // A task is a job like others, whose handler knows another context.
    queues: readHandlers(
      "queues",
      (queues ?? {}) as unknown as NonNullable<WorkerOptions["services"]>,
      Object.keys(services ?? {}).length,
    ),
  };
  if (work.services.size + work.queues.size === 0) {
    throw new TypeError("services must name at least one handler, or queues");
  }
  return work;
}

function readHandlers(
  what: string,
  handlers: NonNullable<WorkerOptions["services"]>,
  countBefore: number,
): Map<string, Service> {
  return new Map(
    Object.entries(handlers).map(([name, given], index) => {
      const service = typeof given === "function" ? { handler: given } : given;
      if (!isServiceName(name)) {
        throw new TypeError(
          `${what}: a name must be 1..255 bytes without control characters, got ${JSON.stringify(name)}`,
        );
      }
      if (typeof service?.handler !== "function") {
        throw new TypeError(`${what}["${name}"] must be a function or have a handler`);
      }
      const isGenerator = service.handler instanceof AsyncGeneratorFunction;
      const number = countBefore + index + 1;
      return [name, { number, handler: service.handler, raw: service.raw === true, isGenerator }];
    }),
  );
}
