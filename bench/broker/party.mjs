// One process of suite broker: imports its contender, then does what the parent asks, and leaves
// in good order when the parent lets go of it or dies.
import { serveParent } from "../lib/party.mjs";
import { measure } from "./load.mjs";

/**
 * What every contender offers, one module each.
 * @typedef {object} Contender
 * @property {(settings: BrokerSettings) => Promise<BrokerPart>} startBroker
 * @property {(options: WorkerOptions) => Promise<Part>} startWorker resolves when it is served
 * @property {(options: ClientOptions) => Promise<ClientPart>} startClient
 *
 * @typedef {object} BrokerSettings
 * @property {boolean} isQuick it is to be seen that it runs, not how fast
 *
 * @typedef {object} Part
 * @property {() => Promise<unknown>} stop
 *
 * @typedef {Part & { frontend: string, backend: string, counts(): Record<string, number> }} BrokerPart
 * @typedef {Part & { request(body: any): Promise<any> }} ClientPart
 *
 * @typedef {object} WorkerOptions
 * @property {string} backend
 * @property {import("./load.mjs").Payload} payload
 * @property {string} [secret] 32 bytes in base64: bodies are sealed with it
 *
 * @typedef {object} ClientOptions
 * @property {string} frontend
 * @property {import("./load.mjs").Payload} payload
 * @property {string} [secret]
 */

/** @type {Contender} */
const contender = await import(process.argv[2]);
/** Of a broker one; of workers and clients as many as this process is to be. @type {any[]} */
let parts = [];

/** @param {number} count @param {() => Promise<Part>} start */
async function startMany(count, start) {
  parts = await Promise.all(Array.from({ length: count }, start));
}

/**
 * @param {string} what
 * @param {any} options
 */
async function answer(what, options) {
  switch (what) {
    case "broker":
      parts = [await contender.startBroker(options)];
      return { frontend: parts[0].frontend, backend: parts[0].backend };
    case "worker":
      return startMany(options.count ?? 1, () => contender.startWorker(options));
    case "client":
      return startMany(options.count ?? 1, () => contender.startClient(options));
    case "measure":
      return measure(parts, options);
    case "closedLoop":
      return parts[0].closedLoop(options);
    case "openLoop":
      return parts[0].openLoop(options);
    case "counts":
      return parts[0].counts();
    default:
      throw new Error(`not a thing to ask of a party: ${what}`);
  }
}

serveParent(answer, () => Promise.all(parts.map((part) => part.stop())));
