// ZeroMQ endpoint names for node:net: parsing, resolving, listening.
import { promises as dns } from "node:dns";
import { chmodSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import { connect, isIP, type NetConnectOpts, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { dirname } from "node:path";
import { isMainThread } from "node:worker_threads";

export type Endpoint = { kind: "tcp"; host: string; port: number } | { kind: "ipc"; path: string };

// sun_path holds 108 bytes with its final zero (104 on macOS and BSD).
const unixPathSizeMax = process.platform === "linux" ? 107 : 103;

// A burst of workers that reconnect at once waits here; the kernel caps it by somaxconn.
const backlog = 1024;

/** Parses `tcp://host:port` (host may be `*`, port `*` or 0 for any) or `ipc://path`. */
export function parseEndpoint(name: string, text: string): Endpoint {
  const wrong = (why: string) =>
    new RangeError(`${name} must be tcp://host:port or ipc://path, got ${quote(text)}: ${why}`);
  if (typeof text !== "string") throw wrong("not a string");
  if (text.startsWith("ipc://")) {
    const path = text.slice(6);
    if (process.platform === "win32") throw wrong("ipc is not available on Windows");
    if (path === "" || path === "*") throw wrong("the path is missing");
    if (path.startsWith("@") || path.includes("\0"))
      throw wrong("abstract names are not supported");
    const size = Buffer.byteLength(path);
    if (size > unixPathSizeMax) {
      throw wrong(`the path is ${size} bytes, more than ${unixPathSizeMax}`);
    }
    return { kind: "ipc", path };
  }
  const match = /^tcp:\/\/(?:\[([^\]]*)\]|([^:[\]]+)):(\*|\d{1,5})$/.exec(text);
  if (match === null) throw wrong("neither form");
  const host = match[1] ?? match[2];
  if (match[1] !== undefined && isIP(host) !== 6) throw wrong("[ ] must hold an IPv6 address");
  const port = match[3] === "*" ? 0 : Number(match[3]);
  if (port > 65535) throw wrong("the port is above 65535");
  return { kind: "tcp", host, port };
}

/** What node:net's `connect` takes for an endpoint. */
export function connectOptions(endpoint: Endpoint): NetConnectOpts {
  if (endpoint.kind === "ipc") return { path: endpoint.path };
  return { host: endpoint.host, port: endpoint.port, noDelay: true };
}

/** Listens and returns the endpoint with its real address and port; `*` stays `*`. */
export async function listenOn(server: Server, endpoint: Endpoint): Promise<string> {
  if (endpoint.kind === "ipc") {
    await listenOnPath(server, endpoint.path);
    return `ipc://${endpoint.path}`;
  }
  const { host, port } = endpoint;
  // No host: node:net takes every address, IPv6 and IPv4, as `*` says.
  const address = host === "*" ? undefined : await resolveHost(host);
  await listenOnce(server, { host: address, port, backlog });
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new Error("the listener has no address");
  if (address === undefined) return `tcp://*:${bound.port}`;
  return `tcp://${isIP(address) === 6 ? `[${address}]` : address}:${bound.port}`;
}

// libzmq has ENODEV for what node:net calls ENOTFOUND, a name that is neither host nor interface.
const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "the address is already in use",
  EADDRNOTAVAIL: "no such address on this machine",
  EACCES: "permission denied",
  ENODEV: "no such host",
  ENOTFOUND: "no such host",
};

/** One line that says what could not be done and why; keeps the system's code. */
export function listenError(text: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const known = reasons[code ?? ""];
  const why = known === undefined ? message : `${known} (${code})`;
  const result = new Error(`cannot listen on ${text}: ${why}`, { cause: error });
  return Object.assign(result, { code });
}

/** An address of a host name or, as in ZeroMQ, of a network interface. */
async function resolveHost(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  const card = networkInterfaces()[host]?.find((address) => address.family === "IPv4");
  if (card !== undefined) return card.address;
  const addresses = await dns.lookup(host, { all: true });
  // IPv4 first: ZeroMQ peers do not look for IPv6 unless told to.
  return (addresses.find((address) => address.family === 4) ?? addresses[0]).address;
}

async function listenOnPath(server: Server, path: string): Promise<void> {
  await claimPath(path);
  // From its first moment on its owner's alone; a thread that is not the main one has no say in that.
  const mask = isMainThread ? process.umask(0o177) : undefined;
  let listening: Promise<void>;
  try {
    listening = listenOnce(server, { path, backlog });
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  await listening;
  chmodSync(path, 0o600);
}

/**
 * Makes way for a socket at `path`: one that nobody listens on, left by a process that was killed,
 * is removed. Rejects where the path is in use or cannot be had.
 */
async function claimPath(path: string): Promise<void> {
  const folder = dirname(path);
  if (!existsSync(folder)) throw withCode("ENOENT", `the folder ${folder} does not exist`);
  if (!existsSync(path)) return;
  if (!(await isStaleSocket(path))) throw withCode("EADDRINUSE", "the path is in use");
  unlinkSync(path);
}

function withCode(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** True for a socket file that nobody listens on. */
async function isStaleSocket(path: string): Promise<boolean> {
  // Connecting to a regular file is refused too, and that one must not be removed.
  if (!lstatSync(path).isSocket()) return false;
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.on("connect", () => {
      probe.destroy();
      resolve(false);
    });
    probe.on("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
}

function listenOnce(
  server: Server,
  options: { host?: string; port?: number; path?: string; backlog: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function quote(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
