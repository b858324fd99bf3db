// The broker's admin port and `wasmq top`, each a process of its own.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BrokerState } from "../../build/admin/state.js";
import { Client, Worker } from "../../build/index.js";
import { Stage } from "./processes.js";

const ANY = "tcp://127.0.0.1:0";
const ENDS = ["--frontend", ANY, "--backend", ANY];

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

async function watchedBroker() {
  const { running, frontend, backend } = await stage.broker({ admin: "127.0.0.1:0" });
  const { admin } = await running.logged("ready");
  return { running, frontend, backend, admin: admin as string };
}

/** A handler that answers when it is let to, and says when it began. */
function held() {
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const handler = async () => {
    begin();
    await gate;
    return "done";
  };
  return { handler, begun, release };
}

describe("the admin port", () => {
  it("is asked for by flag, environment or config file, in this order; else there is none", async () => {
    const config = stage.file("c.json", JSON.stringify({ admin: "127.0.0.4:0" }));
    const env = { WASMQ_ADMIN: "127.0.0.3:0", WASMQ_CONFIG: config };
    const admin = async (args: string[], variables: Record<string, string>) => {
      const running = stage.brokerJs([...ENDS, ...args], { env: variables });
      return (await running.logged("ready")).admin;
    };
    expect(await admin(["--admin", "127.0.0.2:0"], env)).toMatch(/^http:\/\/127\.0\.0\.2:\d+$/);
    expect(await admin([], env)).toMatch(/^http:\/\/127\.0\.0\.3:\d+$/);
    expect(await admin([], { WASMQ_CONFIG: config })).toMatch(/^http:\/\/127\.0\.0\.4:\d+$/);
    expect(await admin([], {})).toBeUndefined();
  });

  it.each([
    ["--admin", "0.0.0.0:9100", /^broker\.js: admin must be .*"0\.0\.0\.0:9100": only loopback/],
    ["--admin", "9100", /admin must be host:port/],
    ["--config", '{"admin": 9100}', /config file .*: admin must be host:port/],
  ])("is refused in one line: %s %s", async (flag, value, what) => {
    const given = flag === "--config" ? stage.file("c.json", value) : value;
    const ended = await stage.brokerJs([...ENDS, flag, given]).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^[^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
  });

  it("says not ready while it drains, and shows what it waits for", async () => {
    const { running, frontend, backend, admin } = await watchedBroker();
    const { handler, begun, release } = held();
    const worker = await Worker.start({ brokers: [backend], services: { slow: handler } });
    const client = await Client.connect({ brokers: [frontend] });
    try {
      expect((await fetch(`${admin}/readyz`)).status).toBe(200);
      const reply = client.request("slow", null);
      await begun;
      running.kill("SIGTERM");
      await running.logged("draining");
      const ready = await fetch(`${admin}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([503, "draining\n"]);
      expect((await fetch(`${admin}/healthz`)).status).toBe(200);
      const state = (await (await fetch(`${admin}/v1/state`)).json()) as BrokerState;
      expect(state).toMatchObject({ isReady: false, isDraining: true, requests: 1 });
      expect(state.services).toMatchObject([{ name: "slow", inFlight: 1 }]);
      release();
      expect(await reply).toBe("done");
      expect(await running.ended).toMatchObject({ code: 0, signal: null });
      await expect(fetch(`${admin}/healthz`)).rejects.toThrow();
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });

  it("tells what waits, what is in flight and how requests ended", async () => {
    const { frontend, backend, admin } = await watchedBroker();
    const { handler, begun, release } = held();
    const fail = () => {
      throw new Error("no");
    };
    const worker = await Worker.start({
      brokers: [backend],
      concurrency: 1,
      services: { slow: handler, fail },
      onError: () => {},
    });
    const client = await Client.connect({ brokers: [frontend] });
    const state = async () => (await (await fetch(`${admin}/v1/state`)).json()) as BrokerState;
    try {
      await client.request("fail", null).catch(() => {});
      await client.request("no.such", null, { timeoutMs: 200 }).catch(() => {});
      const first = client.request("slow", null);
      await begun;
      const abortion = new AbortController();
      const others = [1, 2, 3].map(() =>
        client.request("slow", null, { signal: abortion.signal }).catch((error) => error.code),
      );
      let busy = await state();
      // The client's batch is on its way.
      while (busy.requests < 4) busy = await state();
      const [failing, slow] = busy.services.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      expect(failing).toMatchObject({ name: "fail", outcomes: { INTERNAL: 1 }, queued: 0 });
      expect(failing.service.count).toBe(1);
      expect(slow).toMatchObject({ name: "slow", workers: 1, outcomes: {} });
      expect(slow.queued + slow.inFlight).toBe(4);
      expect(slow.oldestWaitMs > 0).toBe(slow.queued > 0);
      expect(busy.other.outcomes).toEqual({ NOT_FOUND: 1 });
      expect(busy.peers).toMatchObject({ clients: 1, workers: 1 });
      abortion.abort();
      release();
      expect(await first).toBe("done");
      await Promise.all(others);
      const metrics = await (await fetch(`${admin}/metrics`)).text();
      expect(metrics).toContain('\nwasmq_requests_total{service="slow",status="OK"} 1\n');
      expect(metrics).toContain('\nwasmq_requests_total{service="",status="NOT_FOUND"} 1\n');
      expect(metrics).not.toContain("no.such");
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });
});

it("shows requests that wait for a name that nobody served, as of no name", async () => {
  const { frontend, admin } = await watchedBroker();
  const client = await Client.connect({ brokers: [frontend] });
  const state = async () => (await (await fetch(`${admin}/v1/state`)).json()) as BrokerState;
  try {
    const abortion = new AbortController();
    const { signal } = abortion;
    const asked = ["no.such", "no.other"].map((name) => client.request(name, null, { signal }));
    const ended = Promise.allSettled(asked);
    let waiting = await state();
    while (waiting.requests < 2) waiting = await state();
    expect(waiting.services).toEqual([]);
    expect(waiting.other).toMatchObject({ queued: 2, queuedBytes: waiting.requestBytes });
    expect(waiting.other.oldestWaitMs).toBeGreaterThan(0);
    const metrics = await (await fetch(`${admin}/metrics`)).text();
    expect(metrics).toContain('\nwasmq_service_queued{service=""} 2\n');
    abortion.abort();
    await ended;
    while (waiting.requests > 0) waiting = await state();
    expect(waiting.other).toMatchObject({ queued: 0, queuedBytes: 0, oldestWaitMs: 0 });
  } finally {
    await client.close({ timeoutMs: 0 });
  }
});

describe("wasmq top", () => {
  it("prints one table and ends with --once", async () => {
    const { frontend, backend, admin } = await watchedBroker();
    const worker = await Worker.start({ brokers: [backend], services: { echo: (body) => body } });
    const client = await Client.connect({ brokers: [frontend] });
    try {
      await client.request("echo", 1);
      const env = { WASMQ_ADMIN: new URL(admin).host };
      const ended = await stage.wasmq(["top", "--once", "--interval", "100"], { env }).ended;
      expect(ended).toMatchObject({ code: 0, stderr: "" });
      const lines = ended.stdout.split("\n");
      expect(lines[0]).toMatch(/^wasmq \d+\.\d+\.\d+ {2}ready {2}up \d+s {2}rss \d+\.\dM/);
      expect(lines[1]).toMatch(/^clients 1 {2}workers 1 {2}held 0 of 131k/);
      expect(lines.slice(3)).toEqual([
        expect.stringMatching(/^SERVICE +RATE\/S QUEUE FLIGHT WORK CREDIT/),
        expect.stringMatching(/^echo +0 +0 +0 +1 +\d+ +- +- +- +-$/),
        "",
      ]);
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });

  it("prints a table an interval into a pipe, until SIGTERM; a broker may go and be missed", async () => {
    const { running, admin } = await watchedBroker();
    const top = stage.wasmq(["top", admin, "--interval", "100"]);
    const tables = (count: number) =>
      top.until(`${count} tables`, () =>
        top.stdout.split("SERVICE").length > count ? true : undefined,
      );
    await tables(3);
    expect(top.stdout).not.toContain("\x1b");
    running.kill("SIGTERM");
    await top.until("a word of it", () => (top.stderr === "" ? undefined : true));
    expect(top.stderr).toMatch(/^wasmq top: no answer from http:\/\/127[^\n]+\n/);
    top.kill("SIGTERM");
    expect(await top.ended).toMatchObject({ code: 0, signal: null });
  });

  it("lets nothing that answers tell the terminal what to do", async () => {
    const server = createServer((_, response) => {
      response.writeHead(500).end("\u001b[2J\u009b31m no state");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const { port } = server.address() as AddressInfo;
      const ended = await stage.wasmq(["top", `127.0.0.1:${port}`, "--once"]).ended;
      expect(ended).toMatchObject({ code: 14, stdout: "" });
      expect(ended.stderr).toMatch(/: 500 \?\[2J\?31m no state\n$/);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it.each([
    [["top", "ftp://x"], 2, /the URL must be http:\/\/host:port, got "ftp:\/\/x"/],
    [["top", "127.0.0.1:9:9"], 2, /the URL must be/],
    [["top", "--interval", "9"], 2, /--interval must be a whole number 100\.\./],
    [["top", "a", "b"], 2, /too many arguments/],
    [["top", "127.0.0.1:1", "--once"], 14, /no answer from http:\/\/127\.0\.0\.1:1\/v1\/state/],
  ])("says in one line what is wrong: %j", async (args, code, what) => {
    const ended = await stage.wasmq(args).ended;
    expect(ended).toMatchObject({ code, stdout: "" });
    expect(ended.stderr).toMatch(/^wasmq top: [^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
  });
});
