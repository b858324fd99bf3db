import { createServer } from "node:net";
import { join } from "node:path";
import { formatKey, generateKey } from "../../build/codec/index.js";
import { Party } from "./party.mjs";

const BROKERS = 2;
const WORKERS = 4;
const CLIENTS = 3;

/**
 * The processes of one run: two brokers, four workers and three clients, each known to both brokers.
 * Half the seeds seal what travels.
 * @param {import("./options.mjs").ChaosOptions} options
 * @param {import("../random.mjs").Random} random
 * @param {string} folder where the records are
 * @param {(what: string) => void} onViolation
 */
export async function makeCast({ rate }, random, folder, onViolation) {
  const keys = random.chance(50) ? [formatKey(await generateKey())] : undefined;
  const ports = await freePorts(BROKERS * 2);
  const urls = ports.map((port) => `tcp://127.0.0.1:${port}`);
  const frontends = urls.slice(0, BROKERS);
  const backends = urls.slice(BROKERS);
  /** @type {(kind: import("./party.mjs").Kind, index: number, options: (name: string) => object) => Party} */
  const party = (kind, index, options) => {
    const name = `${kind[0]}${index + 1}`;
    return new Party(kind, name, (count) => options(`${name}.${count}`), onViolation);
  };
  const brokers = frontends.map((frontend, index) =>
    party("broker", index, () => ({ frontend, backend: backends[index] })),
  );
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    party("worker", index, (name) => ({
      brokers: backends,
      keys,
      record: join(folder, `run.${name}`),
    })),
  );
  const seed = random.below(2 ** 30);
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    party("client", index, (name) => ({
      name,
      brokers: frontends,
      keys,
      record: join(folder, `asked.${name}`),
      rate: rate / CLIENTS,
      seed: seed + index,
    })),
  );
  return { brokers, workers, clients, isSealed: keys !== undefined };
}

/**
 * Free ports below those that the system gives out for outgoing connections: a broker that is down
 * must find its port free when it comes back.
 * @param {number} count
 */
async function freePorts(count) {
  /** @type {Set<number>} */
  const found = new Set();
  // By chance and not by the seed: two runs of one seed may be under way.
  while (found.size < count) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port)) found.add(port);
  }
  return [...found];
}

/** @param {number} port */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
