// NATS as its users write it: core NATS, a callback for each subscription.
import { connectTo, startBroker as startServer } from "../../broker/peers/nats.mjs";

export async function startBroker() {
  const { frontend, stop } = await startServer();
  return { endpoint: frontend, stop };
}

/** @param {string} endpoint */
export async function startPublisher(endpoint) {
  const connection = await connectTo(endpoint);
  return {
    publish(/** @type {string} */ topic, /** @type {Uint8Array} */ body) {
      connection.publish(topic, body);
      return undefined;
    },
    flush: () => connection.flush(),
    stop: () => connection.close(),
  };
}

/** @param {import("../party.mjs").SubscriberOptions} options */
export async function startSubscriber({ endpoint, topics, onEvent }) {
  const connection = await connectTo(endpoint);
  for (const topic of topics) {
    connection.subscribe(topic, {
      callback: (/** @type {unknown} */ _error, /** @type {any} */ { subject, data }) =>
        onEvent(subject, data),
    });
  }
  await connection.flush();
  return { stop: () => connection.close() };
}
