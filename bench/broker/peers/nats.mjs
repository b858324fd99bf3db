// NATS request-reply as its users write it: `nc.request` with a deadline, workers in a queue group.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

export const SUBJECT = "bench.echo";
const TIMEOUT_MS = 10_000;
const SERVER = "nats-server";

/** Why it cannot take part, or undefined. */
export function absence() {
  const { status } = spawnSync(SERVER, ["--version"]);
  if (status !== 0) return `there is no ${SERVER} on the path`;
  try {
    packagePath();
    return undefined;
  } catch {
    return "@nats-io/transport-node is not installed: npm ci --prefix bench";
  }
}

function packagePath() {
  return createRequire(new URL("../../package.json", import.meta.url)).resolve(
    "@nats-io/transport-node",
  );
}

/** @param {string} url */
export async function connectTo(url) {
  const { connect } = await import(pathToFileURL(packagePath()).href);
  return connect({ servers: url });
}

async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

export async function startBroker() {
  const port = await freePort();
  const server = spawn(SERVER, ["--addr", "127.0.0.1", "--port", String(port)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  await new Promise((resolve, reject) => {
    server.stderr.on("data", (chunk) => {
      log += chunk;
      if (log.includes("Server is ready")) resolve(undefined);
    });
    server.once("exit", () => reject(new Error(`nats-server ended: ${log}`)));
  });
  const url = `nats://127.0.0.1:${port}`;
  return {
    frontend: url,
    backend: url,
    /** It is not asked. */
    counts: () => undefined,
    async stop() {
      server.kill();
      await once(server, "exit");
    },
  };
}

/** @param {import("../party.mjs").WorkerOptions} options */
export async function startWorker({ backend }) {
  const connection = await connectTo(backend);
  connection.subscribe(SUBJECT, {
    queue: "workers",
    callback: (/** @type {unknown} */ _error, /** @type {any} */ message) =>
      message.respond(message.data),
  });
  await connection.flush();
  return { stop: () => connection.close() };
}

/** @param {import("../party.mjs").ClientOptions} options */
export async function startClient({ frontend }) {
  const connection = await connectTo(frontend);
  return {
    /** @param {Uint8Array} body */
    async request(body) {
      return (await connection.request(SUBJECT, body, { timeout: TIMEOUT_MS })).data;
    },
    stop: () => connection.close(),
  };
}
