import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { JEROMQ } from "../../scripts/interop-tools.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const TIMEOUT_MS = 120_000;

/** Runs a compiler; what it says is told where it fails. */
function run(command: string, args: string[]): void {
  execFileSync(command, args, { cwd: root, timeout: TIMEOUT_MS, stdio: ["ignore", 2, 2] });
}

/** Builds the programs in C and Java into a folder of this run's, which the tests learn of by its name. */
export default function setup(): () => void {
  const out = mkdtempSync(join(tmpdir(), "wasmq-interop-"));
  try {
    const plain = join(root, "examples/plain");
    for (const name of ["req", "rep"]) {
      const from = join(plain, `${name}.c`);
      run("cc", ["-Wall", "-Wextra", "-Werror", "-O2", "-o", join(out, name), from, "-lzmq"]);
    }
    // With the sanitizers watching: a step beyond a buffer, or memory not freed, ends the program.
    const checked = "-O1 -g -Werror -fsanitize=address,undefined -fno-sanitize-recover=all";
    for (const folder of ["examples/c", "test/interop/vectors"]) {
      run("make", ["-s", "-j2", "-C", folder, `OUT=${out}`, `CFLAGS=${checked}`]);
    }
    mkdirSync(join(out, "java"));
    const sources = readdirSync(plain).filter((name) => name.endsWith(".java"));
    const paths = sources.map((name) => join(plain, name));
    run("javac", ["-Xlint:all", "-Werror", "-cp", JEROMQ, "-d", join(out, "java"), ...paths]);
  } catch (error) {
    rmSync(out, { recursive: true });
    throw error;
  }
  process.env.WASMQ_INTEROP_PROGRAMS = out;
  return () => rmSync(out, { recursive: true, force: true });
}
