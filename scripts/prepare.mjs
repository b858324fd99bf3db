// What every other script needs first: the packages of the lockfile installed, build/ up to date.
// Node's own modules only, since node_modules may be missing. What there is to do is told on stderr;
// nothing is told when there is nothing to do.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { buildAll } from "./build.mjs";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** Installs and builds what is missing or out of date. */
export async function prepare() {
  if (!isInstalled()) await install();
  buildAll({ ifStale: true });
}

/** Becomes `node PATH ARGS`: one process, so that signals and the exit code are the script's own. */
export async function become(path, args, missing) {
  if (!existsSync(path)) {
    console.error(missing);
    process.exit(2);
  }
  if (process.env.npm_lifecycle_event !== undefined) stopWithParent();
  process.argv = [process.execPath, path, ...args];
  await import(path);
}

/**
 * npm passes a signal to the shell it runs us in, and some shells die of it without telling us:
 * whoever stopped `npm start` would leave it running.
 */
function stopWithParent() {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    process.kill(process.pid, "SIGTERM");
  }, 250);
  timer.unref();
}

/**
 * Whether node_modules is what the lockfile says. By content, not by time: a checkout touches the
 * lockfile's time, and a pull its content.
 */
export function isInstalled() {
  const wanted = packagesOf(`${root}package-lock.json`);
  const installed = packagesOf(`${root}node_modules/.package-lock.json`);
  if (wanted === undefined || installed === undefined) return false;
  for (const [path, { version, integrity, optional }] of Object.entries(wanted)) {
    // Packages for other systems are not installed.
    if (path === "" || (optional && installed[path] === undefined)) continue;
    const there = installed[path];
    if (there?.version !== version || there.integrity !== integrity) return false;
  }
  return Object.keys(installed).every((path) => wanted[path] !== undefined);
}

function packagesOf(lockfile) {
  try {
    return JSON.parse(readFileSync(lockfile, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** `npm ci`. A signal ends it and, once it has ended, this process. */
async function install() {
  console.error("installing the packages of package-lock.json ...");
  const npm = process.env.npm_execpath;
  const [command, first] = npm?.endsWith(".js") ? [process.execPath, [npm]] : ["npm", []];
  const args = [...first, "ci", "--include=dev", "--no-audit", "--no-fund"];
  const child = spawn(command, args, {
    cwd: root,
    // stdout is for what was asked for.
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32" && command === "npm",
  });
  let stoppedBy;
  const onSignal = (signal) => {
    // From a terminal npm has it already; a second one does it no harm.
    stoppedBy ??= signal;
    child.kill("SIGTERM");
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  const [code, error] = await new Promise((resolve) => {
    child.on("error", (cause) => resolve([1, cause]));
    child.on("exit", (status) => resolve([status ?? 1]));
  });
  process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  if (stoppedBy !== undefined) process.exit(128 + constants.signals[stoppedBy]);
  if (code !== 0) {
    console.error(`npm ci failed${error === undefined ? "" : `: ${error.message}`}`);
    process.exit(1);
  }
}
