import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
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
    const sources = ["plain", "majordomo"].flatMap((folder) => {
      const path = join(root, "examples", folder);
      return readdirSync(path).map((name) => join(path, name));
    });
    for (const from of sources.filter((path) => path.endsWith(".c"))) {
      const to = join(out, basename(from, ".c"));
      run("cc", ["-Wall", "-Wextra", "-Werror", "-O2", "-o", to, from, "-lzmq"]);
    }
    // With the sanitizers watching: a step beyond a buffer, or memory not freed, ends the program.
    const checked = "-O1 -g -Werror -fsanitize=address,undefined -fno-sanitize-recover=all";
    for (const folder of ["examples/c", "test/interop/vectors"]) {
      run("make", ["-s", "-j2", "-C", folder, `OUT=${out}`, `CFLAGS=${checked}`]);
    }
    mkdirSync(join(out, "java"));
    const paths = sources.filter((path) => path.endsWith(".java"));
    run("javac", ["-Xlint:all", "-Werror", "-cp", JEROMQ, "-d", join(out, "java"), ...paths]);
  } catch (error) {
    rmSync(out, { recursive: true });
    throw error;
  }
  process.env.WASMQ_INTEROP_PROGRAMS = out;
  return () => rmSync(out, { recursive: true, force: true });
}
