// NATS request-reply as its users write it: `nc.request` with a deadline, workers in a queue group.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { pathToFileURL } from "node:url";

export const SUBJECT = "bench.echo";
const TIMEOUT_MS = 10_000;
const SERVER = "nats-server";
const PACKAGE = "@nats-io/transport-node";
const benchFolder = new URL("../../", import.meta.url);

/**
 * Which versions take part, or why it cannot.
 * @returns {{ version?: string, absent?: string }}
 */
export function describeNats() {
  const { status, stdout } = spawnSync(SERVER, ["--version"], { encoding: "utf8" });
  if (status !== 0) return { absent: `there is no ${SERVER} on the path` };
  try {
    packagePath();
  } catch {
    return { absent: `${PACKAGE} is not installed: npm ci --prefix bench` };
  }
  const manifest = new URL(`node_modules/${PACKAGE}/package.json`, benchFolder);
  const { version } = JSON.parse(readFileSync(manifest, "utf8"));
  return { version: `${stdout.trim().replace(": v", " ")}, ${PACKAGE} ${version}` };
}

function packagePath() {
  return createRequire(new URL("package.json", benchFolder)).resolve(PACKAGE);
}

/** @param {string} url */
export async function connectTo(url) {
  const { connect } = await import(pathToFileURL(packagePath()).href);
  return connect({ servers: url });
}

/**
 * Bodies as they are, or objects as JSON, which is what carries them over NATS.
 * @param {import("../load.mjs").Payload} payload
 * @returns {{ encode(body: any): any, decode(bytes: Uint8Array): any }}
 */
export function formatOf(payload) {
  if (payload !== "order") return { encode: (body) => body, decode: (bytes) => bytes };
  return {
    encode: (body) => Buffer.from(JSON.stringify(body)),
    // Faster than message.json() on bodies of this size.
    decode: ({ buffer, byteOffset, length }) =>
      JSON.parse(Buffer.from(buffer, byteOffset, length).toString()),
  };
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
export async function startWorker({ backend, payload }) {
  const { encode, decode } = formatOf(payload);
  const connection = await connectTo(backend);
  const handler = (/** @type {any} */ body) => body;
  connection.subscribe(SUBJECT, {
    queue: "workers",
    callback: (/** @type {unknown} */ _error, /** @type {any} */ message) =>
      message.respond(encode(handler(decode(message.data)))),
  });
  await connection.flush();
  return { stop: () => connection.close() };
}

/** @param {import("../party.mjs").ClientOptions} options */
export async function startClient({ frontend, payload }) {
  const { encode, decode } = formatOf(payload);
  const connection = await connectTo(frontend);
  return {
    /** @param {any} body */
    async request(body) {
      const { data } = await connection.request(SUBJECT, encode(body), { timeout: TIMEOUT_MS });
      return decode(data);
    },
    stop: () => connection.close(),
  };
}
