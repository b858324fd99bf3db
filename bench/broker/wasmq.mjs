// wasmq by its public face alone, with its defaults: deadlines, credits, limits and retries on.
import { Client, Worker } from "../../build/index.js";
import { startLoopback } from "./loopback.mjs";
import { importKey } from "../../build/codec/index.js";

const SERVICE = "bench.echo";
const TIMEOUT_MS = 10_000;

/** @param {import("../../build/index.js").BrokerOptions["curve"]} [curve] */
export function startBroker(curve) {
  const countsOf = (/** @type {import("../../build/index.js").Broker} */ broker) => {
    const { counts, requests, faults } = broker.stats;
    const faultCount = Object.values(faults).reduce((sum, count) => sum + count, 0);
    return { ...counts, held: requests, faults: faultCount };
  };
  return startLoopback(countsOf, { curve });
}

/**
 * @param {import("./party.mjs").WorkerOptions} options
 * @param {import("../../build/index.js").CurveKeys} [curve]
 */
export async function startWorker({ backend, secret }, curve) {
  const worker = await Worker.start({
    brokers: [backend],
    curve,
    keys: await keysOf(secret),
    services: {
      [SERVICE]: { raw: secret === undefined, handler: (/** @type {unknown} */ body) => body },
    },
  });
  return { stop: () => worker.close() };
}

/**
 * @param {import("./party.mjs").ClientOptions} options
 * @param {import("../../build/index.js").CurveKeys} [curve]
 */
export async function startClient({ frontend, secret }, curve) {
  const client = await Client.connect({
    brokers: [frontend],
    curve,
    keys: await keysOf(secret),
    timeoutMs: TIMEOUT_MS,
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
