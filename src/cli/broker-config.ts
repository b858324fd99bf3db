import { readFileSync } from "node:fs";
import { wholeNumber } from "../base/check.js";
import { type BrokerOptions, XPUB_DEFAULT, XSUB_DEFAULT } from "../broker/broker.js";
import { resolveLimits } from "../core/limits.js";
import { resolveTaskLimits } from "../core/tasks/task-limits.js";
import { LOG_LEVEL_DEFAULT, type LogLevel, logLevelOf } from "./log.js";
import { DRAIN_TIMEOUT_MS_MAX, listFromEnv, messageOf, UsageError } from "./program.js";

/** What a broker's flags, environment variables and config file may say. */
export interface BrokerConfig
  extends Omit<BrokerOptions, "curve" | "onSecurity" | "onWarning" | "adminToken"> {
  logLevel?: LogLevel;
  /** How long a drain may take. */
  drainTimeoutMs?: number;
  /** Files: of the key pair, of who may do what, of what the admin port asks for. */
  curveKey?: string;
  access?: string;
  adminToken?: string;
}

/** The flags as the command line has them. */
export interface BrokerFlags {
  frontend?: string[];
  backend?: string[];
  xsub?: string[];
  xpub?: string[];
  config?: string;
  push?: string;
  pull?: string;
  admin?: string;
  adminToken?: string;
  curveKey?: string;
  access?: string;
  insecure?: boolean;
  drainTimeout?: number;
  logLevel?: string;
}

/** Reads the value of one key of the config file; throws where it is none. */
const readers: { [Key in keyof Required<BrokerConfig>]: (value: unknown, key: string) => unknown } =
  {
    frontend: readEndpoints,
    backend: readEndpoints,
    xsub: readEndpoints,
    xpub: readEndpoints,
    admin: readAdmin,
    adminToken: readPath,
    curveKey: readPath,
    access: readPath,
    insecure: readBoolean,
    logLevel: (value, key) => logLevelOf(key, value),
    limits: readLimits,
    services: readServices,
    tasks: readTasks,
    push: readEndpoint,
    pull: readEndpoint,
    heartbeatIntervalMs: readNumber,
    heartbeatTimeoutMs: readNumber,
    handshakeTimeoutMs: readNumber,
    mdpHeartbeatMs: readNumber,
    mdpLiveness: readNumber,
    mdpBusyLiveness: readNumber,
    connectionsMax: readNumber,
    drainTimeoutMs: readDrainTimeout,
  };

/** Flags over environment over config file; what none of them says is left to the broker. */
export function settleBrokerConfig(
  flags: BrokerFlags,
  env: NodeJS.ProcessEnv,
): BrokerConfig & { logLevel: LogLevel } {
  const path = flags.config ?? (env.WASMQ_CONFIG || undefined);
  const config = path === undefined ? {} : readBrokerConfig(path);
  let logLevel = config.logLevel ?? LOG_LEVEL_DEFAULT;
  if (flags.logLevel !== undefined) logLevel = logLevelOf("--log-level", flags.logLevel);
  else if (env.WASMQ_LOG_LEVEL) logLevel = logLevelOf("WASMQ_LOG_LEVEL", env.WASMQ_LOG_LEVEL);
  const frontend = flags.frontend ?? listFromEnv(env.WASMQ_FRONTEND) ?? config.frontend;
  const backend = flags.backend ?? listFromEnv(env.WASMQ_BACKEND) ?? config.backend;
  const xsub = flags.xsub ?? listFromEnv(env.WASMQ_XSUB) ?? config.xsub;
  const xpub = flags.xpub ?? listFromEnv(env.WASMQ_XPUB) ?? config.xpub;
  // A broker that is put elsewhere may be one of several on this machine.
  const isAtHome = frontend === undefined && backend === undefined;
  return {
    ...config,
    frontend,
    backend,
    xsub: unlessNone(xsub ?? (isAtHome ? XSUB_DEFAULT : NONE)),
    xpub: unlessNone(xpub ?? (isAtHome ? XPUB_DEFAULT : NONE)),
    push: flags.push ?? (env.WASMQ_PUSH || undefined) ?? config.push,
    pull: flags.pull ?? (env.WASMQ_PULL || undefined) ?? config.pull,
    admin: flags.admin ?? (env.WASMQ_ADMIN || undefined) ?? config.admin,
    adminToken: flags.adminToken ?? (env.WASMQ_ADMIN_TOKEN || undefined) ?? config.adminToken,
    curveKey: flags.curveKey ?? (env.WASMQ_CURVE_KEY || undefined) ?? config.curveKey,
    access: flags.access ?? (env.WASMQ_ACCESS || undefined) ?? config.access,
    insecure: flags.insecure ?? config.insecure,
    drainTimeoutMs: flags.drainTimeout ?? config.drainTimeoutMs,
    logLevel,
  };
}

const NONE = "none";

/** Endpoints, or undefined where they are to be none. */
function unlessNone(value: string | readonly string[]): string | readonly string[] | undefined {
  const list = typeof value === "string" ? [value] : value;
  return list.length === 1 && list[0] === NONE ? undefined : list;
}

/** Reads a config file. @throws UsageError of one line that names the file and the key */
export function readBrokerConfig(path: string): BrokerConfig {
  const wrong = (what: string) => new UsageError(`config file ${path}: ${what}`);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw wrong(`cannot be read: ${messageOf(error)}`);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw wrong(`not JSON: ${messageOf(error)}`);
  }
  if (!isRecord(parsed)) throw wrong("must hold a JSON object");
  const config: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(parsed)) {
    if (!Object.hasOwn(readers, key)) {
      const known = Object.keys(readers).join(", ");
      throw wrong(`unknown key ${JSON.stringify(key)}; there are ${known}`);
    }
    try {
      config[key] = readers[key as keyof BrokerConfig](value, key);
    } catch (error) {
      throw wrong(messageOf(error));
    }
  }
  return config;
}

function readEndpoints(value: unknown, key: string): unknown {
  const list = typeof value === "string" ? [value] : value;
  if (Array.isArray(list) && list.length > 0 && list.every((each) => typeof each === "string")) {
    return list;
  }
  throw new UsageError(`${key} must be an endpoint or a list of endpoints`);
}

function readAdmin(value: unknown, key: string): unknown {
  if (typeof value !== "string") throw new UsageError(`${key} must be host:port`);
  return value;
}

function readPath(value: unknown, key: string): unknown {
  if (typeof value === "string" && value !== "") return value;
  throw new UsageError(`${key} must be the path of a file`);
}

function readBoolean(value: unknown, key: string): unknown {
  if (typeof value === "boolean") return value;
  throw new UsageError(`${key} must be true or false, got ${JSON.stringify(value)}`);
}

function readLimits(value: unknown, key: string): unknown {
  if (!isRecord(value)) throw new UsageError(`${key} must be an object of limits`);
  resolveLimits(value);
  return value;
}

function readEndpoint(value: unknown, key: string): unknown {
  if (typeof value !== "string") throw new UsageError(`${key} must be an endpoint`);
  return value;
}

function readTasks(value: unknown, key: string): unknown {
  if (!isRecord(value)) throw new UsageError(`${key} must be an object of limits`);
  resolveTaskLimits(value);
  return value;
}

function readServices(value: unknown, key: string): unknown {
  // What is in it is the broker's to know, since it builds on the limits.
  if (isRecord(value)) return value;
  throw new UsageError(`${key} must be an object of limits by service`);
}

function readNumber(value: unknown, key: string): unknown {
  // The ranges are the broker's to know.
  if (typeof value === "number") return value;
  throw new UsageError(`${key} must be a number, got ${JSON.stringify(value)}`);
}

function readDrainTimeout(value: unknown, key: string): unknown {
  return wholeNumber(key, value as number, 0, DRAIN_TIMEOUT_MS_MAX);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
