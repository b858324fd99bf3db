import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, cpus, loadavg, release, totalmem } from "node:os";

const root = new URL("../../", import.meta.url);
const PACKAGES = ["zeromq", "libsodium-wrappers", "lz4-wasm"];

/** A machine that had more to do than this before is not a quiet one. */
export const BUSY_LOAD = 0.7;

/** @param {{ load: number, cores: number }} machine */
export function busyText({ load, cores }) {
  return `the machine was busy with something else, load ${load.toFixed(1)} on ${cores} cores: figures are noisy`;
}

/** What a figure depends on beside the code: the machine and the versions. */
export async function describeMachine() {
  const { version: libzmq } = await import("zeromq");
  const [{ model }] = cpus();
  return {
    takenAt: new Date().toISOString(),
    cpu: model.trim(),
    cores: cpus().length,
    // Over the last minute, before anything was measured: what else the machine had to do.
    load: loadavg()[0],
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    system: `${process.platform} ${release()} ${arch()}`,
    node: process.versions.node,
    v8: process.versions.v8,
    openssl: process.versions.openssl,
    libzmq,
    wasmq: versionIn("package.json"),
    commit: commit(),
    packages: Object.fromEntries(
      PACKAGES.map((name) => [name, versionIn(`node_modules/${name}/package.json`)]),
    ),
  };
}

/** @param {string} path */
function versionIn(path) {
  return JSON.parse(readFileSync(new URL(path, root), "utf8")).version;
}

/** The commit that is checked out; undefined outside a clone. */
function commit() {
  const { status, stdout } = spawnSync("git", ["describe", "--always", "--dirty"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 ? stdout.trim() : undefined;
}
