// C's liblz4, as a program of its own: built from lz4.c where cc and the library are.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NAME = "C liblz4";
/** With the header's package installed, and with the library alone. */
const LIBRARIES = ["-llz4", "-l:liblz4.so.1"];
const PASSES_MIN = 3;
const PASSES_MAX = 1024;

/** @param {readonly Uint8Array[]} plains what it is to compress */
export function buildLiblz4(plains) {
  const folder = mkdtempSync(join(tmpdir(), "wqb-"));
  const close = () => rmSync(folder, { recursive: true, force: true });
  const program = build(folder);
  if (program === undefined) {
    close();
    return { name: NAME, absent: "needs cc and liblz4" };
  }
  const file = join(folder, "inputs");
  writeFileSync(file, Buffer.concat(plains.flatMap(withSize)));
  const [compressUs, decompressUs, bytes] = run(program, PASSES_MIN, file);
  /** @param {number} at @param {number} firstUs */
  const timer = (at, firstUs) => {
    let passMs = (firstUs * plains.length) / 1000;
    return (/** @type {number} */ durationMs) => {
      const passes = Math.ceil(durationMs / passMs);
      const callUs = run(program, Math.min(Math.max(passes, PASSES_MIN), PASSES_MAX), file)[at];
      passMs = (callUs * plains.length) / 1000;
      return callUs;
    };
  };
  return {
    name: NAME,
    bytes,
    compress: timer(0, compressUs),
    decompress: timer(1, decompressUs),
    close,
  };
}

/** @param {string} folder */
function build(folder) {
  const source = fileURLToPath(new URL("lz4.c", import.meta.url));
  const program = join(folder, "lz4");
  return LIBRARIES.some((library) => {
    const { status } = spawnSync("cc", ["-O2", source, "-o", program, library]);
    return status === 0;
  })
    ? program
    : undefined;
}

/** @param {string} program @param {number} passes @param {string} file */
function run(program, passes, file) {
  const { stdout, status } = spawnSync(program, [String(passes), file], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the C program of liblz4 ended with ${status}`);
  return stdout.split(" ").map(Number);
}

/** @param {Uint8Array} plain */
function withSize(plain) {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(plain.length);
  return [size, plain];
}
