import { QUEUE_PREFIX } from "./layout.js";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text in these bytes, or undefined where they are not UTF-8. */
export function readText(bytes: Uint8Array, at: number, size: number): string | undefined {
  try {
    return decoder.decode(bytes.subarray(at, at + size));
  } catch {
    return undefined;
  }
}

/** Whether `text` may name a service: 1 to 255 bytes of UTF-8, no control characters. */
export function isServiceName(text: string): boolean {
  const bytes = Buffer.byteLength(text);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
  return bytes >= 1 && bytes <= 255 && !/[\u0000-\u001f\u007f]/.test(text);
}

/** What the core knows a queue by, among the services. */
export function queueService(queue: string): string {
  return QUEUE_PREFIX + queue;
}

/**
 * Turns the bytes of service names into strings. Few names come in many records, so a small
 * table remembers them by hash and compares their bytes; a stranger's names only displace.
 */
export class NameCache {
  readonly #names: string[];
  readonly #bytes: Uint8Array[];
  readonly #mask: number;

  /** Remembers up to `size` names, a power of two. */
  constructor(size = 1024) {
    this.#mask = size - 1;
    this.#names = new Array(size).fill("");
    this.#bytes = new Array(size).fill(new Uint8Array(0));
  }

  /** The name, or undefined if these bytes may not name a service. */
  read(bytes: Uint8Array, at: number, size: number): string | undefined {
    const entry = hash(bytes, at, size) & this.#mask;
    if (isSame(this.#bytes[entry], bytes, at, size)) return this.#names[entry] || undefined;
    const name = readText(bytes, at, size);
    if (name === undefined || !isServiceName(name)) return undefined;
    this.#bytes[entry] = Uint8Array.prototype.slice.call(bytes, at, at + size); // Buffer.slice would pin the frame
    this.#names[entry] = name;
    return name;
  }
}

/** FNV-1a, 32 bits. */
function hash(bytes: Uint8Array, at: number, size: number): number {
  let h = 0x811c9dc5;
  for (let i = at; i < at + size; i++) h = Math.imul(h ^ bytes[i], 0x01000193);
  return h >>> 0;
}

function isSame(known: Uint8Array, bytes: Uint8Array, at: number, size: number): boolean {
  if (known.length !== size) return false;
  for (let i = 0; i < size; i++) if (known[i] !== bytes[at + i]) return false;
  return true;
}
