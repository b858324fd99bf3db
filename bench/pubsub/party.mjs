// One process of suite pubsub: a broker, subscribers or the publisher of one contender, as the parent asks.
import { serveParent } from "../lib/party.mjs";

/**
 * What every contender offers, one module each.
 * @typedef {object} Contender
 * @property {() => Promise<{ endpoint: string, stop(): Promise<unknown> }>} [startBroker] where it has one
 * @property {(endpoint: string | undefined) => Promise<PublisherPart>} startPublisher
 * @property {(options: SubscriberOptions) => Promise<{ stop(): Promise<unknown> }>} startSubscriber
 *   resolves when what is published from then on is heard
 *
 * @typedef {object} PublisherPart
 * @property {string} [endpoint] where subscribers are to connect, where there is no broker
 * @property {(topic: string, body: Uint8Array) => Promise<unknown> | undefined} publish
 * @property {boolean} [isSerial] one publication must be over before the next
 * @property {() => Promise<unknown>} flush
 * @property {() => Promise<unknown>} stop
 *
 * @typedef {object} SubscriberOptions
 * @property {string} endpoint
 * @property {string[]} topics each a subscription
 * @property {(topic: string, body: Uint8Array) => void} onEvent
 */

/** Publications in a row before the loop has a turn. */
const ROW = 256;
const BODY_SIZE = 64;

/** @type {Contender} */
const contender = await import(process.argv[2]);
/** @type {any[]} */
let parts = [];
let received = 0;
let wrong = 0;
let wanted = Infinity;
/** @type {(() => void) | undefined} */
let onWanted;

/** @param {string} _topic @param {Uint8Array} body */
function onEvent(_topic, body) {
  received++;
  if (body.length !== BODY_SIZE || body[BODY_SIZE - 1] !== 0x5a) wrong++;
  if (received >= wanted) onWanted?.();
}

/** @param {number} count */
async function untilReceived(count) {
  wanted = count;
  if (received < count) {
    await new Promise((resolve) => {
      onWanted = () => resolve(undefined);
    });
  }
  wanted = Infinity;
  return { received, wrong };
}

/** Topics in turn, from where the last call ended. @param {{ topics: string[], from: number, count: number }} options */
async function publish({ topics, from, count }) {
  const [part] = parts;
  const body = Buffer.alloc(BODY_SIZE, 0x5a);
  for (let i = from; i < from + count; i++) {
    const sent = part.publish(topics[i % topics.length], body);
    if (part.isSerial || i % ROW === 0) await sent;
  }
  await part.flush();
}

/** @param {string} what @param {any} options */
async function answer(what, options) {
  switch (what) {
    case "broker":
      parts = [await contender.startBroker?.()];
      return parts[0].endpoint;
    case "publisher":
      parts = [await contender.startPublisher(options.endpoint)];
      return parts[0].endpoint;
    case "subscribers":
      for (let i = 0; i < options.count; i++) {
        parts.push(await contender.startSubscriber({ ...options, onEvent }));
      }
      return undefined;
    case "publish":
      return publish(options);
    case "received":
      return untilReceived(options.count);
    case "cpu":
      return process.cpuUsage();
    default:
      throw new Error(`not a thing to ask of a party: ${what}`);
  }
}

serveParent(answer, () => Promise.all(parts.map((part) => part.stop())));
