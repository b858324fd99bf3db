import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unixPathSizeMax } from "../zmtp/endpoint.js";

const LONGEST = "/wq-4294967295-4294967295-XXXXXX/4294967296";

/**
 * A folder for sockets that only this user may enter (mode 0700), its name short enough for them. Folders
 * of processes that died without removing theirs go, once in the life of this one.
 */
export function makePrivateFolder(): string {
  const fits = Buffer.byteLength(tmpdir()) + LONGEST.length <= unixPathSizeMax;
  const parent = fits || process.platform === "win32" ? tmpdir() : "/tmp";
  if (!isSwept) sweep(parent);
  isSwept = true;
  return mkdtempSync(join(parent, `wq-${namespaceId()}-${process.pid}-`));
}

let isSwept = false;

/** Removes the folders in `parent` that this user's dead processes left. */
export function sweep(parent: string): void {
  const left = new RegExp(`^wq-${namespaceId()}-(\\d+)-\\w{6}$`);
  for (const name of readdirSync(parent)) {
    const pid = left.exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    try {
      const path = join(parent, name);
      const { uid } = lstatSync(path);
      if (uid === process.getuid?.()) rmSync(path, { recursive: true, force: true });
    } catch {
      // Another one that sweeps was here first.
    }
  }
}

/** Process ids are told apart within one of these alone: containers may share a folder, not their processes. */
function namespaceId(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "0";
  } catch {
    return "0";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Someone else's is alive too.
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
