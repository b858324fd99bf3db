import { once } from "node:events";
import { existsSync, readFileSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Stage } from "./processes.js";

const SERVICES = `
export default {
  add: ({ a, b }) => ({ sum: a + b }),
  echo: (body) => body,
  odd: () => ({ big: 2n ** 63n, when: new Date(0), bytes: new Uint8Array([1, 2, 255]), nan: NaN }),
  fail: () => { throw new Error("out of stock"); },
  ill: () => { throw new Error("\\x1b]0;owned\\x07\\x1b[2J\\x9b31m boo"); },
  left: (_, { timeLeftMs }) => timeLeftMs,
  control: () => "\\x9b2J \\x7f",
  slow: (_, { signal }) => new Promise((_, reject) => { signal.onabort = () => reject(signal.reason); }),
  raw: { raw: true, handler: (bytes) => "<" + Buffer.from(bytes) + ">" },
};`;

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

interface SceneOptions {
  keys?: string;
  serviceKey?: string;
  config?: object;
}

/** A broker, a worker of SERVICES, and `call`, which gives how a call ended. */
async function scene({ keys, serviceKey, config }: SceneOptions = {}) {
  const { frontend, backend } = await stage.broker(config);
  const module = stage.file("services.mjs", SERVICES);
  const sealed = keys === undefined ? [] : ["--keys", keys];
  if (serviceKey !== undefined) sealed.push("--service-key", serviceKey);
  const worker = stage.wasmq(["worker", module, "--broker", backend, ...sealed]);
  await worker.logged("ready");
  const call = (args: string[], env: Record<string, string> = {}, input?: string) =>
    stage.wasmq(["call", ...args], { env: { WASMQ_FRONTEND: frontend, ...env }, input }).ended;
  return { frontend, backend, worker, call };
}

async function newKeyFile(name: string): Promise<string> {
  const path = join(stage.folder, name);
  expect(await stage.wasmq(["keys", "new", "--out", path]).ended).toMatchObject({ code: 0 });
  return path;
}

describe("wasmq call", () => {
  it("prints the reply as JSON and exits 0", async () => {
    const { call, frontend } = await scene();
    const added = await call(["add", '{"a":1,"b":2}']);
    expect(added).toEqual({ code: 0, signal: null, stdout: '{"sum":3}\n', stderr: "" });
    const flagged = ["add", '{"a":1,"b":2}', "--broker", frontend, "--priority", "0"];
    expect(await call(flagged, { WASMQ_FRONTEND: "tcp://127.0.0.1:1" })).toMatchObject({ code: 0 });
    expect(await call(["echo", "-"], {}, "[1,\n2]")).toMatchObject({ stdout: "[1,2]\n" });
    expect(await call(["echo", "null"])).toMatchObject({ stdout: "null\n" });
    expect(await call(["odd", "null"])).toMatchObject({
      stdout:
        '{"big":"9223372036854775808","when":"1970-01-01T00:00:00.000Z","bytes":"AQL/","nan":"NaN"}\n',
    });
  });

  it("passes raw bodies as they are", async () => {
    const { call } = await scene();
    expect(await call(["raw", "{no json", "--raw"])).toMatchObject({
      code: 0,
      stdout: "<{no json>",
    });
    expect(await call(["raw", "-", "--raw"], {}, "in")).toMatchObject({ stdout: "<in>" });
    // A raw service asked without --raw, and the other way round.
    expect(await call(["raw", '"x"'])).toMatchObject({ code: 3, stdout: "" });
    expect(await call(["echo", "x", "--raw"])).toMatchObject({ code: 3, stdout: "" });
  });

  it("exits with the status of a failure and says it in one line", async () => {
    const limits = { absentWaitMs: 50 };
    const { call, frontend } = await scene({ config: { limits } });
    const failures: [string[], number, RegExp][] = [
      [["absent", "1"], 5, /^wasmq call: NOT_FOUND: [^\n]+\n$/],
      [["slow", "1", "--timeout", "200"], 4, /^wasmq call: DEADLINE_EXCEEDED: [^\n]+\n$/],
      [["fail", "1"], 13, /^wasmq call: INTERNAL: [^\n]*out of stock[^\n]*\n$/],
      [["", "1"], 3, /^wasmq call: INVALID_ARGUMENT: [^\n]+\n$/],
    ];
    for (const [args, code, stderr] of failures) {
      const ended = await call(args);
      expect(ended).toMatchObject({ code, stdout: "" });
      expect(ended.stderr).toMatch(stderr);
    }
    const nobody = ["echo", "1", "--timeout", "200", "--broker", "tcp://127.0.0.1:1"];
    expect(await call(nobody)).toMatchObject({ code: 14, stdout: "" });
    expect(frontend).toMatch(/^tcp:/);
  });

  it("lets no worker tell the terminal what to do", async () => {
    const { call, worker } = await scene();
    expect(await call(["ill", "1"])).toMatchObject({
      code: 13,
      stderr: expect.stringMatching(/\?\]0;owned\?\?\[2J\?31m boo\n$/),
    });
    const replied = await call(["control", "1"]);
    expect(replied).toMatchObject({ code: 0, stdout: '"\\u009b2J \\u007f"\n' });
    // Nor does its log, which has the error as it was.
    const { err } = await worker.until("its error", () => worker.log.find((line) => line.err));
    expect(err).toMatchObject({ message: "\u001b]0;owned\u0007\u001b[2J\u009b31m boo" });
    expect(worker.stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  it("waits for a broker that comes later, as part of the one timeout", async () => {
    // Until it comes whoever connects is cut off; so often only one that waited for more than 5 s, as it once did.
    let attempts = 0;
    const nobody = createServer((peer) => {
      attempts++;
      peer.destroy();
    }).listen(0, "127.0.0.1");
    await once(nobody, "listening");
    const frontend = `tcp://127.0.0.1:${(nobody.address() as AddressInfo).port}`;
    const answered = stage.wasmq(["call", "left", "1", "--timeout", "60000", "--broker", frontend]);
    while (attempts < 20) await once(nobody, "connection");
    nobody.close();
    await once(nobody, "close");
    const { backend } = await stage.broker({ frontend });
    const worker = ["worker", stage.file("services.mjs", SERVICES), "--broker", backend];
    await stage.wasmq(worker).logged("ready");
    const { code, stdout } = await answered.ended;
    expect(code).toBe(0);
    // What it waited for the broker is not there any more for the reply: three seconds of tries at least.
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(Number(stdout)).toBeLessThan(58_000);
  }, 60_000);

  const wrongs: [string, string[], RegExp][] = [
    ["no body", ["echo"], /missing required argument 'json'/],
    ["a body that is no JSON", ["echo", "{"], /the body is not JSON/],
    ["a timeout of nothing", ["echo", "1", "--timeout", "0"], /--timeout must be .* got "0"/],
    ["a priority out of range", ["echo", "1", "--priority", "8"], /--priority must be .* got "8"/],
    ["no endpoint", ["echo", "1", "--broker", "here"], /brokers must be tcp/],
    ["keys that are not there", ["echo", "1", "--keys", "/nowhere"], /keys file \/nowhere/],
    ["an unknown flag", ["echo", "1", "--loud"], /unknown option '--loud'/],
  ];
  it.each(wrongs)("refuses %s with code 2", async (_name, args, what) => {
    const ended = await stage.wasmq(["call", ...args]).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^wasmq call: [^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
  });
});

describe("keys", () => {
  it("are written for their owner alone and never over another", async () => {
    const path = await newKeyFile("key");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    expect(text).toMatch(/^wasmq-key-1\.[0-9a-f]{8}\.[\w-]{43}\n$/);
    const again = await stage.wasmq(["keys", "new", "--out", path]).ended;
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toMatch(/^wasmq keys: [^\n]* exists and is not overwritten\n$/);
    expect(readFileSync(path, "utf8")).toBe(text);
    const printed = await stage.wasmq(["keys", "new"]).ended;
    expect(printed.stdout).toMatch(/^wasmq-key-1\./);
    expect(printed.stdout).not.toBe(text);
    expect(await stage.wasmq(["keys", "old"]).ended).toMatchObject({ code: 2 });
  });

  it("seal a call; a wrong one, or none, is refused", async () => {
    const right = await newKeyFile("right");
    const wrong = await newKeyFile("wrong");
    // Rotated: the new key seals, the old one still opens what the worker's seals.
    const rotated = stage.file(
      "rotated",
      `# of today\n${readFileSync(right, "utf8")}\n${readFileSync(wrong, "utf8").trim()} # old\n`,
    );
    const { call } = await scene({ keys: right });
    const body = '{"a":1,"b":2}';
    for (const args of [
      ["--keys", right],
      ["--keys", rotated],
    ]) {
      expect(await call(["add", body, ...args])).toMatchObject({ code: 0, stdout: '{"sum":3}\n' });
    }
    expect(await call(["add", body], { WASMQ_KEYS: right })).toMatchObject({ code: 0 });
    const refused = await call(["add", body, "--keys", wrong]);
    expect(refused).toMatchObject({ code: 16, stdout: "" });
    expect(refused.stderr).toMatch(/^wasmq call: UNAUTHENTICATED: [^\n]*UNKNOWN_KEY[^\n]*\n$/);
    expect(await call(["add", body])).toMatchObject({ code: 16 });
    // What a handler threw stays with the worker when bodies are sealed.
    const failed = await call(["fail", "1", "--keys", right]);
    expect(failed).toMatchObject({ code: 13, stderr: expect.not.stringContaining("out of stock") });
  });

  it("of a service: a call needs the public half alone", async () => {
    const path = join(stage.folder, "service");
    const made = await stage.wasmq(["keys", "new", "--service", "--out", path]).ended;
    expect(made).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^service key [0-9a-f]{8} /),
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const secret = readFileSync(path, "utf8");
    expect(secret).toMatch(/^wasmq-service-key-1\.[0-9a-f]{8}\.[\w-]{43}\n$/);
    const publicText = readFileSync(`${path}.pub`, "utf8");
    expect(publicText).toMatch(/^wasmq-public-key-1\.[0-9a-f]{8}\.[\w-]{43}\n$/);
    // Neither half is ever written over, and no half is left behind alone.
    const other = stage.file("other", "mine");
    for (const taken of [path, other]) {
      const again = await stage.wasmq(["keys", "new", "--service", "--out", taken]).ended;
      expect(again).toMatchObject({ code: 2, stdout: "" });
      expect(again.stderr).toMatch(/ exists and is not overwritten\n$/);
    }
    expect(readFileSync(path, "utf8")).toBe(secret);
    expect(readFileSync(`${path}.pub`, "utf8")).toBe(publicText);
    expect(readFileSync(other, "utf8")).toBe("mine");
    expect(existsSync(`${other}.pub`)).toBe(false);
    const printed = await stage.wasmq(["keys", "new", "--service"]).ended;
    expect(printed.stdout).toMatch(/^wasmq-service-key-1\.[^\n]+\nwasmq-public-key-1\.[^\n]+\n$/);

    const { call } = await scene({ serviceKey: path });
    const add = ["add", '{"a":1,"b":2}'];
    const right = await call([...add, "--service-key", `${path}.pub`]);
    expect(right).toMatchObject({ code: 0, stdout: '{"sum":3}\n' });
    expect(await call(add)).toMatchObject({ code: 16 });
    const stranger = stage.file("stranger.pub", printed.stdout.split("\n")[1]);
    const wrong = await call([...add, "--service-key", stranger]);
    expect(wrong).toMatchObject({ code: 16, stderr: expect.stringContaining("UNKNOWN_KEY") });
    // The secret half where the public one belongs is refused, and not repeated.
    const mistaken = await call([...add, "--service-key", path]);
    expect(mistaken).toMatchObject({ code: 2, stdout: "" });
    expect(mistaken.stderr).not.toContain(secret.split(".")[2].slice(0, 8));
  });

  it("are refused when a file holds none or a broken one, without repeating it", async () => {
    const empty = stage.file("empty", "# nothing\n\n");
    const broken = stage.file("broken", "\nwasmq-key-1.00000000.secretsecret\n");
    const none = await stage.wasmq(["call", "echo", "1", "--keys", empty]).ended;
    expect(none).toMatchObject({ code: 2, stderr: expect.stringMatching(/holds no key\n$/) });
    const bad = await stage.wasmq(["worker", "x.mjs", "--keys", broken]).ended;
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringMatching(/line 2: [^\n]+\n$/) });
    expect(bad.stderr).not.toContain("secretsecret");
  });
});
