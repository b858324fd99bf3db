import { once } from "node:events";
import { Agent, get, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type AdminOptions, AdminServer } from "../../build/admin/server.js";
import { Broker } from "../../build/index.js";
import { stateOf } from "./states.ts";

const opened: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close();
});

let unready: string | undefined;
let statesTaken = 0;

async function serve(options: AdminOptions = {}, address = "127.0.0.1:0") {
  unready = undefined;
  statesTaken = 0;
  const state = () => {
    statesTaken++;
    return stateOf({});
  };
  const watched = { state, unready: () => unready };
  const admin = await AdminServer.listen(address, watched, options);
  opened.push(admin);
  return admin;
}

/** What comes back for these bytes, until the server closes. */
async function raw(url: string, text: string): Promise<string> {
  const socket = await dial(url);
  socket.end(text);
  return everything(socket);
}

async function dial(url: string, localAddress?: string): Promise<Socket> {
  const socket = dialling(url, localAddress);
  await once(socket, "connect");
  return socket;
}

function dialling(url: string, localAddress?: string): Socket {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", localAddress });
  socket.on("error", () => {});
  opened.push({ close: () => socket.destroy() });
  return socket;
}

async function everything(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk;
  });
  await new Promise((resolve) => socket.on("close", resolve));
  return text;
}

describe("what it answers", () => {
  it("health, readiness, state and metrics", async () => {
    const { url } = await serve();
    const health = await fetch(`${url}/healthz`);
    expect([health.status, await health.text()]).toEqual([200, "ok\n"]);
    const ready = await fetch(`${url}/readyz?verbose`);
    expect([ready.status, await ready.text()]).toEqual([200, "ready\n"]);
    unready = "draining";
    const draining = await fetch(`${url}/readyz`);
    expect([draining.status, await draining.text()]).toEqual([503, "draining\n"]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const state = await fetch(`${url}/v1/state`);
    expect(state.headers.get("content-type")).toBe("application/json");
    expect(await state.json()).toEqual(stateOf({}));
    const metrics = await fetch(`${url}/metrics`);
    expect(metrics.headers.get("content-type")).toContain("text/plain; version=0.0.4");
    expect(await metrics.text()).toContain("\nwasmq_ready 1\n");
  });

  it("HEAD as GET, without the body", async () => {
    const { url } = await serve();
    const response = await fetch(`${url}/healthz`, { method: "HEAD" });
    expect([response.status, response.headers.get("content-length")]).toEqual([200, "3"]);
    expect(await response.text()).toBe("");
  });

  it.each(["POST", "PUT", "DELETE", "OPTIONS"])("405 to %s", async (method) => {
    const { url } = await serve();
    const body = method === "POST" ? "x".repeat(100_000) : undefined;
    const response = await fetch(`${url}/metrics`, { method, body });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    await response.text();
  });

  it.each(["/", "/metrics/", "/v1", "/v1/state/x", "//healthz", "/__proto__"])(
    "404 to %s, and what there is",
    async (path) => {
      const response = await fetch((await serve()).url + path);
      expect(response.status).toBe(404);
      expect(await response.text()).toMatch(/^[^\n]*\/metrics, \/healthz, \/readyz[^\n]*\n$/);
    },
  );

  it("on IPv6 loopback too", async () => {
    const { url } = await serve({}, "[::1]:0");
    expect(url).toMatch(/^http:\/\/\[::1\]:\d+$/);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });
});

describe("whom it does not answer", () => {
  it("a page whose name was made to resolve to loopback", async () => {
    const { url } = await serve();
    const evil = await raw(url, "GET /v1/state HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    expect(evil).toMatch(/^HTTP\/1\.1 403 /);
    expect(evil).not.toContain("uptimeMs");
    const none = await raw(url, "GET /healthz HTTP/1.1\r\n\r\n");
    expect(none).toMatch(/^HTTP\/1\.1 400 /);
    // As old health checks do.
    expect(await raw(url, "GET /healthz HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("headers too large, and what is no HTTP", async () => {
    const { url } = await serve();
    const large = `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${"x".repeat(9000)}\r\n\r\n`;
    expect(await raw(url, large)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await raw(url, "\x00\xff\x00nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
  });

  it("one that does not come to the end of its request", async () => {
    const { url } = await serve({ requestMs: 50 });
    const socket = await dial(url);
    socket.write("GET /healthz HTTP/1.1\r\nHost: local");
    expect(await everything(socket)).toMatch(/^(HTTP\/1\.1 408 |$)/);
    const silent = await dial(url);
    expect(await everything(silent)).toMatch(/^(HTTP\/1\.1 408 |$)/);
  });

  it("more at once than it may, of those that it does answer", async () => {
    const { url } = await serve({ connectionsMax: 2 });
    const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const held = [await dial(url), await dial(url)];
    for (const socket of held) {
      socket.write(request);
      await once(socket, "data");
    }
    expect(await everything(await dial(url))).toBe("");
    const third = await dial(url);
    third.write(request);
    expect(await everything(third)).toMatch(/^HTTP\/1\.1 (503 |$)/);
    const gone = once(held[0], "close");
    held[0].end();
    await gone;
    // Where there is room again, it answers; those that were here stay.
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    held[1].write(request);
    expect(String(await once(held[1], "data"))).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("strangers, who have not asked for what they may have", () => {
  const token = "0123456789abcdef";
  const authorization = `Bearer ${token}`;
  const HALF = "GET /healthz HTTP/1.1\r\nHost: broker\r\n";
  const REST = `Authorization: ${authorization}\r\n\r\n`;
  // What they do is to end them, not a clock.
  const patient = { token, requestMs: 60_000 };

  async function strangers(url: string, count: number, localAddress?: string): Promise<Socket[]> {
    const all: Socket[] = [];
    for (let index = 0; index < count; index++) {
      all.push(await dial(url, localAddress));
      all[index].write(HALF);
    }
    return all;
  }

  async function answered(socket: Socket, text: string): Promise<void> {
    socket.write(text);
    expect(String(await once(socket, "data"))).toMatch(/^HTTP\/1\.1 200 /);
  }

  it("do not shut out whoever has the token", async () => {
    const { url } = await serve(patient);
    await strangers(url, 40);
    const response = await fetch(`${url}/healthz`, { headers: { authorization } });
    expect(response.status).toBe(200);
  });

  it("give way to others, the oldest first", async () => {
    const { url } = await serve({ ...patient, connectionsMax: 4 });
    const held = [...(await strangers(url, 2, "127.0.0.2")), ...(await strangers(url, 2))];
    const gone = once(held[0], "close");
    await strangers(url, 1, "127.0.0.3");
    await gone;
    for (const socket of held.slice(1)) await answered(socket, REST);
  });

  it("of one address are half at most, and push out nobody else", async () => {
    const { url } = await serve({ ...patient, connectionsMax: 4 });
    const [slow] = await strangers(url, 1, "127.0.0.2");
    const many = await strangers(url, 40);
    for (const socket of many.slice(0, 38)) if (!socket.closed) await once(socket, "close");
    for (const socket of [slow, ...many.slice(38)]) await answered(socket, REST);
  });

  it("do not push out one that was answered before, however many", async () => {
    const { url } = await serve({ ...patient, connectionsMax: 4 });
    const guest = await dial(url);
    await answered(guest, HALF + REST);
    for (const address of ["127.0.0.1", "127.0.0.2", "127.0.0.3"]) await strangers(url, 5, address);
    await answered(guest, HALF + REST);
  });

  it("come in where many come at once, if their first word is right", async () => {
    const { url } = await serve(patient);
    const right = dialling(url);
    const head = once(right, "data");
    right.write(HALF + REST);
    for (let index = 0; index < 100; index++) dialling(url).write(HALF);
    expect(String(await head)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("one connection", () => {
  const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const statuses = (text: string) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, s]) => s);

  it.each(["/metrics", "/v1/state", "/healthz"])("gets one %s at a time", async (path) => {
    const { url } = await serve();
    const socket = await dial(url);
    socket.write(ask(path).repeat(3));
    // The first as it should be, though it was asked for more; then it ends.
    expect(statuses(await everything(socket))).toEqual(["200", "503"]);
    expect(statesTaken).toBe(path === "/healthz" ? 0 : 1);
  });

  it.each(["/metrics", "/v1/state"])("is ended when it floods %s", async (path) => {
    const { url } = await serve();
    const flood = ask(path).repeat(1000);
    for (let turn = 0; turn < 3; turn++) {
      const socket = await dial(url);
      const ended = everything(socket);
      for (let chunk = 0; chunk < 20; chunk++) socket.write(flood);
      await ended;
    }
    expect(statesTaken).toBeLessThanOrEqual(3);
    expect((await fetch(`${url}${path}`)).status).toBe(200);
  });

  it("gets one after the other, and has to come again now and then", async () => {
    const { url } = await serve();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    opened.push({ close: () => agent.destroy() });
    const ports = new Map<number | undefined, number>();
    for (let index = 0; index < 1001; index++) {
      const path = index % 100 === 0 ? "/metrics" : "/v1/state";
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        get(url + path, { agent }, resolve).on("error", reject);
      });
      const { localPort } = response.socket;
      ports.set(localPort, (ports.get(localPort) ?? 0) + 1);
      await once(response.resume(), "end");
      expect(response.statusCode).toBe(200);
    }
    expect([...ports.values()]).toEqual([1000, 1]);
  });
});

it("says why it cannot listen", async () => {
  const { url } = await serve();
  const taken = new URL(url).host;
  const watched = { state: () => stateOf({}), unready: () => undefined };
  await expect(AdminServer.listen(taken, watched)).rejects.toThrow(
    `cannot listen on admin ${taken}: the address is already in use (EADDRINUSE)`,
  );
});

describe("a broker's", () => {
  const any = { frontend: "tcp://127.0.0.1:0", backend: "tcp://127.0.0.1:0" };

  it("is not there unless asked for, and only on loopback", async () => {
    const broker = await Broker.start(any);
    opened.push(broker);
    expect(broker.admin).toBeUndefined();
    const wrong = Broker.start({ ...any, admin: "0.0.0.0:0" });
    await expect(wrong).rejects.toThrow(/^admin must be host:port, got "0\.0\.0\.0:0": only loop/);
  });

  it("is gone with it, whoever is connected; so when it cannot start", async () => {
    const broker = await Broker.start({ ...any, admin: "127.0.0.1:0" });
    const url = broker.admin as string;
    const idle = await dial(url);
    const ended = everything(idle);
    await broker.close();
    await ended;
    const { host } = new URL(url);
    const taken = await Broker.start({ ...any, admin: host });
    opened.push(taken);
    const frontend = taken.frontend[0];
    await expect(Broker.start({ ...any, frontend, admin: "127.0.0.1:0" })).rejects.toThrow(
      frontend,
    );
    await expect(Broker.start({ ...any, admin: host })).rejects.toThrow(/already in use/);
  });
});
