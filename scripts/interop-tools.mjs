// What of the system the interop suite needs, and where Debian has it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

export const JEROMQ = "/usr/share/java/jeromq.jar";

const PYTHON_MODULES = {
  zmq: "python3-zmq",
  nacl: "python3-nacl",
  "lz4.block": "python3-lz4",
  "lz4.frame": "python3-lz4",
  msgpack: "python3-msgpack",
};

function succeeds(command, args, input = "") {
  return spawnSync(command, args, { input, stdio: ["pipe", "ignore", "ignore"] }).status === 0;
}

const hasHeader = (name) =>
  succeeds("cc", ["-fsyntax-only", "-x", "c", "-"], `#include <${name}>\n`);

const LOOK = `import importlib, sys
for name in sys.argv[1:]:
    try: importlib.import_module(name)
    except ImportError: print(name)`;

/** The modules that an interpreter lacks; undefined where there is none of this name. */
function modulesLacking(command) {
  const args = ["-c", LOOK, ...Object.keys(PYTHON_MODULES)];
  const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? stdout.split("\n").filter((name) => name !== "") : undefined;
}

/** The first of the path may be one that the packages of the system are not for. */
const pythons = () =>
  process.env.WASMQ_PYTHON === undefined
    ? ["python3", "/usr/bin/python3"]
    : [process.env.WASMQ_PYTHON];

/** The interpreter that has all it needs, or undefined. */
export function findPython() {
  return pythons().find((command) => modulesLacking(command)?.length === 0);
}

function pythonTools() {
  if (findPython() !== undefined) return [];
  const lacking = pythons()
    .map(modulesLacking)
    .findLast((names) => names !== undefined);
  if (lacking === undefined) {
    const modules = Object.entries(PYTHON_MODULES);
    return [
      { what: "python3", package: "python3" },
      ...modules.map(([name, from]) => ({ what: `python3: import ${name}`, package: from })),
    ];
  }
  return lacking.map((name) => ({
    what: `python3: import ${name}`,
    package: PYTHON_MODULES[name],
  }));
}

/** What is missing: in words, and the name of Debian's package that has it. */
export function lackingTools() {
  const tools = [
    ["cc", "gcc", () => succeeds("cc", ["--version"])],
    ["the C library's headers", "libc6-dev", () => hasHeader("stdio.h")],
    ["make", "make", () => succeeds("make", ["--version"])],
    ["zmq.h", "libzmq3-dev", () => hasHeader("zmq.h")],
    ["sodium.h", "libsodium-dev", () => hasHeader("sodium.h")],
    ["lz4.h", "liblz4-dev", () => hasHeader("lz4.h")],
    ["msgpack.h", "libmsgpack-dev", () => hasHeader("msgpack.h")],
    ["java", "default-jdk-headless", () => succeeds("java", ["-version"])],
    ["javac", "default-jdk-headless", () => succeeds("javac", ["-version"])],
    [JEROMQ, "libjeromq-java", () => existsSync(JEROMQ)],
  ];
  return [
    ...tools.filter(([, , isThere]) => !isThere()).map(([what, from]) => ({ what, package: from })),
    ...pythonTools(),
  ];
}
