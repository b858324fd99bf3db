// Third-party packages that the codec is compared with. They have a package.json and a lockfile of
// their own in bench/ and are installed on demand; the repository's own packages serve as well.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

export const INSTALL = "npm ci --prefix bench";

const NAMES = [
  "msgpackr",
  "@msgpack/msgpack",
  "lz4-napi",
  "lz4-wasm-nodejs",
  "libsodium-wrappers",
  "sodium-native",
  "snappy",
];

const require = createRequire(import.meta.url);

/**
 * @typedef {object} Rival
 * @property {any} [module] what `import` gives; of CommonJS its exports
 * @property {string} [version]
 * @property {string} [note]
 * @property {string} [absent] why it cannot take part
 */

/** @returns {Promise<Record<string, Rival>>} by name, whether it is there or not */
export async function loadRivals() {
  /** @type {Record<string, Rival>} */
  const rivals = {};
  for (const name of NAMES) rivals[name] = await load(name);
  return rivals;
}

/** The same without the modules, as a report tells it. */
export async function describeRivals() {
  const rivals = Object.entries(await loadRivals());
  return rivals.map(([name, { version, note, absent }]) => ({ name, version, note, absent }));
}

/** Why those of them that are absent are. @param {Record<string, Rival>} rivals @param {string[]} names */
export function absentOf(rivals, names) {
  /** @type {Record<string, string>} */
  const absent = {};
  for (const name of names) {
    const reason = rivals[name].absent;
    if (reason !== undefined) absent[name] = reason;
  }
  return absent;
}

/** @param {string} name @returns {Promise<Rival>} */
async function load(name) {
  let version;
  try {
    version = versionOf(name);
  } catch {
    return { absent: "not installed" };
  }
  try {
    const loaded = await import(name);
    // Of a CommonJS package the named exports may be incomplete; of libsodium they come with ready.
    const module = loaded.default ?? loaded;
    if (module.ready !== undefined) await module.ready;
    return { module, version, note: noteOf(name, module) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { version, absent: `cannot be loaded: ${reason.split("\n")[0]}` };
  }
}

/** @param {string} name */
function versionOf(name) {
  for (const folder of require.resolve.paths(name) ?? []) {
    try {
      return JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")).version;
    } catch {
      // In the next folder up, then.
    }
  }
  throw new Error(`${name} is not installed`);
}

/** What its figures depend on, beside the version. @param {string} name @param {any} module */
function noteOf(name, module) {
  if (name !== "msgpackr") return undefined;
  return module.isNativeAccelerationEnabled ? "native addon active" : "native addon NOT active";
}
