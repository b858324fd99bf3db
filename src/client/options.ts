import type { OptionNames } from "../base/check.js";
import type { Codec, CodecKey, Dictionary, PublicKey } from "../codec/index.js";
import type { CurveKeys } from "../link/curve.js";
import type { ConnectionEvent } from "../link/membership.js";
import type { Headers } from "../wire/headers.js";
import type { PublisherStats } from "./publisher.js";
import type { BackoffOptions, RetryOptions } from "./retry.js";

/** How a client connects, and what holds for each of its requests unless that says otherwise. */
export interface ClientOptions {
  /** Frontends of the brokers, `tcp://host:port` or `ipc://path`. At least one. */
  brokers: readonly string[];
  /** Seals requests and opens replies. The first key seals, all open. */
  keys?: readonly CodecKey[];
  /**
   * Public keys of services, by name, `prefix.*` or `*`: a session key is agreed on with each, and
   * no secret shared. Services without one are asked under `keys`, or, without these, not at all.
   */
  servicePublicKeys?: Readonly<Record<string, PublicKey>>;
  /**
   * For small bodies. The first one compresses requests, and replies are opened with any. A worker
   * that lacks it refuses by name, and the request goes again without, within its deadline.
   */
  dictionaries?: readonly Dictionary[];
  /** A codec to share instead of one made from these; the caller closes it. None: in clear. */
  codec?: Codec;
  /** Deadline of a request, milliseconds, 1..86400000. Default 30000. */
  timeoutMs?: number;
  /** How often the broker may hand a request to a worker, 1..255. Default 3. */
  attempts?: number;
  /** How what was refused before it ran is sent again; false: not at all. */
  retry?: false | RetryOptions;
  /** Requests pending at once, sent and waiting to be sent, 1..65536. Default 65536. */
  pendingMax?: number;
  /** How long `connect` waits for a broker, milliseconds; 0 does not wait. Default 5000. */
  connectTimeoutMs?: number;
  /** Our CURVE key pair and the brokers' public key, in Z85, where they use CURVE. */
  curve?: CurveKeys;
  /** ZMTP heartbeats: a broker silent for so long is taken for lost. Defaults 500 and 1500. */
  heartbeatIntervalMs?: number;
  heartbeatTimeoutMs?: number;
  /** Told of each connection gained or lost. */
  onConnection?: (event: ConnectionEvent) => void;
}

export const clientOptionNames: OptionNames<ClientOptions> = {
  brokers: true,
  keys: true,
  servicePublicKeys: true,
  dictionaries: true,
  codec: true,
  timeoutMs: true,
  attempts: true,
  retry: true,
  pendingMax: true,
  connectTimeoutMs: true,
  curve: true,
  heartbeatIntervalMs: true,
  heartbeatTimeoutMs: true,
  onConnection: true,
};

/** What one request may say for itself. */
export interface RequestOptions {
  /** Milliseconds from now until the caller no longer waits. */
  timeoutMs?: number;
  /** Ends the request early, as CANCELLED; a handler that runs sees it. */
  signal?: AbortSignal | null;
  /** How often it may be handed to a worker: 1 is never run twice. */
  attempts?: number;
  /** Its own back-off in place of the client's; false: what is refused is not sent again. */
  retry?: false | BackoffOptions;
  /**
   * Running it again does no harm: it is also retried when it may have run, after UNAVAILABLE,
   * RESOURCE_EXHAUSTED, ABORTED and INTERNAL, within its `attempts`. Its body is read again then.
   */
  idempotent?: boolean;
  /** 0 (first) to 7 (last). Default 4. */
  priority?: number;
  /** Metadata in clear, authenticated when the body is sealed. 8 KiB at most. */
  headers?: Headers;
  /**
   * The body is a `Uint8Array` (or a string, as UTF-8) and goes as it is, without the codec: for
   * plain REP workers and `raw` services. The reply is a `Uint8Array`.
   */
  raw?: boolean;
}

export const requestOptionNames: OptionNames<RequestOptions> = {
  timeoutMs: true,
  signal: true,
  attempts: true,
  retry: true,
  idempotent: true,
  priority: true,
  headers: true,
  raw: true,
};

/** What one stream may say for itself. `timeoutMs` is for the whole of it. */
export interface StreamOptions extends RequestOptions {
  /** Parts that may be on their way or unread, 1..65536. Default 32. */
  window?: number;
  /** The same in bytes, 1..1073741824, beyond which one more part may come. Default 1 MiB. */
  windowBytes?: number;
  /**
   * Once a part has come, a stream whose worker or broker is lost ends as UNAVAILABLE. With true, or with a
   * function, it begins anew with its first part, within `attempts`; parts that were not read by then are
   * dropped, and the function is called before the first of the new ones is handed out. It is then also
   * retried as `idempotent` says.
   */
  restart?: boolean | (() => void);
}

export const streamOptionNames: OptionNames<StreamOptions> = {
  ...requestOptionNames,
  window: true,
  windowBytes: true,
  restart: true,
};

export const retryDeadLettersOptionNames: OptionNames<{ countMax?: number }> = { countMax: true };

/** What a client has counted since it was made. */
export interface ClientStats extends PublisherStats {
  sent: number;
  /** ZeroMQ messages that these went in. */
  messages: number;
  replies: number;
  /** Parts of streams that came. */
  parts: number;
  failures: number;
  /** Requests sent again because their connection was lost. */
  resent: number;
  /** Requests sent again because they were refused. */
  retries: number;
  pending: number;
  /** Replies to requests that were over already. */
  late: number;
  /** Subscriptions that are not over. */
  subscriptions: number;
}
