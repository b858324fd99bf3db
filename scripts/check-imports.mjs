// Holds the directions between the rooms of src/ (docs/architecture.md): what each may import, and
// that the core stays pure. Exits 1 with a line per breach.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../src", import.meta.url));

// Room: [rooms it may import, rooms it may import types from, packages it may import].
// `public` are the files directly in src/.
const rules = {
  base: [[], [], []],
  core: [["base"], [], []],
  wire: [["base"], ["core"], []],
  codec: [[], [], [/^node:/, "lz4-wasm", "libsodium-wrappers"]],
  zmtp: [["base"], [], [/^node:/, "libsodium-wrappers"]],
  link: [["base", "wire", "zmtp"], [], [/^node:/, "zeromq"]],
  admin: [["base"], [], [/^node:/, "prom-client"]],
  broker: [["base", "core", "wire", "zmtp", "admin"], [], [/^node:/]],
  client: [["base", "wire", "codec", "link"], [], [/^node:/]],
  worker: [["base", "wire", "codec", "link"], [], [/^node:/]],
  cli: [
    ["base", "core", "wire", "codec", "broker", "admin", "client", "worker", "cli", "public"],
    [],
    [/./],
  ],
  demo: [["base", "codec", "public", "cli"], [], [/./]],
  public: [
    ["base", "core", "wire", "codec", "broker", "client", "worker", "cli"],
    ["link", "admin"],
    [],
  ],
};
// A browser build of the codec replaces this file and no other.
const nodeFileOfCodec = "codec/assets.ts";
// In core and base neither clock nor chance but what is passed in.
const impure =
  /\b(Date\.now|new Date|Math\.random|performance\.|setTimeout|setInterval|setImmediate|queueMicrotask|process\.|async |await |Promise)\b/;

function roomOf(path) {
  const [first, ...rest] = relative(src, path).split("/");
  if (rest.length > 0) return first;
  return "public";
}

function* sourceFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (path.endsWith(".ts")) yield path;
  }
}

export function breaches() {
  const found = [];
  for (const path of sourceFiles(src)) {
    const room = roomOf(path);
    const name = relative(src, path);
    const rule = rules[room];
    if (rule === undefined) {
      found.push(`${name}: room "${room}" has no rule`);
      continue;
    }
    const [rooms, typeRooms, packages] = rule;
    const text = readFileSync(path, "utf8");
    for (const match of text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[\w$*{}\s,]+?\sfrom\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g,
    )) {
      const isType = match[1] !== undefined;
      const target = match[2] ?? match[3];
      if (target.startsWith(".")) {
        const to = roomOf(normalize(join(dirname(path), target)).replace(/\.js$/, ".ts"));
        const allowed = to === room || rooms.includes(to) || (isType && typeRooms.includes(to));
        if (!allowed) found.push(`${name}: ${room} must not import ${to} (${target})`);
      } else if (!packages.some((p) => (p instanceof RegExp ? p.test(target) : p === target))) {
        found.push(`${name}: ${room} must not import ${target}`);
      } else if (room === "codec" && target.startsWith("node:") && name !== nodeFileOfCodec) {
        found.push(`${name}: in codec only ${nodeFileOfCodec} may import ${target}`);
      }
    }
    if (room === "core" || room === "base") {
      const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
      const hit = impure.exec(code);
      if (hit !== null) found.push(`${name}: ${room} must be pure, found "${hit[0].trim()}"`);
    }
  }
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = breaches();
  for (const breach of found) console.error(breach);
  if (found.length > 0) process.exit(1);
  console.log("imports: the rooms hold");
}
