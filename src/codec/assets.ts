import { Buffer } from "node:buffer";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import type { NativeCrypto } from "./native-aead.js";

// The only file of the codec that imports of Node: where bytes of code come from, node:crypto,
// threads, and memory. A browser build replaces it. scripts/check-imports.mjs holds this.

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

/** A thread of this process, seen from the one that started it. */
export interface Thread {
  /** The bytes are moved: the arrays are empty afterwards. */
  post(message: unknown, moved: readonly Uint8Array[]): void;
  /** `onEnd` once, whatever it ended of. Set before anything is posted. */
  listen(onMessage: (message: unknown) => void, onEnd: () => void): void;
  /** Whether the process waits for it. */
  ref(): void;
  unref(): void;
  end(): void;
}

/**
 * Starts the codec's thread; `data` is cloned.
 *
 * @throws whatever stands against it
 */
export async function startThread(data: unknown): Promise<Thread> {
  const { Worker } = await import("node:worker_threads");
  const url = new URL("./thread-main.js", import.meta.url);
  // What the process was started with, such as loaders, is not for a file that needs none of it.
  const worker = new Worker(url, { workerData: data, execArgv: [], name: "wasmq codec" });
  worker.unref();
  return {
    post: (message, moved) =>
      worker.postMessage(
        message,
        moved.map(({ buffer }) => buffer as ArrayBuffer),
      ),
    listen: (onMessage, onEnd) => {
      worker.on("message", onMessage);
      // An error is followed by the exit.
      worker.on("error", () => {});
      worker.on("exit", onEnd);
    },
    ref: () => worker.ref(),
    unref: () => worker.unref(),
    end: () => void worker.terminate(),
  };
}

/** In the codec's thread: what it was started with, and the other side. */
export async function enterThread(): Promise<{
  data: unknown;
  post(message: unknown, moved: readonly Uint8Array[]): void;
  listen(onMessage: (message: unknown) => void): void;
  end(): void;
}> {
  const { parentPort, workerData } = await import("node:worker_threads");
  if (parentPort === null) throw new Error("this file is the codec's thread, not a program");
  return {
    data: workerData,
    post: (message, moved) =>
      parentPort.postMessage(
        message,
        moved.map(({ buffer }) => buffer as ArrayBuffer),
      ),
    listen: (onMessage) => parentPort.on("message", onMessage),
    end: () => parentPort.close(),
  };
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
