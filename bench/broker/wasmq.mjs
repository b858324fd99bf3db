// wasmq by its public face alone, with its defaults: deadlines, credits, limits and retries on.

import { importKey } from "../../build/codec/index.js";
import { Client, Worker } from "../../build/index.js";
import { startLoopback } from "./loopback.mjs";

const SERVICE = "bench.echo";
const TIMEOUT_MS = 10_000;

/**
 * In a quick run it refuses nobody for having waited: what is cold, on a machine that is busy, has more in flight
 * at once than it should by that measure.
 * @param {import("./party.mjs").BrokerSettings} settings
 * @param {Partial<import("../../build/index.js").BrokerOptions>} [more]
 */
export function startBroker({ isQuick }, more) {
  return startLoopback(
    (broker) => {
      const { counts, requests, faults } = broker.stats;
      const faultCount = Object.values(faults).reduce((sum, count) => sum + count, 0);
      return { ...counts, held: requests, faults: faultCount };
    },
    { ...(isQuick ? { limits: { codelTargetMs: 0 } } : {}), ...more },
  );
}

/**
 * @param {import("./party.mjs").WorkerOptions} options
 * @param {Partial<import("../../build/index.js").WorkerOptions>} [more]
 */
export async function startWorker({ backend, secret }, more) {
  const worker = await Worker.start({
    brokers: [backend],
    keys: await keysOf(secret),
    services: {
      [SERVICE]: { raw: secret === undefined, handler: (/** @type {unknown} */ body) => body },
    },
    ...more,
  });
  return { stop: () => worker.close() };
}

/**
 * @param {import("./party.mjs").ClientOptions} options
 * @param {Partial<import("../../build/index.js").ClientOptions>} [more]
 */
export async function startClient({ frontend, secret }, more) {
  const client = await Client.connect({
    brokers: [frontend],
    keys: await keysOf(secret),
    timeoutMs: TIMEOUT_MS,
    ...more,
  });
  // Bytes as they are, as the others carry them.
  const options = { raw: secret === undefined };
  return {
    request: (/** @type {unknown} */ body) => client.request(SERVICE, body, options),
    stop: () => client.close({ timeoutMs: 0 }),
  };
}

/** @param {string | undefined} secret */
async function keysOf(secret) {
  return secret === undefined ? undefined : [await importKey(Buffer.from(secret, "base64"))];
}
