import { randomBytes } from "node:crypto";
import type { LinkOptions } from "./link.js";

/** The random name of one client or worker object, kept across its connections. */
export interface Session {
  sessionLow: number;
  sessionHigh: number;
}

/** A new session; not 0. */
export function randomSession(): Session {
  const bytes = randomBytes(8);
  return { sessionLow: bytes.readUInt32LE(0) || 1, sessionHigh: bytes.readUInt32LE(4) };
}

/** What clients and workers may say about their connections. */
export interface ConnectionOptions {
  heartbeatIntervalMs?: number;
  heartbeatTimeoutMs?: number;
}

/** Connection settings with the defaults filled in. */
export function connectionDefaults(options: ConnectionOptions): Omit<LinkOptions, "endpoint"> {
  return {
    heartbeatIntervalMs: options.heartbeatIntervalMs ?? 500,
    heartbeatTimeoutMs: options.heartbeatTimeoutMs ?? 1500,
    handshakeTimeoutMs: 5000,
    reconnectMsMin: 20,
    reconnectMsMax: 1000,
  };
}
