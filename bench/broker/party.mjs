// One process of suite broker: imports its contender, then does what the parent asks, and leaves
// in good order when the parent lets go of it or dies.
import { measure } from "./load.mjs";

/**
 * What every contender offers, one module each.
 * @typedef {object} Contender
 * @property {() => Promise<BrokerPart>} startBroker
 * @property {(options: WorkerOptions) => Promise<Part>} startWorker resolves when it is served
 * @property {(options: ClientOptions) => Promise<ClientPart>} startClient
 *
 * @typedef {object} Part
 * @property {() => Promise<unknown>} stop
 *
 * @typedef {Part & { frontend: string, backend: string, counts(): Record<string, number> }} BrokerPart
 * @typedef {Part & { request(body: any): Promise<any> }} ClientPart
 *
 * @typedef {object} WorkerOptions
 * @property {string} backend
 * @property {string} [secret] 32 bytes in base64: bodies are sealed with it
 *
 * @typedef {object} ClientOptions
 * @property {string} frontend
 * @property {string} [secret]
 */

const LEAVE_MS = 2_000;

/** @type {Contender} */
const contender = await import(process.argv[2]);
/** @type {any} */
let part;

/**
 * @param {string} what
 * @param {any} options
 */
async function answer(what, options) {
  switch (what) {
    case "broker":
      part = await contender.startBroker();
      return { frontend: part.frontend, backend: part.backend };
    case "worker":
      part = await contender.startWorker(options);
      return undefined;
    case "client":
      part = await contender.startClient(options);
      return undefined;
    case "measure":
      return measure(part, options);
    case "closedLoop":
      return part.closedLoop(options);
    case "openLoop":
      return part.openLoop(options);
    case "counts":
      return part.counts();
    default:
      throw new Error(`not a thing to ask of a party: ${what}`);
  }
}

process.on("message", async (/** @type {any} */ { id, what, options }) => {
  try {
    process.send?.({ id, value: await answer(what, options) });
  } catch (error) {
    process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
  }
});

// Ctrl-C reaches the whole group. The parent decides, and its end is noticed here.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", async () => {
  setTimeout(() => process.exit(1), LEAVE_MS).unref();
  await part?.stop();
  process.exit(0);
});
