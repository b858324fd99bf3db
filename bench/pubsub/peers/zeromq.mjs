// Plain PUB and SUB, from one to the other without a broker. Without high-water marks, so that all arrives.
import { Publisher, Subscriber } from "zeromq";

const LINGER = { linger: 0 };
const ZMQ_SNDHWM = 23;
const ZMQ_RCVHWM = 24;

// What a SUB asks for goes by a queue that has a mark too, and is lost beyond it.
class PatientPublisher extends Publisher {
  constructor() {
    super({ ...LINGER, sendHighWaterMark: 0 });
    this.setInt32Option(ZMQ_RCVHWM, 0);
  }
}

class PatientSubscriber extends Subscriber {
  constructor() {
    super({ ...LINGER, receiveHighWaterMark: 0 });
    this.setInt32Option(ZMQ_SNDHWM, 0);
  }
}

export async function startPublisher() {
  const socket = new PatientPublisher();
  await socket.bind("tcp://127.0.0.1:*");
  return {
    endpoint: /** @type {string} */ (socket.lastEndpoint),
    publish: (/** @type {string} */ topic, /** @type {Uint8Array} */ body) =>
      socket.send([topic, body]),
    isSerial: true,
    flush: async () => {},
    stop: async () => socket.close(),
  };
}

/** @param {import("../party.mjs").SubscriberOptions} options */
export async function startSubscriber({ endpoint, topics, onEvent }) {
  const socket = new PatientSubscriber();
  socket.connect(endpoint);
  socket.subscribe(...topics);
  void read(socket, onEvent);
  return { stop: async () => socket.close() };
}

/**
 * @param {Subscriber} socket
 * @param {(topic: string, body: Uint8Array) => void} onEvent
 */
async function read(socket, onEvent) {
  try {
    for await (const [topic, body] of socket) onEvent(topic.toString(), body);
  } catch {
    // Closed.
  }
}
