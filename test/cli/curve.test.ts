// CURVE from the command line, each party a process of its own.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Broker, generateCurveKeys } from "../../build/index.js";
import { Stage } from "./processes.js";

const ANY = "tcp://127.0.0.1:0";
const ENDS = ["--frontend", ANY, "--backend", ANY];
const Z85 = "[0-9a-zA-Z.\\-:+=^!/*?&<>()[\\]{}@%$#]{40}";

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.clear());

/** Makes a key pair and gives its file and its public key. */
async function newKeys(name: string) {
  const path = join(stage.folder, name);
  const made = await stage.wasmq(["keys", "new", "--curve", "--out", path]).ended;
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const [, publicKey] = /^public (\S+)\n$/.exec(readFileSync(`${path}.pub`, "utf8")) ?? [];
  return { path, publicKey };
}

/** A broker under CURVE, keys for a worker and a client, and what they may do. */
async function scene(grants: Record<string, object>) {
  const keys: Record<string, Awaited<ReturnType<typeof newKeys>>> = {};
  for (const name of ["broker", ...Object.keys(grants)]) keys[name] = await newKeys(name);
  const access = join(stage.folder, "access.json");
  const grant = (given: Record<string, object>) => {
    const lines = Object.entries(given).map(([name, line]) => {
      return [keys[name].publicKey, { name, ...line }];
    });
    writeFileSync(access, JSON.stringify({ keys: Object.fromEntries(lines) }));
  };
  grant(grants);
  const flags = ["--curve-key", keys.broker.path, "--access", access];
  const broker = stage.brokerJs([...ENDS, ...flags]);
  const ready = await broker.logged("ready");
  const [frontend] = ready.frontend as string[];
  const [backend] = ready.backend as string[];
  const server = `${keys.broker.path}.pub`;
  const call = (who: string, service: string, change: string[] = []) =>
    stage.wasmq([
      ...["call", service, '"x"', "--broker", frontend, "--timeout", "2000"],
      ...["--curve-key", keys[who].path, "--server-key", server, ...change],
    ]).ended;
  const module = stage.file("echo.mjs", "export default (body) => body;");
  const work = (who: string) =>
    stage.wasmq(["worker", module, "--service", "echo"], {
      env: {
        WASMQ_BACKEND: backend,
        WASMQ_CURVE_KEY: keys[who].path,
        WASMQ_SERVER_KEY: keys.broker.publicKey,
      },
    });
  return { broker, keys, access, grant, call, work, frontend };
}

describe("keys new --curve", () => {
  it("writes a pair, the secret half for its owner alone, and never over another", async () => {
    const { path, publicKey } = await newKeys("key");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    expect(text).toMatch(new RegExp(`^# .*\npublic ${Z85}\nsecret ${Z85}\n$`));
    expect(text).toContain(`public ${publicKey}\n`);
    const again = await stage.wasmq(["keys", "new", "--curve", "--out", path]).ended;
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toMatch(/^wasmq keys: [^\n]* exists and is not overwritten\n$/);
    const printed = await stage.wasmq(["keys", "new", "--curve"]).ended;
    expect(printed.stdout).toMatch(new RegExp(`^# .*\npublic ${Z85}\nsecret ${Z85}\n$`));
    expect(printed.stdout).not.toBe(text);
  });
});

describe("a broker under CURVE", () => {
  it("serves whom its access file lets, tells the others, and logs them with their key", async () => {
    const { broker, keys, call, work, frontend } = await scene({
      worker: { serve: ["echo"] },
      client: { call: ["echo"] },
    });
    await work("worker").logged("ready");
    expect(await call("client", "echo")).toMatchObject({ code: 0, stdout: '"x"\n' });

    const denied = await call("worker", "echo");
    expect(denied).toMatchObject({ code: 7, stdout: "" });
    expect(denied.stderr).toBe("wasmq call: PERMISSION_DENIED: worker may not call echo\n");
    const stranger = await newKeys("stranger");
    const unknown = await call("client", "echo", ["--curve-key", stranger.path]);
    expect(unknown.code).toBe(16);
    expect(unknown.stderr).toMatch(/^wasmq call: UNAUTHENTICATED: [^\n]* does not let in /);
    const without = await stage.wasmq([
      ...["call", "echo", "1", "--broker", frontend, "--timeout", "500"],
    ]).ended;
    expect(without.code).toBe(16);
    expect(without.stderr).toContain("the broker wants CURVE, and no keys are given");
    const astray = await call("client", "echo", ["--server-key", stranger.publicKey]);
    expect(astray.code).toBe(14);
    expect(astray.stderr).toContain("is serverKey its public key?");

    const refused = broker.log.filter(({ msg }) => msg.startsWith("refused: "));
    expect(refused.find(({ status }) => status === "PERMISSION_DENIED")).toMatchObject({
      level: "warn",
      what: "denied",
      name: "worker",
      key: keys.worker.publicKey,
    });
    const known = refused.filter(({ what }) => what === "unauthenticated");
    expect(known[0]).toMatchObject({ status: "UNAUTHENTICATED", key: stranger.publicKey });
    expect(refused.map(({ what }) => what)).toContain("mechanism");
    // 20 lines a second at most, whatever comes.
    expect(refused.length).toBeLessThan(21 * 10);
  });

  it("reads its access file again at SIGHUP; one that is none changes nothing", async () => {
    const { broker, access, grant, call, work } = await scene({
      worker: { serve: ["echo"] },
      client: { call: ["echo"] },
      other: {},
    });
    const worker = work("worker");
    await worker.logged("ready");
    expect((await call("other", "echo")).code).toBe(7);
    grant({ worker: { serve: ["echo"] }, other: { call: ["echo"] } });
    broker.kill("SIGHUP");
    expect(await broker.logged("access file read again")).toMatchObject({
      access,
      keys: 2,
      cut: 0,
    });
    expect(await call("other", "echo")).toMatchObject({ code: 0, stdout: '"x"\n' });
    expect((await call("client", "echo")).code).toBe(16);

    writeFileSync(access, '{"keys": {"abc": {}}}');
    broker.kill("SIGHUP");
    const bad = await broker.until("a word of it", () =>
      broker.log.find(({ level }) => level === "error"),
    );
    expect(bad.msg).toMatch(
      /^access file not taken, the old one stays: .*access\.json: keys\["abc"\]/,
    );
    expect((await call("other", "echo")).code).toBe(0);

    grant({ other: { call: ["echo"] } });
    broker.kill("SIGHUP");
    await broker.until("the worker cut off", () => broker.log.find(({ cut }) => cut === 1));
    await worker.until("its word", () => worker.log.find(({ msg }) => msg === "connection down"));
    expect(worker.log.find(({ msg }) => msg === "connection down")?.reason).toMatch(
      /^UNAUTHENTICATED: this key may no longer connect/,
    );
  });

  it("takes the access that was taken last again, not that of its start", async () => {
    const keyOf = () => generateCurveKeys().publicKey;
    const accessOf = (count: number) => ({
      keys: Object.fromEntries(Array.from({ length: count }, () => [keyOf(), {}])),
    });
    const fileOf = (name: string, count: number) =>
      stage.file(name, JSON.stringify(accessOf(count)));
    const broker = await Broker.start({
      frontend: ANY,
      backend: ANY,
      curve: { ...generateCurveKeys(), access: fileOf("old.json", 1) },
    });
    const keyCount = (access?: Parameters<typeof broker.reloadAccess>[0]) =>
      broker.reloadAccess(access).keyCount;
    try {
      expect(keyCount()).toBe(1);
      const path = fileOf("new.json", 2);
      expect([keyCount(path), keyCount()]).toEqual([2, 2]);
      fileOf("new.json", 3);
      expect(keyCount()).toBe(3);
      // What was not taken is not remembered.
      expect(() => keyCount(stage.file("none.json", "{"))).toThrow("none.json");
      expect(() => keyCount(join(stage.folder, "absent"))).toThrow("cannot be read");
      expect(keyCount()).toBe(3);
      // Nor does a file bring back whom the program itself has taken out.
      expect([keyCount(accessOf(4)), keyCount()]).toEqual([4, 4]);
      expect([keyCount(path), keyCount()]).toEqual([3, 3]);
    } finally {
      await broker.close({ timeoutMs: 0 });
    }
  });

  it("without CURVE says that there is no file to read again, and goes on", async () => {
    const { running, frontend } = await stage.broker();
    running.kill("SIGHUP");
    await running.logged("SIGHUP: there is no access file to read again");
    const call = ["call", "none", "1", "--broker", frontend, "--timeout", "100"];
    expect((await stage.wasmq(call).ended).code).not.toBe(14);
  });
});

describe("without CURVE", () => {
  it.each([
    [["--frontend", "tcp://0.0.0.0:0"], "frontend tcp://0.0.0.0:0 is not loopback"],
    [["--backend", "tcp://*:0"], "backend tcp://*:0 is not loopback"],
    [["--frontend", "tcp://[::]:0"], "frontend tcp://[::]:0 is not loopback"],
  ])("nothing but loopback is listened on: %j", async (flags, what) => {
    const ended = await stage.brokerJs([...ENDS, ...flags]).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^[^\n]+\n$/);
    expect(ended.stderr).toContain(what);
  });

  it("all is listened on with --insecure, which is warned of", async () => {
    const broker = stage.brokerJs([
      "--frontend",
      "tcp://0.0.0.0:0",
      "--backend",
      ANY,
      "--insecure",
    ]);
    await broker.logged("ready");
    const warned = broker.log.filter(({ level }) => level === "warn").map(({ msg }) => msg);
    expect(warned).toEqual([
      "insecure: whoever reaches frontend tcp://0.0.0.0:0 may ask and serve, since it has no CURVE",
    ]);
    expect(broker.stderr).toBe("");
    const quiet = stage.brokerJs([...ENDS, "--insecure"]);
    await quiet.logged("ready");
    expect(quiet.log.every(({ level }) => level === "info")).toBe(true);
  });
});

describe("is refused in one line", () => {
  const both = "public Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n";
  it.each([
    [
      ["broker"],
      ["--curve-key", "FILE"],
      `${both}${both.replace("public", "secret")}`,
      /needs --access/,
    ],
    [["broker"], ["--access", "FILE"], "{}", /--access needs --curve-key/],
    [
      ["broker"],
      ["--curve-key", "FILE", "--access", "/x"],
      both,
      /must hold a line "public KEY" and a/,
    ],
    [["broker"], ["--curve-key", "/no/file", "--access", "/x"], "", /curve key must be a file/],
    [
      ["call", "a", "1"],
      ["--curve-key", "FILE", "--server-key", "FILE"],
      "secret abc\n",
      /line 1: not/,
    ],
    [["call", "a", "1"], ["--server-key", "FILE"], both, /--server-key needs --curve-key/],
    [["worker", "x.mjs"], ["--server-key", "FILE"], both, /--server-key needs --curve-key/],
    [["keys", "new"], ["--curve", "--service"], "", /one key is not both/],
  ])("%j %j", async (command, flags, text, what) => {
    const file = stage.file("given", text);
    const args = flags.map((flag) => (flag === "FILE" ? file : flag));
    const ends = command[0] === "broker" ? ENDS : [];
    const ended = await stage.wasmq([...command, ...ends, ...args]).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/^[^\n]+\n$/);
    expect(ended.stderr).toMatch(what);
    // A line that is none may be a secret with a slip in it.
    expect(ended.stderr).not.toContain("abc");
  });
});

describe("the admin token", () => {
  it("lets it be watched from elsewhere, by those who bring it; wasmq top does", async () => {
    const token = stage.file("token", "a-token-of-16-characters-and-more\n");
    const admin = ["--admin", "0.0.0.0:0", "--admin-token", token];
    const broker = stage.brokerJs([...ENDS, ...admin]);
    const { admin: url } = await broker.logged("ready");
    const { port } = new URL(url as string);
    const at = `http://127.0.0.1:${port}`;
    for (const path of ["/healthz", "/v1/state", "/metrics"]) {
      const answer = await fetch(`${at}${path}`);
      expect([answer.status, answer.headers.get("www-authenticate")]) //
        .toEqual([401, 'Bearer realm="wasmq"']);
    }
    const headers = { authorization: "Bearer a-token-of-16-characters-and-mor" };
    expect((await fetch(`${at}/v1/state`, { headers })).status).toBe(401);
    headers.authorization += "e";
    expect((await fetch(`${at}/v1/state`, { headers })).status).toBe(200);
    const top = (args: string[]) => stage.wasmq(["top", at, "--once", ...args]).ended;
    expect((await top(["--admin-token", token])).code).toBe(0);
    expect(await top([])).toMatchObject({ code: 14 });
  });

  it("must be long enough", async () => {
    const token = stage.file("token", "short\n");
    const ended = await stage.brokerJs([...ENDS, "--admin-token", token]).ended;
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(ended.stderr).toMatch(/token file .*: the token must be 16 to 256 printable characters/);
  });
});
