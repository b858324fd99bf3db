// The parties of suite overload: a broker, a worker whose handler waits as one for a database would,
// and a process of many clients that ask at a given pace, whatever comes back.
import { Client, Worker } from "../../build/index.js";
import { startLoopback } from "./loopback.mjs";

const SERVICE = "bench.slow";
/** Callers do not wait for longer, so neither does what a client has held back. */
const TIMEOUT_MS = 2_000;
const PACE_MS = 2;

export function startBroker() {
  return startLoopback((broker) => {
    const { queued, requests } = broker.stats;
    return { queued, held: requests, rssBytes: process.memoryUsage.rss() };
  });
}

/** @param {{ backend: string, concurrency: number, serviceMs: number }} options */
export async function startWorker({ backend, concurrency, serviceMs }) {
  const handler = () => new Promise((resolve) => setTimeout(() => resolve(1), serviceMs));
  const worker = await Worker.start({
    brokers: [backend],
    concurrency,
    services: { [SERVICE]: handler },
  });
  return { stop: () => worker.close() };
}

/** @param {{ frontend: string, clients: number }} options */
export async function startClient({ frontend, clients: count }) {
  const connecting = Array.from({ length: count }, () =>
    Client.connect({ brokers: [frontend], timeoutMs: TIMEOUT_MS }),
  );
  const clients = await Promise.all(connecting);
  return {
    /** What `client` is answered in `seconds` with so many requests on their way at all times. */
    async closedLoop({ depth, seconds }) {
      const endMs = performance.now() + seconds * 1000;
      let answered = 0;
      const loop = async () => {
        for (; performance.now() < endMs; answered++) await clients[1].request(SERVICE, 1);
      };
      await Promise.all(Array.from({ length: depth }, loop));
      return answered / seconds;
    },

    /** Each asks at its pace for so long; resolves when each request has its outcome. */
    async openLoop({ perSecond, seconds }) {
      const figures = clients.map(() => ({ asked: 0, replied: 0, repliedInTime: 0, failed: 0 }));
      /** @type {number[]} */
      const latenciesMs = [];
      const pending = new Set();
      const startMs = performance.now();
      const endMs = startMs + seconds * 1000;
      const ask = async (/** @type {number} */ index) => {
        const own = figures[index];
        own.asked++;
        const askedMs = performance.now();
        try {
          await clients[index].request(SERVICE, 1);
          const nowMs = performance.now();
          latenciesMs.push(nowMs - askedMs);
          own.replied++;
          if (nowMs < endMs) own.repliedInTime++;
        } catch {
          own.failed++;
        }
      };
      for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
        for (const [index, { asked }] of figures.entries()) {
          const due = ((nowMs - startMs) / 1000) * perSecond[index];
          for (let count = asked; count < due; count++) {
            const one = ask(index).finally(() => pending.delete(one));
            pending.add(one);
          }
        }
        await new Promise((resolve) => setTimeout(resolve, PACE_MS));
      }
      await Promise.all(pending);
      latenciesMs.sort((a, b) => a - b);
      const at = (/** @type {number} */ part) => latenciesMs[Math.floor(latenciesMs.length * part)];
      return { figures, p50Ms: at(0.5) ?? 0, p99Ms: at(0.99) ?? 0 };
    },
    stop: () => Promise.all(clients.map((client) => client.close({ timeoutMs: 0 }))),
  };
}
