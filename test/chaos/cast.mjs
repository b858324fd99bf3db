import { createServer } from "node:net";
import { join } from "node:path";
import { formatKey, generateKey } from "../../build/codec/index.js";
import { generateCurveKeys } from "../../build/index.js";
import { Party } from "./party.mjs";

const BROKERS = 2;
const WORKERS = 4;
const CLIENTS = 3;

/**
 * The processes of one run: two brokers, four workers and three clients, each known to both brokers.
 * Half the seeds seal what travels, and half have all connections under CURVE. Where tasks are pushed there is a third broker, for these alone, which is stopped
 * at times and never ended: a broker that ends loses its tasks, so only of one that does not can all be asked.
 * @param {import("./options.mjs").ChaosOptions} options
 * @param {import("../random.mjs").Random} random
 * @param {string} folder where the records are
 * @param {(what: string) => void} onViolation
 */
export async function makeCast({ rate, patterns, isCurved }, random, folder, onViolation) {
  const keys = random.chance(50) ? [formatKey(await generateKey())] : undefined;
  const isByChance = random.chance(50);
  const curve = (isCurved ?? isByChance) ? makeCurve() : undefined;
  const hasTasks = patterns.includes("tasks");
  const count = hasTasks ? BROKERS + 1 : BROKERS;
  const ports = await freePorts(count * 2);
  const urls = ports.map((port) => `tcp://127.0.0.1:${port}`);
  const frontends = urls.slice(0, count);
  const backends = urls.slice(count);
  /** @type {(kind: import("./party.mjs").Kind, index: number, options: (name: string) => object) => Party} */
  const party = (kind, index, options) => {
    const name = `${kind[0]}${index + 1}`;
    return new Party(kind, name, (count) => options(`${name}.${count}`), onViolation);
  };
  const brokers = frontends.map((frontend, index) =>
    party("broker", index, () => ({ frontend, backend: backends[index], curve: curve?.broker })),
  );
  if (hasTasks) brokers[BROKERS].isSpared = true;
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    party("worker", index, (name) => ({
      brokers: backends,
      curve: curve?.worker,
      keys,
      record: join(folder, `run.${name}`),
      taskRecord: join(folder, `task.${name}`),
    })),
  );
  const seed = random.below(2 ** 30);
  const peers = Array.from({ length: CLIENTS }, (_, index) => `c${index + 1}`);
  const clients = peers.map((_, index) =>
    party("client", index, (name) => ({
      name,
      peers,
      patterns,
      taskBrokers: hasTasks ? frontends : [],
      brokers: frontends.slice(0, BROKERS),
      curve: curve?.client,
      keys,
      record: join(folder, `asked.${name}`),
      patternRecord: join(folder, `pattern.${name}`),
      rate: rate / CLIENTS,
      seed: seed + index,
    })),
  );
  const isSealed = keys !== undefined;
  return { brokers, workers, clients, isSealed, isCurved: curve !== undefined };
}

/** One pair of keys for all brokers, one for all workers and one for all clients. */
function makeCurve() {
  const [broker, worker, client] = [generateCurveKeys(), generateCurveKeys(), generateCurveKeys()];
  const all = ["*"];
  const access = {
    keys: {
      [worker.publicKey]: { name: "worker", serve: all, pull: all },
      [client.publicKey]: {
        ...{ name: "client", call: all, push: all, administer: all },
        ...{ publish: [">"], subscribe: [">"] },
      },
    },
  };
  const serverKey = broker.publicKey;
  return {
    broker: { ...broker, access },
    worker: { ...worker, serverKey },
    client: { ...client, serverKey },
  };
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
