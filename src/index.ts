export type { BrokerState } from "./admin/state.js";
export type { AccessSpec, Action, Grant } from "./base/access.js";
export { RequestError } from "./base/errors.js";
export { Status, type StatusName } from "./base/status.js";
export { Broker, type BrokerOptions, type BrokerStats } from "./broker/broker.js";
export type { BrokerCurve, ReloadResult, SecurityEvent } from "./broker/curve-gate.js";
export { type CurveKeyPair, generateCurveKeys } from "./broker/curve-keys.js";
export { Client } from "./client/client.js";
export type {
  ClientOptions,
  ClientStats,
  RequestOptions,
  StreamOptions,
} from "./client/options.js";
export type { PublisherStats, PublishOptions } from "./client/publisher.js";
export type { DeadLetter, PushOptions } from "./client/pushes.js";
export type { ReplyStream } from "./client/reply-stream.js";
export type { BackoffOptions, RetryOptions } from "./client/retry.js";
export type {
  SubscribeOptions,
  Subscription,
  SubscriptionStats,
  TopicEvent,
  WhenFull,
} from "./client/subscription.js";
export type { SurveyOptions, SurveyResult } from "./client/surveyor.js";
export { defaultLimits, type Limits, type ServiceLimits } from "./core/limits.js";
export type { ServiceOverrides } from "./core/service-rules.js";
export { defaultTaskLimits, type TaskLimits } from "./core/tasks/task-limits.js";
export type { CurveKeys } from "./link/curve.js";
export type { ConnectionEvent } from "./link/membership.js";
export type { Headers } from "./wire/headers.js";
export type { Handler, RequestContext, ServiceOptions } from "./worker/job.js";
export type { WorkerOptions, WorkerStats } from "./worker/options.js";
export type { TaskContext, TaskHandler, TaskOptions } from "./worker/task-job.js";
export { Worker } from "./worker/worker.js";
