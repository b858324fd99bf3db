import { randomBytes } from "node:crypto";
import { endpoints, shown, wholeNumber } from "../base/check.js";
import { parseEndpoint } from "../zmtp/endpoint.js";
import { type CurveKeys, checkCurveKeys } from "./curve.js";
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
  curve?: CurveKeys;
}

/** `values` if it is a list of endpoints that one can connect to; throws TypeError or RangeError otherwise. */
export function connectEndpoints(name: string, values: readonly string[]): readonly string[] {
  for (const value of endpoints(name, values)) {
    if (/:(0+|\*)$/.test(value))
      throw new TypeError(`${name}: ${value} names no port to connect to`);
    // All of them, before a connection is made to any.
    parseEndpoint(name, value);
  }
  return values;
}

/** Throws TypeError where `codec` is given and is none. */
export function requireCodec(codec: { readonly seal: unknown } | undefined): void {
  if (codec === undefined || typeof codec?.seal === "function") return;
  throw new TypeError(`codec must be one that createCodec() made, got ${shown(codec)}`);
}

/** Connection settings with the defaults filled in; throws RangeError where one is out of range. */
export function connectionDefaults(options: ConnectionOptions): Omit<LinkOptions, "endpoint"> {
  const { heartbeatIntervalMs = 500, heartbeatTimeoutMs = 1500, curve } = options;
  return {
    heartbeatIntervalMs: wholeNumber("heartbeatIntervalMs", heartbeatIntervalMs, 1, 3_600_000),
    heartbeatTimeoutMs: wholeNumber("heartbeatTimeoutMs", heartbeatTimeoutMs, 1, 3_600_000),
    handshakeTimeoutMs: 5000,
    reconnectMsMin: 20,
    reconnectMsMax: 1000,
    curve: curve === undefined ? undefined : checkCurveKeys(curve),
  };
}
