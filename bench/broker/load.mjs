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
 * What one process has measured: latencies as a histogram's entries.
 * @typedef {Omit<Measurement, "p50Us" | "p99Us"> & { latencies: number[] }} Part
 */

/** @typedef {"64 B" | "16 KiB" | "order"} Payload */

/**
 * How much is asked. A measurement ends with its time or its requests, whichever comes first.
 * @typedef {object} Load
 * @property {number} depth requests in flight, of each client
 * @property {number} seconds
 * @property {number} warmupSeconds before, not measured
 * @property {number} requestsMax
 * @property {Payload} payload
 */

/**
 * Keeps `depth` requests of each client in flight, each the next as soon as the last is answered,
 * for a while.
 * @param {readonly import("./party.mjs").ClientPart[]} clients
 * @param {Load} options
 * @returns {Promise<Part>}
 */
export async function measure(clients, options) {
  const { depth, requestsMax } = options;
  const { bodies, isEqual } = payloadOf(options.payload);
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

  async function lane(/** @type {import("./party.mjs").ClientPart} */ client) {
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

  const lanes = clients.flatMap((client) => Array.from({ length: depth }, () => lane(client)));
  await Promise.all(lanes);
  // A run bounded by its count may be over before its time is.
  const measuredMs = Math.max(1, Math.min(lastMs, endMs) - beginMs);
  return {
    requestsPerSecond: (histogram.count / measuredMs) * 1000,
    latencies: histogram.entries(),
    sent,
    answered,
    failed,
    wrong,
    failure,
  };
}

/** What all processes have measured at the same time. @param {Part[]} parts @returns {Measurement} */
export function together(parts) {
  const histogram = new Histogram();
  for (const { latencies } of parts) histogram.merge(latencies);
  return {
    requestsPerSecond: parts.reduce((total, part) => total + part.requestsPerSecond, 0),
    p50Us: histogram.quantile(0.5),
    p99Us: histogram.quantile(0.99),
    ...countsOf(parts),
  };
}

/** @param {readonly Omit<Part, "latencies">[]} measured */
export function countsOf(measured) {
  const sum = (/** @type {"sent" | "answered" | "failed" | "wrong"} */ name) =>
    measured.reduce((total, each) => total + each[name], 0);
  return {
    sent: sum("sent"),
    answered: sum("answered"),
    failed: sum("failed"),
    wrong: sum("wrong"),
    failure: measured.find((each) => each.failure !== undefined)?.failure,
  };
}

/**
 * What is sent, a power of two of each, and whether a reply is what was sent: by a part that tells
 * them apart, since the comparison is in the time.
 * @typedef {{ bodies: any[], isEqual: (reply: any, body: any) => boolean }} Values
 */

/** @type {Map<Payload, Values>} */
const made = new Map();

/** Made when it is first asked for: not every process sends. @param {Payload} payload */
function payloadOf(payload) {
  const values = made.get(payload) ?? makeValues(payload);
  made.set(payload, values);
  return values;
}

/** @param {Payload} payload @returns {Values} */
function makeValues(payload) {
  switch (payload) {
    case "64 B":
      return { bodies: makeBodies(64, 1024), isEqual: isEqualBody };
    case "16 KiB":
      return { bodies: makeBodies(16 * 1024, 128), isEqual: isEqualBody };
    case "order":
      return {
        bodies: makeOrders(),
        isEqual: (reply, body) => reply.orderId === body.orderId && reply.note === body.note,
      };
    default:
      throw new Error(`not a payload: ${payload}`);
  }
}

/** @type {Values["isEqual"]} */
function isEqualBody(reply, body) {
  const last = body.length - 1;
  return (
    reply.length === body.length &&
    reply[0] === body[0] &&
    reply[1] === body[1] &&
    reply[last] === body[last]
  );
}
