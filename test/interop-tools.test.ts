import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("../scripts/interop.mjs", import.meta.url));

/** As on a machine that has no other language, JeroMQ's jar perhaps apart. */
const run = (...args: string[]) =>
  spawnSync(process.execPath, [script, ...args], {
    env: { PATH: "/nonexistent", WASMQ_PYTHON: "/nonexistent/python3" },
    encoding: "utf8",
  });

const wanted =
  "gcc make libzmq3-dev libsodium-dev liblz4-dev libmsgpack-dev default-jdk-headless python3-zmq " +
  "python3-nacl python3-lz4 python3-msgpack";

test("npm run test:interop says what is missing, and fails", () => {
  const { status, stdout, stderr } = run();
  expect(status).toBe(1);
  expect(stdout).toBe("");
  for (const name of wanted.split(" ")) expect(stderr).toContain(`(Debian: ${name})`);
  expect(stderr).toMatch(/^as root: apt-get install gcc /m);
});

test("--packages prints their names alone, for who installs them", () => {
  const { status, stdout } = run("--packages");
  expect(status).toBe(0);
  expect(stdout.trim().split(" ")).toEqual(expect.arrayContaining(wanted.split(" ")));
});
