import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The only file of the codec that knows where bytes of code come from; a browser build replaces it.

async function compile(url: URL): Promise<WebAssembly.Module> {
  const { readFile } = await import("node:fs/promises");
  return WebAssembly.compile(await readFile(url));
}

let codecModule: Promise<WebAssembly.Module> | undefined;
let lz4Module: Promise<WebAssembly.Module> | undefined;

/** build/codec.wasm, compiled once a process. */
export function loadCodecModule(): Promise<WebAssembly.Module> {
  codecModule ??= compile(new URL("../codec.wasm", import.meta.url));
  return codecModule;
}

/** The bare WASM of the lz4-wasm package: its JavaScript only loads in a bundler. */
export function loadLz4Module(): Promise<WebAssembly.Module> {
  if (lz4Module === undefined) {
    const path = createRequire(import.meta.url).resolve("lz4-wasm/lz4_wasm_bg.wasm");
    lz4Module = compile(pathToFileURL(path));
  }
  return lz4Module;
}
