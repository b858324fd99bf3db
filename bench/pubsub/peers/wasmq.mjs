// wasmq with its defaults but for the longest queue: the benchmark counts every event.
import { Client } from "../../../build/index.js";
import { startLoopback } from "../../broker/loopback.mjs";

const QUEUE_MAX = 65_536;
const RAW = { raw: true };

export async function startBroker() {
  const { frontend, stop } = await startLoopback(() => undefined);
  return { endpoint: frontend, stop };
}

/** @param {string} endpoint */
export async function startPublisher(endpoint) {
  const client = await Client.connect({ brokers: [endpoint] });
  /** @type {Promise<unknown> | undefined} */
  let last;
  return {
    publish(/** @type {string} */ topic, /** @type {Uint8Array} */ body) {
      last = client.publish(topic, body, RAW);
      return last;
    },
    flush: async () => last,
    stop: () => client.close({ timeoutMs: 0 }),
  };
}

/** @param {import("../party.mjs").SubscriberOptions} options */
export async function startSubscriber({ endpoint, topics, onEvent }) {
  const client = await Client.connect({ brokers: [endpoint] });
  const options = { ...RAW, queueMax: QUEUE_MAX };
  const subscriptions = topics.map((topic) => client.subscribe(topic, options));
  for (const subscription of subscriptions) {
    await subscription.ready();
    void read(/** @type {any} */ (subscription), onEvent);
  }
  return { stop: () => client.close({ timeoutMs: 0 }) };
}

/**
 * @param {import("../../../build/index.js").Subscription<Uint8Array>} subscription
 * @param {(topic: string, body: Uint8Array) => void} onEvent
 */
async function read(subscription, onEvent) {
  for await (const { topic, body } of subscription) onEvent(topic, body);
}
