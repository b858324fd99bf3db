export type { BrokerState } from "./admin/state.js";
export { RequestError } from "./base/errors.js";
export { Status, type StatusName } from "./base/status.js";
export { Broker, type BrokerOptions, type BrokerStats } from "./broker/broker.js";
export {
  Client,
  type ClientOptions,
  type ClientStats,
  type RequestOptions,
} from "./client/client.js";
export type { BackoffOptions, RetryOptions } from "./client/retry.js";
export type { ConnectionEvent } from "./link/membership.js";
export { defaultLimits, type Limits, type ServiceLimits } from "./core/limits.js";
export type { ServiceOverrides } from "./core/service-rules.js";
export type { Headers } from "./wire/headers.js";
export type { Handler, RequestContext, ServiceOptions } from "./worker/job.js";
export { Worker, type WorkerOptions, type WorkerStats } from "./worker/worker.js";
