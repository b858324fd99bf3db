import { AGREEMENT_COUNT_MIN } from "./client-sessions.js";
import type { Dictionary } from "./dictionary.js";
import { COUNTER_END } from "./envelope.js";
import type { CodecKey } from "./keys.js";
import type { PublicKey, ServiceKey } from "./service-keys.js";

/** How a codec is made; see docs/codec.md for the limits. */
export interface CodecOptions {
  /** The first seals, all open. Left out, the codec neither seals nor opens sealed bodies. */
  keys?: readonly CodecKey[];
  /** A service's own: it opens requests of clients that know one's public key, and answers them. */
  serviceKeys?: readonly ServiceKey[];
  /**
   * Services that this client agrees on keys with, by name, `prefix.*` or `*`: their requests are
   * sealed so and not under `keys`.
   */
  servicePublicKeys?: Readonly<Record<string, PublicKey>>;
  /** How long a client seals under one agreed key, ms, 1..604800000; 3600000 if left out. */
  agreementAgeMaxMs?: number;
  /** How many requests a client seals under one agreed key, 64..2^48-1; 2^32 if left out. */
  agreementCountMax?: number;
  /** How long after that it opens replies to them, ms, 0..604800000; 300000 if left out. */
  agreementGraceMs?: number;
  /** Clients that a service remembers what it agreed on with, 1..1048576; 4096 if left out. */
  agreementSessionsMax?: number;
  /** At most 16. The first compresses, all open. Only with compressor "assembly". */
  dictionaries?: readonly Dictionary[];
  /** Levels of arrays and maps, 1..512; 64 if left out. */
  depthMax?: number;
  /** Bytes of a packed value, before compression, 1 KiB..128 MiB; 16 MiB if left out. */
  sizeMax?: number;
  /** Messages of a sender that replay protection looks back, 1024..1048576, which is also the default. */
  replayWindow?: number;
  /** Senders' sessions that replay protection remembers, 1..1048576; 1024 if left out. */
  replaySessionsMax?: number;
  /** Whether seal() compresses what gets smaller by it; true if left out. */
  isCompressing?: boolean;
  /**
   * Who encrypts: libsodium in WASM, node:crypto, or by size whichever is faster; "auto" if left
   * out. The bytes are the same.
   */
  engine?: EngineChoice;
  /** Bytes of a body from which on "auto" takes node:crypto, 0..2^53-1; measured if left out. */
  nativeFrom?: number;
  /** Which code makes and reads LZ4 blocks, the same format either way; "assembly" if left out. */
  compressor?: "assembly" | "lz4-wasm";
  /**
   * Bytes of a packed value from which on sealAsync() and openAsync() leave the work to a thread,
   * 4096..2^53-1 or Infinity, which is never; 65536 if left out.
   */
  threadFrom?: number;
}

export type EngineChoice = "auto" | "wasm" | "native";

export const DEPTH_LIMIT = 512;
export const SIZE_LIMIT = 128 * 1024 * 1024;
const WEEK_MS = 604_800_000;
/** Plain bytes of a chunk of a stream. */
export const CHUNK_SIZE_MIN = 4 * 1024;
export const CHUNK_SIZE_MAX = 1024 * 1024;
const THREAD_FROM = 64 * 1024;

/** The value, when it is an integer of min..max. @throws RangeError that names the argument */
export function requireInteger(name: string, value: unknown, min: number, max: number): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw new RangeError(`${name} must be an integer of ${min}..${max}, got ${value}`);
  }
  return value as number;
}

/** The value, when it is bytes. @throws TypeError that names the argument */
export function requireBytes(name: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const kind = value === null ? "null" : typeof value;
  throw new TypeError(`${name} must be a Uint8Array, got ${kind}`);
}

export type CompleteOptions = ReturnType<typeof completeOptions>;

/** The options, complete and checked. @throws RangeError, TypeError that name the option */
export function completeOptions(options: CodecOptions) {
  const {
    depthMax = 64,
    sizeMax = 16 * 1024 * 1024,
    replayWindow = 1_048_576,
    replaySessionsMax = 1024,
    isCompressing = true,
    engine = "auto",
    nativeFrom,
    compressor = "assembly",
    threadFrom = THREAD_FROM,
    dictionaries = [],
  } = options;
  if (typeof isCompressing !== "boolean") {
    throw new TypeError(`isCompressing must be a boolean, got ${isCompressing}`);
  }
  if (engine !== "auto" && engine !== "wasm" && engine !== "native") {
    throw new TypeError(`engine must be "auto", "wasm" or "native", got ${engine}`);
  }
  if (nativeFrom !== undefined) {
    requireInteger("nativeFrom", nativeFrom, 0, Number.MAX_SAFE_INTEGER);
    if (engine !== "auto") {
      throw new TypeError(`nativeFrom goes with engine "auto", got engine "${engine}"`);
    }
  }
  if (compressor !== "assembly" && compressor !== "lz4-wasm") {
    throw new TypeError(`compressor must be "assembly" or "lz4-wasm", got ${compressor}`);
  }
  if (!Array.isArray(dictionaries)) {
    throw new TypeError(`dictionaries must be an array, got ${typeof dictionaries}`);
  }
  if (dictionaries.length > 0 && compressor !== "assembly") {
    throw new TypeError(`dictionaries go with compressor "assembly", got "${compressor}"`);
  }
  requireInteger("replayWindow", replayWindow, 1024, 1_048_576);
  return {
    depthMax: requireInteger("depthMax", depthMax, 1, DEPTH_LIMIT),
    sizeMax: requireInteger("sizeMax", sizeMax, 1024, SIZE_LIMIT),
    // The window is kept in pages of 1024 bits.
    replayWindow: Math.ceil(replayWindow / 1024) * 1024,
    replaySessionsMax: requireInteger("replaySessionsMax", replaySessionsMax, 1, 1_048_576),
    isCompressing,
    engine,
    nativeFrom,
    compressor,
    ...agreementLimits(options),
    threadFrom:
      threadFrom === Number.POSITIVE_INFINITY
        ? threadFrom
        : requireInteger("threadFrom", threadFrom, 4096, Number.MAX_SAFE_INTEGER),
    dictionaries: dictionaries as readonly Dictionary[],
  };
}

function agreementLimits(options: CodecOptions) {
  const {
    agreementAgeMaxMs = 3_600_000,
    agreementCountMax = 2 ** 32,
    agreementGraceMs = 300_000,
    agreementSessionsMax = 4096,
  } = options;
  const last = COUNTER_END - 1;
  requireInteger("agreementAgeMaxMs", agreementAgeMaxMs, 1, WEEK_MS);
  requireInteger("agreementCountMax", agreementCountMax, AGREEMENT_COUNT_MIN, last);
  requireInteger("agreementGraceMs", agreementGraceMs, 0, WEEK_MS);
  requireInteger("agreementSessionsMax", agreementSessionsMax, 1, 1_048_576);
  return { agreementAgeMaxMs, agreementCountMax, agreementGraceMs, agreementSessionsMax };
}
