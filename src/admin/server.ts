import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { hostOf, isLoopback, parseAdminAddress } from "./address.js";
import { Connections } from "./connections.js";
import { Metrics } from "./metrics.js";
import type { BrokerState } from "./state.js";

/** What the admin port shows. */
export interface Watched {
  state(): BrokerState;
  /** Why no request should be sent here now; undefined when all is well. */
  unready(): string | undefined;
}

/** Who may read the port, and its bounds. */
export interface AdminOptions extends Partial<AdminLimits> {
  /** What each request must bring as its bearer token; only with one is more than loopback listened on. */
  token?: string;
}

/** Bounds of the port. It is for a scraper and a few people, not for the public. */
export interface AdminLimits {
  /** Half of them from one address, of those that have asked for nothing yet that they may have. */
  connectionsMax: number;
  /** A request's line and headers. */
  headerSizeMax: number;
  /** How long a request may take to come in; also how long a connection may idle. */
  requestMs: number;
}

const LIMITS: AdminLimits = { connectionsMax: 16, headerSizeMax: 8 * 1024, requestMs: 5_000 };

interface Answer {
  status: number;
  type: string;
  body: string;
  allow?: string;
  authenticate?: string;
  /** The connection ends with it. */
  isLast?: boolean;
}

const TEXT = "text/plain; charset=utf-8";
const HELP = "there are /metrics, /healthz, /readyz and /v1/state\n";

/** Answers that one connection is owed at once: the first is made, others are refused, more end it. */
const OWED_MAX = 16;
/** Then it has to come again: who never leaves is not the only one. */
const REQUESTS_MAX = 1_000;

/** Sockets at all: above what Node accepts in one turn, of which each is read once before it gives way. */
const SOCKETS_MAX = 1_024;

const ONE_AT_A_TIME: Answer = {
  status: 503,
  type: TEXT,
  body: "one request at a time: the answer before is not read yet\n",
  isLast: true,
};

const FULL: Answer = {
  status: 503,
  type: TEXT,
  body: "too many connections: others are answered here\n",
  isLast: true,
};

/** The broker's HTTP port for those who watch it. Changes nothing, answers GET and HEAD alone. */
export class AdminServer {
  readonly #server: Server;
  readonly #watched: Watched;
  readonly #metrics: Metrics;
  readonly #tokenDigest: Buffer | undefined;
  readonly #connections: Connections;
  /** Answers that are not sent yet, where there are any. */
  readonly #owed = new WeakMap<Socket, number>();

  private constructor(watched: Watched, limits: AdminLimits, token: string | undefined) {
    this.#watched = watched;
    this.#tokenDigest = token === undefined ? undefined : digest(token);
    this.#metrics = new Metrics();
    const { connectionsMax, headerSizeMax, requestMs } = limits;
    this.#server = createServer(
      {
        maxHeaderSize: headerSizeMax,
        headersTimeout: requestMs,
        requestTimeout: requestMs,
        keepAliveTimeout: requestMs,
        // How late the limits above may be noticed; Node's 30 s would make them 35.
        connectionsCheckingInterval: Math.min(1_000, requestMs),
      },
      (request, response) => void this.#onRequest(request, response),
    );
    this.#connections = new Connections(connectionsMax);
    this.#server.on("connection", (socket) => this.#connections.add(socket));
    this.#server.maxConnections = SOCKETS_MAX;
    this.#server.maxRequestsPerSocket = REQUESTS_MAX;
    // Also one that does not read its answer.
    this.#server.setTimeout(requestMs * 2, (socket) => socket.destroy());
    // The broker's own sockets keep the process alive, not this.
    this.#server.unref();
  }

  /** Listens at `address`, `host:port`. Rejects with an Error of one line when it cannot. */
  static async listen(
    address: string,
    watched: Watched,
    { token, ...limits }: AdminOptions = {},
  ): Promise<AdminServer> {
    const { host, port } = parseAdminAddress("admin", address, token !== undefined);
    const admin = new AdminServer(watched, { ...LIMITS, ...limits }, token);
    await new Promise<void>((resolve, reject) => {
      admin.#server.once("error", (error: NodeJS.ErrnoException) => {
        const why = error.code === "EADDRINUSE" ? "the address is already in use" : error.message;
        reject(new Error(`cannot listen on admin ${address}: ${why} (${error.code})`));
      });
      admin.#server.listen({ host, port }, resolve);
    });
    // Out of file descriptors, say: a reason not to be watched, none to end the broker.
    admin.#server.on("error", () => {});
    return admin;
  }

  /** Where it listens, with the real port: `http://127.0.0.1:9100`. */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  }

  /** Ends every connection, answered or not. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    // Node parses all that came at once, also behind the request that ended its connection.
    if (socket.destroyed) return;
    const owed = this.#owed.get(socket) ?? 0;
    if (owed === OWED_MAX) {
      socket.destroy();
      return;
    }
    this.#owed.set(socket, owed + 1);
    response.once("close", () => this.#owed.set(socket, (this.#owed.get(socket) as number) - 1));
    this.#send(request, response, owed > 0 ? ONE_AT_A_TIME : await this.#answerTo(request));
  }

  async #answerTo(request: IncomingMessage): Promise<Answer> {
    try {
      const refused = refusal(request, this.#tokenDigest);
      if (refused !== undefined) return refused;
      if (!this.#connections.welcome(request.socket)) return FULL;
      return await this.#page(request.url ?? "");
    } catch (error) {
      return { status: 500, type: TEXT, body: `bug: ${(error as Error).message}\n` };
    }
  }

  #send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
    const { status, type, body, allow, authenticate, isLast } = answer;
    response.writeHead(status, {
      "content-type": type,
      "content-length": Buffer.byteLength(body),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...(allow === undefined ? {} : { allow }),
      ...(authenticate === undefined ? {} : { "www-authenticate": authenticate }),
      // A body that nobody asked for is not read to its end.
      ...(isLast || hasBody(request) ? { connection: "close" } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #page(url: string): Promise<Answer> {
    const [path] = url.split("?", 1);
    switch (path) {
      case "/healthz":
        // Whoever gets this knows that the event loop turns.
        return { status: 200, type: TEXT, body: "ok\n" };
      case "/readyz": {
        const reason = this.#watched.unready();
        if (reason === undefined) return { status: 200, type: TEXT, body: "ready\n" };
        return { status: 503, type: TEXT, body: `${reason}\n` };
      }
      case "/v1/state": {
        const body = `${JSON.stringify(this.#watched.state())}\n`;
        return { status: 200, type: "application/json", body };
      }
      case "/metrics": {
        const body = await this.#metrics.text(() => this.#watched.state());
        return { status: 200, type: this.#metrics.contentType, body };
      }
      default:
        return { status: 404, type: TEXT, body: `no such page: ${HELP}` };
    }
  }
}

/** Why a request is not answered; whoever may ask is decided here and nowhere else. */
function refusal(
  { method, headers }: IncomingMessage,
  tokenDigest: Buffer | undefined,
): Answer | undefined {
  // A page of a browser can have its own name resolve to 127.0.0.1; then it says that name here.
  // HTTP/1.0 may come without: no browser does. And none has the token.
  const isForeign = headers.host !== undefined && !isLoopback(hostOf(headers.host));
  if (tokenDigest === undefined && isForeign) {
    const body = "the Host header must name loopback: 127.0.0.1, [::1] or localhost\n";
    return { status: 403, type: TEXT, body };
  }
  if (tokenDigest !== undefined && !isBearer(headers.authorization, tokenDigest)) {
    const body = "a bearer token is needed\n";
    return { status: 401, type: TEXT, body, authenticate: 'Bearer realm="wasmq"' };
  }
  if (method !== "GET" && method !== "HEAD") {
    return { status: 405, type: TEXT, body: `only GET and HEAD; ${HELP}`, allow: "GET, HEAD" };
  }
  return undefined;
}

function isBearer(authorization: string | undefined, tokenDigest: Buffer): boolean {
  const [, shown] = /^Bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
  return shown !== undefined && timingSafeEqual(digest(shown), tokenDigest);
}

/** Of one size whatever is shown, so that they can be compared in a time that says nothing. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}
