// Makes everything under build/: the codec's WASM, then JavaScript and types.
// `--if-stale` returns at once when the inputs are those of the last build.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const build = join(root, "build");
const stampFile = join(build, ".stamp");

/** A digest of every file that the build reads. */
function inputDigest() {
  const hash = createHash("sha256");
  const visit = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) visit(child);
      else hash.update(child.slice(root.length)).update("\0").update(readFileSync(child));
    }
  };
  visit(join(root, "src"));
  visit(join(root, "assembly"));
  for (const file of ["package.json", "package-lock.json", "tsconfig.json", "scripts/build.mjs"]) {
    hash.update(readFileSync(join(root, file)));
  }
  return hash.digest("hex");
}

function run(packageName, script, args) {
  const path = join(root, "node_modules", packageName, script);
  // stdout is for what was asked for: `npm start` may build first.
  const stdio = ["ignore", 2, 2];
  const result = spawnSync(process.execPath, [path, ...args], { cwd: root, stdio });
  if (result.status !== 0) {
    console.error(`build: ${packageName} failed`);
    process.exit(1);
  }
}

/**
 * TypeScript has the namespace WebAssembly in its library "dom" alone, which a project for Node need not
 * have: declarations that the package ships do without. What names it is the codec's own.
 */
function freeOfWebAssembly() {
  for (const name of readdirSync(build, { recursive: true })) {
    if (!name.endsWith(".d.ts")) continue;
    const path = join(build, name);
    const text = readFileSync(path, "utf8");
    const free = text
      .replace(
        /\bWebAssembly\.Memory\b/g,
        "{ readonly buffer: ArrayBuffer; grow(pages: number): number }",
      )
      .replace(/\bWebAssembly\.\w+/g, "object");
    if (free !== text) writeFileSync(path, free);
  }
}

/** Builds; with `ifStale`, only when an input changed since the last build. */
export function buildAll({ ifStale = false } = {}) {
  const digest = inputDigest();
  const fresh = existsSync(stampFile) && readFileSync(stampFile, "utf8") === digest;
  if (ifStale && fresh) return false;
  for (const name of readdirSync(build)) {
    if (name !== ".gitignore") rmSync(join(build, name), { recursive: true });
  }
  run("assemblyscript", "bin/asc.js", [
    "assembly/index.ts",
    "--config",
    "assembly/asconfig.json",
    "--target",
    "release",
  ]);
  run("typescript", "bin/tsc", ["-p", "tsconfig.json"]);
  freeOfWebAssembly();
  // npm would go by .gitignore, which leaves everything out; the demonstration is for a checkout.
  writeFileSync(join(build, ".npmignore"), ".*\n/demo\n");
  writeFileSync(stampFile, digest);
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  buildAll({ ifStale: process.argv.includes("--if-stale") });
}
