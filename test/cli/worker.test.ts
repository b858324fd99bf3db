import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Client } from "../../build/index.js";
import { Stage } from "./processes.js";

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

describe("wasmq worker", () => {
  it("serves a single handler under the name it is given", async () => {
    const { frontend, backend } = await stage.broker();
    const module = stage.file("one.mjs", "export default (body, { service }) => [service, body];");
    const args = ["worker", module, "--service", "one", "--concurrency", "2"];
    // One environment serves both.
    const env = { WASMQ_BACKEND: backend, WASMQ_FRONTEND: frontend };
    const worker = stage.wasmq(args, { env });
    expect(await worker.logged("ready")).toMatchObject({ services: ["one"], brokers: [backend] });
    const call = await stage.wasmq(["call", "one", "7"], { env }).ended;
    expect(call).toMatchObject({ code: 0, stdout: '["one",7]\n' });
  });

  it("waits for a broker that comes later", async () => {
    const endpoint = `ipc://${stage.folder}/back`;
    const module = stage.file("one.mjs", "export default { one: () => 1 };");
    const worker = stage.wasmq(["worker", module, "--broker", endpoint]);
    await stage.broker({ backend: endpoint });
    expect(await worker.logged("ready")).toMatchObject({ services: ["one"] });
  });

  it("says why a broker will have none of it, and still leaves on SIGTERM", async () => {
    const { frontend } = await stage.broker();
    const module = stage.file("one.mjs", "export default { one: () => 1 };");
    const worker = stage.wasmq(["worker", module, "--broker", frontend]);
    const { reason } = await worker.logged("no broker has taken it on yet");
    expect(reason).toContain("a worker belongs at the backend");
    worker.kill("SIGTERM");
    expect(await worker.ended).toMatchObject({ code: 0, stderr: "" });
    expect(worker.log.at(-1)).toMatchObject({ msg: "drained", replied: 0 });
  });

  it.each(["SIGTERM", "SIGINT"] as const)("%s finishes what runs and exits 0", async (signal) => {
    const { frontend, backend } = await stage.broker();
    const module = stage.file(
      "slow.mjs",
      `let finish;
       const gate = new Promise((resolve) => { finish = resolve; });
       export default {
         slow: async () => { console.log('{"msg":"started"}'); await gate; return "done"; },
       };
       process.on(${JSON.stringify(signal)}, () => setImmediate(() => finish()));`,
    );
    const worker = stage.wasmq(["worker", module, "--broker", backend]);
    await worker.logged("ready");
    const client = await Client.connect({ brokers: [frontend] });
    try {
      const reply = client.request("slow", null, { attempts: 1 });
      await worker.logged("started");
      worker.kill(signal);
      expect(await reply).toBe("done");
      expect(await worker.ended).toMatchObject({ code: 0, signal: null, stderr: "" });
      expect(worker.log.at(-1)).toMatchObject({ msg: "drained", replied: 1 });
    } finally {
      await client.close({ timeoutMs: 0 });
    }
  });

  it("a second signal ends it at once", async () => {
    const module = stage.file(
      "idle.mjs",
      `export default { stuck: () => new Promise(() => {
         console.log('{"msg":"started"}'); }) };`,
    );
    const { frontend, backend } = await stage.broker();
    const stuck = stage.wasmq(["worker", module, "--broker", backend]);
    await stuck.logged("ready");
    const client = await Client.connect({ brokers: [frontend] });
    const lost = client.request("stuck", null, { attempts: 1 }).catch((error) => error.code);
    await stuck.logged("started");
    stuck.kill("SIGTERM");
    await stuck.logged("draining");
    stuck.kill("SIGTERM");
    expect(await stuck.ended).toMatchObject({ code: 143 });
    expect(await lost).toBe("UNAVAILABLE");
    await client.close({ timeoutMs: 0 });
  });

  it("a drain ends at its timeout, with a warning, and with code 0", async () => {
    const module = stage.file(
      "stuck.mjs",
      `export default { stuck: () => new Promise(() => {
         console.log('{"msg":"started"}'); }) };`,
    );
    const { frontend, backend, running } = await stage.broker({ drainTimeoutMs: 60_000 });
    const args = ["worker", module, "--broker", backend, "--drain-timeout", "100"];
    const stuck = stage.wasmq(args);
    await stuck.logged("ready");
    const client = await Client.connect({ brokers: [frontend] });
    const lost = client.request("stuck", null, { attempts: 1 }).catch((error) => error.code);
    await stuck.logged("started");
    // The broker, which may take longer, waits for the worker.
    running.kill("SIGTERM");
    await running.logged("draining");
    stuck.kill("SIGTERM");
    expect(await stuck.ended).toMatchObject({ code: 0, stderr: "" });
    expect(stuck.log.at(-1)).toMatchObject({
      level: "warn",
      msg: "closed with handlers still running",
    });
    expect(await lost).toBe("UNAVAILABLE");
    expect(await running.ended).toMatchObject({ code: 0 });
    expect(running.log.at(-1)).toMatchObject({ msg: "drained" });
    await client.close({ timeoutMs: 0 });
  });

  it("logs a handler's error and a bug that nothing caught, which ends it", async () => {
    const { frontend, backend } = await stage.broker();
    const module = stage.file(
      "bad.mjs",
      `export default {
         fail: () => { throw new Error("no stock"); },
         bug: () => { setImmediate(() => { throw new Error("a bug"); }); return 1; },
       };`,
    );
    const worker = stage.wasmq(["worker", module, "--broker", backend]);
    await worker.logged("ready");
    const call = (service: string) =>
      stage.wasmq(["call", service, "1", "--broker", frontend]).ended;
    expect(await call("fail")).toMatchObject({ code: 13 });
    expect(await worker.logged("handler failed")).toMatchObject({
      level: "error",
      service: "fail",
      err: { message: "no stock" },
    });
    await call("bug");
    expect(await worker.ended).toMatchObject({ code: 1 });
    expect(worker.log.at(-1)).toMatchObject({ level: "fatal", err: { message: "a bug" } });
  });

  it("logs a handler that stopped when asked to at debug", async () => {
    const { frontend, backend } = await stage.broker();
    const module = stage.file(
      "obedient.mjs",
      `export default { hang: (_, { signal }) =>
         new Promise((_, reject) => { signal.onabort = () => reject(signal.reason); }) };`,
    );
    const env = { WASMQ_LOG_LEVEL: "debug" };
    const worker = stage.wasmq(["worker", module, "--broker", backend], { env });
    await worker.logged("ready");
    const args = ["call", "hang", "1", "--broker", frontend, "--timeout", "300"];
    expect(await stage.wasmq(args).ended).toMatchObject({ code: 4 });
    expect(await worker.logged("handler stopped when asked to")).toMatchObject({
      level: "debug",
      // By its own clock, or since the broker said so first.
      err: { type: "DOMException" },
    });
  });

  const wrongs: [string, string | undefined, string[], RegExp][] = [
    ["a module that is not there", undefined, [], /cannot load/],
    ["no default export", "export const a = 1", [], /must have a default export/],
    ["an empty object", "export default {}", [], /must have a default export/],
    ["a handler without a name", "export default () => 1", [], /--service must name its service/],
    [
      "names twice",
      "export default { a: () => 1 }",
      ["--service", "b"],
      /names its services itself/,
    ],
    ["a service that is no handler", "export default { a: 1 }", [], /services\["a"\] must be/],
    [
      "concurrency 0",
      "export default { a: () => 1 }",
      ["--concurrency", "0"],
      /--concurrency must be a whole number 1\.\.65535 or auto, got "0"/,
    ],
    [
      "a drain that takes no time that is one",
      "export default { a: () => 1 }",
      ["--drain-timeout", "5s"],
      /--drain-timeout must be a whole number 0\.\.86400000, got "5s"/,
    ],
    ["no endpoint", "export default { a: () => 1 }", ["--broker", "x"], /brokers must be tcp/],
  ];
  it.each(wrongs)("refuses %s with code 2", async (_name, text, args, what) => {
    const module = text === undefined ? "/nowhere.mjs" : stage.file("m.mjs", text);
    const ended = await stage.wasmq(["worker", module, ...args]).ended;
    expect(ended).toMatchObject({ code: 2, signal: null });
    expect(ended.stderr).toMatch(/^wasmq worker: [^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
  });
});

describe("what of a module cannot be loaded", () => {
  const said = async (module: string) => {
    const ended = await stage.wasmq(["worker", module]).ended;
    expect(ended).toMatchObject({ code: 2, signal: null, stdout: "" });
    return ended.stderr;
  };

  it("has one line, and below it where a module threw", async () => {
    const module = stage.file("m.mjs", "const a = 1;\nthrow new Error('a\\nb\\x1b')");
    expect(await said(module)).toMatch(
      /^wasmq worker: cannot load [^\n]+m\.mjs: Error: a b\?\nError: a\nb\?\n +at file:[^\n]+m\.mjs:2:7\n/,
    );
  });

  it("has the file and the line that do not parse, also of a module that is imported", async () => {
    stage.file("broken.mjs", "\n\tfoo bar;\n");
    const module = stage.file("m.mjs", "import './broken.mjs';\nconsole.log('ran');");
    expect(await said(module)).toMatch(
      /^wasmq worker: cannot load [^\n]+m\.mjs: SyntaxError: [^\n]+\nfile:[^\n]+broken\.mjs:2\n foo bar;\n +\^+\n$/,
    );
  });

  it("names what is imported and is not there", async () => {
    const module = stage.file("m.mjs", "import './absent.mjs'");
    expect(await said(module)).toMatch(/^wasmq worker: [^\n]+absent\.mjs[^\n]+m\.mjs\n.*\n +at /);
  });
});

describe("wasmq", () => {
  it("shows its version and its commands", async () => {
    const version = await stage.wasmq(["--version"]).ended;
    expect(version).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
    const help = await stage.wasmq(["--help"]).ended;
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const name of ["broker", "worker", "call", "keys", "bench"]) {
      expect(help.stdout).toContain(`  ${name} `);
    }
  });

  it("says nothing when nobody reads its help to the end", async () => {
    const running = stage.wasmq(["broker", "--help"]);
    running.child.stdout!.destroy();
    expect(await running.ended).toMatchObject({ code: 0, stderr: "" });
  });

  it("has the broker's flags in `wasmq broker`", async () => {
    const any = "tcp://127.0.0.1:0";
    const running = stage.wasmq(["broker", "--frontend", any, "--backend", any]);
    await running.logged("ready");
    running.kill("SIGTERM");
    expect(await running.ended).toMatchObject({ code: 0 });
  });

  it.each([
    [[], /give a command: broker, worker, call, tasks, top, keys, dictionary, bench/],
    [["brokr"], /unknown command 'brokr' .*broker/],
    [["--loud"], /unknown option '--loud'/],
  ])("refuses %j with code 2", async (args, what) => {
    const ended = await stage.wasmq(args).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^wasmq: [^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
  });
});
