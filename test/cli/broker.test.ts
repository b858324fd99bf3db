import { once } from "node:events";
import { statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { settleBrokerConfig } from "../../build/cli/broker-config.js";
import { Client, Worker } from "../../build/index.js";
import { type Ended, Stage } from "./processes.js";

const ANY = "tcp://127.0.0.1:0";
const REAL = /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/;

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

/** Wrong usage: code 2 and one line on stderr that says what, with no stack. */
function expectRefused(ended: Ended, what: RegExp): void {
  expect(ended).toMatchObject({ code: 2, signal: null });
  expect(ended.stderr).toMatch(/^[^\n]+\n$/);
  expect(ended.stderr).toMatch(what);
  expect(ended.stderr).not.toMatch(/\n\s+at |node:internal/);
}

describe("what a broker listens on", () => {
  it("says its real endpoints in the ready line", async () => {
    const running = stage.brokerJs(["--frontend", ANY, "--backend", ANY]);
    const ready = await running.logged("ready");
    expect(ready).toMatchObject({ level: "info", frontend: [expect.stringMatching(REAL)] });
    expect(ready.backend).toEqual([expect.stringMatching(REAL)]);
    expect(running.stderr).toBe("");
  });

  it("has places for plain PUB and SUB sockets at home, elsewhere where they are named", async () => {
    const here = settleBrokerConfig({}, {});
    expect([here.xsub, here.xpub]).toEqual([["tcp://127.0.0.1:5561"], ["tcp://127.0.0.1:5562"]]);
    const none = settleBrokerConfig({ xsub: ["none"] }, { WASMQ_XPUB: "none" });
    expect([none.xsub, none.xpub]).toEqual([undefined, undefined]);
    const elsewhere = settleBrokerConfig({ frontend: [ANY] }, { WASMQ_XPUB: ANY });
    expect([elsewhere.xsub, elsewhere.xpub]).toEqual([undefined, [ANY]]);
    const flags = ["--frontend", ANY, "--backend", ANY, "--xsub", ANY, "--xpub", ANY];
    const ready = await stage.brokerJs(flags).logged("ready");
    expect(ready.xsub).toEqual([expect.stringMatching(REAL)]);
    expect(ready.xpub).toEqual([expect.stringMatching(REAL)]);
  });

  it("takes several endpoints, tcp and ipc", async () => {
    const front = `ipc://${join(stage.folder, "front")}`;
    const back = `ipc://${join(stage.folder, "back")}`;
    const flags = ["--frontend", ANY, "--frontend", front, "--backend", back, "--backend", ANY];
    const ready = await stage.brokerJs(flags).logged("ready");
    expect(ready.frontend).toEqual([expect.stringMatching(REAL), front]);
    expect(ready.backend).toEqual([back, expect.stringMatching(REAL)]);
  });

  it("takes lists from the environment", async () => {
    const env = { WASMQ_FRONTEND: `${ANY}, ${ANY}`, WASMQ_BACKEND: ANY };
    const ready = await stage.brokerJs([], { env }).logged("ready");
    expect(ready.frontend).toHaveLength(2);
    expect(ready.backend).toHaveLength(1);
  });

  it("puts flags before the environment before the config file before the defaults", async () => {
    const at = (name: string) => `ipc://${join(stage.folder, name)}`;
    const config = { frontend: at("f-file"), backend: [at("b-file")], logLevel: "warn" };
    const WASMQ_CONFIG = stage.file("config.json", JSON.stringify(config));

    const file = await stage.brokerJs([], { env: { WASMQ_CONFIG } }).logged("ready");
    expect(file).toMatchObject({ frontend: [at("f-file")], backend: [at("b-file")] });

    const env = { WASMQ_CONFIG: "/nowhere", WASMQ_FRONTEND: at("f-env"), WASMQ_LOG_LEVEL: "info" };
    const other = stage.file("other.json", JSON.stringify({ ...config, backend: at("b-other") }));
    const running = stage.brokerJs(["--config", other], { env });
    expect(await running.logged("ready")).toMatchObject({
      frontend: [at("f-env")],
      backend: [at("b-other")],
    });
    expect(running.log[0]).toMatchObject({ msg: "starting" });

    const flags = ["--frontend", at("f-flag"), "--backend", at("b-flag"), "--log-level", "error"];
    const flagged = stage.brokerJs(flags, { env: { ...env, WASMQ_CONFIG } });
    expect(await flagged.logged("ready")).toMatchObject({
      frontend: [at("f-flag")],
      backend: [at("b-flag")],
    });
    expect(flagged.log).toHaveLength(1);
  });

  it("is on loopback, ports 5559 and 5560, unless told otherwise", async () => {
    const { stdout, code } = await stage.brokerJs(["--help"]).ended;
    expect(code).toBe(0);
    expect(stdout.replace(/\s+/g, " ")).toContain("default tcp://127.0.0.1:5559");
    expect(stdout.replace(/\s+/g, " ")).toContain("default tcp://127.0.0.1:5560");
  });
});

describe("what a broker refuses to start with", () => {
  const refusals: [string, string[], RegExp][] = [
    ["an unknown flag", ["--fronted", ANY], /unknown option '--fronted'/],
    ["an argument too many", ["here"], /too many arguments/],
    ["a flag without its value", ["--frontend"], /--frontend <url>' argument missing/],
    ["no endpoint", ["--frontend", "here"], /frontend must be tcp:\/\/host:port .*"here"/],
    ["a port too high", ["--backend", "tcp://127.0.0.1:70000"], /the port is above 65535/],
    ["an endpoint of many", ["--backend", ANY, "--backend", "x"], /backend must be tcp/],
    ["an unknown transport", ["--backend", "udp://127.0.0.1:1"], /backend must be tcp/],
    ["an unknown level", ["--log-level", "loud"], /--log-level must be one of .*"loud"/],
    ["an address of another machine", ["--frontend", "tcp://192.0.2.1:0"], /tcp:\/\/192\.0\.2\.1/],
    [
      "an unknown host",
      ["--frontend", "tcp://no.invalid:0", "--insecure"],
      /tcp:\/\/no\.invalid:0: no such host/,
    ],
    [
      "one for workers",
      ["--backend", "tcp://no.invalid:0", "--insecure"],
      /tcp:\/\/no\.invalid:0: no such host/,
    ],
    [
      "a missing config file",
      ["--config", "/nowhere/x.json"],
      /config file \/nowhere\/x\.json.*ENOENT/,
    ],
    ["a folder for a config file", ["--config", "/"], /config file \/: cannot be read/],
  ];
  it.each(refusals)("%s", async (_name, args, what) => {
    const base = args.includes("--backend") ? ["--frontend", ANY] : ["--backend", ANY];
    expectRefused(await stage.brokerJs([...base, ...args]).ended, what);
  });

  const configs: [string, string, RegExp][] = [
    ["broken JSON", '{\n"frontend":\n', /not JSON/],
    ["no object", "[]", /must hold a JSON object/],
    ["an unknown key", '{"fronted": "x"}', /unknown key "fronted"; there are frontend, backend/],
    ["an inherited key", '{"toString": 1}', /unknown key "toString"/],
    ["an unknown limit", '{"limits": {"queueMax": 1}}', /unknown limit "queueMax"/],
    ["an inherited limit", '{"limits": {"toString": 1}}', /unknown limit "toString"/],
    ["a limit out of range", '{"limits": {"requestsMax": 0}}', /limits\.requestsMax/],
    [
      "text for a limit",
      '{"limits": {"codelTargetMs": "100"}}',
      /codelTargetMs must be a whole number .*, got "100"/,
    ],
    [
      "text for a limit of tasks",
      '{"tasks": {"countMax": "100"}}',
      /countMax must be a whole number .*, got "100"/,
    ],
    ["a key that is no file", '{"curveKey": "no.key"}', / curve key must be a file, got "no.key"/],
    ["limits of services that are none", '{"services": 7}', /services must be an object of limits/],
    [
      "a limit that no service has",
      '{"services": {"a.*": {"requestsMax": 9}}}',
      /services\["a\.\*"\]: "requestsMax" is no limit of a service/,
    ],
    ["limits that contradict", '{"limits": {"requestsMax": 9}}', /must not exceed/],
    ["a word for a number", '{"connectionsMax": "many"}', /connectionsMax must be a number/],
    ["a number out of range", '{"heartbeatIntervalMs": 0}', /heartbeatIntervalMs must be/],
    ["a drain of no time", '{"drainTimeoutMs": "5s"}', /drainTimeoutMs must be .* got "5s"/],
    ["heartbeats that contradict", '{"heartbeatTimeoutMs": 5}', /heartbeatTimeoutMs/],
    ["an empty list", '{"frontend": []}', /frontend must be an endpoint or a list/],
    ["an unknown level", '{"logLevel": "loud"}', /logLevel must be one of/],
  ];
  it.each(configs)("a config file with %s", async (_name, text, what) => {
    const flags = ["--frontend", ANY, "--backend", ANY, "--config", stage.file("c.json", text)];
    const running = stage.brokerJs(text.includes("[]") ? flags.slice(2) : flags);
    const ended = await running.ended;
    expectRefused(ended, what);
    expect(ended.stdout).toBe("");
  });

  it("a port in use, at either end", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const taken = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const front = await stage.brokerJs(["--frontend", taken, "--backend", ANY]).ended;
      expectRefused(front, new RegExp(`cannot listen on ${taken}: the address is already in use`));
      const back = await stage.brokerJs(["--frontend", ANY, "--backend", taken]).ended;
      expectRefused(back, new RegExp(`cannot listen on ${taken}: the address is already in use`));
    } finally {
      server.close();
    }
  });

  it("an ipc path that another broker listens on, or that is a file", async () => {
    const path = join(stage.folder, "front");
    const first = stage.brokerJs(["--frontend", `ipc://${path}`, "--backend", ANY]);
    await first.logged("ready");
    const second = await stage.brokerJs(["--frontend", `ipc://${path}`, "--backend", ANY]).ended;
    expectRefused(second, /already in use/);
    const client = await Client.connect({ brokers: [`ipc://${path}`] });
    await client.close();

    const file = stage.file("file", "mine");
    const third = await stage.brokerJs(["--frontend", `ipc://${file}`, "--backend", ANY]).ended;
    expectRefused(third, /already in use/);
    expect(statSync(file).isFile()).toBe(true);
  });

  it("takes an ipc path that a killed broker left behind", async () => {
    const flags = ["--frontend", `ipc://${join(stage.folder, "front")}`, "--backend", ANY];
    const first = stage.brokerJs(flags);
    await first.logged("ready");
    first.kill("SIGKILL");
    await first.ended;
    await stage.brokerJs(flags).logged("ready");
  });
});

describe("how a broker ends", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("%s drains it and it exits 0", async (signal) => {
    const { running } = await stage.broker();
    running.kill(signal);
    expect(await running.ended).toMatchObject({ code: 0, signal: null, stderr: "" });
    expect(running.log.map(({ msg }) => msg)).toEqual(["starting", "ready", "draining", "drained"]);
  });

  // 300 replies of 10000 bytes that do not compress: more than goes in one message.
  it.each([
    [1, 10],
    [300, 10_000],
  ])("a drain delivers the replies of %i requests under way", async (count, size) => {
    const { running, frontend, backend } = await stage.broker();
    let allRun = () => {};
    const allRunning = new Promise<void>((resolve) => {
      allRun = resolve;
    });
    let answer = () => {};
    const gate = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let runningCount = 0;
    const worker = await Worker.start({
      brokers: [backend],
      concurrency: count,
      services: {
        slow: async () => {
          if (++runningCount === count) allRun();
          await gate;
          return crypto.getRandomValues(new Uint8Array(size));
        },
      },
    });
    const client = await Client.connect({ brokers: [frontend], timeoutMs: 10_000 });
    try {
      const replies = Array.from({ length: count }, () =>
        client.request<Uint8Array>("slow", null, { attempts: 1 }),
      );
      await allRunning;
      running.kill("SIGTERM");
      expect(await running.logged("draining")).toMatchObject({ requests: count });
      answer();
      for (const reply of await Promise.all(replies)) expect(reply).toHaveLength(size);
      expect(await running.ended).toMatchObject({ code: 0, signal: null });
      expect(running.log.at(-1)).toMatchObject({ msg: "drained" });
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });

  it.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const)("a second signal, %s, ends it at once", async (second, code) => {
    const { running, frontend, backend } = await stage.broker();
    let started = () => {};
    const isStarted = new Promise<void>((resolve) => {
      started = resolve;
    });
    const worker = await Worker.start({
      brokers: [backend],
      services: {
        never: () => {
          started();
          return new Promise(() => {});
        },
      },
    });
    const client = await Client.connect({ brokers: [frontend] });
    const lost = client.request("never", null, { attempts: 1 }).catch((error) => error.code);
    try {
      await isStarted;
      running.kill("SIGTERM");
      await running.logged("draining");
      running.kill(second);
      expect(await running.ended).toMatchObject({ code, signal: null });
      expect(await lost).toBe("UNAVAILABLE");
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });

  it.each([
    ["the flag", ["--drain-timeout", "100"], {}],
    ["the config file", [], { drainTimeoutMs: 100 }],
  ])("gives up what is not answered after the time that %s says", async (_name, flags, config) => {
    const file = stage.file("c.json", JSON.stringify({ frontend: ANY, backend: ANY, ...config }));
    const running = stage.brokerJs(["--config", file, ...flags]);
    const { frontend, backend } = await running.logged("ready");
    let started = () => {};
    const isStarted = new Promise<void>((resolve) => {
      started = resolve;
    });
    const never = () => {
      started();
      return new Promise(() => {});
    };
    const worker = await Worker.start({ brokers: backend as string[], services: { never } });
    const client = await Client.connect({ brokers: frontend as string[] });
    const lost = client.request("never", null, { attempts: 1 }).catch((error) => error.code);
    try {
      await isStarted;
      running.kill("SIGTERM");
      expect(await running.ended).toMatchObject({ code: 0, signal: null });
      expect(running.log.at(-1)).toMatchObject({
        level: "warn",
        msg: "closed with requests unanswered",
        requests: 1,
      });
      expect(await lost).toBe("UNAVAILABLE");
    } finally {
      await client.close({ timeoutMs: 0 });
      await worker.close();
    }
  });

  it("goes on when nobody reads its log any more", async () => {
    const { running, frontend } = await stage.broker();
    running.child.stdout?.destroy();
    const client = await Client.connect({ brokers: [frontend] });
    await client.close();
    running.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ code: 0, signal: null });
  });
});

it("shows its version and its help", async () => {
  const version = await stage.brokerJs(["--version"]).ended;
  expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  const help = await stage.brokerJs(["--help"]).ended;
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const flag of ["--frontend", "--backend", "--config", "--log-level", "--version"]) {
    expect(help.stdout).toContain(flag);
  }
});
