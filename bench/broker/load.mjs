import { Histogram } from "../lib/histogram.mjs";
import { makeBodies, makeOrders } from "../lib/values.mjs";

/**
 * What was measured. Requests answered in the measured time make up the rate and the latencies;
 * `sent`, `answered`, `failed` and `wrong` count all of them, those of the warm-up too.
 * @typedef {object} Measurement
 * @property {number} requestsPerSecond
 * @property {number} p50Us
 * @property {number} p99Us
 * @property {number} sent
 * @property {number} answered
 * @property {number} failed
 * @property {number} wrong answered with something else than was sent
 * @property {string | undefined} failure why the first one failed
 */

/**
 * How much is asked. A measurement ends with its time or its requests, whichever comes first.
 * @typedef {object} Load
 * @property {number} depth requests in flight
 * @property {number} seconds
 * @property {number} warmupSeconds before, not measured
 * @property {number} requestsMax
 * @property {"bytes" | "order"} payload
 */

/**
 * Keeps `depth` requests in flight, each the next as soon as the last is answered, for a while.
 * @param {import("./party.mjs").ClientPart} client
 * @param {Load} options
 * @returns {Promise<Measurement>}
 */
export async function measure(client, options) {
  const { depth, requestsMax } = options;
  const { bodies, isEqual } = payloads[options.payload];
  const histogram = new Histogram();
  const beginMs = performance.now() + options.warmupSeconds * 1000;
  const endMs = beginMs + options.seconds * 1000;
  let sent = 0;
  let answered = 0;
  let failed = 0;
  let wrong = 0;
  /** @type {string | undefined} */
  let failure;
  let lastMs = endMs;

  async function lane() {
    let startedMs = performance.now();
    while (startedMs < endMs && sent < requestsMax) {
      const body = bodies[sent++ & (bodies.length - 1)];
      try {
        const reply = await client.request(body);
        answered++;
        if (!isEqual(reply, body)) wrong++;
      } catch (error) {
        failed++;
        failure ??= String(error);
      }
      const nowMs = performance.now();
      if (nowMs >= beginMs && nowMs < endMs) histogram.add((nowMs - startedMs) * 1000);
      lastMs = nowMs;
      startedMs = nowMs;
    }
  }

  await Promise.all(Array.from({ length: depth }, lane));
  // A run bounded by its count may be over before its time is.
  const measuredMs = Math.max(1, Math.min(lastMs, endMs) - beginMs);
  return {
    requestsPerSecond: (histogram.count / measuredMs) * 1000,
    p50Us: histogram.quantile(0.5),
    p99Us: histogram.quantile(0.99),
    sent,
    answered,
    failed,
    wrong,
    failure,
  };
}

/**
 * What is sent, a power of two of each, and whether a reply is what was sent: by a part that tells
 * them apart, since the comparison is in the time.
 * @type {Record<string, { bodies: any[], isEqual: (reply: any, body: any) => boolean }>}
 */
const payloads = {
  bytes: {
    bodies: makeBodies(64),
    isEqual: (reply, body) =>
      reply.length === 64 && reply[0] === body[0] && reply[1] === body[1] && reply[63] === body[63],
  },
  order: {
    bodies: makeOrders(),
    isEqual: (reply, body) => reply.orderId === body.orderId && reply.note === body.note,
  },
};
