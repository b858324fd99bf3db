import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import type { NativeCrypto } from "./native-aead.js";

// The only file of the codec that imports of Node: where bytes of code come from, node:crypto, and
// memory. A browser build replaces it. scripts/check-imports.mjs holds this.

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

/** node:crypto, or undefined where Node was built without it; what it can do is not said yet. */
export async function loadNativeCrypto(): Promise<NativeCrypto | undefined> {
  try {
    return (await import("node:crypto")) as unknown as NativeCrypto;
  } catch {
    return undefined;
  }
}

/** Below this, cleared memory is the cheaper one. */
const UNCLEARED_SIZE_MIN = 4096;

/**
 * Bytes in a buffer of exactly their size, not cleared: the caller writes every one of them. To
 * clear 256 KiB costs as much as to encrypt them.
 */
export function newBytes(size: number): Uint8Array {
  if (size < UNCLEARED_SIZE_MIN) return new Uint8Array(size);
  const bytes = Buffer.allocUnsafeSlow(size);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, size);
}
